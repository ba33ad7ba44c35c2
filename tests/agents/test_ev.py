"""Vehicles: the trip is booked once, the need is met where it can be, misses are counted."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .helpers import CAP, Bench

NOTHING = [0.0, 0.0, 0.0, 0.0]
MINUTES = 30


@st.composite
def vehicles(draw: st.DrawFn) -> dict[str, Any]:
    arrival, departure = draw(
        st.tuples(st.integers(0, 95), st.integers(0, 95)).filter(lambda t: t[0] != t[1])
    )
    return {
        "arrival_hour": arrival / 4 + draw(st.sampled_from([0.0, 0.1])),
        "departure_hour": departure / 4 + draw(st.sampled_from([0.0, 0.07])),
        "energy_mwh": 0.06,
        "power_mw": draw(st.sampled_from([0.003, 0.011, 0.05])),
        "round_trip_efficiency": draw(st.sampled_from([0.3, 0.81, 1.0])),
        "self_discharge_per_hour": draw(st.sampled_from([0.0, 0.0, 0.001, 0.02])),
        "initial_state_of_charge": draw(st.floats(0.1, 1)),
        "required_state_of_charge": draw(st.floats(0, 1)),
        "trip_energy_mwh": draw(st.sampled_from([0.0, 0.012, 0.05, 0.2])),
        "vehicle_to_grid": draw(st.booleans()),
    }


def plugged(asset: dict[str, Any], hour: float) -> bool:
    """At its charger in the interval that starts at `hour`; departure may be past midnight."""
    come, go = asset["arrival_hour"], asset["departure_hour"]
    if come < go:
        return bool(come <= hour < go)
    return bool(hour >= come or hour < go)


class Drill:
    """Runs one vehicle for a day and a half and keeps books of its own."""

    def __init__(self, asset: dict[str, Any], start_hour: float) -> None:
        self.asset = asset
        self.bench = Bench("ev", [asset], tick_minutes=MINUTES, start_hour=start_hour)
        self.hours = MINUTES / 60
        self.eta = sqrt(asset["round_trip_efficiency"])
        self.kept = (1 - asset["self_discharge_per_hour"]) ** self.hours
        self.required = asset["required_state_of_charge"] * asset["energy_mwh"]
        self.was_here: bool | None = None
        self.trips: list[float] = []
        self.missed: list[float] = []
        self.best: float | None = None
        """Most energy it could hold by now if it had charged at full power since it came."""

    def tick(self, action: Any, share: float) -> None:
        asset, bench = self.asset, self.bench
        here = plugged(asset, bench.hour_of_day)
        before = float(bench.s.stored_mwh[0])
        _, quantity = bench.offer(action)
        if not here:
            assert (quantity == 0).all()
        if not asset["vehicle_to_grid"]:
            assert quantity[0, 2] == 0
        # Urgent charging is bid at the cap and served; the rest is as luck has it.
        accepted = np.floor(quantity * [1.0, share, share]).astype(np.int64)
        if quantity[0, 1] and quantity[0, 2]:
            accepted[0, 1 if share < 0.5 else 2] = 0
        meters = bench.deliver(accepted)

        arrives = here and self.was_here is False
        leaves = not here and self.was_here is True
        trip = min(asset["trip_energy_mwh"], before) if arrives else 0.0
        lacked = max(0.0, self.required - before) if leaves else 0.0
        assert abs(meters.trip_mwh[0] - trip) <= 1e-15
        assert abs(meters.missed_mwh[0] - lacked) <= 1e-15
        if leaves and self.best is not None and self.best >= self.required + 1e-6:
            assert lacked <= 1e-9, f"left {lacked} MWh short of {self.required}"
        if arrives:
            self.best = before - trip
        elif not here:
            self.best = None
        if here and self.best is not None:
            rested = self.best * self.kept
            full = rested + asset["power_mw"] * self.eta * self.hours
            self.best = min(asset["energy_mwh"], full)

        # Everything sold was delivered: an honest offer knows what the trip used.
        wanted = int(accepted[0, 2] - accepted[0, :2].sum())
        assert meters.delivered_w[0] == wanted
        power = meters.battery_w[0] / 1e6 * self.hours
        into = -power * self.eta if power < 0 else -power / self.eta
        expected = (before - trip) * self.kept + into
        assert abs(meters.stored_mwh[0] - expected) <= 1e-9
        assert -1e-12 <= meters.stored_mwh[0] <= asset["energy_mwh"]
        self.was_here = here


actions = st.lists(
    st.tuples(
        st.tuples(st.floats(0, 1), st.floats(-50, 100), st.floats(0, 1), st.floats(-50, 100)),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(asset=vehicles(), start=st.integers(0, 23), moves=actions)
def test_meets_its_need_whenever_that_is_possible(
    asset: dict[str, Any], start: int, moves: list[tuple[tuple[float, ...], float]]
) -> None:
    drill = Drill(asset, start)
    for tick in range(36 * 60 // MINUTES):
        drill.tick(*moves[tick % len(moves)])


@pytest.mark.parametrize("policy", ["heuristic", "random"])
@settings(max_examples=12)
@given(asset=vehicles(), start=st.integers(0, 23), seed=st.integers(0, 1000))
def test_built_in_policies_meet_the_need_too(
    policy: str, asset: dict[str, Any], start: int, seed: int
) -> None:
    r = np.random.default_rng(seed)
    drill = Drill(asset, start)
    for _ in range(36 * 60 // MINUTES):
        bench = drill.bench
        view = bench.view(uniforms=r.random((1, 4)), price_forecast=r.normal(50, 30, 24))
        drill.tick(getattr(bench.kind, policy)(bench.p, bench.s, view), float(r.random()))


def test_misses_are_exact_where_nothing_is_served() -> None:
    # Comes back at 18:00 with 30 kWh less 12, needs 48, gets nothing, leaves at 7:30.
    asset = {"initial_state_of_charge": 0.5, "trip_energy_mwh": 0.012}
    bench = Bench("ev", [asset], tick_minutes=30, start_hour=12)
    missed, trips = {}, {}
    for _ in range(96):
        bench.offer(NOTHING)
        hour = bench.hour_of_day
        meters = bench.deliver(0)
        if meters.missed_mwh[0]:
            missed[bench.tick - 1] = (hour, meters.missed_mwh[0])
        if meters.trip_mwh[0]:
            trips[bench.tick - 1] = (hour, meters.trip_mwh[0])
    assert trips == {12: (18.0, 0.012), 60: (18.0, 0.012)}
    assert [hour for hour, _ in missed.values()] == [7.5, 7.5]
    assert [lack for _, lack in missed.values()] == pytest.approx([0.030, 0.042])


def test_a_full_day_across_midnight_is_energy_exact() -> None:
    asset = {"arrival_hour": 22, "departure_hour": 6, "trip_energy_mwh": 0.02, "power_mw": 0.01}
    bench = Bench("ev", [asset], tick_minutes=60, start_hour=20)
    log = []
    for _ in range(24):
        _, quantity = bench.offer([1.0, 50.0, 0.0, 0.0])
        hour = bench.hour_of_day
        log.append((hour, bench.deliver(quantity).battery_w[0]))
    charging = {hour for hour, power in log if power < 0}
    assert charging <= {22, 23, 0, 1, 2, 3, 4, 5}
    metered = sum(power for _, power in log) / 1e6
    assert bench.s.stored_mwh[0] == pytest.approx(0.030 - 0.020 - metered * sqrt(0.9))


def test_the_offer_of_the_tick_of_return_knows_the_trip() -> None:
    # 30 kWh before the trip, 2 after it: at most 2 can be sold, and 58 have room.
    asset = {
        "trip_energy_mwh": 0.028,
        "vehicle_to_grid": True,
        "required_state_of_charge": 0,
        "power_mw": 1.0,
        "round_trip_efficiency": 1.0,
        "arrival_hour": 18,
    }
    bench = Bench("ev", [asset], tick_minutes=60, start_hour=17)
    bench.offer(NOTHING)
    bench.deliver(0)
    _, quantity = bench.offer([0, 0, 1, 10])
    assert quantity[0].tolist() == [0, 0, 2000]
    _, quantity = bench.offer([1, 10, 0, 0])
    assert quantity[0].tolist() == [0, 58_000, 0]


def test_urgent_charging_is_bid_at_the_cap_and_only_as_much_as_needed() -> None:
    asset = {
        "arrival_hour": 0,
        "departure_hour": 2,
        "power_mw": 0.125,
        "energy_mwh": 1.0,
        "round_trip_efficiency": 1.0,
        "initial_state_of_charge": 0.25,
        "required_state_of_charge": 0.4375,
    }
    bench = Bench("ev", [asset], tick_minutes=30, start_hour=0)
    urgent = []
    for _ in range(4):
        price, quantity = bench.offer(NOTHING)
        assert price[0, 0] == CAP
        urgent.append(int(quantity[0, 0]))
        bench.deliver(quantity)
    # 1.5 h of charging in 2 h: laxity is one tick, so it charges at once and then rests.
    assert urgent == [125_000, 125_000, 125_000, 0]
    assert bench.s.stored_mwh[0] == 0.4375


def test_the_heuristic_waits_for_the_cheapest_hours_that_suffice() -> None:
    # Two hours of charging needed, cheapest hours of the six left cost 20 and 25.
    asset = {
        "arrival_hour": 0,
        "departure_hour": 6,
        "power_mw": 0.01,
        "round_trip_efficiency": 1.0,
        "energy_mwh": 0.1,
        "initial_state_of_charge": 0.3,
        "required_state_of_charge": 0.5,
        "buy_quantile": 0.0,
    }
    bench = Bench("ev", [asset], tick_minutes=60)
    forecast = np.array([60.0, 20, 70, 25, 80, 90, *[5.0] * 18])
    view = bench.view(price_forecast=forecast, price_history=np.full(24, np.nan))
    action = bench.kind.heuristic(bench.p, bench.s, view)
    assert action[0, :2].tolist() == [1.0, 25.0]


def test_maintenance_and_outage_stop_the_charger() -> None:
    bench = Bench("ev", [{}, {}], start_hour=20)
    _, quantity = bench.offer([1, 50, 0, 0], bench.view(standing=[True, False]))
    assert quantity[0].sum() == 0
    assert quantity[1].sum() > 0
    assert bench.deliver(quantity, failed=[False, True]).battery_w.tolist() == [0, 0]
