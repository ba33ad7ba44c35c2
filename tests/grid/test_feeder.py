"""Power flow against published values, closed forms, Kirchhoff's laws and pandapower."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.grid.feeder import Feeder
from swarm.grid.feeders import FeederTable, case33bw
from tests.grid.small_feeders import two_bus

# Base case of Baran and Wu's feeder, bus 1 to 33, as reprinted in the literature (four digits).
PUBLISHED_PU = """
1.0000 0.9970 0.9829 0.9755 0.9681 0.9497 0.9462 0.9413 0.9351 0.9292 0.9284
0.9269 0.9208 0.9185 0.9171 0.9157 0.9137 0.9131 0.9965 0.9929 0.9922 0.9916
0.9794 0.9727 0.9694 0.9477 0.9452 0.9337 0.9255 0.9220 0.9178 0.9169 0.9166
"""


@pytest.fixture(scope="module")
def base() -> Feeder:
    return Feeder(case33bw())


def test_case33bw_has_the_published_base_case(base: Feeder) -> None:
    flow = base.solve(-base.table.load_w, -base.table.load_var)
    voltage = flow.voltage_pu[0]
    np.testing.assert_allclose(voltage, [float(v) for v in PUBLISHED_PU.split()], atol=1e-4)
    assert voltage.min() == pytest.approx(0.913090, abs=5e-7)
    assert base.table.buses[voltage.argmin()] == "18"
    assert flow.losses_w[0] == pytest.approx(202_677, abs=0.5)
    assert (voltage < 0.95).sum() == 21
    assert flow.line_losses_w[0].sum() == pytest.approx(flow.losses_w[0])
    assert np.isnan(flow.line_loading).all()


def test_case33bw_agrees_with_pandapower(base: Feeder) -> None:
    pandapower = pytest.importorskip(
        "pandapower", reason="pandapower is not installed (extra: test)"
    )
    from pandapower.networks import case33bw as theirs

    net = theirs()
    pandapower.runpp(net, tolerance_mva=1e-12)
    flow = base.solve(-base.table.load_w, -base.table.load_var)
    np.testing.assert_allclose(flow.voltage_pu[0], net.res_bus.vm_pu, rtol=0, atol=1e-8)
    degrees = np.rad2deg(flow.angle_rad[0])
    np.testing.assert_allclose(degrees, net.res_bus.va_degree, rtol=0, atol=1e-6)
    assert flow.slack_w[0] / 1e6 == pytest.approx(net.res_ext_grid.p_mw.sum(), abs=1e-8)
    assert flow.slack_var[0] / 1e6 == pytest.approx(net.res_ext_grid.q_mvar.sum(), abs=1e-8)


@pytest.mark.parametrize("load_va", [1e3, 2e4, 5e4, -3e4])
def test_two_buses_have_a_closed_form(load_va: float) -> None:
    table = two_bus()
    p, q = 0.9 * load_va, 0.4 * load_va
    flow = Feeder(table).solve(np.array([0, -p]), np.array([0, -q]))
    # u = V^2 solves u^2 + (2 (r p + x q) - V0^2) u + |z|^2 |s|^2 = 0, in volts and watts.
    middle = 400.0**2 - 2 * (0.4 * p + 0.3 * q)
    square = (middle + np.sqrt(middle**2 - 4 * 0.25 * (p**2 + q**2))) / 2
    assert flow.voltage_pu[0, 1] == pytest.approx(np.sqrt(square) / 400, abs=1e-9)
    assert flow.losses_w[0] == pytest.approx(0.4 * (p**2 + q**2) / square, rel=1e-7)
    assert flow.slack_w[0] == pytest.approx(p + flow.losses_w[0], rel=1e-9)
    ampere = np.sqrt(p**2 + q**2) / np.sqrt(3 * square)
    assert flow.line_loading[0, 0] == pytest.approx(ampere / 100, rel=1e-7)


def test_a_flow_at_the_nose_of_the_two_bus_curve() -> None:
    # With x = 0 the most load is V0^2 / (4 r), at half the voltage.
    feeder = Feeder(two_bus(r=0.4, x=0.0))
    most = 400.0**2 / (4 * 0.4)
    below = feeder.solve(np.array([0, -0.999 * most]), np.zeros(2))
    assert below.converged[0]
    assert below.voltage_pu[0, 1] == pytest.approx((1 + np.sqrt(0.001)) / 2, abs=1e-6)
    assert not feeder.solve(np.array([0, -1.001 * most]), np.zeros(2)).converged[0]


def test_power_at_the_source_bus_counts(base: Feeder) -> None:
    power, reactive = -base.table.load_w, -base.table.load_var
    without = base.solve(power, reactive)
    extra = np.zeros(33)
    extra[0] = 1e6
    flow = base.solve(power + extra, reactive - extra)
    assert flow.slack_w[0] == pytest.approx(without.slack_w[0] - 1e6, abs=1e-3)
    assert flow.slack_var[0] == pytest.approx(without.slack_var[0] + 1e6, abs=1e-3)


def test_a_batch_is_as_one_by_one_and_a_failure_stays_alone(base: Feeder) -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(-0.5, 1.5, (6, 33))
    scale[2] = 20.0
    power, reactive = -base.table.load_w * scale, -base.table.load_var * scale
    batch = base.solve(power, reactive)
    assert batch.converged.tolist() == [True, True, False, True, True, True]
    for at in range(6):
        one = base.solve(power[at], reactive[at])
        for name in ("voltage_pu", "angle_rad", "line_losses_w", "losses_w", "slack_w"):
            np.testing.assert_array_equal(getattr(one, name)[0], getattr(batch, name)[at])
    for values in (batch.voltage_pu, batch.losses_w, batch.slack_var, batch.line_losses_w):
        assert np.isnan(values[2]).all()
    balance = batch.slack_w + power.sum(axis=1) - batch.losses_w
    np.testing.assert_allclose(np.delete(balance, 2), 0.0, atol=1e-3)
    alone = base.solve(power[2], reactive[2])
    assert not alone.converged[0]


@pytest.mark.parametrize(
    ("power", "reactive", "message"),
    [
        (np.zeros(3), np.zeros(2), r"power_w: expected shape \(2,\) or \(batch, 2\)"),
        (np.zeros((2, 2)), np.zeros(2), r"reactive_var: .* got \(1, 2\)"),
        (np.array([0, np.nan]), np.zeros(2), "power_w: expected finite values, got nan"),
        (np.zeros(2), np.array([0, np.inf]), "reactive_var: expected finite values, got inf"),
    ],
)
def test_bad_injections_are_named(power: np.ndarray, reactive: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Feeder(two_bus()).solve(power, reactive)


@st.composite
def trees(draw: st.DrawFn) -> FeederTable:
    """Radial feeders of 2 to 12 buses, lines in either direction, sources anywhere."""
    count = draw(st.integers(2, 12))
    names = draw(st.permutations([str(bus) for bus in range(count)]))
    floats = st.floats(0.01, 1.0)
    pairs, lines = [], count - 1
    for bus in range(1, count):
        pair = [names[draw(st.integers(0, bus - 1))], names[bus]]
        pairs.append(pair[::-1] if draw(st.booleans()) else pair)

    def values(of: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(of, min_size=lines, max_size=lines)))

    return FeederTable(
        name="tree",
        nominal_kv=20.0,
        source_bus=draw(st.sampled_from(names)),
        buses=tuple(str(bus) for bus in range(count)),
        line_from=tuple(pair[0] for pair in pairs),
        line_to=tuple(pair[1] for pair in pairs),
        resistance_ohm=values(floats),
        reactance_ohm=values(st.one_of(st.just(0.0), floats)),
        capacitance_f=values(st.one_of(st.just(0.0), st.floats(0, 3e-7))),
        rating_a=np.full(lines, 400.0),
        load_w=np.zeros(count),
        load_var=np.zeros(count),
        source_voltage_pu=draw(st.floats(0.97, 1.05)),
    )


def injected(table: FeederTable, voltage_pu: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Complex power (n,) in VA that Kirchhoff's laws ask for, from the admittance matrix."""
    volt = voltage_pu * table.nominal_kv * 1e3 * np.exp(1j * angle)
    at = {bus: index for index, bus in enumerate(table.buses)}
    admittance = np.zeros((len(at), len(at)), dtype=complex)
    for line, (start, end) in enumerate(zip(table.line_from, table.line_to, strict=True)):
        i, j = at[start], at[end]
        series = 1 / complex(table.resistance_ohm[line], table.reactance_ohm[line])
        shunt = 1j * 2 * np.pi * table.frequency_hz * table.capacitance_f[line] / 2
        admittance[[i, j], [i, j]] += series + shunt
        admittance[[i, j], [j, i]] -= series
    return volt * np.conj(admittance @ volt)


@settings(max_examples=60)
@given(table=trees(), seed=st.integers(0, 2**32 - 1))
def test_kirchhoff_holds(table: FeederTable, seed: int) -> None:
    count = len(table.buses)
    power, reactive = np.random.default_rng(seed).uniform(-2e6, 2e6, (2, count))
    flow = Feeder(table).solve(power, reactive)
    assert flow.converged[0]
    asked = injected(table, flow.voltage_pu[0], flow.angle_rad[0])
    source = table.buses.index(table.source_bus)
    power[source] += flow.slack_w[0]
    reactive[source] += flow.slack_var[0]
    # 1 W of up to 24 MW.
    np.testing.assert_allclose(asked, power + 1j * reactive, rtol=0, atol=1.0)
    assert flow.losses_w[0] == pytest.approx(power.sum(), abs=1.0)
    assert flow.voltage_pu[0, source] == pytest.approx(table.source_voltage_pu, abs=1e-9)


def test_the_library_is_imported_only_with_a_feeder() -> None:
    code = "import sys, swarm.grid.feeder; sys.exit('power_grid_model' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
