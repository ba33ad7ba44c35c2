"""Frequency of an area against closed forms, a stiff solver, and itself at other steps."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from swarm.grid.frequency import AreaSpec, Interval, Responders, simulate, start

S = 1e9  # W, the base of these cases
INF = math.inf


def responders(*rows):
    """Groups as (gain, deadband, up, down, delay, ramp, governor lag, reheat lag, share)."""
    return Responders(*np.array(rows, dtype=float).reshape(-1, 9).T)


def undisturbed_spec(nominal=50.0, **changes):
    """An area in which only droop acts: no relays, no emergency."""
    settings_ = {"shed_at_pu": (), "detect_pu": 9.0, "detect_rocof_pu_per_s": 1e9, **changes}
    return AreaSpec(nominal, settings_.pop("damping", 1.0), **settings_)


def interval(groups, step=0.0, *, seconds=60.0, h=4.0, sudden=True, secondary=0.0, **changes):
    values = {
        "seconds": seconds,
        "kinetic_ws": h * S,
        "load_w": S,
        "sudden_w": step * S if sudden else 0.0,
        "imbalance_w": step * S,
        "ramp_s": 0.0,
        "responders": groups,
        "secondary_up_w": secondary * S,
        "secondary_down_w": secondary * S,
        **changes,
    }
    return Interval(**values)


def fleet(scale=1.0, nominal=50.0):
    """Steam with reheat, gas, batteries with dead time, hydro; droop 4 to 5 %, deadbands."""
    gain = scale * S / nominal
    return responders(
        (6.0 * gain, 0.02, 0.05 * S, 0.05 * S, 0.0, INF, 0.2, 8.0, 0.3),
        (4.0 * gain, 0.02, 0.05 * S, 0.05 * S, 0.0, INF, 0.5, 0.0, 1.0),
        (1.25 * gain, 0.01, 0.02 * S, 0.02 * S, 0.1, 0.1 * S, 0.0, 0.0, 1.0),
        (2.5 * gain, 0.05, 0.03 * S, 0.03 * S, 0.0, INF, 0.1, 10.0, 0.4),
    )


def closure(result, case):
    """Imbalance and all responses, as a share of load."""
    return (
        case.imbalance_w
        + result.containment_w.sum()
        + result.secondary_w
        + result.storage_w.sum()
        + result.noncritical_w.sum()
        + result.generation_w
        + result.shed_w
        + result.tripped_w.sum()
        + result.blackout_w
        + result.damping_w
        + result.inertial_w
    ) / case.load_w


def anderson_mirheydar(h, d, r, km, fh, tr, step):
    """Nadir (pu), its time (s), steady state (pu) by the paper's closed form."""
    wn = math.sqrt((d * r + km) / (2.0 * h * r * tr))
    zeta = (2.0 * h * r + (d * r + km * fh) * tr) / (2.0 * (d * r + km)) * wn
    wr = wn * math.sqrt(1.0 - zeta**2)
    alpha = math.sqrt((1.0 - 2.0 * tr * zeta * wn + (tr * wn) ** 2) / (1.0 - zeta**2))
    phi1 = math.atan2(wr * tr, 1.0 - zeta * wn * tr)
    phi = phi1 - math.atan2(math.sqrt(1.0 - zeta**2), -zeta)
    steady = r * step / (d * r + km)
    t = math.atan2(wr * tr, zeta * wn * tr - 1.0) / wr
    nadir = steady * (1.0 + alpha * math.exp(-zeta * wn * t) * math.sin(wr * t + phi))
    return nadir, t, steady


def reheat_area(h, d, r, km, fh, tr, step, **spec):
    groups = responders((km / r * S / 50.0, 0.0, 9 * S, 9 * S, 0.0, INF, 0.0, tr, fh))
    chosen = undisturbed_spec(damping=d, fine_seconds=1e3, **spec)
    return simulate(chosen, start(chosen, 1), interval(groups, step, h=h, seconds=100.0))


@pytest.mark.parametrize(
    ("km", "nadir", "at", "steady"),
    [(0.95, -0.010832, 2.369, -0.005), (1.0, -0.010427, 2.292, -0.0047619)],
)
def test_published_reheat_example(km, nadir, at, steady):
    result = reheat_area(4.0, 1.0, 0.05, km, 0.3, 8.0, -0.1)
    assert result.minimum_hz / 50.0 - 1.0 == pytest.approx(nadir, rel=1e-3)
    assert result.trace_s[result.trace_hz.argmin()] == pytest.approx(at, abs=0.05)
    assert result.end_hz / 50.0 - 1.0 == pytest.approx(steady, rel=1e-4)
    assert result.fine


def test_reheat_closed_form_of_random_systems():
    rng = np.random.default_rng(7)
    for _ in range(10):
        h, d, r = rng.uniform(2.5, 7.0), rng.uniform(0.0, 2.0), rng.uniform(0.04, 0.08)
        km, fh, tr = rng.uniform(0.7, 1.0), rng.uniform(0.1, 0.25), rng.uniform(5.0, 9.0)
        nadir, at, steady = anderson_mirheydar(h, d, r, km, fh, tr, -0.05)
        result = reheat_area(h, d, r, km, fh, tr, -0.05)
        assert result.minimum_hz / 50.0 - 1.0 == pytest.approx(nadir, rel=5e-3)
        assert result.trace_s[result.trace_hz.argmin()] == pytest.approx(at, abs=0.11)
        assert result.end_hz / 50.0 - 1.0 == pytest.approx(steady, rel=1e-3)


def test_fine_path_is_of_second_order():
    groups = responders((20.0 * S / 50.0, 0.0, 9 * S, 9 * S, 0.0, INF, 0.3, 8.0, 0.3))
    ends = []
    for step_s in (0.08, 0.04, 0.02, 0.01, 0.005):
        spec = undisturbed_spec(fine_seconds=1e3, step_s=step_s)
        ends.append(simulate(spec, start(spec, 1), interval(groups, -0.1, seconds=3.2)).end_hz)
    change = np.abs(np.diff(ends))
    order = np.log2(change[:-1] / change[1:])
    assert (order > 1.8).all(), order


def solved(rows, step, seconds, h, ramp_s=0.0):
    """The same area by an implicit solver: deviation (Hz) at a grid of times."""
    count = len(rows)

    def slope(t, z):
        f, r, y, x = z[0], z[1 : 1 + count], z[1 + count : 1 + 2 * count], z[1 + 2 * count :]
        out, power = np.zeros(z.size), step * S * (min(t / ramp_s, 1.0) if ramp_s else 1.0)
        for i, (gain, dead, up, down, _, ramp, lag, slow, share) in enumerate(rows):
            beyond = f - min(max(f, -dead), dead)
            u = min(max(-gain * beyond, -down), up)
            out[1 + i] = min(max((u - r[i]) / 2e-4, -ramp), ramp)
            asked = r[i] if math.isfinite(ramp) else u
            out[1 + count + i] = (asked - y[i]) / lag
            out[1 + 2 * count + i] = (y[i] - x[i]) / slow
            power += share * y[i] + (1.0 - share) * x[i]
        out[0] = (power - S * f / 50.0) * 50.0 / (2.0 * h * S)
        return out

    grid = np.linspace(0.0, seconds, round(seconds / 0.1) + 1)
    parts = [ramp_s] if ramp_s else []
    z, times, values = np.zeros(1 + 3 * count), [], []
    for a, b in zip([0.0, *parts], [*parts, seconds], strict=True):
        at = grid[(grid >= a) & (grid < b - 1e-9)]
        at = np.append(at, b)
        found = solve_ivp(slope, (a, b), z, "Radau", at, rtol=1e-9, atol=1e-8)
        assert found.success
        times.append(at[:-1])
        values.append(found.y[0][:-1])
        z = found.y[:, -1]
    return np.append(np.concatenate(times), seconds), np.append(np.concatenate(values), z[0])


LIMITED = (
    (0.12 * S, 0.02, 0.02 * S, 0.02 * S, 0.0, INF, 0.2, 8.0, 0.3),
    (0.10 * S, 0.05, 0.05 * S, 0.05 * S, 0.0, 0.004 * S, 0.3, 5.0, 1.0),
)


def test_fine_path_with_deadband_saturation_and_rate_limit():
    times, expected = solved(LIMITED, -0.06, 20.0, 4.0)
    spec = undisturbed_spec()
    result = simulate(spec, start(spec, 2), interval(responders(*LIMITED), -0.06, seconds=20.0))
    assert np.interp(times, result.trace_s, result.trace_hz) - 50.0 == pytest.approx(
        expected, abs=2e-3 * np.abs(expected).max()
    )


def test_coarse_path_with_deadband_and_saturation():
    rows = tuple((*row[:5], INF, *row[6:]) for row in LIMITED)
    times, expected = solved(rows, -0.05, 60.0, 4.0, ramp_s=30.0)
    spec = undisturbed_spec(band_pu=(0.002, 0.4))
    mean = -0.05 * (1.0 - 15.0 / 60.0)
    case = interval(responders(*rows), mean, sudden=False, ramp_s=30.0)
    result = simulate(spec, start(spec, 2), case)
    assert not result.fine
    assert result.minimum_hz - 50.0 == pytest.approx(expected.min(), abs=1e-4)
    assert result.end_hz - 50.0 == pytest.approx(expected[-1], abs=1e-4)
    assert result.mean_hz - 50.0 == pytest.approx(np.trapezoid(expected, times) / 60.0, abs=1e-4)
    beyond = np.clip(np.abs(expected) - np.array([[0.02], [0.05]]), 0.0, None)
    asked = np.minimum(beyond * np.array([[0.12 * S], [0.1 * S]]), [[0.02 * S], [0.05 * S]])
    # Means of the lags: what was asked for less what the lags still hold at the end.
    rest = asked[:, -1] * np.array([0.2 + 0.7 * 8.0, 0.3])
    mean = (np.trapezoid(asked, times) - rest) / 60.0
    assert result.containment_w == pytest.approx(mean, rel=5e-3)
    assert abs(closure(result, case)) < 1e-9


@pytest.mark.parametrize("nominal", [50.0, 60.0])
def test_coarse_path_equals_fine_path_in_quiet_intervals(nominal):
    coarse = undisturbed_spec(nominal)
    fine = undisturbed_spec(nominal, step_s=0.005)
    state, other = start(coarse, 4), replace(start(fine, 4), fine_left_s=1e4)
    for k in range(4):
        case = interval(
            fleet(nominal=nominal),
            0.012 * math.sin(2.0 * k + 1.0),
            seconds=60.0,
            sudden=False,
            ramp_s=20.0,
            secondary=0.005,
        )
        a, b = simulate(coarse, state, case), simulate(fine, other, case)
        assert b.fine
        assert not a.fine
        assert a.minimum_hz == pytest.approx(b.minimum_hz, abs=5e-4)
        assert a.maximum_hz == pytest.approx(b.maximum_hz, abs=5e-4)
        assert a.mean_hz == pytest.approx(b.mean_hz, abs=1e-4)
        assert a.containment_w == pytest.approx(b.containment_w, abs=5e-5 * S)
        assert a.secondary_w == pytest.approx(b.secondary_w, abs=5e-5 * S)
        state, other = a.state, b.state
        assert np.abs(a.containment_w).max() > 1e-4 * S  # something happened


def test_dead_time_counts_in_the_coarse_path():
    row = (0.5 * S, 0.0, S, S, 1.0, INF, 0.5, 0.0, 1.0)
    powers = []
    for spec, left in ((undisturbed_spec(), 0.0), (undisturbed_spec(step_s=0.01), 1e4)):
        state = replace(start(spec, 1), fine_left_s=left)
        case = interval(responders(row), -0.02, seconds=20.0, h=40.0, sudden=False, ramp_s=20.0)
        powers.append(simulate(spec, state, case).containment_w[0])
    # Without the dead time the first would be 5 % higher: 1 s of 20 s.
    assert powers[0] == pytest.approx(powers[1], rel=0.01)


def test_coarse_path_gives_way_where_a_ramp_limit_is_met():
    row = (S, 0.0, S, S, 0.0, 1e-4 * S, 0.2, 0.0, 1.0)
    spec = undisturbed_spec(band_pu=(0.002, 0.4))
    case = interval(responders(row), -0.02, sudden=False, ramp_s=10.0)
    result = simulate(spec, start(spec, 1), case)
    assert result.fine
    assert result.containment_w[0] <= 1e-4 * S * 60.0 / 2.0


@settings(max_examples=12, deadline=None)
@given(
    step=st.floats(-0.3, 0.3),
    h=st.floats(0.5, 8.0),
    scale=st.floats(0.0, 2.0),
    sudden=st.booleans(),
    ramp=st.floats(0.0, 20.0),
    reserve=st.floats(0.0, 0.05),
)
def test_means_close_and_limits_hold(step, h, scale, sudden, ramp, reserve):
    spec = AreaSpec(50.0, 1.0)
    groups = fleet(scale)
    case = interval(groups, step, seconds=40.0, h=h, sudden=sudden, ramp_s=ramp, secondary=reserve)
    result = simulate(spec, start(spec, 4), case)
    assert abs(closure(result, case)) < 1e-9
    tiny = 1e-9 * S
    assert (result.containment_w <= groups.up_w + tiny).all()
    assert (result.containment_w >= -groups.down_w - tiny).all()
    assert abs(result.secondary_w) <= reserve * S + tiny
    assert 45.0 - 1.0 < result.minimum_hz <= result.mean_hz <= result.maximum_hz < 55.0 + 1.0
    assert result.minimum_hz <= result.end_hz <= result.maximum_hz
    if not result.state.blackout and not result.events[1:]:
        kinetic = 2.0 * case.kinetic_ws * (result.end_hz - 50.0) / 50.0
        assert result.inertial_w * 40.0 == pytest.approx(-kinetic, abs=1e-6 * S)


@pytest.mark.parametrize("h", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("share", [-1.0, -0.5, 0.8])
def test_secondary_control_restores_within_five_minutes(h, share):
    """SO GL, article 158 and annex III: 5 minutes; droop of the whole fleet near 5 %."""
    spec = AreaSpec(50.0, 1.0)
    reserve = 0.03
    case = interval(fleet(), share * reserve, seconds=300.0, h=h, secondary=reserve)
    result = simulate(spec, start(spec, 4), case)
    late = result.trace_hz[result.trace_s > 240.0]
    assert np.abs(late - 50.0).max() < 0.02
    assert abs(result.state.secondary_w + share * reserve * S) < 0.03 * reserve * S
    # The rate limit: the whole range in the full activation time.
    assert abs(result.state.secondary_w) <= 2 * reserve * S


def test_secondary_control_does_not_wind_up():
    """Half an hour beyond the reserve, then balance: little overshoot."""
    spec = AreaSpec(50.0, 1.0)
    state = start(spec, 4)
    for k in range(6):
        case = interval(fleet(), -0.06, seconds=300.0, sudden=k == 0, secondary=0.03)
        state = simulate(spec, state, case).state
        assert state.secondary_w == pytest.approx(0.03 * S) or k == 0
    back = interval(fleet(), 0.0, seconds=300.0, sudden=False, ramp_s=60.0, secondary=0.03)
    result = simulate(spec, state, back)
    assert result.maximum_hz < 50.2
    assert abs(simulate(spec, result.state, back).end_hz - 50.0) < 0.02


def test_halving_the_step_changes_little():
    results = []
    for step_s in (0.02, 0.01):
        spec = AreaSpec(50.0, 1.0, step_s=step_s)
        case = interval(fleet(), -0.06, seconds=300.0, secondary=0.07)
        results.append(simulate(spec, start(spec, 4), case))
    a, b = results
    assert a.settled_s > 10.0
    assert 50.0 - a.minimum_hz == pytest.approx(50.0 - b.minimum_hz, rel=0.01)
    assert a.settled_s == pytest.approx(b.settled_s, rel=0.01)
    assert a.containment_w == pytest.approx(b.containment_w, rel=0.01)
    assert a.secondary_w == pytest.approx(b.secondary_w, rel=0.01)
    assert a.damping_w == pytest.approx(b.damping_w, rel=0.01)


def test_two_intervals_equal_one():
    """Cutting an interval in the middle of a disturbance changes nothing that matters."""
    spec = AreaSpec(50.0, 1.0)
    whole = simulate(spec, start(spec, 4), interval(fleet(), -0.04, seconds=60.0, secondary=0.03))
    half = interval(fleet(), -0.04, seconds=4.1, secondary=0.03)
    rest = replace(half, seconds=55.9, sudden_w=0.0)
    first = simulate(spec, start(spec, 4), half)
    second = simulate(spec, first.state, rest)
    assert min(first.minimum_hz, second.minimum_hz) == pytest.approx(whole.minimum_hz, abs=1e-5)
    assert second.end_hz == pytest.approx(whole.end_hz, abs=1e-4)
    total = first.containment_w * 4.1 + second.containment_w * 55.9
    assert total == pytest.approx(whole.containment_w * 60.0, rel=1e-3)


def test_ramp_ends_where_the_mean_asks_for():
    spec = undisturbed_spec(damping=1.0)
    case = interval(responders(), 0.01, seconds=300.0, sudden=False, ramp_s=60.0)
    result = simulate(spec, start(spec, 0), case)
    # From 0 over 60 s to p, then p: mean = p (1 - 30/300).
    assert result.state.plateau_w == pytest.approx(0.01 * S / 0.9)
    # First-order lag of 2 H / D = 8 s behind it, at the end settled.
    assert result.end_hz - 50.0 == pytest.approx(0.01 / 0.9 * 50.0, rel=1e-6)


def test_nothing_happens_at_rest():
    spec = AreaSpec(60.0, 1.0)
    result = simulate(spec, start(spec, 4), interval(fleet(nominal=60.0), secondary=0.03))
    assert result.minimum_hz == result.maximum_hz == result.mean_hz == 60.0
    assert result.trace_s.size == 0
    assert result.events == ()
    assert math.isnan(result.settled_s)


def test_steepest_rate_is_that_of_the_swing_equation():
    spec = undisturbed_spec(damping=0.0)
    result = simulate(spec, start(spec, 0), interval(responders(), -0.1, seconds=2.0))
    assert result.steepest_hz_per_s == pytest.approx(0.1 * 50.0 / 8.0, rel=1e-6)
    assert result.seconds_outside == pytest.approx([2.0 - 0.1 / 0.625, 2.0 - 0.2 / 0.625], rel=1e-6)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: AreaSpec(50.0, -1.0), "damping"),
        (lambda: AreaSpec(50.0, 1.0, shed_share=0.5), "shed_share"),
        (lambda: AreaSpec(50.0, 1.0, step_s=math.nan), "step_s"),
        (lambda: responders((1.0, 0, 1, -1, 0, INF, 0, 0, 1)), "down_w"),
        (lambda: responders((1.0, 0, 1, 1, 0, 0, 0, 0, 1)), "ramp_w_per_s"),
        (lambda: responders((1.0, 0, 1, 1, 0, INF, 0, 0, 2)), "direct_share"),
        (lambda: interval(responders(), h=0.0), "kinetic_ws"),
        (lambda: interval(responders(), math.nan), "sudden_w"),
        (lambda: interval(responders(), ramp_s=61.0), "ramp_s"),
    ],
)
def test_bad_input_is_named(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_an_interval_must_fit_the_state():
    spec = AreaSpec(50.0, 1.0)
    with pytest.raises(ValueError, match="responders has 4 entries, expected 3"):
        simulate(spec, start(spec, 3), interval(fleet()))
