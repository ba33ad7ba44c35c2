"""Acting with continuous actions, and exploring with Gaussian noise; numpy only.

Storages and nodes (`act`): the policy network (output `tanh`) gives the mean, and a vector
`log_std` among the weights, which does not depend on the observation (Schulman et al., Trust Region
Policy Optimization, ICML 2015), gives the spread. The action that leaves is clip(raw, -1, 1), and
the likelihood that learning uses is that of `raw`: the clip belongs to the environment, so the
policy gradient stays unbiased (Fujita and Maeda, Clipped Action Policy Gradient, ICML 2018). A
clipped Gaussian reaches both ends of the range, where a storage that trades between two prices
wants to be; a tanh-squashed one only nears them.

Consumers (`share`): the network gives the action itself, and noise is added to explore (Lillicrap
et al., Continuous control with deep reinforcement learning, ICLR 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.learning import networks
from swarm.learning.draws import wide_uniforms
from swarm.messages import Float

Float32 = NDArray[np.float32]

HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Action:
    """What n agents do in one tick.

    Attributes:
        action: float32 (n, actions), in [-1, 1]: what the device gets.
        raw: float32 (n, actions), before the clip: what the learner gets.
        log_prob: float32 (n,), log density of `raw`; 0 for the deterministic mean.
    """

    action: Float32
    raw: Float32
    log_prob: Float32


def normals(seed: int, stream: str, tick: int, first: int, n: int, actions: int) -> Float:
    """Standard normals, float64 (n, actions), of agents `first` to `first + n - 1`.

    Inverse transform of counter-based uniforms, so that any split of the agents gives the same
    bytes (see `swarm.rng`).
    """
    return of_uniforms(wide_uniforms(seed, stream, tick, first, n, actions))


def of_uniforms(uniforms: Float) -> Float:
    """Standard normals by inverse transform of uniforms in [0, 1), of any shape."""
    from scipy.special import ndtri  # here, since scipy takes a while to import

    # A uniform may be 0, whose normal is not finite.
    drawn: Float = ndtri(np.maximum(uniforms, 2.0**-54))
    return drawn


def act(
    spec: networks.Spec,
    weights: networks.Weights,
    observation: Float32,
    noise: Float | None = None,
) -> Action:
    """Actions of n agents on `observation`, float32 (n, in).

    Args:
        spec: of the policy network, its output `tanh`.
        weights: of the network, and "log_std" (n, actions); a first axis of 1 is shared by all.
        observation: one row per agent.
        noise: standard normals (n, actions) to explore, or None for the mean (evaluation).
    """
    mean = networks.forward(spec, weights, observation)
    if noise is None:
        return Action(np.clip(mean, -1, 1), mean, np.zeros(len(mean), dtype=np.float32))
    log_std = np.broadcast_to(weights["log_std"], mean.shape).astype(np.float64)
    raw = (mean + np.exp(log_std) * noise).astype(np.float32)
    density = np.ascontiguousarray(-0.5 * noise**2 - log_std - HALF_LOG_2PI)
    return Action(np.clip(raw, -1, 1), raw, density.sum(axis=1).astype(np.float32))


def share(
    spec: networks.Spec,
    weights: networks.Weights,
    observation: Float32,
    std: float = 0.0,
    noise: Float | None = None,
) -> Float32:
    """Share of its flexible load that each of n consumers takes, float32 (n,), in [0, 1].

    Args:
        spec: of the policy network, one output, `tanh`; -1 to 1 stands for 0 to 1.
        weights: of the network; a first axis of 1 is shared by all.
        observation: float32 (n, in).
        std: standard deviation of the exploration, in the unit of the share.
        noise: standard normals (n, 1) to explore, or None for the policy alone (evaluation).
    """
    mean = 0.5 + 0.5 * networks.forward(spec, weights, observation)[:, 0]
    raw = mean if noise is None else mean + std * noise[:, 0]
    return np.clip(raw, 0, 1).astype(np.float32)


def node_networks(observations: int, neighbours: int) -> tuple[networks.Spec, networks.Spec]:
    """Actor and critic of a neighbourhood node: a transfer per neighbour and a grid exchange."""
    actor = networks.Spec((observations, 64, 32, neighbours + 1), out="tanh")
    return actor, networks.Spec((observations, 64, 32, 1))
