"""From a scenario and its agents to the spec of its physics; refuses a grid that cannot be."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swarm.errors import UsageError, nearest
from swarm.grid.devices import Devices, devices
from swarm.grid.feeder_table import FeederTable
from swarm.grid.feeders import feeder_named
from swarm.grid.physics import PhysicsSpec
from swarm.messages import Int
from swarm.scenario.events import Islanding
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario


def condenser_kws(scenario: Scenario) -> int:
    """Kinetic energy of the synchronous condensers, kW s."""
    return round(sum(c.rated_mva * c.inertia_s for c in scenario.condensers) * 1000)


def physics_spec(scenario: Scenario, agents: Sequence[Roster]) -> PhysicsSpec | None:
    """The physics of a scenario; None where it has no `grid` section.

    Raises:
        UsageError: where the feeder or a bus does not exist, nothing has inertia, or the agents
            could never hold the reserve.
    """
    grid, outside = scenario.grid, scenario.outside
    if grid is None:
        return None
    nominal = float(scenario.nominal_frequency_hz)
    known = devices(agents, nominal)
    outside_va = 0.0 if outside is None else outside.rated_mva * 1e6
    outside_kws = 0.0 if outside is None else outside.rated_mva * outside.inertia_s * 1000
    _check_inertia(scenario, agents, outside_kws)
    _check_reserves(scenario, agents)
    feeder = _feeder(scenario, grid.feeder)
    return PhysicsSpec(
        grid=grid,
        nominal_hz=nominal,
        tick_seconds=scenario.tick_minutes * 60.0,
        devices=known,
        condenser_kws=condenser_kws(scenario),
        outside_va=outside_va,
        outside_kws=outside_kws,
        outside_gain_w_per_hz=0.0 if outside is None else outside_va / (outside.droop * nominal),
        import_limit_w=0 if outside is None else round(outside.import_limit_mw * 1e6),
        export_limit_w=0 if outside is None else round(outside.export_limit_mw * 1e6),
        lost=tuple(scenario.event_ticks(e) for e in scenario.events if isinstance(e, Islanding)),
        feeder=feeder,
        bus=_buses(scenario, agents, known, feeder),
    )


def _feeder(scenario: Scenario, named: str | None) -> FeederTable | None:
    if named is None:
        return None
    try:
        return feeder_named(named, None)
    except UsageError as error:
        raise UsageError(f"scenario {scenario.name!r}: grid.feeder: {error}") from None


def _check_inertia(scenario: Scenario, agents: Sequence[Roster], outside_kws: float) -> None:
    spinning = sum(
        asset["rated_mva"] * asset["inertia_s"]
        for roster in agents
        if roster.kind == "generator"
        for asset in roster.assets
    )
    if spinning + condenser_kws(scenario) + outside_kws <= 0:
        raise UsageError(
            f"scenario {scenario.name!r}: grid: nothing has inertia, so there is no frequency; "
            "give generators or condensers 'rated_mva' and 'inertia_s', or 'outside' a 'rated_mva'"
        )
    if scenario.outside is not None and scenario.outside.rated_mva == 0:
        raise UsageError(
            f"scenario {scenario.name!r}: outside.rated_mva is 0; with a grid the connection "
            "outside needs an equivalent rating above 0 (for example 10000)"
        )


def _check_reserves(scenario: Scenario, agents: Sequence[Roster]) -> None:
    """Refuse reserve beyond what all agents together could ever inject."""
    assert scenario.grid is not None
    reserves = scenario.grid.reserves
    if reserves is None:
        return
    capacity = sum(_most_mw(roster.kind, asset) for roster in agents for asset in roster.assets)
    for name in ("containment_mw", "restoration_mw"):
        asked = getattr(reserves, name)
        if asked > capacity:
            raise UsageError(
                f"scenario {scenario.name!r}: grid.reserves.{name} is {asked:g}, above the "
                f"{capacity:g} MW of all generators, batteries and flexible loads together"
            )


def _most_mw(kind: str, asset: dict[str, float]) -> float:
    """Most upward reserve one agent could ever hold, MW."""
    field = {"generator": "capacity_mw", "consumer": "flexible_mw"}.get(kind, "power_mw")
    return asset.get(field, 0.0)


def _buses(
    scenario: Scenario, agents: Sequence[Roster], known: Devices, feeder: FeederTable | None
) -> Int:
    """Bus of each agent, int64 (n,): its own, or spread over all buses but the source."""
    names = [name for roster in agents for name in roster.ids]
    if feeder is None:
        for name, bus in zip(names, known.bus, strict=True):
            if bus is not None:
                raise UsageError(
                    f"agent {name!r}: bus {bus!r}: the scenario has no feeder; set grid.feeder"
                )
        return np.zeros(len(names), dtype=np.int64)
    index = {bus: row for row, bus in enumerate(feeder.buses)}
    free = [row for bus, row in index.items() if bus != feeder.source_bus]
    found = np.zeros(len(names), dtype=np.int64)
    for row, (name, bus) in enumerate(zip(names, known.bus, strict=True)):
        if bus is not None and bus not in index:
            raise UsageError(
                f"agent {name!r}: bus {bus!r} does not exist on feeder {feeder.name!r}"
                f"{nearest(bus, feeder.buses)}; its buses are {feeder.buses[0]} to "
                f"{feeder.buses[-1]}"
            )
        found[row] = free[row % len(free)] if bus is None else index[bus]
    return found
