"""Forecasters inside the agents: what a shard expects of the coming interval, and how wrong it was.

Three methods, all elementwise, so that a shard cut in two forecasts the same bytes:

- `perfect`: the coming interval is known.
- `persistence`: the last interval happens again.
- `clear_sky`: persistence of the clear-sky index for the sun, persistence for everything else.

The clear-sky index k is availability over clear-sky availability c. Persistence of k is the usual
reference of short solar forecasts, "smart persistence" (Inman, Pedro, Coimbra, Solar forecasting
methods for renewable energy integration, Progress in Energy and Combustion Science 39, 2013). It
is written here as the last value plus what the sun adds,

    expected(t) = max(0, last(t-1) + k * (c(t) - c(t-1))),

which is k * c(t) where k is that of interval t-1, and stays near what was seen where it is not. The
ratio says nothing at a low sun: below `MIN_CLEAR_SKY` the last k known stands, over the night too
(1 before there is any), and k never exceeds `MAX_INDEX`. At night c does not change: persistence.

Everything is plain arrays in the attributes, so that a checkpoint can carry a forecaster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from swarm.agents.view import watts
from swarm.messages import Float, Int
from swarm.scenario.roster import Roster

Method = Literal["perfect", "persistence", "clear_sky"]

CLEAR_SKY = "clear_sky"
"""Role of the series of clear-sky availability; known in advance and not forecast."""
SUN = "availability"
"""Role of the sun in a shard that has the role `CLEAR_SKY`."""
MIN_CLEAR_SKY = 0.05
"""Clear-sky availability from which on the clear-sky index is taken."""
MAX_INDEX = 1.2
"""A plant whose panels follow the sun exceeds the clear sky of fixed ones at a low sun."""
ERROR_HOURS = 12.0
"""Time constant of the stated error."""

QUANTITIES = ("load", "wind", "solar")
"""What is published, in this order."""
_PUBLISHED = {
    "consumer": {"load": ("load", "load_mw")},
    "home": {"load": ("load", "load_mw"), SUN: ("solar", "solar_mw")},
    "solar": {SUN: ("solar", "capacity_mw")},
    "wind": {SUN: ("wind", "capacity_mw")},
}


@dataclass
class Forecaster:
    """Forecasts the series of one shard of `agents` agents; one `expect` and `learn` a tick.

    Attributes:
        method: `perfect`, `persistence` or `clear_sky`; without a series of role `CLEAR_SKY`
            (wind, load) the last is persistence.
        agents: how many, n.
        tick_hours: length of a tick.
        last: role -> value of the last interval, (n,); empty before there is one.
        expected: role -> forecast of the coming interval, (n,); empty while none is open.
        square: role -> weighted mean of the squared errors so far, (n,).
        weight: role -> sum of the weights in `square`, (n,); 0: no error is known.
        dark: bool (n,), the coming interval is known to be without sun.
        index: last clear-sky index known, (n,).

    Raises:
        ValueError: an unknown method, or a tick without length.
    """

    method: Method
    agents: int
    tick_hours: float
    last: dict[str, Float] = field(default_factory=dict)
    expected: dict[str, Float] = field(default_factory=dict)
    square: dict[str, Float] = field(default_factory=dict)
    weight: dict[str, Float] = field(default_factory=dict)
    dark: np.ndarray = field(init=False)
    index: Float = field(init=False)

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"forecast {self.method!r}: expected one of {get_args(Method)}")
        if not self.tick_hours > 0:
            raise ValueError(f"tick_hours {self.tick_hours}: expected more than 0")
        self.dark = np.zeros(self.agents, dtype=bool)
        self.index = np.ones(self.agents)

    def expect(self, coming: dict[str, Float]) -> dict[str, Float]:
        """Forecast of the coming interval, role -> float64 (n,).

        Args:
            coming: role -> what will happen, (n,). Only `perfect` looks at it, and everybody at
                the first interval, before which nothing was seen, and at role `CLEAR_SKY`.

        Raises:
            ValueError: values that are not one per agent, or roles that change.
        """
        self._check(coming)
        known = self.method == "perfect" or not self.last
        self.expected = _forecast_roles(coming if known else self.last)
        self.dark = np.zeros(self.agents, dtype=bool)
        if self._follows_the_sun(coming) and not known:
            rise = coming[CLEAR_SKY] - self.last[CLEAR_SKY]
            self.expected[SUN] = np.maximum(0.0, self.last[SUN] + self.index * rise)
            self.dark = (coming[CLEAR_SKY] <= 0.0) & (self.expected[SUN] == 0.0)
        # Copies: what a policy does to its view must not change the error it states.
        return {role: value.copy() for role, value in self.expected.items()}

    def learn(self, actual: dict[str, Float]) -> None:
        """Take what happened in the interval last forecast, events included.

        The first interval counts for nothing, except where the forecast is perfect: it was not
        forecast. Neither does a night of which the clear sky tells.

        Args:
            actual: role -> value, (n,), of the same roles as in `expect`.

        Raises:
            ValueError: values that are not one per agent, roles that change, or no forecast open.
        """
        self._check(actual)
        if not self.expected and _forecast_roles(actual):
            raise ValueError("learn without a forecast: call expect first, once for each interval")
        decay = math.exp(-self.tick_hours / ERROR_HOURS)
        first = not self.last and self.method != "perfect"
        for role, expected in self.expected.items():
            before = self.weight.setdefault(role, np.zeros(self.agents))
            square = self.square.setdefault(role, np.zeros(self.agents))
            if first:
                continue
            error = actual[role] - expected
            counts = ~(self.dark & (error == 0.0)) if role == SUN else np.ones_like(self.dark)
            # West, Communications of the ACM 22 (9), 1979: a weighted mean, value by value.
            weight = np.where(counts, decay * before + 1.0, before)
            change = (error * error - square) / np.maximum(weight, 1.0)
            self.square[role] = np.where(counts, square + change, square)
            self.weight[role] = weight
        if self._follows_the_sun(actual):
            clear = actual[CLEAR_SKY]
            ratio = actual[SUN] / np.maximum(clear, MIN_CLEAR_SKY)
            seen = np.clip(ratio, 0.0, MAX_INDEX)
            self.index = np.where(clear >= MIN_CLEAR_SKY, seen, self.index)
        self.last = {role: value.copy() for role, value in actual.items()}
        self.expected = {}

    def error(self) -> dict[str, Float]:
        """Root mean square error of the own forecasts so far, role -> float64 (n,).

        The weight of an error falls with its age by exp(-age / `ERROR_HOURS`), the geometric moving
        average of Roberts (Technometrics 1, 1959), normalised so that the first errors count
        alike. NaN where no error is known yet; 0 for a perfect forecast, and for the sun of an
        interval that is known to be dark.
        """
        stated = {}
        for role, expected in self.expected.items():
            weight = self.weight.get(role, np.zeros(self.agents))
            square = self.square.get(role, np.zeros(self.agents))
            rms = np.where(weight > 0, np.sqrt(square), np.nan)
            if self.method == "perfect":
                rms = np.zeros(len(expected))
            elif role == SUN:
                rms = np.where(self.dark, 0.0, rms)
            stated[role] = rms
        return stated

    def _follows_the_sun(self, values: dict[str, Float]) -> bool:
        return self.method == "clear_sky" and CLEAR_SKY in values and SUN in values

    def _check(self, values: dict[str, Float]) -> None:
        for role, value in values.items():
            if np.shape(value) != (self.agents,):
                raise ValueError(f"{role}: shape {np.shape(value)}, expected ({self.agents},)")
        if self.last and values.keys() != self.last.keys():
            raise ValueError(f"roles {sorted(values)}, expected {sorted(self.last)}")


def _forecast_roles(values: dict[str, Float]) -> dict[str, Float]:
    return {role: value.copy() for role, value in values.items() if role != CLEAR_SKY}


@dataclass(frozen=True)
class Published:
    """The forecast of a shard as others see it, one value per quantity of `QUANTITIES`.

    Attributes:
        expected_w: int64 (3,), sum over the agents.
        error_w: int64 (3,), sum of the stated errors of the agents that know theirs. Errors of one
            site are taken as fully dependent: by Minkowski's inequality the root mean square error
            of a sum is at most the sum of those of its parts, and as much where they move alike.
        unknown: int64 (3,), agents that do not know their error yet: `error_w` is without them.
    """

    expected_w: Int
    error_w: Int
    unknown: Int


def sizes_mw(roster: Roster) -> dict[str, Float]:
    """MW that 1 in a series stands for, role -> float64 (n,); only roles that are published."""
    fields = _PUBLISHED.get(roster.kind, {})
    return {role: roster.column(name) for role, (_, name) in fields.items()}


def published(
    kind: str,
    expected: dict[str, Float],
    error: dict[str, Float],
    size_mw: dict[str, Float],
    standing: np.ndarray | None = None,
) -> Published:
    """Sum the forecasts of the agents of a shard in whole watts, exact however it is cut.

    Agents round as in their offers: expected power down to the watt. Errors are rounded up.

    Args:
        kind: agent kind; those without a load, wind or sun of their own publish zeros.
        expected: role -> share of the size, (n,), from `Forecaster.expect`.
        error: role -> its error, (n,), NaN unknown, from `Forecaster.error`.
        size_mw: role -> MW, (n,), from `sizes_mw`.
        standing: bool (n,), known not to generate in the interval: 0 without an error.
    """
    sums = np.zeros((3, len(QUANTITIES)), dtype=np.int64)
    for role, (quantity, _) in _PUBLISHED.get(kind, {}).items():
        at = QUANTITIES.index(quantity)
        share = np.clip(expected[role], 0.0, 1.0 if role == SUN else np.inf)
        error_mw = size_mw[role] * error[role]
        if standing is not None and role == SUN:
            share, error_mw = np.where(standing, 0.0, share), np.where(standing, 0.0, error_mw)
        known = ~np.isnan(error_mw)
        error_w = np.ceil(np.where(known, error_mw, 0.0) * 1e6 - 1e-6).astype(np.int64)
        sums[:, at] = watts(size_mw[role] * share).sum(), error_w.sum(), np.sum(~known)
    return Published(*sums)


def of_agents(
    kind: str,
    expected: dict[str, Float],
    error: dict[str, Float],
    size_mw: dict[str, Float],
    standing: np.ndarray,
) -> tuple[Int, Int]:
    """What each agent expects, generation less load, and the error it states, int64 (n,) each.

    In whole watts as in `published`; the errors of its load and its sun are added, and -1 stands
    for one that is not known yet.
    """
    net, error_w = np.zeros((2, len(standing)), dtype=np.int64)
    for role in _PUBLISHED.get(kind, {}):
        share = np.clip(expected[role], 0.0, 1.0 if role == SUN else np.inf)
        stated = size_mw[role] * error[role]
        if role == SUN:
            share, stated = np.where(standing, 0.0, share), np.where(standing, 0.0, stated)
        net += watts(size_mw[role] * share) * (1 if role == SUN else -1)
        whole = np.ceil(np.nan_to_num(stated) * 1e6 - 1e-6).astype(np.int64)
        error_w = np.where(np.isnan(stated) | (error_w < 0), -1, error_w + whole)
    return net, error_w
