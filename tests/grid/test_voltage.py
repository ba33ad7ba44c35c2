"""Agents on a feeder: bus sums, power factors, and what inverters hold back."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt
from typing import Any

import numpy as np
import pytest

from swarm.grid.balance import Voltages
from swarm.grid.inverter import volt_var
from swarm.grid.voltage import FeederVoltage
from swarm.messages import Int
from tests.grid.grids import fleet, metered, scenario, spec_of
from tests.grid.small_feeders import two_bus

# All at the end of one line of 0.4 kV: works, then the roof.
SCENARIO = scenario(
    fleet("works", "consumer", {"load_mw": 0.1, "flexible_mw": 0}),
    fleet("roof", "solar", {"capacity_mw": 0.1}),
    outside={"rated_mva": 10},
)
R_OHM, X_OHM, BASE_V = 0.04, 0.03, 400.0


def feeder(**grid: Any) -> FeederVoltage:
    spec = spec_of(SCENARIO)
    changed = spec.grid.model_copy(update=grid)
    table = two_bus(R_OHM, X_OHM)
    return FeederVoltage(replace(spec, grid=changed, feeder=table, bus=np.array([1, 1])))


def run(of: FeederVoltage, load_mw: float, sun_mw: float) -> tuple[Int, int, Voltages]:
    given = metered(load_w=[load_mw, 0], generation_w=[0, sun_mw])
    held_back, losses, state, converged = of.run(given)
    assert converged
    assert state is not None
    return held_back, losses, state


def voltage(power_w: float, reactive_var: float) -> float:
    """Voltage at the end of the line, in closed form (quadratic in the square of it)."""
    b = 2 * (R_OHM * power_w + X_OHM * reactive_var) / BASE_V**2 + 1
    c = (R_OHM**2 + X_OHM**2) * (power_w**2 + reactive_var**2) / BASE_V**4
    return sqrt((b + sqrt(b * b - 4 * c)) / 2)


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.0])
def test_load_draws_reactive_power_at_its_power_factor(factor: float) -> None:
    held_back, losses, state = run(feeder(volt_var=False, load_power_factor=factor), 0.1, 0.0)
    reactive = -0.1e6 * sqrt(1 / factor**2 - 1)
    assert state.power_w.tolist() == [0.0, -0.1e6]
    assert state.reactive_var[1] == pytest.approx(reactive)
    pu = state.voltage_pu[1]
    assert pu == pytest.approx(voltage(-0.1e6, reactive), abs=1e-7)
    current_squared = (0.1e6**2 + reactive**2) / (pu * BASE_V) ** 2
    assert losses == pytest.approx(R_OHM * current_squared, abs=1)
    assert not held_back.any()


def test_generation_and_load_of_a_bus_cancel() -> None:
    _, losses, state = run(feeder(volt_var=False, load_power_factor=1.0), 0.07, 0.07)
    assert state.voltage_pu == pytest.approx([1.0, 1.0])
    assert losses == 0


def test_inverters_take_reactive_power_where_voltage_is_high() -> None:
    plain = run(feeder(volt_var=False), 0.0, 0.1)[2].voltage_pu[1]
    held_back, _, state = run(feeder(), 0.0, 0.1)
    pu = state.voltage_pu[1]
    assert plain == pytest.approx(voltage(0.1e6, 0.0), abs=1e-7)
    assert 1.02 < pu < plain
    # On the curve of the standard, with a rating of 1.1 times the capacity.
    assert state.reactive_var[1] == pytest.approx(0.11e6 * volt_var(np.array([pu]))[0], rel=1e-3)
    assert pu == pytest.approx(voltage(0.1e6, state.reactive_var[1]), abs=1e-7)
    assert not held_back.any()


def test_what_is_held_back_is_taken_off_the_bus() -> None:
    weak = FeederVoltage(replace(spec_of(SCENARIO), feeder=two_bus(0.4, 0.1), bus=np.array([1, 1])))
    held_back, _, state = run(weak, 0.0, 0.1)
    assert held_back[0] == 0
    assert 0 < held_back[1] < 100_000
    assert state.power_w[1] == 100_000 - held_back[1]
    assert state.voltage_pu[1] <= 1.10
    # The next interval starts from this state and ends in the same, within its tolerance.
    again, _, after = run(weak, 0.0, 0.1)
    assert after.voltage_pu[1] == pytest.approx(state.voltage_pu[1], abs=1e-3)
    assert again[1] == pytest.approx(held_back[1], abs=100)
    # Without sun nothing is held back.
    assert not run(weak, 0.0, 0.0)[0].any()


def test_a_power_flow_without_solution_holds_nothing_back_and_is_forgotten() -> None:
    of = feeder()
    before = run(of, 0.05, 0.02)[2].voltage_pu
    held_back, losses, state, converged = of.run(metered(load_w=[50, 0], generation_w=[0, 0.02]))
    assert (losses, state, converged) == (0, None, False)
    assert not held_back.any()
    assert run(of, 0.05, 0.02)[2].voltage_pu == pytest.approx(before, abs=1e-4)
