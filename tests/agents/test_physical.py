"""Headroom, reserve, response and sudden changes of each kind, worked out by hand."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swarm.agents.effects import Effect
from swarm.agents.reserve import split
from swarm.messages import Response

from .helpers import Bench, shard, signal

NEVER = 0.999
RUN = [1.0, 1, 2, 3, 4, 5]
ASKED = (300, 300, 100, 100)
NONE = np.zeros(0, dtype=np.int64)
# 100 MWh, no losses; 30 MW for a tick of one hour.
CELLS = {"energy_mwh": 100, "power_mw": 30, "round_trip_efficiency": 1.0}


def test_headroom_of_a_battery_is_what_power_and_energy_leave() -> None:
    assets = [
        CELLS,
        {**CELLS, "initial_state_of_charge": 0.1},
        {**CELLS, "initial_state_of_charge": 0.9},
        CELLS,
    ]
    bench = Bench("storage", assets, tick_minutes=60)
    bench.offer([1, 0, 1, 10])
    m = bench.deliver(
        [[20_000_000, 0], [0, 4_000_000], [0, 0], [0, 0]], failed=[False, False, False, True]
    )
    # Charging at 20 of 30; discharging 4 of the 10 there are; 90 full; broken.
    assert m.up_w.tolist() == [50_000_000, 6_000_000, 30_000_000, 0]
    assert m.down_w.tolist() == [10_000_000, 34_000_000, 10_000_000, 0]


def test_a_response_of_a_battery_runs_its_interval_again() -> None:
    asset = {**CELLS, "round_trip_efficiency": 0.81, "degradation_cost_per_mwh": 5}
    bench = Bench("storage", [asset] * 4, tick_minutes=60)
    bench.offer([1, 0, 1, 10])
    m = bench.deliver([[0, 9_000_000], [10_000_000, 0], [10_000_000, 0], [0, 0]])
    assert m.stored_mwh.tolist() == pytest.approx([40, 59, 59, 50])
    # 9 more out; charging 10 turned into 8 out; charging shed; asked beyond what it can.
    cost, emissions = bench.respond(
        activated_w=[9_000_000, 18_000_000, 0, 200_000_000], shed_w=[0, 0, 10_000_000, 0]
    )
    assert bench.s.stored_mwh.tolist() == pytest.approx([30, 50 - 8 / 0.9, 50, 50 - 30 / 0.9])
    assert cost.tolist() == [45_000_000, 40_000_000, 0, 150_000_000]
    assert not emissions.any()


def test_reserve_of_a_battery_is_its_limits_and_what_it_forgoes() -> None:
    bench = Bench("storage", [CELLS, {**CELLS, "initial_state_of_charge": 0.1}], tick_minutes=60)
    view = bench.view(reserve_w=ASKED, price_forecast=np.full(24, 70.0))
    shape = bench.reserve(view, [0.5, 40, 1, 64])
    # Three parts of four for containment, as is asked; 10 MWh last one hour at 10 MW.
    assert shape.quantity.tolist() == [
        [22_500_000, 22_500_000, 7_500_000, 7_500_000],
        [7_500_000, 22_500_000, 2_500_000, 7_500_000],
    ]
    assert shape.spare.tolist() == [[0, 15_000_000], [0, 15_000_000]]
    # Expected 70: a sale at 64 would have earned 6, a purchase at 40 nothing.
    assert shape.price.tolist() == [[6, 0, 6, 0]] * 2
    assert shape.energy_price.tolist() == [[64, 40, 64, 40]] * 2


def test_no_known_price_is_no_opportunity() -> None:
    bench = Bench("storage", [CELLS])
    nothing = np.full(24, np.nan)
    view = bench.view(reserve_w=ASKED, price_forecast=nothing, price_per_mwh=np.nan)
    assert bench.reserve(view, [1, 40, 1, 64]).price.tolist() == [[0, 0, 0, 0]]


@settings(max_examples=50)
@given(
    total=st.integers(0, 2**52),
    asked=st.tuples(*[st.integers(0, 10**12)] * 4),
)
def test_a_split_loses_nothing(total: int, asked: tuple[int, ...]) -> None:
    up, down = np.array([total]), np.array([total // 3])
    parts = split(up, down, asked)
    assert (parts >= 0).all()
    assert parts[0, 0] + parts[0, 2] == up[0]
    assert parts[0, 1] + parts[0, 3] == down[0]


UNIT = {
    "capacity_mw": 100,
    "min_output_mw": 40,
    "ramp_mw_per_minute": 1,
    "marginal_cost_per_mwh": 20,
    "marginal_cost_slope_per_mw": 0.1,
    "emissions_kg_per_mwh": 500,
}


def test_headroom_of_a_unit_is_what_its_ramp_reaches_in_five_minutes() -> None:
    quick = {**UNIT, "ramp_mw_per_minute": None}
    bench = Bench("generator", [UNIT, UNIT, UNIT, quick, UNIT], tick_minutes=15)
    bench.offer(RUN)
    outputs = np.array([60, 98, 42, 60, 60]) * 1_000_000
    accepted = bench.quantity.copy()
    accepted[:, 1:] = 0
    accepted[:, 1] = outputs - accepted[:, 0]
    m = bench.deliver(accepted, uniforms=NEVER, failed=[False] * 4 + [True])
    assert m.up_w.tolist() == [5_000_000, 2_000_000, 5_000_000, 40_000_000, 0]
    assert m.down_w.tolist() == [5_000_000, 5_000_000, 2_000_000, 20_000_000, 0]


def test_reserve_of_units_is_containment_by_droop_and_the_rest_restoration() -> None:
    # 0.2 Hz of 50 at 5 % droop is 8 % of capacity; without a governor there is none.
    quick = {**UNIT, "ramp_mw_per_minute": 3}
    bench = Bench("generator", [quick, {**quick, "droop": None}, quick], tick_minutes=5)
    bench.offer(RUN)
    accepted = bench.quantity.copy()
    accepted[:, 1:] = 0
    accepted[:2, 1] = 30_000_000
    bench.deliver(accepted, uniforms=NEVER)
    view = bench.view(reserve_w=ASKED, price_forecast=np.full(24, 35.0))
    shape = bench.reserve(view, RUN)
    # From 70 it reaches 55 to 85 in the tick; the last one, at 40, cannot go lower.
    assert shape.quantity.tolist() == [
        [8_000_000, 8_000_000, 7_000_000, 7_000_000],
        [0, 0, 15_000_000, 15_000_000],
        [8_000_000, 0, 7_000_000, 0],
    ]
    # It sells all it reaches, so nothing upwards is spare.
    assert shape.spare.tolist() == [[0, 15_000_000], [0, 15_000_000], [0, 0]]
    # Five equal steps of 0.1 per MW: the lowest costs 21 on average, the top one 29.
    np.testing.assert_allclose(shape.price[0], [6, 0, 6, 0])
    np.testing.assert_allclose(shape.energy_price[0], [29, 21, 29, 21])


def test_a_response_of_a_unit_costs_fuel_and_moves_its_ramp() -> None:
    asset = {**UNIT, "marginal_cost_slope_per_mw": 0.0}
    bench = Bench("generator", [asset] * 3, tick_minutes=60)
    bench.offer(RUN)
    accepted = bench.quantity.copy()
    accepted[:, 1:] = 0
    accepted[:, 1] = 20_000_000
    bench.deliver(accepted, uniforms=NEVER)
    cost, emissions = bench.respond(
        activated_w=[5_000_000, -5_000_000, 0], held_back_w=[0, 0, 60_000_000], carbon=10.0
    )
    # 20 and half a tonne at 10.
    assert cost.tolist() == [125_000_000, -125_000_000, -1_500_000_000]
    assert emissions.tolist() == [2_500_000, -2_500_000, -30_000_000]
    assert bench.s.output_mw.tolist() == [65, 55, 0]
    bench.tick_minutes = 5
    _, quantity = bench.offer(RUN)
    assert quantity[:, 0].tolist() == [60_000_000, 50_000_000, 40_000_000]
    assert quantity.sum(axis=1).tolist() == [70_000_000, 60_000_000, 40_000_000]


LOAD = {"load_mw": 10, "flexible_mw": 4, "shift_window_hours": 4, "response_price_per_mwh": 30}


def test_a_consumer_can_reduce_what_it_has_not_reduced() -> None:
    bench = Bench("consumer", [LOAD] * 3, tick_minutes=15)
    bench.offer([1, 30, 0, 0])
    m = bench.deliver(
        [[10_000_000, 0, 1_000_000], [3_000_000, 0, 0], [10_000_000, 0, 0]],
        failed=[False, False, True],
    )
    # Four less one; all of the three it was given; nothing while it is out.
    assert m.up_w.tolist() == [3_000_000, 3_000_000, 0]
    assert m.down_w.tolist() == [0, 0, 0]


def test_a_response_of_a_consumer_is_put_off_and_costs_its_comfort() -> None:
    bench = Bench("consumer", [LOAD] * 2, tick_minutes=15)
    bench.offer([0, 30, 0, 0])
    bench.deliver(bench.quantity)
    cost, _ = bench.respond(activated_w=[2_000_000, 0], shed_w=[0, 5_000_000])
    assert cost.tolist() == [15_000_000, 0]
    assert bench.s.backlog_w.tolist() == [2_000_000, 0]
    assert bench.s.hours_left.tolist() == [3.75, 3.75]
    bench.offer([0, 30, 1, 20])
    m = bench.deliver(bench.quantity)
    assert m.shifted_w.tolist() == [-2_000_000, 0]


def test_a_consumer_keeps_room_for_the_response_it_does_not_know_yet() -> None:
    # Four hours hold what two give back: 32 MW ticks, of which the last response may have used 4.
    bench = Bench("consumer", [LOAD] * 3 + [{**LOAD, "shift_window_hours": 0.5}], tick_minutes=15)
    bench.s.backlog_w[:] = np.array([0, 27, 29, 0]) * 1_000_000
    bench.s.hours_left[:] = 4
    view = bench.view(reserve_w=ASKED)
    shape = bench.reserve(view, [0.25, 30, 0, 0])
    assert shape.quantity[:, [0, 2]].sum(axis=1).tolist() == [4_000_000, 1_000_000, 0, 0]
    assert shape.spare[:, 0].tolist() == [3_000_000, 3_000_000, 2_000_000, 3_000_000]
    assert not shape.quantity[:, [1, 3]].any()
    assert shape.energy_price[0].tolist() == [30] * 4


@settings(max_examples=40)
@example(window=1.0, minutes=60, moves=[(0.0, 1.0)])
@given(
    window=st.sampled_from([0.1, 0.5, 1.0, 1.7, 4.0]),
    minutes=st.sampled_from([5, 15, 60]),
    moves=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30),
)
def test_what_a_response_put_off_comes_back_inside_its_window(
    window: float, minutes: int, moves: list[tuple[float, float]]
) -> None:
    asset = {**LOAD, "shift_window_hours": window}
    bench = Bench("consumer", [asset], tick_minutes=minutes)
    ticks = max(1, int(window * 60 / minutes + 1e-9))
    owed: deque[list[int]] = deque()
    drawn = 0
    for tick in range(60):
        share, response = moves[tick % len(moves)]
        price, quantity = bench.offer([share, 30, 0, 10])
        # It offers without knowing yet what was drawn in the last interval.
        bench.respond(activated_w=drawn)
        accepted = np.where(price >= 3000, quantity, np.floor(quantity * share)).astype(np.int64)
        m = bench.deliver(accepted)
        drawn = int(m.up_w[0] * response)
        reduced = max(int(m.shifted_w[0]), 0) + drawn
        owed.append([tick, reduced])
        back = max(-int(m.shifted_w[0]), 0)
        while back:
            paid = min(owed[0][1], back)
            assert tick - owed[0][0] <= ticks
            owed[0][1] -= paid
            back -= paid
            if not owed[0][1]:
                owed.popleft()
        while owed and not owed[0][1]:
            owed.popleft()
        assert not owed or tick - owed[0][0] <= ticks


VEHICLE = {
    "arrival_hour": 18,
    "departure_hour": 8,
    "energy_mwh": 0.1,
    "power_mw": 0.01,
    "round_trip_efficiency": 1.0,
    "required_state_of_charge": 0.6,
    "trip_energy_mwh": 0,
}


def test_only_patient_vehicles_at_home_respond() -> None:
    # Needs 10 kWh, an hour of charging, until 8:00.
    assets = [{**VEHICLE, "vehicle_to_grid": v2g} for v2g in (True, False)]
    for hour, up in ((20.0, [14_000, 4_000]), (6.5, [0, 0]), (12.0, [0, 0])):
        bench = Bench("ev", assets, tick_minutes=15, start_hour=hour)
        _, quantity = bench.offer([0.4, 50, 0, 0])
        m = bench.deliver(quantity)
        assert m.up_w.tolist() == up, hour
        assert m.down_w.tolist() == ([0, 0] if hour == 12 else [6_000, 6_000]), hour


def test_urgent_charging_is_not_sold_as_reserve() -> None:
    asset = {**VEHICLE, "vehicle_to_grid": True, "initial_state_of_charge": 0.5725}
    bench = Bench("ev", [asset], tick_minutes=15, start_hour=7.5)
    shape = bench.reserve(bench.view(reserve_w=ASKED), [1, 50, 1, 90])
    # 2.75 kWh lacking: the whole charger in this tick, the rest in the next.
    assert bench.quantity[0].tolist() == [10_000, 0, 0]
    assert not shape.quantity.any()


@settings(max_examples=25)
@given(
    start=st.integers(0, 23),
    efficiency=st.sampled_from([0.5, 0.81, 1.0]),
    v2g=st.booleans(),
    state=st.floats(0.3, 1),
    moves=st.lists(st.tuples(st.floats(0, 1), st.floats(-1, 1)), min_size=1, max_size=20),
)
def test_responses_do_not_keep_a_vehicle_from_its_need(
    start: int, efficiency: float, v2g: bool, state: float, moves: list[tuple[float, float]]
) -> None:
    asset = {
        **VEHICLE,
        "vehicle_to_grid": v2g,
        "round_trip_efficiency": efficiency,
        "initial_state_of_charge": state,
        "trip_energy_mwh": 0.02,
    }
    bench, drawn = Bench("ev", [asset], tick_minutes=30, start_hour=start), 0
    for tick in range(80):
        share, response = moves[tick % len(moves)]
        price, quantity = bench.offer([share, 20, 1 - share, 40])
        bench.respond(activated_w=drawn)
        accepted = np.where(price >= 3000, quantity, np.floor(quantity * share)).astype(np.int64)
        m = bench.deliver(accepted)
        # A visit begun before the run may lack the time.
        assert m.missed_mwh[0] <= 1e-9 or tick < 30
        drawn = int((m.up_w if response > 0 else m.down_w)[0] * response)


def test_a_home_responds_with_its_battery_alone() -> None:
    asset = {"energy_mwh": 0.01, "power_mw": 0.005, "round_trip_efficiency": 1.0}
    bench = Bench("home", [{**asset, "load_mw": 0.003, "solar_mw": 0.004}], tick_minutes=60)
    bench.offer([0, 0, 0, 0])
    m = bench.deliver(bench.quantity)
    assert (m.up_w[0], m.down_w[0]) == (5_000, 5_000)
    # 2 kW out; of 5 kW shed the load takes 3, of 5 kW held back the sun takes 4.
    bench.respond(activated_w=2_000, shed_w=5_000, held_back_w=5_000)
    assert bench.s.stored_mwh[0] == pytest.approx(0.005 - 0.002 - 0.002 + 0.001)


def test_a_home_that_sells_below_the_sun_sells_no_more_reserve_than_it_spares() -> None:
    asset = {"energy_mwh": 0.01, "power_mw": 0.005, "round_trip_efficiency": 1.0, "load_mw": 0}
    bench = Bench("home", [asset], tick_minutes=60)
    for price, up in ((-5, 2_000), (0, 5_000)):
        shape = bench.reserve(bench.view(reserve_w=ASKED), [0, 0, 0.6, price])
        assert shape.quantity[0, [0, 2]].sum() == up, price


@pytest.mark.parametrize("kind", ["solar", "wind"])
def test_a_capped_plant_can_go_up_and_a_running_one_down(kind: str) -> None:
    bench = Bench(kind, [{"capacity_mw": 10}] * 3)
    bench.offer([0.0])
    m = bench.deliver(
        [[10_000_000], [4_000_000], [10_000_000]],
        {"availability": 0.8},
        failed=[False, False, True],
    )
    assert m.down_w.tolist() == [8_000_000, 4_000_000, 0]
    assert m.up_w.tolist() == [0, 4_000_000, 0]
    assert [column.tolist() for column in bench.respond(-1_000_000)] == [[0, 0, 0]] * 2


def test_a_plant_that_expects_not_to_run_offers_no_reserve() -> None:
    bench = Bench("wind", [{"capacity_mw": 10}, {"capacity_mw": 10, "offer_price_per_mwh": -40}])
    view = bench.view(reserve_w=ASKED, price_forecast=np.full(24, -10.0))
    shape = bench.reserve(view, [[0.0], [-40.0]])
    assert shape.quantity.tolist() == [[0, 0, 0, 0], [0, 7_500_000, 0, 2_500_000]]
    assert shape.energy_price[1].tolist() == [-40] * 4


def test_a_failure_is_sudden_once_and_as_large_as_what_it_took() -> None:
    bench = Bench("storage", [CELLS] * 3, tick_minutes=60)
    bench.offer([1, 0, 1, 10])
    accepted = [[0, 9_000_000], [7_000_000, 0], [0, 9_000_000]]
    m = bench.deliver(accepted, failed=True, struck=[True, True, False])
    assert m.sudden_w.tolist() == [-9_000_000, 7_000_000, 0]
    assert m.delivered_w.tolist() == [0, 0, 0]

    units = Bench("generator", [{**UNIT, "mean_time_to_failure_hours": 10}] * 3)
    units.offer(RUN)
    u = np.array([[0.0, 0.5, 0, 0], [NEVER] * 4, [NEVER] * 4])
    m = units.deliver(units.quantity, uniforms=u, failed=[0, 0, 1], struck=[False, False, True])
    assert m.sudden_w.tolist() == [-100_000_000, 0, -100_000_000]
    units.offer(RUN)
    m = units.deliver(units.quantity, uniforms=u, failed=[0, 0, 1], struck=False)
    assert m.sudden_w.tolist() == [0, 0, 0]

    flexible = Bench("consumer", [LOAD])
    flexible.offer([1, 30, 0, 0])
    m = flexible.deliver([10_000_000, 0, 4_000_000], failed=True, struck=True)
    assert m.sudden_w.tolist() == [-4_000_000]


def steps_of(kind: str, assets: list[dict[str, Any]], effect: Effect, ticks: int) -> list[Any]:
    """Meters of each interval where all that is offered is accepted."""
    of = shard(kind, assets, effects=(effect,), physical=True)
    told, found = NONE, []
    for tick in range(ticks + 1):
        reply = of.step(signal(tick, price_forecast=np.full(24, 90.0)), told, NONE)
        told = reply.orders.quantity
        if reply.meters is not None:
            found.append((reply.meters, set(reply.orders.agent.tolist())))
    return found


@pytest.mark.parametrize(("kind", "load"), [("consumer", 50_000_000), ("home", 3_000)])
def test_a_load_step_is_sudden_at_its_begin_and_at_its_end(kind: str, load: int) -> None:
    asset = {"solar_mw": 0} if kind == "home" else {"flexible_mw": 0}
    effect = Effect("load", 2, 4, (0,), 1.5)
    meters = [m for m, _ in steps_of(kind, [asset] * 2, effect, 6)]
    sudden = [m.sudden_w.tolist() for m in meters]
    jump = load // 2
    assert sudden == [[0, 0], [0, 0], [-jump, 0], [0, 0], [jump, 0], [0, 0]]
    # At the start of a run nothing jumps: there is nothing before it.
    early = steps_of(kind, [asset] * 2, Effect("load", 0, 2, (0,), 1.5), 4)
    assert [m.sudden_w[0] for m, _ in early] == [0, 0, jump, 0]


@pytest.mark.parametrize("kind", ["generator", "solar", "wind"])
def test_who_failed_sells_one_tick_it_does_not_deliver_and_then_knows(kind: str) -> None:
    effect = Effect("outage", 1, 4, (1,))
    seen = steps_of(kind, [{"capacity_mw": 10}] * 2, effect, 6)
    # The offers beside the meters of tick t are those for t + 1.
    assert [1 in offered for _, offered in seen] == [True, False, False, False, True, True]
    assert [int(m.sudden_w[1]) for m, _ in seen] == [0, -10_000_000, 0, 0, 0, 0]
    assert [int(m.delivered_w[1]) for m, _ in seen] == [10_000_000, 0, 0, 0, 0, 10_000_000]
    assert all(m.delivered_w[0] == 10_000_000 for m, _ in seen)


def test_cost_of_a_response_is_booked_one_tick_late_at_its_own_carbon_price() -> None:
    of = shard("generator", [{**UNIT, "marginal_cost_slope_per_mw": 0}], physical=True)
    told, costs = NONE, []
    for tick in range(5):
        drawn = None
        if tick == 3:
            # Of interval 1, whose carbon price was 100: 20 + 50 per MWh.
            drawn = Response(*(np.array([w]) for w in (-6_000_000, 0, 0)))
        now = signal(
            tick,
            price_forecast=np.full(24, 90.0),
            carbon_price_per_tonne=100.0 if tick == 1 else 0.0,
        )
        reply = of.step(now, told, NONE, response=drawn)
        told = reply.orders.quantity
        if reply.meters is not None:
            costs.append((int(reply.meters.cost_micro[0]), int(reply.meters.generation_w[0])))
    hours = 5 / 60
    cost, output = np.array(costs).T / 1e6
    extra = cost - output * [20, 70, 20, 20] * hours
    np.testing.assert_allclose(extra, [0, 0, -6 * 70 * hours, 0], atol=1e-5)
