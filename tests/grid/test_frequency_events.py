"""Load shedding, protection, blackout: what acts when limits of frequency are passed."""

import math

import numpy as np
import pytest

from swarm.grid.frequency import AreaSpec, Interval, Responders, Trips, simulate, start

S = 1e9
RESERVE = Responders(
    *np.array([[0.1 * S, 0.01, 0.03 * S, 0.03 * S, 0.0, math.inf, 0.2, 8.0, 0.4]]).T
)
NONE = Responders(*np.zeros((9, 0)))


def area(step, *, seconds=60.0, sudden=True, groups=NONE, secondary=0.0, ramp_s=0.0, **changes):
    values = {
        "seconds": seconds,
        "kinetic_ws": 4.0 * S,
        "load_w": S,
        "sudden_w": step * S if sudden else 0.0,
        "imbalance_w": step * S,
        "ramp_s": ramp_s,
        "responders": groups,
        "secondary_up_w": secondary * S,
        "secondary_down_w": secondary * S,
        **changes,
    }
    return Interval(**values)


def steps(result, name):
    return [event for event in result.events if event.step == name]


@pytest.mark.parametrize("nominal", [50.0, 60.0])
def test_shedding_follows_thresholds_and_delay(nominal):
    """Without damping or response frequency falls linearly: times are known."""
    spec = AreaSpec(nominal, 0.0)
    result = simulate(spec, start(spec, 0), area(-0.16, seconds=5.0))
    # 2 H = 8 s: 0.02 pu/s, so 0.98 pu after 1.0 s; the relay waits 0.15 s.
    first, second = steps(result, "under_frequency_shedding")
    assert first.second == pytest.approx(1.15, abs=1e-3)
    assert first.power_w == pytest.approx(0.125 * S)
    # Then -0.035: from 0.977 pu on 0.004375 pu/s, 0.976 pu after 0.2286 s.
    assert second.second == pytest.approx(1.15 + 0.001 / 0.004375 + 0.15, abs=2e-3)
    expected = (5.0 - first.second + 5.0 - second.second) * 0.125 * S / 5.0
    assert result.shed_w == pytest.approx(expected, rel=1e-6)
    assert result.state.shed.tolist() == [True, True, False, False]


def test_a_short_dip_sheds_nothing():
    spec = AreaSpec(50.0, 0.0, shed_delay_s=0.5)
    # 0.9 Hz/s down for 1.2 s, then up again: below 49.0 Hz for less than the delay.
    fast = Responders(*np.array([[0.4 * S, 0.8, S, S, 0.0, math.inf, 0.05, 0.0, 1.0]]).T)
    result = simulate(spec, start(spec, 1), area(-0.14, seconds=5.0, groups=fast))
    assert result.minimum_hz < 49.0
    slow = AreaSpec(50.0, 0.0, shed_delay_s=10.0)
    assert not steps(
        simulate(slow, start(slow, 1), area(-0.14, groups=fast, seconds=5.0)),
        "under_frequency_shedding",
    )
    assert steps(result, "under_frequency_shedding")


def test_shed_load_stays_off_and_returns_step_by_step():
    spec = AreaSpec(50.0, 1.0)
    groups = Responders(
        *np.array([[0.3 * S, 0.01, 0.08 * S, 0.08 * S, 0.0, math.inf, 0.2, 8.0, 0.4]]).T
    )
    first = simulate(spec, start(spec, 1), area(-0.3, groups=groups, secondary=0.05, seconds=300.0))
    shed = int(first.state.shed.sum())
    assert shed >= 2
    # Supply comes back over the next intervals, and load with it, feeder by feeder.
    state, returned = first.state, 0
    for mean in (-0.1, 0.0, 0.0, 0.0):
        case = area(mean, sudden=False, ramp_s=60.0, groups=groups, secondary=0.05, seconds=300.0)
        result = simulate(spec, state, case)
        for event in steps(result, "restoration"):
            assert event.frequency_hz >= 49.9
            returned += 1
        assert not steps(result, "under_frequency_shedding")
        assert result.minimum_hz > 49.8
        assert result.maximum_hz < 50.8
        state = result.state
    assert returned == shed
    assert not state.shed.any()
    assert result.shed_w < 0.125 * S


def test_only_load_returns_that_supply_can_carry():
    """Two steps of 12.5 % for a deficit of 20 %: what is too much returns, the rest stays off."""
    spec = AreaSpec(50.0, 1.0)
    state = start(spec, 1)
    for k in range(2):
        case = area(-0.2, sudden=k == 0, groups=RESERVE, secondary=0.03, seconds=120.0)
        result = simulate(spec, state, case)
        state = result.state
    assert abs(result.end_hz - 50.0) < 0.05
    off = 0.125 * S * (state.shed.sum() - state.returned_share)
    assert 0.2 * S - 0.03 * S - 0.02 * S < off < 0.2 * S
    assert not steps(result, "under_frequency_shedding")


def test_generation_trips_with_its_inertia():
    trips = Trips(
        *np.array(
            [
                [0.1 * S, 1.0 * S, 49.5, 51.5, 0.2],
                [0.1 * S, 1.0 * S, 47.0, 51.5, 0.2],
            ]
        ).T
    )
    spec = AreaSpec(50.0, 0.0, shed_at_pu=())
    result = simulate(spec, start(spec, 0, trips=2), area(-0.04, seconds=3.0, trips=trips))
    # 0.25 Hz/s: 49.5 Hz after 2 s, trip 0.2 s later.
    (event,) = steps(result, "trip")
    assert event.second == pytest.approx(2.2, abs=1e-3)
    assert result.tripped_w == pytest.approx([-0.1 * S * 0.8 / 3.0, 0.0], rel=2e-3)
    # Then 0.14 on 3 s of inertia.
    rate = 0.14 / 6.0 * 50.0
    assert result.end_hz == pytest.approx(50.0 - 0.25 * 2.2 - rate * 0.8, abs=2e-3)
    again = simulate(
        spec, result.state, area(0.1, sudden=False, seconds=3.0, trips=trips, ramp_s=0.0)
    )
    assert again.tripped_w[0] == pytest.approx(-0.1 * S)


def test_over_frequency_trips_generation():
    trips = Trips(*np.array([[0.2 * S, 0.0, 47.0, 51.0, 0.1]]).T)
    spec = AreaSpec(50.0, 1.0)
    result = simulate(spec, start(spec, 0, trips=1), area(0.2, seconds=30.0, trips=trips))
    assert [e.step for e in result.events if e.step == "trip"] == ["trip"]
    assert result.end_hz < result.maximum_hz - 0.5


def test_changes_of_frozen_power_between_intervals_are_no_disturbance():
    """A block that tripped leaves the schedule: its loss is not counted twice, nor given back."""
    trips = Trips(*np.array([[0.05 * S, 0.0, 49.9, 51.5, 0.1]]).T)
    spec = AreaSpec(50.0, 1.0, shed_at_pu=(), detect_pu=1.0, detect_rocof_pu_per_s=1e3)
    one = simulate(spec, start(spec, 1, trips=1), area(-0.01, groups=RESERVE, trips=trips))
    assert one.state.tripped.all()
    gone = Trips(*np.array([[0.0, 0.0, 49.9, 51.5, 0.1]]).T)
    later = area(-0.06, sudden=False, groups=RESERVE, trips=gone, seconds=60.0, ramp_s=20.0)
    two = simulate(spec, one.state, later)
    assert two.steepest_hz_per_s < 0.01


def test_blackout_and_a_fresh_start():
    spec = AreaSpec(50.0, 1.0)
    case = area(-0.9, groups=RESERVE, secondary=0.02, seconds=30.0)
    result = simulate(spec, start(spec, 1), case)
    (event,) = steps(result, "blackout")
    assert event.frequency_hz == pytest.approx(45.0, abs=0.1)
    assert result.state.blackout
    assert result.settled_s == math.inf
    assert result.shed_w > (30.0 - event.second) / 30.0 * S
    total = (
        case.imbalance_w
        + result.containment_w.sum()
        + result.secondary_w
        + result.shed_w
        + result.blackout_w
        + result.damping_w
        + result.inertial_w
    )
    assert abs(total) < 1e-6 * S
    after = simulate(spec, result.state, area(0.0, groups=RESERVE, sudden=False, secondary=0.02))
    assert after.minimum_hz == after.maximum_hz == 50.0
    assert after.shed_w == 0.0
    assert not after.state.blackout


def test_losing_all_inertia_is_a_blackout():
    trips = Trips(*np.array([[0.1 * S, 4.0 * S, 49.8, 51.5, 0.1]]).T)
    spec = AreaSpec(50.0, 1.0)
    result = simulate(spec, start(spec, 0, trips=1), area(-0.05, trips=trips))
    assert [e.step for e in result.events][-2:] == ["trip", "blackout"]
