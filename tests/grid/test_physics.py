"""One interval of the real grid, on grids small enough to know the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.grid.physics import Happened, Physics
from swarm.messages import Meters
from tests.grid.grids import MW, UNIT, fleet, metered, scenario, spec_of

# In global order: town, works, unit, store.
FLEETS = (
    fleet("town", "consumer", {"load_mw": 60, "shed_priority": 5, "critical_share": 0.5}),
    fleet("unit", "generator", UNIT),
    fleet("store", "storage", {"power_mw": 20, "energy_mwh": 80}),
    fleet("works", "consumer", {"load_mw": 40, "shed_priority": 1, "critical_share": 0.25}),
)
TOWN, WORKS, MACHINE, STORE = range(4)
INERTIA_KWS = 600_000
OUTSIDE = {"import_limit_mw": 50, "export_limit_mw": 30, "rated_mva": 2000}


def physics(**given: Any) -> Physics:
    return Physics(spec_of(scenario(*FLEETS, **given)))


def meters(generation: float, town: float = 60, works: float = 40, **given: Any) -> Meters:
    return metered(
        load_w=[town, works, 0, 0],
        generation_w=[0, 0, generation, 0],
        battery_w=given.pop("battery_w", [0, 0, 0, 0]),
        inertia_kws=[0, 0, INERTIA_KWS, 0],
        **given,
    )


def run(
    p: Physics, *intervals: Meters, schedule_w: int = 0, first: int = 0, gain: float = 1.0
) -> Happened:
    """The last of these intervals; all books are checked."""
    for tick, given in enumerate(intervals, first):
        found = p.run(tick, given, schedule_w, gain)
        r = found.response
        at_meters = int((given.delivered_w + r.activated_w + r.shed_w - r.held_back_w).sum())
        left = at_meters - found.losses_w + found.flow_w + found.inertial_w + found.damping_w
        assert left == found.spilled_w - found.unshed_w
    return found


def test_a_balanced_island_stands_still() -> None:
    found = run(physics(), meters(100), meters(100))
    assert found.drawn is None
    assert found.frequency.minimum_hz == found.frequency.maximum_hz == 50.0
    assert (found.imbalance_w, found.flow_w, found.inertial_w, found.damping_w) == (0, 0, 0, 0)
    assert not found.connected


def test_a_step_of_load_is_taken_up_by_the_headroom_of_the_unit() -> None:
    step = meters(80, town=42, up_w=[0, 0, 20, 0], sudden_w=[-2, 0, 0, 0])
    found = run(physics(), meters(80, town=40), step)
    assert found.imbalance_w == -2 * MW
    assert 49.8 < found.frequency.minimum_hz < 49.95
    assert found.frequency.end_hz == pytest.approx(50.0, abs=0.005)
    gave = found.response.activated_w
    assert gave.tolist() == [0, 0, gave[MACHINE], 0]
    assert gave[MACHINE] + found.damping_w + found.inertial_w == 2 * MW
    # 2 E f' / f0 = -P at the first moment, slower over half a second.
    at_once = 50 * 2 / (2 * 600)
    assert 0.6 * at_once < found.frequency.steepest_hz_per_s < at_once


def test_secondary_control_without_gain_leaves_the_deviation_to_droop() -> None:
    step = meters(80, town=42, up_w=[0, 0, 20, 0], sudden_w=[-2, 0, 0, 0])
    found = run(physics(), meters(80, town=40), step, gain=0.0)
    # Beyond a deadband of 0.01 Hz droop gives 100 MW per 2.5 Hz; load falls 1 % per 0.5 Hz.
    per_hz, load_per_hz = 100 / 2.5, 82 / 50
    deviation = (2 + 0.01 * per_hz) / (per_hz + load_per_hz)
    assert 50 - found.frequency.end_hz == pytest.approx(deviation, rel=1e-3)


def test_loss_of_the_unit_without_help_ends_in_a_blackout() -> None:
    # Relays shed half of the load; the other half has nothing to live on.
    dead = meters(0, sudden_w=[0, 0, -100, 0])
    p = physics(grid={"swarm": False})
    found = run(p, meters(100), dead)
    steps = [event.step for event in found.frequency.events]
    assert steps.count("under_frequency_shedding") == 4
    assert steps[-1] == "blackout"
    assert p.emergency
    assert (found.response.shed_w <= dead.load_w).all()
    assert found.response.shed_w.sum() > 95 * MW
    # The next interval starts at nominal frequency, calm.
    again = run(p, meters(100), first=2)
    assert not p.emergency
    assert again.frequency.events == ()
    assert again.drawn is None


def test_relays_shed_the_load_of_low_priority_first() -> None:
    p = physics(grid={"swarm": False, "shedding": {"share": 0.1}})
    # 8 MW short for good and no reserve: one or two relays of 10 MW each.
    found = run(p, meters(100), meters(92, sudden_w=[0, 0, -8, 0]))
    shed = found.response.shed_w
    assert 0 < shed[WORKS] <= 30 * MW, "three quarters of 40 MW are not critical"
    assert shed[TOWN] == 0
    assert p.emergency


def test_an_alert_takes_batteries_before_load() -> None:
    short = meters(80, up_w=[0, 0, 0, 20], sudden_w=[0, 0, -20, 0])
    found = run(physics(), meters(100), short)
    steps = [event.step for event in found.frequency.events]
    assert steps.index("detection") < steps.index("alert") < steps.index("storage")
    assert "under_frequency_shedding" not in steps
    gave = found.response.activated_w
    assert 0 < gave[STORE] <= 20 * MW
    assert gave.sum() == gave[STORE]
    assert found.frequency.minimum_hz > 49.0
    assert found.frequency.response_s == pytest.approx(0.02 + 0.05, abs=0.011)


def test_the_connection_takes_what_is_left_within_its_limits() -> None:
    p = physics(outside=OUTSIDE)
    assert run(p, meters(80), schedule_w=20 * MW).flow_w == 20 * MW
    found = run(p, meters(40), schedule_w=20 * MW, first=1)
    # 60 MW short: 50 flow in and the rest is cut from the works.
    assert found.flow_w == pytest.approx(50 * MW, rel=1e-3)
    assert found.flow_w <= 50 * MW
    assert found.response.shed_w[WORKS] == pytest.approx(10 * MW, rel=1e-2)
    over = run(physics(outside=OUTSIDE), meters(100, town=20), schedule_w=-40 * MW)
    assert over.flow_w == -30 * MW
    assert over.response.held_back_w.tolist() == [0, 0, 10 * MW, 0]
    # Less is exported than was sold, so frequency is a little low and the load a little less.
    assert 0 < over.spilled_w == over.damping_w + over.inertial_w < 0.01 * MW


def test_losing_the_connection_is_sudden_and_its_return_is_not() -> None:
    lost = {"type": "islanding", "tick": 1, "duration_minutes": 5}
    p = physics(outside=OUTSIDE, events=[lost])
    before = run(p, meters(90, up_w=[0, 0, 10, 20]), schedule_w=10 * MW)
    assert before.connected
    island = run(p, meters(90, up_w=[0, 0, 10, 20]), schedule_w=10 * MW, first=1)
    assert not island.connected
    assert island.flow_w == 0
    event = island.frequency.events[0]
    assert (event.step, event.second) == ("sudden", 0.0)
    assert event.power_w == -before.flow_w
    back = run(p, meters(90, up_w=[0, 0, 10, 20]), schedule_w=10 * MW, first=2)
    assert back.connected
    assert "sudden" not in [event.step for event in back.frequency.events]
    assert back.frequency.maximum_hz < 50.2


def test_a_plant_cut_back_before_it_trips_does_not_go_below_zero() -> None:
    # Most load is lost: wind and machine are called back, then the machine trips.
    fleets = (FLEETS[0], fleet("farm", "wind", {"capacity_mw": 50}), FLEETS[1])
    p = Physics(spec_of(scenario(*fleets)))

    def interval(load: float, **given: Any) -> Meters:
        return metered(
            load_w=[load, 0, 0],
            generation_w=[0, 30, 30],
            inertia_kws=[0, 5 * INERTIA_KWS, 0],
            down_w=[0, 30, 30],
            **given,
        )

    run(p, interval(60))
    given_ = interval(15, sudden_w=[45, 0, 0])
    found = run(p, given_, first=1)
    assert "trip" in [event.step for event in found.frequency.events]
    plants = given_.generation_w + found.response.activated_w - found.response.held_back_w
    assert (plants >= 0).all()


def test_without_a_machine_grid_forming_inverters_stand_in() -> None:
    given_ = metered(load_w=[60, 0, 0, 0], generation_w=[0, 0, 0, 0], battery_w=[0, 0, 0, 60])
    found = run(physics(), given_)
    assert found.frequency.end_hz == pytest.approx(50.0)
    assert np.isfinite(found.frequency.minimum_hz)


def test_the_same_intervals_give_the_same_watts() -> None:
    step = meters(75, up_w=[2, 0, 20, 20], down_w=[0, 0, 20, 20], sudden_w=[0, 0, -25, 0])
    one, two = (run(physics(), meters(100), step, meters(95)) for _ in range(2))
    assert one.response.activated_w.tolist() == two.response.activated_w.tolist()
    assert one.frequency.end_hz == two.frequency.end_hz
