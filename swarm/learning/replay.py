"""Experience replay of all agents in preallocated arrays.

Lin, Self-improving reactive agents based on reinforcement learning, planning and teaching, Machine
Learning 8, 1992. The newest `capacity` transitions of each agent are kept; all agents add as many
at a time, so that one counter serves them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from swarm.errors import UsageError
from swarm.learning.draws import wide_uniforms

Arrays = dict[str, NDArray[Any]]


class Replay:
    """One ring of `capacity` transitions per agent; one array (agents, capacity, ...) per field.

    A policy that agents share has one ring for them all (`agents` = 1).
    """

    def __init__(
        self,
        agents: int,
        capacity: int,
        fields: Mapping[str, tuple[tuple[int, ...], DTypeLike]],
        seed: int,
        first: int = 0,
    ) -> None:
        """
        Args:
            agents: number of rings.
            capacity: transitions kept per agent.
            fields: shape of one value and its type, by name.
            seed: of the draws of `sample`.
            first: absolute index of the first agent, so that a split of the agents samples alike.

        Raises:
            UsageError: `agents` or `capacity` below 1, no fields, or one named "added".
        """
        for name, value in (("agents", agents), ("capacity", capacity), ("fields", len(fields))):
            if value < 1:
                raise UsageError(f"replay {name} is {value}; expected 1 or more")
        if "added" in fields:
            raise UsageError("replay field 'added' is taken; expected another name")
        self._arrays = {
            name: np.zeros((agents, capacity, *shape), dtype)
            for name, (shape, dtype) in fields.items()
        }
        self._agents, self._capacity = agents, capacity
        self._seed, self._first = seed, first
        self._added = 0

    def __len__(self) -> int:
        """Transitions held per agent."""
        return min(self._added, self._capacity)

    @property
    def bytes(self) -> int:
        """Memory of all rings when full, in bytes; fixed from the start."""
        return sum(array.nbytes for array in self._arrays.values())

    def add(self, rows: Mapping[str, NDArray[Any]]) -> None:
        """Keep `k` new transitions of every agent, oldest first: arrays (agents, k, ...) per field.

        Raises:
            UsageError: other fields or shapes than the replay has; nothing is added then.
        """
        if set(rows) != set(self._arrays):
            raise UsageError(f"transitions have {sorted(rows)}; expected {sorted(self._arrays)}")
        k = next(iter(rows.values())).shape[1]
        for name, array in self._arrays.items():
            expected = (self._agents, k, *array.shape[2:])
            if rows[name].shape != expected:
                raise UsageError(f"{name} is {rows[name].shape}; expected {expected}")
        # Of more than fit, only the newest; a place written twice in one go has no defined value.
        new = np.arange(max(0, k - self._capacity), k)
        places = (self._added + new) % self._capacity
        for name, array in self._arrays.items():
            array[:, places] = rows[name][:, new]
        self._added += k

    def sample(self, tick: int, batch: int) -> Arrays:
        """Per field (agents, batch, ...): transitions drawn with equal chance, with replacement.

        The draw is a function of seed, tick and absolute agent index. Use one `batch` throughout:
        see `wide_uniforms`.

        Raises:
            UsageError: nothing was added yet.
        """
        if self._added == 0:
            raise UsageError("replay is empty; expected transitions before the first sample")
        drawn = wide_uniforms(self._seed, "learning/replay", tick, self._first, self._agents, batch)
        places = (drawn * len(self)).astype(np.int64)
        agents = np.arange(self._agents)[:, None]
        return {name: array[agents, places] for name, array in self._arrays.items()}

    def state(self) -> Arrays:
        """Copies of what is held, per field (agents, len, ...), and "added" (1,)."""
        held = {name: array[:, : len(self)].copy() for name, array in self._arrays.items()}
        return {**held, "added": np.array([self._added], dtype=np.int64)}

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` of a replay of the same shape gave.

        Raises:
            UsageError: an array is missing or has another shape; nothing is changed then.
        """
        if set(state) != {*self._arrays, "added"}:
            raise UsageError(
                f"replay state has {sorted(state)}; expected {sorted([*self._arrays, 'added'])}"
            )
        added = int(state["added"][0])
        held = min(added, self._capacity)
        for name, array in self._arrays.items():
            expected = (self._agents, held, *array.shape[2:])
            if state[name].shape != expected:
                raise UsageError(f"replay {name} is {state[name].shape}; expected {expected}")
        for name, array in self._arrays.items():
            array[:, :held] = state[name]
        self._added = added
