"""From a scenario to its physics, and the grids that are refused."""

from __future__ import annotations

from typing import Any

import pytest

from swarm.errors import UsageError
from swarm.grid.build import condenser_kws, physics_spec
from swarm.scenario.schema import Scenario
from tests.grid.grids import UNIT, agents_of, fleet, scenario, spec_of

OUTSIDE = {"import_limit_mw": 12.5, "export_limit_mw": 3, "rated_mva": 200, "droop": 0.04}
UNITS = fleet("unit", "generator", UNIT)


def refused(given: Scenario) -> str:
    with pytest.raises(UsageError) as error:
        physics_spec(given, agents_of(given))
    return str(error.value)


def test_without_a_grid_there_are_no_physics() -> None:
    given = scenario(UNITS, grid=None)
    assert physics_spec(given, agents_of(given)) is None


def test_an_island() -> None:
    condensers = [
        {"name": "one", "rated_mva": 20, "inertia_s": 1.5},
        {"name": "two", "rated_mva": 0.5, "inertia_s": 3},
    ]
    given = scenario(UNITS, condensers=condensers, tick_minutes=15)
    spec = spec_of(given)
    assert spec.condenser_kws == condenser_kws(given) == 31_500
    assert (spec.outside_va, spec.outside_kws, spec.outside_gain_w_per_hz) == (0, 0, 0)
    assert (spec.import_limit_w, spec.export_limit_w) == (0, 0)
    assert spec.tick_seconds == 900
    assert not any(spec.connected(tick) for tick in range(3))
    assert spec.reserve_sizes_w == (0, 0)
    assert spec.bus.tolist() == [0]


@pytest.mark.parametrize("nominal_hz", [50, 60])
def test_a_connection_has_inertia_droop_limits_and_may_be_lost(nominal_hz: int) -> None:
    lost = [
        {"type": "islanding", "tick": 2, "duration_minutes": 10},
        {"type": "islanding", "tick": 9},
    ]
    spec = spec_of(scenario(UNITS, outside=OUTSIDE, events=lost, nominal_frequency_hz=nominal_hz))
    assert spec.outside_kws == 200 * 5 * 1000
    # All of its 200 MVA within 4 % of nominal frequency.
    assert spec.outside_gain_w_per_hz * 0.04 * nominal_hz == pytest.approx(200e6)
    assert (spec.import_limit_w, spec.export_limit_w) == (12_500_000, 3_000_000)
    gone = [tick for tick in range(12) if not spec.connected(tick)]
    assert gone == [2, 3, 9, 10, 11]


def test_reserve_sizes_are_in_watts() -> None:
    spec = spec_of(scenario(UNITS, grid={"reserves": {"containment_mw": 2, "restoration_mw": 0.5}}))
    assert spec.reserve_sizes_w == (2e6, 5e5)


def test_agents_take_their_bus_or_are_spread_over_all_but_the_source() -> None:
    homes = fleet("home", "home", *({"bus": "18"} if row == 1 else {} for row in range(40)))
    spec = spec_of(scenario(UNITS, homes, outside=OUTSIDE, grid={"feeder": "case33bw"}))
    assert spec.feeder is not None
    names = [spec.feeder.buses[row] for row in spec.bus]
    assert len(names) == 41
    # In global order the unit is first, and homes are sorted by name: home-1 is the third.
    assert names[2] == "18"
    assert spec.feeder.source_bus not in names
    assert set(names) == set(spec.feeder.buses) - {spec.feeder.source_bus}
    # Nobody's bus hangs on what others chose.
    alike = fleet("home", "home", *({} for _ in range(40)))
    again = spec_of(scenario(UNITS, alike, outside=OUTSIDE, grid={"feeder": "case33bw"}))
    assert [n for n in range(41) if again.bus[n] != spec.bus[n]] == [2]


def test_a_grid_without_inertia_is_refused() -> None:
    farm = fleet("farm", "wind", {"capacity_mw": 10})
    message = refused(scenario(farm))
    assert "'small'" in message
    assert "nothing has inertia" in message
    assert "rated_mva" in message
    still = fleet("unit", "generator", {**UNIT, "inertia_s": 0})
    assert "nothing has inertia" in refused(scenario(farm, still))
    condenser = {"name": "flywheel", "rated_mva": 5, "inertia_s": 3}
    assert spec_of(scenario(farm, condensers=[condenser])).condenser_kws == 15_000


def test_a_connection_without_a_rating_is_refused() -> None:
    message = refused(scenario(UNITS, outside={**OUTSIDE, "rated_mva": 0}))
    assert "outside.rated_mva is 0" in message


@pytest.mark.parametrize("name", ["containment_mw", "restoration_mw"])
def test_reserve_beyond_all_devices_is_refused(name: str) -> None:
    fleets: tuple[dict[str, Any], ...] = (
        UNITS,
        fleet("works", "consumer", {"load_mw": 30, "flexible_mw": 7}),
        fleet("store", "storage", {"power_mw": 13}),
        fleet("farm", "wind", {"capacity_mw": 500}),
    )
    spec_of(scenario(*fleets, grid={"reserves": {name: 120}}))
    message = refused(scenario(*fleets, grid={"reserves": {name: 120.5}}))
    assert f"grid.reserves.{name} is 120.5" in message
    assert "120 MW" in message


def test_a_bus_that_does_not_exist_is_refused() -> None:
    store = fleet("store", "storage", {"power_mw": 1, "bus": "34"})
    message = refused(scenario(UNITS, store, outside=OUTSIDE, grid={"feeder": "case33bw"}))
    assert "'store-0'" in message
    assert "bus '34' does not exist on feeder 'case33bw'" in message
    assert "1 to 33" in message
    assert "has no feeder; set grid.feeder" in refused(scenario(UNITS, store, outside=OUTSIDE))


def test_an_unknown_feeder_is_refused() -> None:
    message = refused(scenario(UNITS, outside=OUTSIDE, grid={"feeder": "case33b"}))
    assert "case33bw" in message
