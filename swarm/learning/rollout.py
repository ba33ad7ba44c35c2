"""What the on-policy learners collect between two updates, and its advantages; numpy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

SMALLEST_SPREAD = np.float32(1e-8)
"""Added to the spread of advantages, as the division must hold where they are all equal."""


class Rollout:
    """Transitions of `agents` agents in `worlds` parallel worlds over `steps` steps.

    `arrays` holds them, preallocated, each (stacks, steps, lanes, ...): observation, raw (the
    action before the clip), next_observation, reward, terminated, cut and, where `log_prob` is
    asked for, log_prob. An agent is a stack and a world a lane; agents that share one policy are
    all lanes of one stack.
    """

    def __init__(
        self,
        agents: int,
        steps: int,
        worlds: int,
        observations: int,
        actions: int,
        shared: bool = False,
        log_prob: bool = False,
    ) -> None:
        self.filled = 0
        self.stacks = 1 if shared else agents
        self._given = (agents, worlds)
        self.shape = (self.stacks, steps, agents * worlds // self.stacks)
        self.arrays: dict[str, NDArray[Any]] = {
            "observation": np.zeros((*self.shape, observations), dtype=np.float32),
            "raw": np.zeros((*self.shape, actions), dtype=np.float32),
            "reward": np.zeros(self.shape, dtype=np.float32),
            "next_observation": np.zeros((*self.shape, observations), dtype=np.float32),
            "terminated": np.zeros(self.shape, dtype=np.bool_),
            "cut": np.zeros(self.shape, dtype=np.bool_),
        }
        if log_prob:
            self.arrays["log_prob"] = np.zeros(self.shape, dtype=np.float32)

    @property
    def bytes(self) -> int:
        """Memory it holds."""
        return sum(array.nbytes for array in self.arrays.values())

    @property
    def full(self) -> bool:
        """Whether an update may begin."""
        return self.filled == self.shape[1]

    def add(self, **step: NDArray[Any]) -> None:
        """Keep one step: every name of `arrays`, each (agents, worlds, ...).

        Raises:
            UsageError: it is full, an array has another shape, or a number is not finite.
        """
        if self.full:
            raise UsageError(f"the rollout already holds its {self.filled} steps: update first")
        for name, array in self.arrays.items():
            given, expected = step[name], (*self._given, *array.shape[3:])
            if given.shape != expected:
                raise UsageError(f"{name} is {given.shape}; expected {expected}")
            if not np.isfinite(given).all():
                raise UsageError(f"{name} holds a number that is not finite")
            array[:, self.filled] = given.reshape(self.stacks, self.shape[2], *array.shape[3:])
        self.filled += 1

    def flat(self, name: str) -> NDArray[Any]:
        """One of `arrays` as a batch, (stacks, steps * lanes, ...)."""
        array = self.arrays[name]
        return array.reshape(len(array), -1, *array.shape[3:])

    def state(self) -> dict[str, NDArray[Any]]:
        """A copy of everything it holds, as arrays by name."""
        held = {name: array.copy() for name, array in self.arrays.items()}
        return {**held, "filled": np.array([self.filled], dtype=np.int64)}

    def load(self, state: dict[str, NDArray[Any]]) -> None:
        """Take what `state` gave; UsageError where the shape of an array differs."""
        for name, array in self.arrays.items():
            if state[name].shape != array.shape:
                raise UsageError(
                    f"rollout state {name} is {state[name].shape}; expected {array.shape}"
                )
            array[:] = state[name]
        self.filled = int(state["filled"][0])


def advantages(
    reward: Float32,
    value: Float32,
    next_value: Float32,
    terminated: Bool,
    cut: Bool,
    discount: float,
    trace: float,
) -> Float32:
    """Generalised advantage estimates, float32 (n, steps, lanes).

    delta_t = r_t + discount V(s_t+1) - V(s_t), and A_t = delta_t + discount trace A_t+1
    (Schulman et al., High-Dimensional Continuous Control Using Generalized Advantage Estimation,
    ICLR 2016, equation 16). `trace` 0 is the one-step error, 1 the whole return.

    Args:
        reward: (n, steps, lanes), as are the next four.
        value: V(s_t).
        next_value: V(s_t+1), also where the episode was cut by time.
        terminated: no value follows, as the episode truly ended.
        cut: the next step does not follow on this one (ended, or cut by time).
        discount: per step, 0..1.
        trace: lambda of the paper, 0..1.
    """
    delta = reward + np.float32(discount) * np.where(terminated, 0, next_value) - value
    decay = np.where(terminated | cut, 0, np.float32(discount * trace))
    estimate = np.empty(delta.shape, dtype=np.float32)
    after = np.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        after = delta[:, t] + decay[:, t] * after
        estimate[:, t] = after
    return estimate


def standardised(advantage: Float32) -> Float32:
    """Advantages (n, batch) with mean 0 and standard deviation 1 for each agent on its own."""
    rows = np.ascontiguousarray(advantage)
    centred = rows - rows.mean(axis=1, keepdims=True)
    scaled: Float32 = centred / (rows.std(axis=1, keepdims=True) + SMALLEST_SPREAD)
    return scaled
