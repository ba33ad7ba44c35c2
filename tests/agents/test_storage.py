"""Storage against a scalar battery written from the textbook, and what no sale may break."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents import battery
from swarm.market.orders import to_milli
from swarm.scenario.roster import Roster

from .helpers import CAP, FLOOR, Bench, roster, signal

shares = st.floats(0, 1)
ALL_BOTH = [1.0, 0.0, 1.0, 10.0]
"""Buy at 0 and sell at 10, as much as there is."""


@st.composite
def batteries(draw: st.DrawFn) -> dict[str, Any]:
    low, initial, high = sorted(draw(st.tuples(shares, shares, shares)))
    one_way = st.one_of(st.none(), st.floats(0.05, 1))
    return {
        "energy_mwh": draw(st.sampled_from([0.0, 1e-5, 0.013, 1.0, 100.0, 4e4])),
        "power_mw": draw(st.sampled_from([0.0, 1e-6, 0.005, 0.7, 25.0, 1e4])),
        "round_trip_efficiency": draw(st.floats(0.05, 1)),
        "charge_efficiency": draw(one_way),
        "discharge_efficiency": draw(one_way),
        "self_discharge_per_hour": draw(st.sampled_from([0.0, 1e-4, 0.02, 0.5])),
        "degradation_cost_per_mwh": draw(st.floats(0, 100)),
        "min_state_of_charge": low,
        "initial_state_of_charge": initial,
        "max_state_of_charge": high,
    }


class Scalar:
    """One battery, in plain floats: e' = e (1 - d)^h + charged eta_c - discharged / eta_d."""

    def __init__(self, asset: dict[str, Any]) -> None:
        self.asset = asset
        one_way = sqrt(asset["round_trip_efficiency"])
        self.eta_c = asset["charge_efficiency"] or one_way
        self.eta_d = asset["discharge_efficiency"] or one_way
        self.e = asset["energy_mwh"] * asset["initial_state_of_charge"]
        self.low = asset["energy_mwh"] * asset["min_state_of_charge"]
        self.high = asset["energy_mwh"] * asset["max_state_of_charge"]

    def rest(self, hours: float) -> float:
        """Energy after self-discharge, which stops at the floor."""
        return max(self.low, self.e * (1 - self.asset["self_discharge_per_hour"]) ** hours)

    def limits(self, hours: float) -> tuple[float, float]:
        """Most charging and discharging power, MW."""
        rest, power = self.rest(hours), self.asset["power_mw"]
        charge = min(power, (self.high - rest) / (self.eta_c * hours))
        return max(charge, 0.0), max(min(power, (rest - self.low) * self.eta_d / hours), 0.0)

    def step(self, power_mw: float, hours: float) -> None:
        into = -power_mw * self.eta_c if power_mw < 0 else -power_mw / self.eta_d
        self.e = self.rest(hours) + into * hours


@settings(max_examples=200)
@given(
    asset=batteries(),
    minutes=st.sampled_from([1, 5, 15, 60, 1440]),
    trades=st.lists(st.tuples(shares, st.booleans(), shares), min_size=1, max_size=25),
)
def test_follows_the_scalar_battery(
    asset: dict[str, Any], minutes: int, trades: list[tuple[float, bool, float]]
) -> None:
    bench, one = Bench("storage", [asset], tick_minutes=minutes), Scalar(asset)
    hours = minutes / 60
    for share, sells, accepted_share in trades:
        action = [share * (not sells), 0.0, share * sells, 10.0]
        _, offered = bench.offer(action)
        limit = one.limits(hours)
        # Whole watts below the limit, of floats that may differ in their last bits.
        slack = 2 + 1e-9 * limit[sells] * 1e6
        assert abs(offered[0, int(sells)] - share * limit[sells] * 1e6) <= slack
        assert offered[0, int(not sells)] == 0

        accepted = np.floor(offered * accepted_share).astype(np.int64)
        meters = bench.deliver(accepted)
        power = int(accepted[0, 1] - accepted[0, 0])
        assert meters.delivered_w[0] == power
        one.step(power / 1e6, hours)
        scale = max(one.high, 1e-6)
        assert meters.stored_mwh[0] == pytest.approx(one.e, rel=1e-9, abs=1e-9 * scale)
        assert one.low <= meters.stored_mwh[0] <= one.high
        wear = max(power, 0) / 1e6 * hours * asset["degradation_cost_per_mwh"] * 1e6
        assert meters.cost_micro[0] == pytest.approx(wear, abs=0.51, rel=1e-12)
        one.e = float(meters.stored_mwh[0])


@settings(max_examples=100)
@given(
    assets=st.lists(batteries(), min_size=1, max_size=8),
    accepted=st.lists(
        st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=20
    ),
)
def test_stays_inside_its_bounds_whatever_is_accepted(
    assets: list[dict[str, Any]], accepted: list[tuple[int, int]]
) -> None:
    bench = Bench("storage", assets)
    cells = bench.p.battery
    stored = bench.s.stored_mwh.copy()
    for bought, sold in accepted:
        bench.offer(ALL_BOTH)
        meters = bench.deliver([bought, sold])
        assert (meters.stored_mwh >= cells.floor_mwh).all()
        assert (meters.stored_mwh <= cells.ceiling_mwh).all()
        assert (np.abs(meters.battery_w) <= cells.power_mw * 1e6 + 1e-6).all()
        # First law: what came out and what is left was there or came in.
        put_in = np.maximum(-meters.battery_w, 0) / 1e6 * bench.hours
        taken = np.maximum(meters.battery_w, 0) / 1e6 * bench.hours
        # The clip against float rounding may add the last bits of the capacity, no more.
        assert (meters.stored_mwh + taken <= stored + put_in + 1e-12 * cells.energy_mwh).all()
        stored = meters.stored_mwh


prices = st.one_of(
    st.floats(-2e6, 2e6),
    st.sampled_from([FLOOR, CAP, FLOOR - 1, CAP + 1, CAP + 2, 0.0, 0.0004, 0.0006, 10.0001]),
)


@settings(max_examples=200)
@given(rows=st.lists(st.tuples(shares, prices, shares, prices), min_size=1, max_size=6))
def test_never_buys_at_a_price_at_which_it_sells(
    rows: list[tuple[float, float, float, float]],
) -> None:
    bench = Bench("storage", [{}] * len(rows))
    price, quantity = bench.offer(rows)
    # As the shard sends them: inside the bounds, on the market's grid.
    buy, sell = to_milli(np.clip(price, FLOOR, CAP)).T
    both = (quantity > 0).all(axis=1)
    assert (sell[both] > buy[both]).all()


def test_two_orders_that_meet_only_at_the_cap_are_one() -> None:
    bench = Bench("storage", [{}])
    _, quantity = bench.offer([1.0, CAP + 100, 1.0, CAP + 200])
    assert np.count_nonzero(quantity) == 1


def test_round_trip_loses_what_the_efficiency_says() -> None:
    asset = {
        "energy_mwh": 100,
        "power_mw": 30,
        "round_trip_efficiency": 0.81,
        "initial_state_of_charge": 0,
    }
    bench = Bench("storage", [asset], tick_minutes=60)
    bench.offer([1, 0, 0, 0])
    charged = bench.deliver([30_000_000, 0])
    assert charged.stored_mwh[0] == pytest.approx(27.0)
    _, quantity = bench.offer([0, 0, 1, 0])
    assert quantity[0].tolist() == pytest.approx([0, 24_300_000], abs=1)
    assert bench.deliver(quantity).stored_mwh[0] == pytest.approx(0.0, abs=1e-6)


def test_self_discharge_halves_in_a_day_and_stops_at_the_floor() -> None:
    rate = 1 - 0.5 ** (1 / 24)
    assets = [
        {"self_discharge_per_hour": rate, "initial_state_of_charge": 1, "min_state_of_charge": low}
        for low in (0.0, 0.6)
    ]
    bench = Bench("storage", assets)
    for _ in range(288):
        bench.offer([0] * 4)
        stored = bench.deliver(0).stored_mwh
    assert stored == pytest.approx([50.0, 60.0])


def test_an_outage_and_maintenance_stop_it() -> None:
    bench = Bench("storage", [{}, {}])
    _, quantity = bench.offer([0, 0, 1, 10], bench.view(standing=[True, False]))
    assert quantity[0].tolist() == [0, 0]
    assert quantity[1, 1] > 0
    meters = bench.deliver(quantity, failed=[False, True])
    assert meters.delivered_w.tolist() == [0, 0]
    assert meters.stored_mwh.tolist() == [50, 50]


def cells(**asset: Any) -> battery.Battery:
    agents: Roster = roster("storage", [asset])
    return battery.build(agents)


def test_the_heuristic_buys_and_sells_at_its_quantiles() -> None:
    forecast = np.arange(24.0)
    view = replace(
        Bench("storage", [{}]).view(),
        signal=signal(price_forecast=forecast, price_history=forecast + 24),
    )
    p = cells(
        buy_quantile=0.25,
        sell_quantile=0.75,
        round_trip_efficiency=1,
        degradation_cost_per_mwh=0,
    )
    # Quantiles of 0, 1, .. 47 with linear interpolation.
    assert battery.heuristic(p, view).tolist() == [[1.0, 11.75, 1.0, 35.25]]


@pytest.mark.parametrize(
    ("buy", "efficiency", "wear", "sell"),
    [(40, 0.8, 5, 55), (0, 0.5, 3, 3), (-20, 0.5, 3, -17)],
)
def test_break_even_covers_losses_and_wear(
    buy: float, efficiency: float, wear: float, sell: float
) -> None:
    p = cells(round_trip_efficiency=efficiency, degradation_cost_per_mwh=wear)
    assert battery.break_even(p, np.array([buy]))[0] == pytest.approx(sell)


def test_the_heuristic_never_trades_a_spread_that_loses() -> None:
    r = np.random.default_rng(0)
    p = cells(round_trip_efficiency=0.7, degradation_cost_per_mwh=8)
    for _ in range(200):
        prices_now = r.normal(50, 40, 24)
        view = replace(
            Bench("storage", [{}]).view(),
            signal=signal(price_forecast=prices_now, price_history=np.full(24, np.nan)),
        )
        _, buy, _, sell = battery.heuristic(p, view)[0]
        # One MWh out: bought 1/0.7 MWh, sold one, wore the cells once.
        assert sell - buy / 0.7 - 8 >= -1e-9


def test_without_any_price_it_stands_still_unless_told_its_own() -> None:
    nothing = signal(price_forecast=np.full(24, np.nan), price_history=np.full(24, np.nan))
    view = replace(Bench("storage", [{}]).view(), signal=nothing)
    assert battery.heuristic(cells(), view)[0, [0, 2]].tolist() == [0, 0]
    told = battery.heuristic(cells(buy_price_per_mwh=40, sell_price_per_mwh=95), view)
    assert told.tolist() == [[1, 40, 1, 95]]


def test_the_random_policy_covers_power_and_price_evenly() -> None:
    n = 20_000
    bench = Bench("storage", [{}])
    u = np.random.default_rng(1).random((n, 4))
    spread = signal(price_forecast=np.linspace(10, 30, 24), price_history=np.full(24, np.nan))
    view = replace(bench.view(), uniforms=u, signal=spread)
    action = battery.random(bench.p.battery, view)
    power = action[:, 2] - action[:, 0]
    assert (np.minimum(action[:, 0], action[:, 2]) == 0).all()
    assert abs(power.mean()) < 0.02
    assert power.var() == pytest.approx(1 / 3, rel=0.03)
    assert action[:, 1].min() >= 10
    assert action[:, 1].max() <= 30
    assert action[:, 1].mean() == pytest.approx(20, abs=0.2)
