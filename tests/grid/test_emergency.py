"""The emergency protocol: order, limits, speed, and the way back."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.grid.frequency import (
    AreaSpec,
    EmergencyResources,
    Interval,
    Responders,
    simulate,
    start,
)
from swarm.grid.frequency_types import at_rest

S = 1e9
SPEC = AreaSpec(50.0, 1.0)
DROOP = Responders(*np.array([[0.2 * S, 0.01, 0.02 * S, 0.02 * S, 0.0, math.inf, 0.3, 8.0, 0.3]]).T)


def resources(storage=0.03, loads=(0.01, 0.02, 0.03), generation=0.02, delay=0.05, ramp=0.1):
    """Three storage units of unlike size, blocks of load, one total of generation."""
    size = np.array([0.5, 0.3, 0.2]) * storage * S
    return EmergencyResources(
        size,
        size,
        np.full(3, delay),
        np.full(3, ramp),
        np.array(loads) * S,
        np.full(len(loads), 0.4),
        generation * S,
        generation * S,
        generation * S / 60.0 + 1.0,
    )


def interval(step, have, *, sudden=True, seconds=60.0, secondary=0.03):
    return Interval(
        seconds=seconds,
        kinetic_ws=4.0 * S,
        load_w=S,
        sudden_w=step * S if sudden else 0.0,
        imbalance_w=step * S,
        ramp_s=0.0,
        responders=DROOP,
        secondary_up_w=secondary * S,
        secondary_down_w=secondary * S,
        emergency=have,
    )


def first_interval(step, have, **changes):
    state = start(SPEC, 1, have.storage_up_w.size, have.load_w.size)
    return simulate(SPEC, state, interval(step, have, **changes))


def names(result):
    return [event.step for event in result.events]


def only(result, step):
    (event,) = [e for e in result.events if e.step == step]
    return event


def test_deficit_is_taken_from_the_rate_of_change():
    """Without any response the alert's figure is the imbalance itself."""
    spec = AreaSpec(50.0, 0.0)
    none = Responders(*np.zeros((9, 0)))
    for step in (-0.05, -0.2, 0.1):
        state = start(spec, 0, 3, 3)
        case = interval(step, resources())
        case = Interval(
            **{name: getattr(case, name) for name in case.__dataclass_fields__}
            | {"responders": none, "seconds": 2.0}
        )
        result = simulate(spec, state, case)
        alert = next(e for e in result.events if e.step == "alert")
        assert alert.power_w == pytest.approx(-step * S, rel=1e-3)


def test_order_and_speed():
    result = first_interval(-0.12, resources())
    seen = [n for n in names(result) if n != "under_frequency_shedding"]
    assert seen[:4] == ["sudden", "detection", "alert", "storage"]
    assert "load_shedding" in seen
    assert seen.index("storage") < seen.index("load_shedding") < seen.index("generation")
    detection, storage = only(result, "detection"), only(result, "storage")
    assert result.response_s == pytest.approx(storage.second - detection.second)
    assert result.response_s == pytest.approx(SPEC.alert_latency_s + 0.05)
    assert result.response_s < 0.1


def test_detection_by_rate_precedes_detection_by_deviation():
    result = first_interval(-0.2, resources())
    # 0.2 on 8 s is 1.25 Hz/s: the 100 ms window reads 1 Hz/s after 80 ms, at 49.9 Hz.
    assert only(result, "detection").second == pytest.approx(0.08, abs=0.01)
    slow = first_interval(-0.06, resources())
    assert only(slow, "detection").frequency_hz == pytest.approx(49.8, abs=0.01)


def test_no_emergency_for_what_reserves_carry():
    result = first_interval(-0.015, resources())
    assert names(result) == ["sudden"]
    assert math.isnan(result.response_s)
    assert not result.storage_w.any()


def test_load_goes_only_when_storage_is_exhausted_and_in_order():
    small = first_interval(-0.06, resources(storage=0.2))
    assert "load_shedding" not in names(small)
    assert (small.storage_w > 0.0).all()
    large = first_interval(-0.10, resources(loads=(0.01, 0.02, 0.03, 0.03), generation=0.0))
    off = large.state.emergency.load_off_w
    blocks = np.array([0.01, 0.02, 0.03, 0.03]) * S
    assert off.any()
    # All of a block before anything of the next.
    assert all(off[k] == pytest.approx(blocks[k]) for k in np.flatnonzero(off)[:-1])
    assert large.state.emergency.storage_w == pytest.approx(np.array([0.015, 0.009, 0.006]) * S)
    powers = [e.power_w for e in large.events if e.step == "load_shedding"]
    assert sum(powers) >= off.sum() - 1.0  # some of it may be back


def test_no_more_load_goes_than_is_needed():
    """0.12 lost: 0.03 of storage, and of the block of 0.5 what is left, but for generation."""
    have = resources(loads=(0.01, 0.5), generation=0.03)
    result = first_interval(-0.12, have, seconds=3.0)
    called = only(result, "alert").power_w
    soon = have.generation_ramp_w_per_s * SPEC.reassess_s
    off = result.state.emergency.load_off_w
    assert off.sum() == pytest.approx(called - 0.03 * S - soon, rel=1e-6)
    assert off[0] == pytest.approx(0.01 * S)
    assert result.generation_w > 0.0


def test_surplus_charges_storage_and_spares_load():
    result = first_interval(0.08, resources())
    assert (result.storage_w < 0.0).all()
    assert not result.noncritical_w.any()
    assert result.generation_w < 0.0


def test_storage_keeps_its_ramp():
    """Energy of a linear rise over one second, exactly."""
    result = first_interval(-0.3, resources(ramp=1.0, loads=(), generation=0.0), seconds=2.0)
    begun = only(result, "storage").second
    assert result.storage_w.sum() * 2.0 == pytest.approx(0.03 * S * (2.0 - begun - 0.5), rel=1e-3)


def test_recovery_gives_back_in_reverse_order():
    # The two blocks are shed at once; the imbalance then goes away.
    have = resources(loads=(0.01, 0.01))
    result = first_interval(-0.08, have, seconds=60.0)
    state = result.state
    assert state.emergency.load_off_w == pytest.approx(np.full(2, 0.01 * S))
    history = []
    for _ in range(6):
        result = simulate(SPEC, state, interval(0.0, have, sudden=False, seconds=120.0))
        state = result.state
        e = state.emergency
        history.append((abs(e.generation_w), float(e.load_off_w.sum()), e.storage_w.sum()))
        if e.phase == 0:
            break
    assert state.emergency.phase == 0
    assert history[-1] == (0.0, 0, 0.0)
    for earlier, later in pairwise(history):
        if later[1] < earlier[1]:
            assert later[0] == 0.0  # load returns after generation went back
        if 0.0 < later[2] < earlier[2]:
            assert later[1] == 0
    assert result.minimum_hz > 49.8


def test_the_last_block_shed_returns_first():
    have = resources(loads=(0.01, 0.01, 0.01))
    state = first_interval(-0.09, have, seconds=60.0).state
    assert state.emergency.load_off_w == pytest.approx(np.full(3, 0.01 * S))
    seen = set()
    for _ in range(40):
        state = simulate(SPEC, state, interval(-0.02, have, sudden=False, seconds=8.0)).state
        seen.add(tuple((state.emergency.load_off_w > 0.0).tolist()))
    assert seen <= {(True,) * 3, (True, True, False), (True, False, False), (False,) * 3}
    assert (False, False, False) in seen


def test_recovery_waits_for_secondary_control():
    """A deficit that secondary control cannot replace: the emergency goes on, frequency holds."""
    have = resources()
    state = first_interval(-0.07, have, seconds=300.0).state
    for _ in range(2):
        result = simulate(SPEC, state, interval(-0.07, have, sudden=False, seconds=300.0))
        state = result.state
    assert state.emergency.phase == 2
    assert abs(result.end_hz - 50.0) < 0.02
    assert result.storage_w.sum() + result.noncritical_w.sum() + result.generation_w > 0.03 * S


def test_a_smaller_limit_of_the_next_interval_holds_at_once():
    state = first_interval(-0.08, resources(), seconds=30.0).state
    less = resources(storage=0.01)
    result = simulate(SPEC, state, interval(-0.08, less, sudden=False, seconds=30.0))
    assert (result.storage_w <= less.storage_up_w * (1.0 + 1e-12)).all()


@settings(max_examples=12, deadline=None)
@given(
    st.floats(-0.4, 0.4),
    st.floats(0.0, 0.1),
    st.floats(0.0, 0.05),
    st.floats(0.0, 0.5),
    st.floats(0.0, 0.1),
)
def test_no_resource_beyond_its_limit(step, storage, load, delay, generation):
    have = resources(storage, (load, 0.5 * load, load), generation, delay, ramp=delay)
    state = start(SPEC, 1, 3, 3)
    for k, value in enumerate((step, 0.0, -step)):
        case = interval(value, have, sudden=k == 0, seconds=20.0)
        result = simulate(SPEC, state, case)
        tiny = 1e-9 * S
        assert (result.storage_w <= have.storage_up_w + tiny).all()
        assert (result.storage_w >= -have.storage_down_w - tiny).all()
        assert (result.noncritical_w >= -tiny).all()
        assert (result.noncritical_w <= have.load_w + tiny).all()
        assert abs(result.generation_w) <= generation * S + tiny
        emergency = result.state.emergency
        if not result.state.blackout and emergency.load_off_w.any():
            full = emergency.load_off_w >= have.load_w - tiny
            some = emergency.load_off_w > tiny
            assert (full[:-1] | ~some[1:]).all()  # nothing of a block before all of the last
        assert np.isfinite([result.minimum_hz, result.maximum_hz, result.mean_hz]).all()
        total = (
            case.imbalance_w
            + result.containment_w.sum()
            + result.secondary_w
            + result.storage_w.sum()
            + result.noncritical_w.sum()
            + result.generation_w
            + result.shed_w
            + result.blackout_w
            + result.damping_w
            + result.inertial_w
        )
        assert abs(total) < 1e-6 * S
        state = result.state


def test_at_rest_has_nothing_planned():
    rest = at_rest(2, 3)
    assert rest.phase == 0
    assert rest.storage_w.shape == (2,)
    assert rest.load_off_w.shape == (3,)
    assert np.isinf(rest.load_due_s).all()


def test_resources_are_checked():
    with pytest.raises(ValueError, match="storage_delay_s"):
        resources(delay=-1.0)
    with pytest.raises(ValueError, match="generation_up_w"):
        resources(generation=-1.0)
