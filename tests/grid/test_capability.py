"""What agents could give in an interval, worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.grid.capability import Capability
from swarm.grid.devices import Devices, devices
from swarm.messages import Meters, no_meters
from swarm.scenario.grid import Grid, Reserves
from swarm.scenario.roster import Roster
from tests.agents.helpers import roster

MW = 1_000_000
# In global order: consumer, generator (two), solar, storage (two).
ASSETS: tuple[tuple[str, list[dict[str, Any]]], ...] = (
    (
        "consumer",
        [
            {
                "load_mw": 10,
                "flexible_mw": 2,
                "critical_share": 0.75,
                "shed_priority": 3,
                "response_delay_s": 0.5,
            }
        ],
    ),
    (
        "generator",
        [
            {"capacity_mw": 100, "droop": 0.05, "rated_mva": 120, "inertia_s": 5},
            {"capacity_mw": 50, "droop": None, "reheat_time_constant_s": 0},
        ],
    ),
    ("solar", [{"capacity_mw": 20}]),
    (
        "storage",
        [
            {"power_mw": 10, "response_delay_s": 0.04, "response_ramp_s": 0.2},
            {"power_mw": 30, "response_delay_s": 0.042, "response_ramp_s": 0.2},
        ],
    ),
)
LOAD, UNIT, STIFF, SUN, QUICK, LATE = range(6)


def rosters() -> list[Roster]:
    found: list[Roster] = []
    for kind, assets in ASSETS:
        found.append(roster(kind, assets, first=sum(len(part) for part in found)))
    return found


def known(nominal_hz: float = 50.0) -> Devices:
    return devices(rosters(), nominal_hz)


def meters(**given: list[int]) -> Meters:
    columns = no_meters(6)
    return Meters(**{**columns, **{k: MW * np.array(v) for k, v in given.items()}})


def capability(
    grid: Grid, nominal_hz: float = 50.0, outside_va: float = 0.0, gain: float = 0.0
) -> Capability:
    return Capability(known(nominal_hz), grid, nominal_hz, outside_va, gain)


RESERVE = Grid(reserves=Reserves(containment_mw=5, restoration_mw=5))
HEADROOM = {
    "generation_w": [0, 60, 30, 10, 0, 0],
    "up_w": [2, 40, 20, 0, 10, 30],
    "down_w": [0, 60, 30, 10, 10, 30],
}
NONE = np.zeros(6, dtype=np.int64)


def test_groups_are_of_equal_dynamics_to_a_hundredth_of_a_second() -> None:
    groups = known().groups
    of = groups.of_agent
    assert of[QUICK] == of[LATE], "42 ms is 40 ms"
    assert len(set(of.tolist())) == 5
    assert groups.delay_s[of].tolist() == [0.5, 0, 0, 0.05, 0.04, 0.04]
    assert groups.ramp_s[of].tolist() == [0, 0, 0, 0.1, 0.2, 0.2]
    assert groups.reheat_lag_s[of].tolist() == [0, 8, 0, 0, 0, 0]


@pytest.mark.parametrize("nominal_hz", [50, 60])
def test_droop_is_per_unit_of_capacity_and_nominal_frequency(nominal_hz: float) -> None:
    # All of its 100 MW within 5 % of nominal frequency.
    full = known(nominal_hz).gain_w_per_hz * 0.05 * nominal_hz
    assert full == pytest.approx([0, 100 * MW, 0, 0, 0, 0])


def test_without_a_reserve_market_governors_and_secondary_control_have_half_each() -> None:
    limits = capability(Grid()).limits(meters(**HEADROOM), NONE)
    assert (limits.containment_up // MW).tolist() == [0, 20, 0, 0, 0, 0]
    assert (limits.containment_down // MW).tolist() == [0, 30, 0, 0, 0, 0]
    # A unit without a governor leaves all of its headroom to secondary control.
    assert (limits.restoration_up // MW).tolist() == [0, 20, 20, 0, 0, 0]
    assert (limits.restoration_down // MW).tolist() == [0, 30, 30, 0, 0, 0]
    assert (limits.storage_up // MW).tolist() == [0, 0, 0, 0, 10, 30]
    assert (limits.generation_up // MW).tolist() == [0, 0, 0, 0, 0, 0]
    assert (limits.generation_down // MW).tolist() == [0, 0, 0, 10, 0, 0]
    assert limits.gain_w_per_hz == pytest.approx(known().gain_w_per_hz)
    standing = {**HEADROOM, "generation_w": [0, 0, 30, 10, 0, 0]}
    assert not capability(Grid()).limits(meters(**standing), NONE).gain_w_per_hz.any()


def test_reserve_that_was_sold_answers_and_the_rest_is_for_emergencies() -> None:
    sold = {
        "containment_up_w": [0, 8, 0, 0, 4, 0],
        "containment_down_w": [0, 0, 0, 0, 6, 0],
        "restoration_up_w": [1, 5, 0, 0, 8, 0],
        "restoration_down_w": [0, 5, 0, 0, 0, 20],
    }
    limits = capability(RESERVE).limits(meters(**HEADROOM, **sold), NONE)
    assert (limits.containment_up // MW).tolist() == [0, 8, 0, 0, 4, 0]
    assert (limits.restoration_up // MW).tolist() == [1, 5, 0, 0, 6, 0], "10 of storage in all"
    assert (limits.storage_up // MW).tolist() == [0, 0, 0, 0, 0, 30]
    assert (limits.storage_down // MW).tolist() == [0, 0, 0, 0, 4, 10]
    assert (limits.generation_up // MW).tolist() == [0, 27, 20, 0, 0, 0]
    assert (limits.generation_down // MW).tolist() == [0, 55, 30, 10, 0, 0]
    assert limits.held_w == sum(MW * part for part in (12, 6, 12, 25))
    # Full containment 0.2 Hz off nominal, from 0.01 Hz on, the larger direction.
    assert limits.gain_w_per_hz * 0.19 / MW == pytest.approx([0, 8, 0, 0, 6, 0])
    at_60 = capability(RESERVE, 60.0).limits(meters(**HEADROOM, **sold), NONE)
    assert at_60.gain_w_per_hz * 0.19 * 1.2 / MW == pytest.approx([0, 8, 0, 0, 6, 0])


def test_generation_that_voltage_holds_back_cannot_come_back() -> None:
    held = np.array([0, 0, 0, 4, 0, 0]) * MW
    limits = capability(RESERVE).limits(meters(**{**HEADROOM, "up_w": [0, 0, 0, 5, 0, 0]}), held)
    assert limits.generation_down[SUN] == 6 * MW
    assert not limits.generation_up.any()
    assert not limits.restoration_up.any()


def test_responders_are_the_groups_and_the_grid_outside() -> None:
    sold = {"containment_up_w": [0, 8, 0, 0, 4, 6], "containment_down_w": [0, 0, 0, 0, 6, 0]}
    ours = capability(RESERVE, outside_va=400e6, gain=7e6)
    limits = ours.limits(meters(**HEADROOM, **sold), NONE)
    alone, joined = (ours.responders(limits, connected) for connected in (False, True))
    assert ours.shape == (6, 5, 10, 2)
    groups = known().groups.of_agent
    assert joined.up_w[groups[[UNIT, QUICK]]].tolist() == [8 * MW, 10 * MW]
    assert joined.down_w[groups[QUICK]] == 6 * MW
    # 10 MW in 0.2 s; a governor has lags instead of a ramp.
    assert joined.ramp_w_per_s[groups[QUICK]] == pytest.approx(50 * MW)
    assert joined.ramp_w_per_s[groups[UNIT]] == np.inf
    assert joined.deadband_hz[:-1].tolist() == [0.01] * 5
    assert (joined.up_w[-1], joined.gain_w_per_hz[-1]) == (200e6, 7e6)
    assert (alone.up_w[-1], alone.gain_w_per_hz[-1]) == (0.0, 0.0)


def test_a_call_takes_batteries_and_the_load_that_is_not_critical() -> None:
    ours = capability(RESERVE)
    metered = meters(**HEADROOM, load_w=[8, 0, 0, 0, 0, 0])
    have = ours.emergency(ours.limits(metered, NONE), metered, NONE)
    group = known().groups.of_agent[QUICK]
    assert have.storage_up_w[group] == 40 * MW
    assert have.storage_up_w.sum() == 40 * MW
    assert have.load_w.tolist() == [0, 0, 0, 2 * MW, 0, 0, 0, 0, 0, 0], "a quarter of 8, priority 3"
    assert have.load_delay_s[3] == 0.5
    assert (have.generation_up_w, have.generation_down_w) == (60 * MW, 100 * MW)
    # Headroom is what ramps reach in five minutes.
    assert have.generation_ramp_w_per_s == pytest.approx(100 * MW / 300)
    cut = np.array([2, 0, 0, 0, 0, 0]) * MW
    assert not ours.emergency(ours.limits(metered, NONE), metered, cut).load_w.any(), "cut already"
    alone = capability(Grid(swarm=False))
    assert not alone.emergency(alone.limits(metered, NONE), metered, NONE).load_w.any()


def test_protection_takes_inverters_before_machines() -> None:
    metered = meters(**HEADROOM)
    metered.inertia_kws[UNIT] = 600_000
    trips = capability(RESERVE).trips(metered, NONE)
    assert trips.power_w.tolist() == [90 * MW, 10 * MW]
    assert trips.kinetic_ws.tolist() == [600e6, 0]
    assert trips.under_hz.tolist() == [47.5, 47.5]
    assert trips.over_hz.tolist() == [52.0, 51.5]
    at_60 = capability(RESERVE, 60.0).trips(metered, NONE)
    assert at_60.over_hz == pytest.approx([62.4, 61.8])
    held = np.array([0, 0, 0, 10, 0, 0]) * MW
    assert capability(RESERVE).trips(metered, held).power_w.tolist() == [90 * MW, 0]
