"""Small agents for tests: a bench that offers and delivers by hand, and whole shards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from swarm.agents.effects import Clock, Effect
from swarm.agents.forecaster import Method
from swarm.agents.kinds import KINDS
from swarm.agents.reserve import ReserveShape
from swarm.agents.shard import Shard, ShardSpec
from swarm.agents.view import Interval, View
from swarm.messages import FLOAT_METERS, METER_COLUMNS, Meters, Response, Signal
from swarm.scenario.assets import ASSETS
from swarm.scenario.roster import Roster

FLOOR, CAP = -500.0, 3000.0
HALF = 0.5
"""A uniform that means "no noise, no failure"."""


def roster(kind: str, assets: Sequence[dict[str, Any]], first: int = 0) -> Roster:
    """Agents with the given parameters, validated as a scenario's are."""
    n = len(assets)
    model = ASSETS[kind]
    return Roster(
        kind=kind,
        first=first,
        ids=tuple(f"{kind}-{index:04d}" for index in range(n)),
        fleets=(kind,) * n,
        assets=tuple(model.model_validate(asset).model_dump() for asset in assets),
    )


def signal(tick: int = 0, **given: Any) -> Signal:
    """A signal with flat prices of 50; `given` replaces fields."""
    values: dict[str, Any] = {
        "tick": tick,
        "price_per_mwh": 50.0,
        "price_forecast": np.full(24, 50.0),
        "price_history": np.full(24, 50.0),
        "price_floor": FLOOR,
        "price_cap": CAP,
        "carbon_price_per_tonne": 0.0,
        "accepting": True,
    }
    return Signal(**{**values, **given})


class Bench:
    """n agents of a kind, offered for and delivered by hand, tick by tick."""

    def __init__(
        self,
        kind: str,
        assets: Sequence[dict[str, Any]],
        tick_minutes: float = 5,
        start_hour: float = 0.0,
    ) -> None:
        self.kind = KINDS[kind]
        self.p = self.kind.build(roster(kind, assets))
        self.s = self.kind.start(self.p)
        self.n = len(assets)
        self.tick = 0
        self.tick_minutes = tick_minutes
        self.start_minute = round(start_hour * 60)
        self.quantity = np.zeros((self.n, len(self.kind.SIDES)), dtype=np.int64)

    @property
    def hours(self) -> float:
        return self.tick_minutes / 60

    @property
    def hour_of_day(self) -> float:
        return (self.start_minute + self.tick * self.tick_minutes) % 1440 / 60

    def view(
        self,
        forecast: dict[str, Any] | None = None,
        standing: Any = False,
        uniforms: Any = HALF,
        **of_signal: Any,
    ) -> View:
        """What the agents see now."""
        return View(
            signal=signal(self.tick, **of_signal),
            tick_hours=self.hours,
            hour_of_day=self.hour_of_day,
            forecast=self._columns(forecast),
            standing=np.broadcast_to(standing, self.n).copy(),
            uniforms=np.broadcast_to(uniforms, (self.n, 4)),
        )

    def offer(self, action: Any, view: View | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Prices and quantities; the quantities stay as what `deliver` takes for offered."""
        rows = np.broadcast_to(np.asarray(action, float), (self.n, len(self.kind.ACTION))).copy()
        price, self.quantity = self.kind.offer(self.p, self.s, view or self.view(), rows)
        return price, self.quantity.copy()

    def deliver(
        self,
        accepted: Any,
        actual: dict[str, Any] | None = None,
        failed: Any = False,
        uniforms: Any = HALF,
        carbon: float = 0.0,
        struck: Any = None,
        load_jump: float | None = None,
    ) -> Meters:
        """Run the interval of a physical grid; checks that the meters add up."""
        interval = Interval(
            tick=self.tick,
            tick_hours=self.hours,
            hour_of_day=self.hour_of_day,
            actual=self._columns(actual),
            accepted_w=np.broadcast_to(accepted, self.quantity.shape).astype(np.int64),
            offered_w=self.quantity,
            failed=np.broadcast_to(failed, self.n).copy(),
            carbon_price_per_tonne=carbon,
            uniforms=np.broadcast_to(uniforms, (self.n, 4)),
            physical=True,
            struck=None if struck is None else np.broadcast_to(struck, self.n),
            load_jump=None if load_jump is None else np.full(self.n, load_jump),
        )
        meters = self.kind.deliver(self.p, self.s, interval)
        check_meters(meters, self.n)
        self.tick += 1
        return meters

    def respond(
        self, activated_w: Any = 0, shed_w: Any = 0, held_back_w: Any = 0, carbon: float = 0.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tell them what was drawn in the last interval; cost and emissions of it."""
        columns = (activated_w, shed_w, held_back_w)
        drawn = Response(*(np.broadcast_to(np.int64(c), self.n).copy() for c in columns))
        return self.kind.respond(self.p, self.s, drawn, self.hours, carbon)

    def reserve(self, view: View, action: Any) -> ReserveShape:
        """Reserve beside the energy offered with `action`."""
        price, quantity = self.offer(action, view)
        shape = self.kind.reserve(self.p, self.s, view, price, quantity)
        assert shape is not None
        return shape

    def _columns(self, given: dict[str, Any] | None) -> dict[str, np.ndarray]:
        values = {"load": 1.0, "availability": 1.0, **(given or {})}
        return {role: np.broadcast_to(np.float64(v), self.n) for role, v in values.items()}


def check_meters(meters: Meters, n: int, after_response: bool = False) -> None:
    """What holds for the meters of every kind."""
    for name in METER_COLUMNS:
        column = getattr(meters, name)
        assert column.shape == (n,), name
        assert column.dtype == (np.float64 if name in FLOAT_METERS else np.int64), name
        assert np.isfinite(column).all(), name
    m = meters
    np.testing.assert_array_equal(m.delivered_w, m.generation_w - m.load_w + m.battery_w)
    for name in ("generation_w", "load_w", "available_w", "unserved_w", "curtailed_w"):
        assert (getattr(m, name) >= 0).all(), name
    # Fuel that a response saved is booked a tick late, and may be more than this tick burns.
    saved = () if after_response else ("emissions_g",)
    for name in (*saved, "inertia_kws", *FLOAT_METERS):
        assert (getattr(m, name) >= 0).all(), name
    assert (m.curtailed_w <= m.available_w).all()
    for way, up_or_down in (("up", m.up_w), ("down", m.down_w)):
        held = [getattr(m, f"{product}_{way}_w") for product in ("containment", "restoration")]
        assert (np.array([*held, up_or_down]) >= 0).all(), way
        assert (held[0] + held[1] <= up_or_down).all(), way


def shard_spec(
    kind: str,
    assets: Sequence[dict[str, Any]],
    *,
    series: dict[str, np.ndarray] | None = None,
    policy: str = "heuristic",
    seed: int = 1,
    first: int = 0,
    ticks: int = 400,
    clock: Clock | None = None,
    forecast: Method = "persistence",
    effects: tuple[Effect, ...] = (),
    physical: bool = False,
    responds: bool = True,
) -> ShardSpec:
    """A shard's spec; each role it needs reads one shared column, ones unless given."""
    agents = roster(kind, assets, first)
    roles = KINDS[kind].series(agents)
    values = {role: np.ones((ticks, 1)) for role in roles}
    for role in values.keys() & (series or {}).keys():
        values[role] = np.asarray((series or {})[role], dtype=np.float64).reshape(ticks, -1)
    columns = {role: np.arange(len(agents)) % values[role].shape[1] for role in roles}
    return ShardSpec(
        roster=agents,
        seed=seed,
        clock=clock or Clock(5, 0.0),
        policy=policy,
        series=values,
        columns=columns,
        forecast=forecast,
        effects=effects,
        physical=physical,
        responds=responds,
    )


def shard(kind: str, assets: Sequence[dict[str, Any]], **given: Any) -> Shard:
    """A shard of these agents; arguments as for `shard_spec`."""
    return Shard(shard_spec(kind, assets, **given))
