"""From outputs of a network to actions and orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents import act
from swarm.scenario.roster import MAX_COST_STEPS
from tests.agents.helpers import CAP, FLOOR, Bench

BATTERY = {
    "energy_mwh": 4,
    "power_mw": 1,
    "initial_state_of_charge": 0.5,
    "charge_efficiency": 0.8,
    "discharge_efficiency": 1.0,
    "degradation_cost_per_mwh": 10,
}
numbers = st.one_of(st.floats(width=32), st.floats(-1, 1, width=32))


def test_levels_run_from_end_to_end_in_even_steps() -> None:
    price = act.level_price(np.arange(20), 20.0, 200.0)
    assert (price[0], price[19]) == (20.0, 200.0)
    np.testing.assert_allclose(np.diff(price), 180 / 19)
    with pytest.raises(ValueError, match="level 20: expected 0 to 19"):
        act.level_price(np.array([3, 20]), 20.0, 200.0)
    with pytest.raises(ValueError, match="level of type float64"):
        act.level_price(np.array([1.0]), 20.0, 200.0)
    with pytest.raises(ValueError, match="price range 5 to 5"):
        act.level_price(np.array([1]), 5, 5)


def test_a_generator_asks_one_price_or_one_for_each_step() -> None:
    bench = Bench("generator", [{"capacity_mw": 100, "marginal_cost_slope_per_mw": 0.1}] * 2)
    one = act.of_generator(bench.p, bench.s, bench.view(), np.array([0, 19]))
    np.testing.assert_array_equal(one[:, 1:], [[20.0] * MAX_COST_STEPS, [200.0] * MAX_COST_STEPS])
    steps = np.array([[0, 2, 1, 3, 19], [19, 0, 0, 0, 0]])
    each = act.of_generator(bench.p, bench.s, bench.view(), steps, (0.0, 19.0))
    np.testing.assert_array_equal(each[:, 1:], [[0, 2, 2, 3, 19], [19] * 5])  # never falls
    with pytest.raises(ValueError, match="level of shape"):
        act.of_generator(bench.p, bench.s, bench.view(), np.zeros((2, 3), dtype=int))


def test_the_heuristic_decides_which_unit_runs() -> None:
    """A unit of 40 per MWh and 20 MW at least: worth running at 50, not at 30."""
    unit = {"capacity_mw": 100, "min_output_mw": 20, "marginal_cost_per_mwh": 40, "min_up_hours": 4}
    for price, runs in ((50.0, True), (30.0, False)):
        bench = Bench("generator", [unit])
        view = bench.view(price_forecast=np.full(24, price))
        action = act.of_generator(bench.p, bench.s, view, np.array([10]))
        _, quantity = bench.offer(action, view)
        assert bool(quantity.sum() > 0) is runs


def test_plants_ask_zero_or_less() -> None:
    bench = Bench("solar", [{"capacity_mw": 5}] * 2)
    price, quantity = bench.offer(act.of_plant(np.array([0, 19])))
    np.testing.assert_array_equal(price, [[-100.0], [0.0]])
    np.testing.assert_array_equal(quantity, [[5_000_000]] * 2)


def test_the_sign_is_the_side_and_the_size_the_share() -> None:
    bench = Bench("storage", [BATTERY] * 4)
    action = act.of_storage(bench.p.battery, [-1.0, -0.25, 0.5, 0.0], 50.0)
    price, quantity = bench.offer(action)
    np.testing.assert_array_equal(quantity, [[1_000_000, 0], [250_000, 0], [0, 500_000], [0, 0]])
    # Sold at 50 / 0.8 + 10; bought at 0.8 (50 - 10).
    np.testing.assert_allclose(price, [[72.5, 32.0]] * 4)


@pytest.mark.parametrize("median", [-80.0, -5.0, 0.0, 5.0, 60.0, 900.0])
def test_at_its_limits_a_round_trip_against_the_median_breaks_even(median: float) -> None:
    """Counted in money: one MWh stored, bought at the median and sold at the limit, or the reverse.

    Under negative prices losses would earn; a limit must not count on that.
    """
    p = Bench("storage", [BATTERY]).p.battery
    (sold_at,), (bought_at,) = act.opportunity(p, median)
    for buy, sell in ((median, float(sold_at)), (float(bought_at), median)):
        earned = sell - 10 - buy / 0.8
        if buy < 0:
            assert sell - 10 - buy == pytest.approx(0)
        else:
            assert earned == pytest.approx(0)
    assert bought_at < median < sold_at


def test_without_a_known_price_a_battery_rests() -> None:
    p = Bench("storage", [BATTERY] * 2).p.battery
    np.testing.assert_array_equal(act.of_storage(p, [1.0, -1.0], np.nan), np.zeros((2, 4)))


RISING = {
    "price_forecast": np.append(np.arange(10.0, 19.0), np.full(15, 500.0)),
    "price_history": np.full(24, 300.0),
}
"""10, 11, ... 18 in the nine hours to come."""
LOAD = {"load_mw": 10, "flexible_mw": 4, "shift_window_hours": 9}


@pytest.mark.parametrize(
    ("share", "worth"), [(0.0, 18.0), (0.25, 16.0), (0.5, 14.0), (1.0, 10.0), (np.nan, 18.0)]
)
def test_a_consumer_puts_off_in_the_dearest_hours_of_its_window(share: float, worth: float) -> None:
    """By hand: so many of the eight steps between nine hours lie above. Prices on 2 MWh that it
    owes are of no matter: it asks that price for all it has, and catches up for a milli less."""
    bench = Bench("consumer", [{**LOAD, "response_price_per_mwh": 5}])
    bench.s.backlog_w[:], bench.s.hours_left[:] = 2_000_000, 9.0
    action = act.of_consumer(bench.p, bench.s, bench.view(**RISING), [share])
    price, quantity = bench.offer(action)
    assert quantity[0].tolist() == [10_000_000, 2_000_000, 4_000_000]
    np.testing.assert_allclose(price[0], [CAP, worth - 0.001, worth], atol=1e-9)


def test_a_consumer_asks_at_least_its_comfort_price() -> None:
    bench = Bench("consumer", [{**LOAD, "response_price_per_mwh": 120}])
    action = act.of_consumer(bench.p, bench.s, bench.view(**RISING), [0.5])
    np.testing.assert_allclose(action, [[1.0, 120.0, 1.0, 13.999]])


def test_a_consumer_looks_no_further_than_to_the_end_of_its_window() -> None:
    """Three hours are left for what it owes, and 10, 11, 12 is what they cost."""
    bench = Bench("consumer", [{**LOAD, "response_price_per_mwh": 5}])
    bench.s.backlog_w[:], bench.s.hours_left[:] = 2_000_000, 2.5
    action = act.of_consumer(bench.p, bench.s, bench.view(**RISING), [0.5])
    np.testing.assert_allclose(action, [[1.0, 11.0, 1.0, 10.999]])


def test_a_consumer_without_a_forecast_takes_the_prices_it_knows() -> None:
    bench = Bench("consumer", [{**LOAD, "response_price_per_mwh": 5}])
    unknown = np.full(24, np.nan)
    for history, worth in ((np.arange(24.0), 11.5), (unknown, 5.0)):
        view = bench.view(price_forecast=unknown, price_history=history)
        action = act.of_consumer(bench.p, bench.s, view, [0.5])
        np.testing.assert_allclose(action, [[1.0, max(worth, 5.0), 1.0, worth - 0.001]])


def test_a_home_puts_off_charging() -> None:
    bench = Bench("home", [BATTERY] * 3)
    action = act.of_home(bench.p, [-1.0, -1.0, 1.0], [0.0, 0.75, 1.0], 50.0)
    np.testing.assert_array_equal(action[:, 0], [1.0, 0.25, 0.0])
    np.testing.assert_array_equal(action[:, 2], [0.0, 0.0, 1.0])


def test_a_vehicle_pays_what_its_way_needs() -> None:
    """36 kWh at 11 kW take the four cheapest hours, 101 to 104, above the limit of a low median."""
    car = {
        "arrival_hour": 18,
        "departure_hour": 6,
        "initial_state_of_charge": 0.2,
        "buy_quantile": 0,
    }
    bench = Bench("ev", [car])
    view = bench.view(price_forecast=np.arange(101.0, 125.0), price_history=np.full(24, 200.0))
    at_limit = act.of_storage(bench.p.battery, [-1.0], 20.0)[0, 1]
    action = act.of_vehicle(bench.p, bench.s, view, [-1.0], 20.0)
    assert at_limit < 101
    assert action[0, 1] == 104.0
    resting = act.of_vehicle(bench.p, bench.s, view, [0.0], 20.0)
    assert resting[0, 0] == 0


@pytest.mark.parametrize("kind", ["storage", "ev", "home", "consumer"])
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_a_network_gives_is_an_action(kind: str, data: Any) -> None:
    assets: dict[str, Any] = {"consumer": {"load_mw": 10, "flexible_mw": 4}}
    bench = Bench(kind, [assets.get(kind, BATTERY)] * 5)
    power, share = (
        np.array(data.draw(st.lists(numbers, min_size=5, max_size=5)), dtype=np.float32)
        for _ in range(2)
    )
    median = data.draw(st.one_of(st.just(np.nan), st.floats(FLOOR, CAP)))
    view = bench.view()

    def action(p: Any, s: Any, power: np.ndarray, share: np.ndarray) -> np.ndarray:
        if kind == "storage":
            return act.of_storage(p.battery, power, median)
        if kind == "ev":
            return act.of_vehicle(p, s, view, power, median)
        if kind == "home":
            return act.of_home(p, power, share, median)
        return act.of_consumer(p, s, view, share)

    whole = action(bench.p, bench.s, power, share)
    assert whole.shape == (5, len(bench.kind.ACTION))
    assert np.isfinite(whole).all()
    assert ((whole[:, [0, 2]] >= 0) & (whole[:, [0, 2]] <= 1)).all()
    _, quantity = bench.offer(whole)
    assert (quantity >= 0).all()
    # Agents are alike, so rows alone are agents alone: the same bytes in a shard of one.
    alone = Bench(kind, [assets.get(kind, BATTERY)])
    for row in range(5):
        at = slice(row, row + 1)
        single = action(alone.p, alone.s, power[at], share[at])
        assert single.tobytes() == whole[at].tobytes()


def test_one_output_for_each_agent() -> None:
    bench = Bench("storage", [BATTERY] * 2)
    with pytest.raises(ValueError, match=r"power of shape \(3,\): expected \(2,\)"):
        act.of_storage(bench.p.battery, [0.0, 0.0, 0.0], 50.0)
