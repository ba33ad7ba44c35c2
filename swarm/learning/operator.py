"""The learned policy of the grid operator: values of each objective, weighed by the preference.

Numpy alone; `swarm.learning.modqn` learns. Also what a training draws a preference from, and the
report of what several preferences gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.agents.experience import Experience
from swarm.errors import UsageError
from swarm.grid.observation import OperatorView
from swarm.grid.policy import Learned, OperatorTraits
from swarm.grid.reward import OBJECTIVES
from swarm.learning import networks
from swarm.learning.choice import (
    best_or_any,
    pareto_set,
    preferences,
    scalarised,
    vector_values,
)
from swarm.learning.networks import Weights
from swarm.messages import Float
from swarm.rng import uniforms

Float32 = NDArray[np.float32]


class TrainedOperator:
    """Takes the action of the highest weighted value; see `swarm.grid.policy.Learning`.

    A decision moves two intervals: its activation level the one that is run next, its reserve level
    the one after, which it was made for. Its reward is the mean of both.
    """

    traits = OperatorTraits(stochastic=False, needs_training=True, has_memory=False)

    @property
    def STATE(self) -> tuple[str, ...]:
        """See `swarm.snapshot`; what it acts with changes only where it learns."""
        learns = ("_weights", "_epsilon", "_ticks", "_seen", "_chosen", "_rewards")
        return () if self._epsilon is None else learns

    def __init__(self) -> None:
        self._weights: Weights = {}
        self._epsilon: float | None = None
        self._ticks: list[int] = []
        self._seen: list[Float32] = []
        self._chosen: list[int] = []
        self._rewards: dict[int, Float] = {}

    def take(self, learned: Learned) -> None:
        """Act with this from now on.

        Raises:
            UsageError: the weights are not those of the operator's network, one for each objective.
        """
        networks.check(networks.OPERATOR, learned.weights, len(OBJECTIVES))
        self._weights, self._epsilon = dict(learned.weights), learned.epsilon

    def act(self, observation: Float32, view: OperatorView) -> int:
        """See `swarm.grid.policy.OperatorPolicy`."""
        values = vector_values(networks.OPERATOR, self._weights, observation[None])
        total = scalarised(values, view.preference[None].astype(np.float32))
        action = int(best_or_any(total, self._epsilon or 0.0, view.uniforms[None])[0])
        if self._epsilon is not None:
            self._ticks.append(view.tick)
            self._seen.append(observation)
            self._chosen.append(action)
        return action

    def settle(self, tick: int, reward: Float) -> None:
        """Keep what the interval was worth, while it explores."""
        if self._epsilon is not None:
            self._rewards[tick] = reward

    def experience(self) -> Experience:
        """Decisions whose reward and next observation are known; they are kept no longer.

        One agent, of index 0; the reward is float32 (k, 1, 3).
        """
        done = 0
        while done < len(self._ticks) - 1 and self._ticks[done] in self._rewards:
            done += 1
        ticks = self._ticks[:done]
        size = networks.OPERATOR.inputs
        reward = np.array([self._reward(tick) for tick in ticks], dtype=np.float32)
        found = Experience(
            tick=np.array(ticks, dtype=np.int64),
            agent=np.zeros(1, dtype=np.int64),
            observation=np.array(self._seen[:done], dtype=np.float32).reshape(done, 1, size),
            action=np.array(self._chosen[:done], dtype=np.int64).reshape(done, 1),
            log_prob=np.zeros((done, 1), dtype=np.float32),
            reward=reward.reshape(done, 1, len(OBJECTIVES)),
            next_observation=np.array(self._seen[1 : done + 1], dtype=np.float32).reshape(
                done, 1, size
            ),
        )
        for kept in (self._ticks, self._seen, self._chosen):
            del kept[:done]
        first = self._ticks[0] - 1 if self._ticks else 0
        self._rewards = {tick: row for tick, row in self._rewards.items() if tick >= first}
        return found

    def state(self) -> dict[str, NDArray[Any]]:
        """What `experience` has not given yet, copied; p decisions and the rewards of r intervals.

        "tick" int64 (p,), "observation" float32 (p, 80), "action" int64 (p,), "settled" int64 (r,),
        "reward" float64 (r, 3).
        """
        size = networks.OPERATOR.inputs
        return {
            "tick": np.array(self._ticks, dtype=np.int64),
            "observation": np.array(self._seen, dtype=np.float32).reshape(-1, size),
            "action": np.array(self._chosen, dtype=np.int64),
            "settled": np.array(list(self._rewards), dtype=np.int64),
            "reward": np.array(list(self._rewards.values())).reshape(-1, len(OBJECTIVES)),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave."""
        self._ticks = state["tick"].tolist()
        self._seen = list(state["observation"].copy())
        self._chosen = state["action"].tolist()
        rows = state["reward"].copy()
        self._rewards = dict(zip(state["settled"].tolist(), rows, strict=True))

    def _reward(self, tick: int) -> Float:
        """The mean over the intervals that the decision for `tick` moved; none is before tick 0."""
        moved = [self._rewards[at] for at in (tick - 1, tick) if at in self._rewards]
        mean: Float = np.mean(moved, axis=0)
        return mean


def episode_preference(seed: int, episode: int) -> tuple[float, ...]:
    """The preference under which a training episode runs, evenly from the simplex, (3,).

    Args:
        seed: of the training.
        episode: from 0; each has another one.
    """
    drawn = uniforms(seed, "learning/operator/preference", episode, 0, 1)[0, : len(OBJECTIVES)]
    return tuple(float(weight) for weight in preferences(drawn))


def spread_preferences(count: int) -> Float:
    """`count` preferences spread evenly over the simplex, corners first, float64 (count, 3).

    After the corners and their mean, the R2 sequence (M. Roberts, The unreasonable effectiveness of
    quasirandom sequences, 2018) on the unit square, folded onto the triangle.

    Raises:
        UsageError: there are fewer than one.
    """
    if count < 1:
        raise UsageError(f"count is {count}; expected 1 preference or more")
    corners = np.concatenate([np.eye(3), np.full((1, 3), 1 / 3)])
    plastic = 1.32471795724474602596
    at = np.arange(1, max(1, count - 3))[:, None] / np.array([plastic, plastic**2]) % 1
    at = np.where(at.sum(axis=1, keepdims=True) > 1, 1 - at, at)
    inside = np.column_stack([at, 1 - at.sum(axis=1)])
    return np.concatenate([corners, inside])[:count]


@dataclass(frozen=True)
class Front:
    """What k preferences gave.

    Attributes:
        preferences: float64 (k, 3), weights of the objectives.
        returns: float64 (k, 3), return of each objective, more is better.
        efficient: bool (k,), no other row dominates.
        supported: bool (k,), its own preference values no other row's return more highly.
    """

    preferences: Float
    returns: Float
    efficient: NDArray[np.bool_]
    supported: NDArray[np.bool_]

    def table(self) -> str:
        """A Markdown table with one row for each preference."""
        head = [*(f"weight of {name}" for name in OBJECTIVES), *OBJECTIVES, "efficient", "best"]
        lines = [head, ["---"] * len(head)]
        for row, weights in enumerate(self.preferences):
            numbers = [f"{weight:.2f}" for weight in weights]
            numbers += [f"{value:.4f}" for value in self.returns[row]]
            marks = ["yes" if of[row] else "no" for of in (self.efficient, self.supported)]
            lines.append([*numbers, *marks])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def front(given: Sequence[Sequence[float]] | Float, returns: Float) -> Front:
    """The Pareto set of what several preferences gave.

    Args:
        given: preferences, (k, 3).
        returns: return of each objective under each preference, (k, 3).

    Raises:
        UsageError: they are not of the same k preferences, or a number is not finite.
    """
    weights, gave = np.asarray(given, dtype=float), np.asarray(returns, dtype=float)
    if weights.shape != gave.shape or weights.ndim != 2 or weights.shape[1] != len(OBJECTIVES):
        raise UsageError(
            f"preferences are {weights.shape} and returns {gave.shape}; expected "
            f"(k, {len(OBJECTIVES)}) both"
        )
    if not (np.isfinite(weights).all() and np.isfinite(gave).all()):
        raise UsageError("a preference or return is not finite")
    value = np.einsum("ko,jo->kj", weights, gave)
    return Front(weights, gave, pareto_set(gave), np.diag(value) >= value.max(axis=1) - 1e-12)
