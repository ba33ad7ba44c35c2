"""Dispatchable units: limits that no policy breaks, costs by hand, outages by their statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents import generator
from swarm.agents.effects import Effect

from .helpers import CAP, FLOOR, Bench, shard, signal

RUN = [1.0, 1, 2, 3, 4, 5]
STOP = [0.0, 1, 2, 3, 4, 5]
NEVER = 0.999
"""A uniform at which no unit fails."""

# Two units in the manner of RTS-GMLC: block ends in MW, incremental cost per MWh, kg CO2 per MWh.
TURBINE = {
    "capacity_mw": 20,
    "min_output_mw": 8,
    "cost_steps": [
        {"up_to_mw": 8, "cost_per_mwh": 135.0, "emissions_kg_per_mwh": 950},
        {"up_to_mw": 12, "cost_per_mwh": 96.0, "emissions_kg_per_mwh": 680},
        {"up_to_mw": 16, "cost_per_mwh": 98.5},
        {"up_to_mw": 20, "cost_per_mwh": 101.0, "emissions_kg_per_mwh": 715},
    ],
    "emissions_kg_per_mwh": 700,
}
COAL = {
    "capacity_mw": 76,
    "min_output_mw": 30,
    "cost_steps": [
        {"up_to_mw": 30, "cost_per_mwh": 27.3},
        {"up_to_mw": 53, "cost_per_mwh": 18.9},
        {"up_to_mw": 76, "cost_per_mwh": 21.4},
    ],
    "emissions_kg_per_mwh": 1000,
}


def run_at(asset: dict[str, Any], output_mw: float, carbon: float = 0.0, minutes: int = 60) -> Any:
    bench = Bench("generator", [asset], tick_minutes=minutes)
    _, quantity = bench.offer(RUN)
    accepted = quantity.copy()
    accepted[0, 1:] = 0
    accepted[0, 1] = round(output_mw * 1e6) - accepted[0, 0]
    return bench.deliver(accepted, uniforms=NEVER, carbon=carbon)


@pytest.mark.parametrize(
    ("asset", "output", "carbon", "cost", "emissions_kg", "marginal"),
    [
        # 8 * 135 + 4 * 96 + 2 * 98.5; 8 * 950 + 4 * 680 + 2 * 700
        (TURBINE, 14, 0, 1661.0, 11720, 98.5),
        # the same and 11.72 t at 20; the step emits 0.7 t per MWh
        (TURBINE, 14, 20, 1661 + 234.4, 11720, 112.5),
        # 8 * 135 + 4 * 96 + 4 * 98.5 + 4 * 101
        (TURBINE, 20, 0, 2262.0, 7600 + 2720 + 2800 + 2860, 101.0),
        # 30 * 27.3
        (COAL, 30, 0, 819.0, 30000, 27.3),
        # 30 * 27.3 + 23 * 18.9 + 7 * 21.4
        (COAL, 60, 0, 1403.5, 60000, 21.4),
        (COAL, 60, 50, 1403.5 + 3000, 60000, 71.4),
    ],
)
def test_stepwise_costs_by_hand(
    asset: dict[str, Any],
    output: float,
    carbon: float,
    cost: float,
    emissions_kg: float,
    marginal: float,
) -> None:
    m = run_at(asset, output, carbon)
    assert m.generation_w[0] == output * 1e6
    assert m.cost_micro[0] == pytest.approx(cost * 1e6, abs=1)
    assert m.emissions_g[0] == pytest.approx(emissions_kg * 1e3, abs=1)
    assert m.marginal_cost_milli[0] == pytest.approx(marginal * 1e3, abs=1)
    # Half an hour costs half.
    assert run_at(asset, output, carbon, 30).cost_micro[0] == pytest.approx(cost * 5e5, abs=1)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8, 1.0])
def test_a_quadratic_curve_is_exact_at_step_ends(share: float) -> None:
    asset = {"capacity_mw": 150, "marginal_cost_per_mwh": 24, "marginal_cost_slope_per_mw": 0.04}
    q = 150 * share
    integral = 24 * q + 0.04 * q**2 / 2
    assert run_at(asset, q).cost_micro[0] == pytest.approx(integral * 1e6, abs=1)


@settings(max_examples=50)
@given(output=st.floats(0, 150), slope=st.floats(0, 1))
def test_a_quadratic_curve_is_close_between_step_ends(output: float, slope: float) -> None:
    asset = {"capacity_mw": 150, "marginal_cost_per_mwh": 24, "marginal_cost_slope_per_mw": slope}
    m = run_at(asset, output)
    integral = 24 * output + slope * output**2 / 2
    # A chord of a parabola is at most s w^2 / 8 above it, w the width of a step.
    gap = m.cost_micro[0] / 1e6 - integral
    assert -24e-6 - slope * 150e-6 - 1e-6 <= gap <= slope * 30**2 / 8 + 1e-3


def test_a_committed_unit_offers_its_least_output_at_the_floor() -> None:
    bench = Bench("generator", [TURBINE, COAL])
    price, quantity = bench.offer(RUN)
    assert price[:, 0].tolist() == [FLOOR, FLOOR]
    assert quantity[:, 0].tolist() == [8_000_000, 30_000_000]
    assert quantity.sum(axis=1).tolist() == [20_000_000, 76_000_000]
    assert quantity[0].tolist() == [8_000_000, 0, 4_000_000, 4_000_000, 4_000_000, 0]


def test_a_unit_that_is_not_committed_offers_nothing() -> None:
    bench = Bench("generator", [COAL])
    _, quantity = bench.offer(STOP)
    assert quantity.sum() == 0
    m = bench.deliver(quantity, uniforms=NEVER)
    assert m.generation_w[0] == m.cost_micro[0] == m.inertia_kws[0] == 0


@st.composite
def units(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "capacity_mw": 100,
        "min_output_mw": draw(st.sampled_from([0, 7.3, 40, 100])),
        "marginal_cost_per_mwh": 30,
        "marginal_cost_slope_per_mw": draw(st.sampled_from([0, 0.1])),
        "ramp_mw_per_minute": draw(st.sampled_from([None, 0.11, 1, 6, 40])),
        "start_cost": draw(st.sampled_from([0, 500])),
        "min_up_hours": draw(st.sampled_from([0, 0.25, 1, 1.1])),
        "min_down_hours": draw(st.sampled_from([0, 0.25, 1, 1.1])),
        "mean_time_to_failure_hours": draw(st.sampled_from([None, 3])),
        "mean_time_to_repair_hours": draw(st.sampled_from([0.1, 1])),
        "rated_mva": 120,
        "inertia_s": 4,
    }


def spent(asset: dict[str, Any], output_mw: float) -> float:
    """Cost per hour at constant output: steps of a fifth, each at its mean marginal cost."""
    cost, low = 0.0, 0.0
    for index in range(5):
        high = asset["capacity_mw"] * (index + 1) / 5
        used = min(max(output_mw - low, 0.0), high - low)
        slope = asset["marginal_cost_slope_per_mw"]
        cost += used * (asset["marginal_cost_per_mwh"] + slope * (low + high) / 2)
        low = high
    return cost


@settings(max_examples=150)
@given(
    asset=units(),
    moves=st.lists(
        st.tuples(st.booleans(), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.99)),
        min_size=5,
        max_size=60,
    ),
)
def test_limits_hold_whatever_the_policy_does(asset: dict[str, Any], moves: list[Any]) -> None:
    bench = Bench("generator", [asset])
    low, high = asset["min_output_mw"] * 1e6, asset["capacity_mw"] * 1e6
    reach = (asset["ramp_mw_per_minute"] or 1e9) * 5 * 1e6
    last, ran, since, failed_before = None, False, 1e9, False
    for commit, taken, u_fail, u_repair in moves:
        _, quantity = bench.offer([float(commit), 1, 2, 3, 4, 5])
        committed = bool(bench.s.running[0])
        accepted = np.floor(quantity * taken).astype(np.int64)
        m = bench.deliver(accepted, uniforms=[u_fail, u_repair, 0.5, 0.5])
        output = int(m.generation_w[0])
        if committed and not ran and accepted.sum() == 0 and low > 0:
            # Nobody bought its start: it stays off and may start again at once.
            assert output == m.cost_micro[0] == m.inertia_kws[0] == 0
            assert not bench.s.running[0]
            last, ran, since, failed_before = 0, False, 1e9, False
            continue
        failed = committed and not bench.s.running[0]
        runs = committed and not failed

        if not committed:
            assert quantity.sum() == 0
        if not runs:
            assert output == 0
        else:
            assert low - 1 <= output <= high
            # What was contracted is delivered, as long as the least output was sold too.
            if accepted[0, 0] == quantity[0, 0]:
                assert output == accepted.sum()
            if last is not None:
                assert output <= max(low, last + reach) + 1
                assert output >= last - reach - 1
        if last is not None and ran and not committed and not failed_before:
            assert last <= low + reach + 1, "stopped from above what the ramp allows"
        if last is not None and committed != ran:
            least = asset["min_up_hours"] if ran else asset["min_down_hours"]
            assert since * bench.hours >= least - 1e-6, "switched too soon"
        started = committed and not ran and not failed and last is not None
        expected = spent(asset, output / 1e6) * bench.hours + started * asset["start_cost"]
        assert abs(m.cost_micro[0] / 1e6 - expected) <= 1e-6 * max(1.0, expected)
        assert m.inertia_kws[0] == (480_000 if runs else 0)
        assert m.available_w[0] in (0, high)
        if failed:
            assert m.available_w[0] == 0
        if failed:
            since = 0
        elif committed != ran:
            since = 1
        else:
            since += 1
        last, ran, failed_before = output, runs, failed


def test_a_trip_is_possible_in_the_first_tick_and_start_cost_is_due_per_start() -> None:
    asset = {"capacity_mw": 10, "start_cost": 70, "marginal_cost_per_mwh": 0}
    bench = Bench("generator", [asset])
    costs = []
    for action in (RUN, STOP, RUN, RUN, STOP, STOP, RUN):
        _, quantity = bench.offer(action)
        costs.append(int(bench.deliver(quantity, uniforms=NEVER).cost_micro[0]) // 10**6)
    # A run may begin with units running; each later start is paid once.
    assert costs == [0, 0, 70, 0, 0, 0, 70]


def test_no_output_above_what_the_water_gives() -> None:
    bench = Bench("generator", [{"capacity_mw": 50, "profile": "hydro"}])
    _, quantity = bench.offer(RUN, bench.view({"availability": 0.6}))
    assert quantity.sum() == 30_000_000
    m = bench.deliver(quantity, {"availability": 0.5}, uniforms=NEVER)
    assert m.generation_w[0] == m.available_w[0] == 25_000_000
    _, quantity = bench.offer(RUN, bench.view({"availability": 0.5}))
    m = bench.deliver(quantity // 2, {"availability": 0.5}, uniforms=NEVER)
    assert m.curtailed_w[0] == m.available_w[0] - m.generation_w[0] > 0


def test_maintenance_and_outages_stop_a_unit() -> None:
    effects = (Effect("maintenance", 1, 2, (0,)), Effect("outage", 1, 2, (1,)))
    units_ = shard("generator", [{}, {}], effects=effects)
    none = np.zeros(0, dtype=np.int64)
    first = units_.step(signal(0, price_forecast=np.full(24, 90.0)), none, none)
    second = units_.step(signal(1), first.orders.quantity, none)
    assert set(second.orders.agent.tolist()) == {1}, "who is in maintenance does not offer"
    third = units_.step(signal(2), second.orders.quantity, none)
    assert third.meters is not None
    assert third.meters.generation_w.tolist() == [0, 0]
    assert third.meters.available_w.tolist() == [0, 0]
    assert set(third.orders.agent.tolist()) == {0}, "who failed just now knows that it stands"
    fourth = units_.step(signal(3), third.orders.quantity, none)
    assert set(fourth.orders.agent.tolist()) == {0, 1}


def test_failures_and_repairs_take_as_long_as_they_say() -> None:
    n, ticks = 2_000, 500
    mttf, mttr = 30.0, 6.0
    asset = {"mean_time_to_failure_hours": mttf, "mean_time_to_repair_hours": mttr}
    bench = Bench("generator", [{**asset, "capacity_mw": 1}] * n, tick_minutes=60)
    r = np.random.default_rng(5)
    up = np.zeros((ticks, n), dtype=bool)
    for tick in range(ticks):
        _, quantity = bench.offer(RUN)
        m = bench.deliver(quantity, uniforms=r.random((n, 4)))
        up[tick] = m.generation_w > 0
        # A unit is available in exactly the intervals in which it could run.
        np.testing.assert_array_equal(m.available_w > 0, up[tick])
    up = up[100:]
    trips = (up[:-1] & ~up[1:]).sum()
    returns = (~up[:-1] & up[1:]).sum()
    # In whole ticks both lengths are geometric, with the exponential's chance per tick; a unit that
    # fails in the very tick of its return is seen as one longer outage.
    fails, mended = -np.expm1(-1 / mttf), -np.expm1(-1 / mttr)
    assert up[:-1].sum() / trips == pytest.approx(1 / fails, rel=0.02)
    assert (~up[:-1]).sum() / returns == pytest.approx(1 / mended / (1 - fails), rel=0.02)


def test_outages_follow_from_the_seed() -> None:
    asset = {"mean_time_to_failure_hours": 2, "mean_time_to_repair_hours": 1, "capacity_mw": 10}

    def history(seed: int) -> list[list[int]]:
        units_ = shard("generator", [asset] * 20, seed=seed)
        none = np.zeros(0, dtype=np.int64)
        accepted, rows = none, []
        for tick in range(60):
            reply = units_.step(signal(tick, price_forecast=np.full(24, 90.0)), accepted, none)
            accepted = reply.orders.quantity
            if reply.meters is not None:
                rows.append(reply.meters.generation_w.tolist())
        return rows

    assert history(1) == history(1)
    assert history(1) != history(2)
    assert any(0 in row for row in history(1))


def heuristic_runs(asset: dict[str, Any], forecast: Any, carbon: float = 0.0) -> bool:
    bench = Bench("generator", [asset])
    view = bench.view(price_forecast=np.asarray(forecast, float), carbon_price_per_tonne=carbon)
    action = bench.kind.heuristic(bench.p, bench.s, view)
    return bool(action[0, 0])


def test_the_heuristic_runs_where_the_forecast_pays() -> None:
    asset = {
        "capacity_mw": 100,
        "min_output_mw": 50,
        "marginal_cost_per_mwh": 40,
        "start_cost": 1000,
        "min_up_hours": 4,
        "emissions_kg_per_mwh": 500,
    }
    assert heuristic_runs(asset, [45.0] * 24)
    assert not heuristic_runs(asset, [35.0] * 24)
    assert not heuristic_runs(asset, [45.0] * 24, carbon=20)
    # Four hours bind: two at +20 on 100 MW outweigh two at -30 on the least output of 50.
    assert heuristic_runs(asset, [60, 60, 10, 10, *[0] * 20])
    assert not heuristic_runs(asset, [60, 10, 10, 10, *[900] * 20])


def test_what_is_free_to_switch_always_stands_ready() -> None:
    assert heuristic_runs({"capacity_mw": 100, "marginal_cost_per_mwh": 40}, [1.0] * 24)


def test_the_heuristic_offers_at_cost_unless_told_a_price() -> None:
    bench = Bench("generator", [COAL, {**COAL, "offer_price_per_mwh": 55}])
    view = bench.view(carbon_price_per_tonne=10)
    action = generator.heuristic(bench.p, bench.s, view)
    assert action[0, 1:4].tolist() == pytest.approx([37.3, 28.9, 31.4])
    assert action[1, 1:].tolist() == [55] * 5
    assert CAP > 55
