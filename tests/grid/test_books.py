"""The balance of an interval from what was metered and what responded, by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swarm.grid.balance import Balance, Voltages
from swarm.grid.books import balance_of
from swarm.grid.devices import devices
from swarm.grid.physics import Happened, Physics
from swarm.messages import Response
from tests.grid.grids import MW, UNIT, agents_of, fleet, metered, scenario, spec_of

# In global order: works (consumer), unit (generator), home, farm (solar), two stores.
SCENARIO = scenario(
    fleet("works", "consumer", {"load_mw": 20, "flexible_mw": 5}),
    fleet("unit", "generator", UNIT),
    fleet("home", "home", {"load_mw": 3, "solar_mw": 5, "power_mw": 4, "energy_mwh": 8}),
    fleet("farm", "solar", {"capacity_mw": 30}),
    fleet("store", "storage", {"power_mw": 10}, {"power_mw": 10}),
)
METERS = metered(
    load_w=[20, 0, 3, 0, 0, 0],
    generation_w=[0, 15, 4, 10, 0, 0],
    battery_w=[0, 0, -2, 0, 5, -9],
    unserved_w=[1, 0, 0, 0, 0, 0],
    curtailed_w=[0, 0, 0, 2, 0, 0],
    inertia_kws=[0, 600_000, 0, 0, 0, 0],
)
NONE = np.zeros(6, dtype=np.int64)


def happened(**given: object) -> Happened:
    """An interval at rest; `given` replaces fields."""
    quiet = Physics(spec_of(SCENARIO)).run(0, METERS, 0, 1.0)
    values = {"response": Response(NONE, NONE, NONE), "inertial_w": 0, "damping_w": 0}
    return replace(quiet, **{**values, **given})  # type: ignore[arg-type]


def balance(of: Happened) -> Balance:
    return balance_of(7, of, METERS, devices(agents_of(SCENARIO), 50.0), 900)


def test_responses_are_booked_where_they_came_from() -> None:
    response = Response(
        # The works put off 2, the unit gives 3 more, the home discharges 5 instead of charging 2,
        # the farm gives 1 less, one store turns round and the other stops.
        activated_w=np.array([2, 3, 7, -1, -8, 9]) * MW,
        shed_w=np.array([4, 0, 1, 0, 0, 0]) * MW,
        held_back_w=np.array([0, 0, 2, 6, 0, 0]) * MW,
    )
    b = balance(happened(response=response, inertial_w=MW, damping_w=MW // 2))
    assert b.tick == 7
    assert b.generation_w == (15 + 4 + 10 + 3 - 1 - 2 - 6 + 1) * MW
    assert b.load_w == (20 + 3 - 2) * MW - MW // 2
    assert (b.discharge_w, b.charge_w) == (5 * MW, 3 * MW)
    assert (b.shed_w, b.unserved_w) == (5 * MW, 6 * MW)
    assert (b.held_back_w, b.curtailed_w) == (8 * MW, 10 * MW)
    assert (b.activated_up_w, b.activated_down_w) == (21 * MW, 9 * MW)
    assert b.inertia_kws == 600_900


def test_what_no_load_was_left_for_is_shed_and_unserved() -> None:
    b = balance(happened(unshed_w=3 * MW, spilled_w=0))
    assert (b.shed_w, b.unserved_w) == (3 * MW, 4 * MW)


@pytest.mark.parametrize(("flow", "sides"), [(4, (4, 0)), (0, (0, 0)), (-3, (0, 3))])
def test_flow_is_import_or_export(flow: int, sides: tuple[int, int]) -> None:
    b = balance(happened(flow_w=flow, losses_w=2, held_w=11, connected=True))
    assert (b.import_w, b.export_w) == sides
    assert (b.losses_w, b.reserve_held_w, b.connected) == (2, 11, True)


def test_voltages_within_five_percent_are_in_band() -> None:
    volts = np.array([0.9499, 0.9501, 1.0, 1.0499, 1.0501])
    nothing = np.zeros(5)
    state = Voltages(volts, nothing, nothing, nothing[1:], nothing[1:])
    b = balance(happened(voltages=state))
    assert (b.voltage_min_pu, b.voltage_max_pu) == (0.9499, 1.0501)
    assert (b.buses, b.buses_in_band) == (5, 3)
    without = balance(happened(feeder_converged=False))
    assert (without.buses, without.buses_in_band, without.feeder_converged) == (0, 0, False)
    assert np.isnan(without.voltage_min_pu)
    assert np.isnan(without.voltage_max_pu)
