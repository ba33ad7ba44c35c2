"""What events do to the agents of a shard, and simulated time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from swarm.messages import Float, Int


@dataclass(frozen=True)
class Effect:
    """One event on some agents: from tick `first` until before `stop`.

    Attributes:
        type: `outage`, `maintenance`, `load` or `sun`.
        agents: sorted global indices hit; None: all.
        factor: what load or sun is multiplied with.
    """

    type: str
    first: int
    stop: int
    agents: tuple[int, ...] | None = None
    factor: float = 1.0


@dataclass(frozen=True)
class Clock:
    """Simulated time: length of a tick and the local hour at which tick 0 starts."""

    tick_minutes: int
    start_hour: float

    @property
    def tick_hours(self) -> float:
        """Length of a tick in hours."""
        return self.tick_minutes / 60

    def hour_of_day(self, tick: int) -> float:
        """Local hour at the start of `tick`, 0..24."""
        return (round(self.start_hour * 60) + tick * self.tick_minutes) % 1440 / 60


@dataclass(frozen=True)
class Nature:
    """The world as it meets the n agents of one shard.

    Attributes:
        agents: int64 (n,), global indices.
        kind: their kind.
        effects: events that hit this run.
        series: actual value of each series, role -> float64 (ticks or more, columns).
        columns: role -> column of each agent, int64 (n,).
    """

    agents: Int
    kind: str
    effects: tuple[Effect, ...]
    series: Mapping[str, Float]
    columns: Mapping[str, Int]

    def values(self, tick: int) -> dict[str, Float]:
        """Value of each series for each agent at `tick`, events included, (n,) each."""
        values = {role: series[tick, self.columns[role]] for role, series in self.series.items()}
        for effect in self._active(tick):
            role = {"load": "load", "sun": "availability"}.get(effect.type)
            if role in values and (role == "load" or self.kind in ("solar", "home")):
                values[role] = np.where(
                    self._members(effect), values[role] * effect.factor, values[role]
                )
        return values

    def struck(self, tick: int) -> np.ndarray | None:
        """bool (n,): an outage begins at `tick`; None: none does."""
        if not any(e.type == "outage" and e.first == tick for e in self.effects):
            return None
        struck: np.ndarray = self.hit("outage", tick) & ~self.hit("outage", tick - 1)
        return struck

    def load_jump(self, tick: int) -> Float | None:
        """Part of the load series that load steps beginning or ending at `tick` make, (n,)."""
        steps = [e for e in self.effects if e.type == "load"]
        if "load" not in self.series or tick == 0:
            return None
        if not any(tick in (e.first, e.stop) for e in steps):
            return None
        before, now = np.ones(len(self.agents)), np.ones(len(self.agents))
        for effect in steps:
            factor = np.where(self._members(effect), effect.factor, 1.0)
            before *= factor if effect.first < tick <= effect.stop else 1.0
            now *= factor if effect.first <= tick < effect.stop else 1.0
        jump: Float = self.series["load"][tick, self.columns["load"]] * (now - before)
        return jump

    def hit(self, type_: str, tick: int) -> np.ndarray:
        """bool (n,): an event of this type hits the agent at `tick`."""
        hit = np.zeros(len(self.agents), dtype=bool)
        for effect in self._active(tick):
            if effect.type == type_:
                hit |= self._members(effect)
        return hit

    def _active(self, tick: int) -> list[Effect]:
        return [effect for effect in self.effects if effect.first <= tick < effect.stop]

    def _members(self, effect: Effect) -> np.ndarray:
        if effect.agents is None:
            return np.ones(len(self.agents), dtype=bool)
        return np.isin(self.agents, effect.agents)
