"""The settled state of inverters: on their curves, curtailed only as far as the voltage asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.grid.feeder import CURVE_TOLERANCE, Feeder, Regulated
from swarm.grid.feeders import FeederTable, case33bw, generated
from swarm.grid.inverter import Inverters
from tests.grid.small_feeders import two_bus

ENDS = np.array([1])


@pytest.fixture(scope="module")
def base() -> Feeder:
    return Feeder(case33bw())


def evenly(table: FeederTable, count: int, total_w: float, oversize: float = 1.1) -> Inverters:
    """Equal inverters at every bus but the source in turn, all generating."""
    bus = np.arange(count) % (len(table.buses) - 1) + 1
    each = np.full(count, total_w / count)
    return Inverters(bus, each * oversize, each, each)


def by_bus(feeder: Feeder, inverters: Inverters, values: np.ndarray) -> np.ndarray:
    sums = np.zeros(len(feeder.table.buses))
    np.add.at(sums, inverters.bus, values)
    return sums


def off_curve(done: Regulated, inverters: Inverters) -> tuple[float, float]:
    """How far reactive power is off its curve and active power over it, shares of the rating."""
    voltage, rated = done.flow.voltage_pu[0][inverters.bus], inverters.rated_va
    curve = 0.44 * (np.clip((0.98 - voltage) / 0.06, 0, 1) - np.clip((voltage - 1.02) / 0.06, 0, 1))
    active = inverters.power_w - done.curtailed_w
    room = np.sqrt(np.maximum(rated**2 - active**2, 0))
    wanted = np.clip(curve * rated, -room, room)
    most = (1 - 0.8 * np.clip((voltage - 1.06) / 0.04, 0, 1)) * rated
    over = np.where(done.curtailed_w < inverters.generation_w, active - most, 0.0)
    return float(abs((done.reactive_var - wanted) / rated).max()), float((over / rated).max())


def regulated(
    feeder: Feeder, inverters: Inverters, load: float = 0.3, start: Regulated | None = None
) -> Regulated:
    table = feeder.table
    power = -load * table.load_w + by_bus(feeder, inverters, inverters.power_w)
    zero = np.zeros(len(inverters.bus))
    state = (start.reactive_var, start.curtailed_w) if start else (zero,)
    done = feeder.regulate(power, -load * table.load_var, inverters, *state)
    # The flow it reports is the flow of the state it reports.
    again = feeder.solve(
        power - by_bus(feeder, inverters, done.curtailed_w),
        -load * table.load_var + by_bus(feeder, inverters, done.reactive_var),
    )
    np.testing.assert_allclose(again.voltage_pu, done.flow.voltage_pu, rtol=0, atol=1e-9)
    return done


def test_volt_var_alone_holds_a_sunny_feeder(base: Feeder) -> None:
    inverters = evenly(base.table, 96, 5e6)
    before = base.solve(
        -0.3 * base.table.load_w + by_bus(base, inverters, inverters.power_w),
        -0.3 * base.table.load_var,
    )
    assert before.voltage_pu.max() > 1.06
    done = regulated(base, inverters)
    assert done.converged
    assert done.flow.voltage_pu.max() < 1.06
    assert not done.curtailed_w.any()
    assert off_curve(done, inverters)[0] <= CURVE_TOLERANCE


def test_volt_watt_curtails_only_where_the_voltage_is_high(base: Feeder) -> None:
    inverters = evenly(base.table, 96, 16e6)
    done = regulated(base, inverters)
    assert done.converged
    voltage = done.flow.voltage_pu[0][inverters.bus]
    assert 1.06 < voltage.max() < 1.10
    assert (done.curtailed_w > 0).any()
    # 1.04 pu: there the reactive power of 0.147 leaves room for more than 1 / 1.1 of the rating.
    assert not done.curtailed_w[voltage < 1.04].any()
    assert max(off_curve(done, inverters)) <= CURVE_TOLERANCE


def test_low_voltage_is_supported(base: Feeder) -> None:
    inverters = replace(
        evenly(base.table, 64, 3e6), power_w=np.zeros(64), generation_w=np.zeros(64)
    )
    done = regulated(base, inverters, load=1.0)
    assert done.converged
    # 0.9131 without them.
    assert done.flow.voltage_pu.min() > 0.925
    assert done.reactive_var.min() >= 0
    assert off_curve(done, inverters)[0] <= CURVE_TOLERANCE


WEAK = {"r": 2.0, "x": 0.02}


def test_generation_goes_down_where_volt_watt_does_not_suffice() -> None:
    """A weak line of a high source: at 20 % of the rating its end still has more than 1.10 pu."""
    feeder = Feeder(replace(two_bus(**WEAK), source_voltage_pu=1.09))
    one = np.array([1e4])
    done = feeder.regulate(np.array([0, 1e4]), np.zeros(2), Inverters(ENDS, one, one, one), 0 * one)
    assert done.converged
    assert 1.0999 < done.flow.voltage_pu.max() <= 1.10
    left = 1e4 - done.curtailed_w[0]
    # The power at which the end has 1.10 pu, by the closed form of two buses, at full absorption.
    volt, q = 440.0, -4400.0
    p = np.linspace(0, 4000, 400_001)
    square = (volt - (2.0 * p + 0.02 * q) / volt) ** 2 + ((0.02 * p - 2.0 * q) / volt) ** 2
    held = p[np.argmin(abs(square - (1.09 * 400) ** 2))]
    assert done.reactive_var[0] == pytest.approx(q)
    assert 0 < held < 0.2 * 1e4
    assert left == pytest.approx(held, abs=10)


def test_further_curtailment_spares_other_feeders_of_the_busbar() -> None:
    table = replace(
        two_bus(),
        buses=("s", "weak", "strong"),
        line_from=("s", "s"),
        line_to=("weak", "strong"),
        resistance_ohm=np.array([2.0, 0.001]),
        reactance_ohm=np.array([0.02, 0.001]),
        capacitance_f=np.zeros(2),
        rating_a=np.full(2, np.inf),
        load_w=np.zeros(3),
        load_var=np.zeros(3),
        source_voltage_pu=1.09,
    )
    each = np.full(2, 1e4)
    inverters = Inverters(np.array([1, 2]), each, each, each)
    done = Feeder(table).regulate(np.array([0, 1e4, 1e4]), np.zeros(3), inverters, 0 * each)
    assert done.converged
    assert done.flow.voltage_pu.max() <= 1.10
    assert done.curtailed_w[0] > 8000
    # Volt-watt at 1.09 pu leaves 40 %, and nothing more is taken.
    assert done.curtailed_w[1] == pytest.approx(6000, abs=5)


def test_what_cannot_be_held_is_told_by_the_voltage() -> None:
    # A discharging battery may not be curtailed.
    feeder = Feeder(two_bus(**WEAK))
    inverters = Inverters(ENDS, np.array([6e4]), np.array([2e4]), np.zeros(1))
    done = feeder.regulate(np.array([0, 2e4]), np.zeros(2), inverters, np.zeros(1))
    assert done.converged
    assert done.flow.voltage_pu.max() > 1.10
    assert done.curtailed_w[0] == 0


def test_a_quiet_interval_takes_few_flows(base: Feeder) -> None:
    inverters = evenly(base.table, 96, 8e6)
    first = regulated(base, inverters)
    assert first.curtailed_w.any()
    assert regulated(base, inverters, start=first).iterations == 1
    a_little = replace(inverters, power_w=inverters.power_w * 1.005)
    assert regulated(base, a_little, start=first).iterations <= 3


def test_a_feeder_without_a_flow_is_told(base: Feeder) -> None:
    inverters = evenly(base.table, 32, 1e5)
    done = base.regulate(-20 * base.table.load_w, np.zeros(33), inverters, np.zeros(32))
    assert not done.converged
    assert np.isnan(done.flow.voltage_pu).all()
    assert np.isfinite(done.curtailed_w).all()


def test_inverters_can_save_a_feeder_from_collapse() -> None:
    # Reactive load over the most the line carries, within what inverters at the end can give.
    feeder = Feeder(two_bus(r=0.04, x=0.4))
    inverters = Inverters(ENDS, np.array([2e5]), np.zeros(1), np.zeros(1))
    power, reactive = np.array([0, -2e4]), np.array([0, -1.1e5])
    assert not feeder.solve(power, reactive).converged[0]
    done = feeder.regulate(power, reactive, inverters, np.zeros(1))
    assert done.converged
    assert off_curve(done, inverters)[0] <= CURVE_TOLERANCE


def test_no_inverters_is_one_flow(base: Feeder) -> None:
    none = Inverters(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0), np.zeros(0))
    done = base.regulate(-base.table.load_w, -base.table.load_var, none, np.zeros(0))
    assert (done.converged, done.iterations) == (True, 1)
    assert done.flow.losses_w[0] == pytest.approx(202_677, abs=0.5)


def test_bad_inverters_are_named(base: Feeder) -> None:
    inverters = evenly(base.table, 2, 1e5)
    beyond = replace(inverters, bus=np.array([1, 33]))
    flat = np.zeros(33)
    with pytest.raises(ValueError, match=r"inverters\.bus: expected 0 to 32, got 33"):
        base.regulate(flat, flat, beyond, np.zeros(2))
    with pytest.raises(ValueError, match=r"start_var: expected shape \(2,\), got \(3,\)"):
        base.regulate(flat, flat, inverters, np.zeros(3))
    with pytest.raises(ValueError, match="start_var: expected finite values, got nan"):
        base.regulate(flat, flat, inverters, np.array([0, np.nan]))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    buses=st.integers(2, 60),
    generation_mw=st.floats(0.0, 15.0),
    load_mw=st.floats(0.0, 6.0),
    stretch=st.floats(0.5, 4.0),
)
def test_settled_feeders_are_on_their_curves(
    seed: int, buses: int, generation_mw: float, load_mw: float, stretch: float
) -> None:
    table = generated(buses, seed % 7)
    table = replace(
        table,
        resistance_ohm=table.resistance_ohm * stretch,
        reactance_ohm=table.reactance_ohm * stretch,
    )
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40))
    share = rng.uniform(0.1, 1.0, count)
    generation = generation_mw * 1e6 * share / share.sum()
    inverters = Inverters(
        bus=rng.integers(0, buses, count),
        rated_va=generation * rng.uniform(0.9, 1.5, count) + 1e3,
        power_w=generation,
        generation_w=generation * rng.integers(0, 2, count),
    )
    feeder = Feeder(table)
    load = rng.uniform(0, 1, buses)
    load *= load_mw * 1e6 / load.sum()
    power = by_bus(feeder, inverters, inverters.power_w) - load
    done = feeder.regulate(power, -0.3 * load, inverters, np.zeros(count))
    if not done.converged:
        # Only where there is no flow without help either.
        assert not feeder.solve(power, -0.3 * load).converged[0]
        return
    off, over = off_curve(done, inverters)
    assert off <= 1.01 * CURVE_TOLERANCE
    assert over <= 1.01 * CURVE_TOLERANCE
    assert (done.curtailed_w >= 0).all()
    assert (done.curtailed_w <= inverters.generation_w).all()
    high = done.flow.voltage_pu[0] > 1.10
    left = inverters.generation_w - done.curtailed_w > 2 * CURVE_TOLERANCE * inverters.rated_va
    assert not (high[inverters.bus] & left).any()
