"""The optimum of a battery against answers known by hand, by dynamic programming and by physics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from swarm.agents import battery
from swarm.learning.optimum import WHOLE, Optimum, optimum, profit
from tests.agents.helpers import roster

PLAIN: dict[str, Any] = {
    "energy_mwh": 2,
    "power_mw": 1,
    "charge_efficiency": 0.9,
    "discharge_efficiency": 0.9,
    "self_discharge_per_hour": 0,
    "degradation_cost_per_mwh": 0,
    "min_state_of_charge": 0,
    "max_state_of_charge": 1,
    "initial_state_of_charge": 0,
}


def cells(**given: Any) -> battery.Battery:
    """One battery."""
    return battery.build(roster("storage", [{**PLAIN, **given}]))


def check_run(p: battery.Battery, best: Optimum, price: Any, hours: float, end: float) -> None:
    """The plan runs as it is through the device, and its books add up."""
    for tick, power in enumerate(best.power_w):
        ran, stored = battery.run(p, best.stored_mwh[tick : tick + 1], power, hours)
        assert ran[0] == power
        assert stored[0] == best.stored_mwh[tick + 1]
    assert ((best.stored_mwh >= p.floor_mwh - 1e-12) & (best.stored_mwh <= p.ceiling_mwh)).all()
    earned = 0.0
    for each, power in zip(price, best.power_w / 1e6, strict=True):
        earned += each * power * hours
        earned -= p.degradation_cost_per_mwh[0] * max(power, 0.0) * hours
    earned += end * (best.stored_mwh[-1] - best.stored_mwh[0])
    assert best.profit == pytest.approx(earned, abs=1e-9)
    assert best.profit <= best.bound + 1e-9


def by_dynamic_programming(p: battery.Battery, price: Any, end: float, steps: int) -> float:
    """Best profit over hourly ticks of plans that keep to a grid of stored energy; from the floor.

    For batteries without self-discharge; a lower bound, exact where the best plan is on the grid.
    """
    energy = np.linspace(p.floor_mwh[0], p.ceiling_mwh[0], steps + 1)
    change = energy[None, :] - energy[:, None]
    charge = np.maximum(change, 0) / p.charge_efficiency[0]
    discharge = np.maximum(-change, 0) * p.discharge_efficiency[0]
    possible = np.maximum(charge, discharge) <= p.power_mw[0] + 1e-9
    value = end * (energy - energy[0])
    for each in reversed(list(price)):
        flow = each * (discharge - charge) - p.degradation_cost_per_mwh[0] * discharge
        value = np.where(possible, flow + value[None, :], -np.inf).max(axis=1)
    return float(value[0])


def test_known_answer() -> None:
    """Buys 1 MWh twice at 10, sells the 1.62 MWh it got through at 50."""
    best = optimum(cells(), 0, [10, 10, 50, 50], 1.0)
    assert best.profit == pytest.approx(61.0, abs=1e-6)
    assert best.bound == pytest.approx(61.0, abs=1e-6)
    assert best.stored_mwh[-1] == pytest.approx(0.0, abs=1e-6)
    assert (best.power_w[:2] == -1_000_000).all()
    check_run(cells(), best, [10, 10, 50, 50], 1.0, 0.0)


@pytest.mark.parametrize(
    ("given", "prices", "start", "end", "answer"),
    [
        ({}, [50], 1.0, 0.0, 45.0),  # sells what it has: 0.9 MWh
        ({}, [50], 1.0, 55.0, 0.0),  # neither sells for 45 nor buys at 50 what is worth 49.5
        ({}, [10], 0.0, 60.0, 44.0),  # 1 MWh bought at 10 is 0.9 MWh at 60
        ({"degradation_cost_per_mwh": 20}, [10, 50], 0.0, 0.0, 0.81 * 30 - 10),
        ({"degradation_cost_per_mwh": 40}, [10, 50], 0.0, 0.0, 0.0),  # wear eats the spread
        ({"max_state_of_charge": 0.25}, [10, 50], 0.0, 0.0, 0.45 * 50 - 10 * 0.5 / 0.9),
        ({"min_state_of_charge": 0.4, "initial_state_of_charge": 0.4}, [50], None, 0.0, 0.0),
        ({"power_mw": 0}, [10, 50], 1.0, 9.0, 0.0),
        # A quarter is lost in an hour at rest, of what is stored before each tick.
        ({"self_discharge_per_hour": 0.25}, [10, 99], 0.0, 0.0, 0.9 * 0.75 * 0.9 * 99 - 10),
    ],
)
def test_worked_by_hand(
    given: dict[str, Any], prices: list[float], start: float | None, end: float, answer: float
) -> None:
    best = optimum(cells(**given), 0, prices, 1.0, start_mwh=start, end_value_per_mwh=end)
    assert best.profit == pytest.approx(answer, abs=2e-4)
    check_run(cells(**given), best, prices, 1.0, end)


def test_under_negative_prices_it_does_not_do_both_at_once() -> None:
    """Full and paid 100 to take energy: the plain program burns 0.19 MWh, a battery cannot."""
    plain = linprog([-100, 100], A_ub=[[0.9, -1 / 0.9]], b_ub=[0], bounds=[(0, 1)] * 2)
    np.testing.assert_allclose(plain.x, [1, 0.81])
    assert -plain.fun == pytest.approx(19)
    full = cells(initial_state_of_charge=1)
    best = optimum(full, 0, [-100], 1.0)
    assert best.profit == 0
    assert best.power_w[0] == 0
    # With an hour at -10 before, it makes room at 0.81 MWh and takes 1 MWh.
    best = optimum(full, 0, [-10, -100], 1.0)
    assert best.profit == pytest.approx(100 - 10 * 0.81, abs=2e-4)
    check_run(full, best, [-10, -100], 1.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(
    prices=st.lists(st.integers(-80, 120), min_size=2, max_size=7),
    wear=st.sampled_from((0.0, 5.0, 30.0)),
    end=st.sampled_from((0.0, 25.0, -25.0)),
)
def test_no_plan_on_a_grid_earns_more(prices: list[int], wear: float, end: float) -> None:
    """0.8 each way, 2 MWh in steps of 0.05: the grid holds full charging (0.8), full discharging
    (1.25) and the ends, and with them a best plan."""
    p = cells(charge_efficiency=0.8, discharge_efficiency=0.8, degradation_cost_per_mwh=wear)
    best = optimum(p, 0, prices, 1.0, end_value_per_mwh=end)
    grid = by_dynamic_programming(p, prices, end, steps=40)
    assert best.profit == pytest.approx(grid, abs=1e-3 + 2e-6 * sum(map(abs, prices)))
    check_run(p, best, prices, 1.0, end)


def test_self_discharge_stops_at_the_floor() -> None:
    """Two cycles from a floor of 1 MWh: 0.9 MWh in, of all 1.9 MWh a part is lost, the rest out."""
    p = cells(
        energy_mwh=4,
        min_state_of_charge=0.25,
        initial_state_of_charge=0.25,
        self_discharge_per_hour=0.002,
    )
    prices = [10.0, 90.0, 10.0, 90.0]
    best = optimum(p, 0, prices, 1.0)
    check_run(p, best, prices, 1.0, 0.0)
    by_hand = 2 * ((1.9 * 0.998 - 1) * 0.9 * 90 - 10)
    assert best.profit == pytest.approx(by_hand, rel=1e-3)
    assert best.bound >= by_hand
    assert best.bound == pytest.approx(by_hand, rel=5e-3)


def test_a_long_series_of_negative_prices_stays_close_to_its_bound() -> None:
    hour = np.arange(120) / 12
    prices = -40 - 30 * np.sin(2 * np.pi * hour / 5)
    p = cells(degradation_cost_per_mwh=1)
    assert len(prices) > 2 * WHOLE
    best = optimum(p, 0, prices, 1 / 12)
    check_run(p, best, prices, 1 / 12, 0.0)
    assert best.profit > 0.97 * best.bound
    again = optimum(p, 0, prices, 1 / 12)
    assert again.power_w.tobytes() == best.power_w.tobytes()


def test_the_profit_of_any_plan_is_counted_alike() -> None:
    p = cells(degradation_cost_per_mwh=10)
    assert profit(p, 0, [20, 50], [-1.0, 0.5], 0.3, 0.5, 40) == pytest.approx(
        -10 + (50 - 10) * 0.25 + 12
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"price_per_mwh": []}, r"price_per_mwh of shape \(0,\)"),
        ({"price_per_mwh": [1, np.nan]}, "price_per_mwh of shape"),
        ({"price_per_mwh": [[1.0]]}, r"price_per_mwh of shape \(1, 1\)"),
        ({"tick_hours": 0.0}, "tick_hours 0.0: expected more than 0"),
        ({"start_mwh": 2.5}, "start_mwh 2.5: expected 0.0 to 2.0 MWh"),
        ({"end_value_per_mwh": np.inf}, "end_value_per_mwh inf"),
    ],
)
def test_bad_input_is_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"price_per_mwh": [1.0, 2.0], "tick_hours": 1.0}
    with pytest.raises(ValueError, match=message):
        optimum(cells(), 0, **{**good, **change})
