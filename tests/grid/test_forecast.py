"""The price forecast against merit orders made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.grid.forecast import ForecastSpec, PriceForecast, Spike

CAP = 1000.0
DAY = 24


def spec(**given: Any) -> ForecastSpec:
    """Three units of 100 MW at 20, 40 and 60 on an island; `given` replaces fields."""
    base = ForecastSpec(
        tick_minutes=60,
        demand_mw=np.full(48, 100.0),
        free_supply_mw=np.zeros(48),
        step_mw=np.array([100.0, 100.0, 100.0]),
        step_cost_per_mwh=np.array([40.0, 20.0, 60.0]),
        step_emissions_kg_per_mwh=np.array([500.0, 1000.0, 0.0]),
        price_floor=-100.0,
        import_limit_mw=0.0,
        export_limit_mw=0.0,
        outside_price_per_mwh=np.full(48, 50.0),
        outside_price_known=True,
        outside_price_before_per_mwh=77.0,
        import_premium_per_mwh=0.0,
        export_discount_per_mwh=0.0,
        spikes=(),
    )
    return replace(base, **given)


def prices(of: ForecastSpec, tick: int = 0, carbon: float = 0.0, short: float = 0.0) -> Any:
    found = PriceForecast(of).at(tick, CAP, carbon, short)
    assert found.shape == (24,)
    return found


@pytest.mark.parametrize(
    ("demand", "free", "expected"),
    # Demand is raised by a tenth: 100 counts as 110.
    [
        (80, 0, 20),
        (100, 0, 40),
        (180, 0, 40),
        (200, 0, 60),
        (200, 50, 40),
        (80, 200, 0),
        (300, 0, CAP),
    ],
)
def test_the_marginal_unit_sets_the_price(demand: float, free: float, expected: float) -> None:
    of = spec(demand_mw=np.full(48, demand), free_supply_mw=np.full(48, free))
    assert prices(of).tolist() == [expected] * DAY


def test_each_hour_has_its_own_book_and_the_first_is_the_current() -> None:
    demand = np.tile([80.0, 150.0, 250.0], 16)
    found = prices(spec(demand_mw=demand), tick=1)
    assert found.tolist() == [40, 60, 20] * 8


def test_past_the_end_of_the_run_the_last_day_repeats() -> None:
    demand = np.concatenate([np.full(24, 80.0), np.tile([150.0, 250.0, 80.0], 8)])
    found = prices(spec(demand_mw=demand, free_supply_mw=np.zeros(48)), tick=40)
    assert found.tolist() == np.roll(np.tile([40.0, 60.0, 20.0], 8), -16).tolist()


def test_a_price_of_carbon_reorders_the_units() -> None:
    # At 50 per tonne they cost 70 (20 + 50), 65 (40 + 25) and 60.
    assert prices(spec(), carbon=50.0)[0] == 65
    assert prices(spec(demand_mw=np.full(48, 50.0)), carbon=50.0)[0] == 60


@pytest.mark.parametrize(
    ("outside", "demand", "expected"),
    # Imports of 100 cost outside + 5, exports of 30 bring outside - 10.
    [(30, 100, 35), (10, 80, 15), (100, 240, 60), (100, 250, 89.999), (34, 180, 39), (90, 80, 40)],
)
def test_the_connection_takes_its_place_in_the_order(
    outside: float, demand: float, expected: float
) -> None:
    of = spec(
        demand_mw=np.full(48, float(demand)),
        import_limit_mw=100.0,
        export_limit_mw=30.0,
        import_premium_per_mwh=5.0,
        export_discount_per_mwh=10.0,
        outside_price_per_mwh=np.full(48, float(outside)),
    )
    assert prices(of)[0] == expected


def test_a_spike_is_seen_from_its_notice_on_and_not_before() -> None:
    of = spec(
        tick_minutes=15,
        demand_mw=np.full(48, 400.0),
        import_limit_mw=500.0,
        spikes=(Spike(notice_tick=38, first_hour=10, stop_hour=12, price_per_mwh=900.0),),
    )
    forecast = PriceForecast(of)
    before = forecast.at(37, CAP, 0.0, 0.0)
    assert 900 not in before
    after = forecast.at(38, CAP, 0.0, 0.0)
    assert np.flatnonzero(after == 900).tolist() == [1, 2]
    np.testing.assert_array_equal(np.delete(after, [1, 2]), np.delete(before, [1, 2]))
    assert forecast.at(48, CAP, 0.0, 0.0)[0] != 900


def test_an_unknown_outside_price_is_yesterdays_or_the_last_hours() -> None:
    outside = np.arange(72.0)
    of = spec(
        demand_mw=np.full(72, 400.0),
        free_supply_mw=np.zeros(72),
        step_mw=np.zeros(3),
        import_limit_mw=500.0,
        outside_price_per_mwh=outside,
        outside_price_known=False,
    )
    # At 30:00 the hours up to 29 are gone by: 30..53 are as 6..29.
    assert prices(of, tick=30).tolist() == np.arange(6.0, 30).tolist()
    # At 5:00 there is no yesterday: hour 4 stands for all of today, then 0..4 for tomorrow.
    assert prices(of, tick=5).tolist() == [4.0] * 19 + [0.0, 1.0, 2.0, 3.0, 4.0]
    # Before any hour has gone by, only the expected mean is known.
    assert prices(of, tick=0).tolist() == [77.0] * 24
    for tick in (0, 5, 30):
        later = outside.copy()
        later[tick:] = -50.0
        np.testing.assert_array_equal(
            prices(of, tick=tick), prices(replace(of, outside_price_per_mwh=later), tick=tick)
        )


def test_a_shortage_raises_the_price_of_the_next_hours_only() -> None:
    found = prices(spec(), short=100.0)
    assert found.tolist() == [60.0] * 3 + [40.0] * 21


def test_an_empty_system_has_a_price_all_the_same() -> None:
    nothing = spec(step_mw=np.zeros(3), demand_mw=np.zeros(48))
    assert prices(nothing)[0] == 0
    connected = spec(step_mw=np.zeros(3), demand_mw=np.zeros(48), import_limit_mw=10.0)
    assert prices(connected)[0] == 50


def test_what_it_remembers_does_not_change_what_it_says() -> None:
    r = np.random.default_rng(3)
    of = spec(
        tick_minutes=20,
        demand_mw=r.uniform(50, 350, 48),
        import_limit_mw=60.0,
        outside_price_per_mwh=r.uniform(0, 100, 48),
        outside_price_known=False,
        spikes=(Spike(20, 8, 9, 400.0),),
    )
    lasting = PriceForecast(of)
    for tick in range(140):
        state = (CAP - tick % 2, 10.0 * (tick % 3 == 0), 25.0 * (tick % 5 == 0))
        fresh = PriceForecast(of).at(tick, *state)
        np.testing.assert_array_equal(lasting.at(tick, *state), fresh)


@settings(max_examples=60)
@given(
    steps=st.lists(st.tuples(st.integers(1, 80), st.integers(-50, 200)), min_size=1, max_size=8),
    demand=st.integers(0, 400),
    free=st.integers(0, 100),
)
def test_is_the_cost_at_which_cumulated_supply_reaches_demand(
    steps: list[tuple[int, int]], demand: int, free: int
) -> None:
    of = spec(
        step_mw=np.array([float(w) for w, _ in steps]),
        step_cost_per_mwh=np.array([float(c) for _, c in steps]),
        step_emissions_kg_per_mwh=np.zeros(len(steps)),
        demand_mw=np.full(48, float(demand)),
        free_supply_mw=np.full(48, float(free)),
    )
    needed = round(demand * 1.1 * 1e6)
    ladder = sorted([*((c, w * 10**6) for w, c in steps), (0, free * 10**6)])
    expected, supplied = CAP, 0
    for cost, watts in ladder:
        supplied += watts
        if watts and supplied >= needed:
            expected = float(cost)
            break
    if needed == 0:
        expected = 0.0
    assert prices(of)[0] == expected
