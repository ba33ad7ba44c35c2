"""Small grids for tests of the operator's physics: rosters, scenarios and meters by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.grid.build import physics_spec
from swarm.grid.physics import PhysicsSpec
from swarm.messages import Meters, no_meters
from swarm.scenario.fleets import rosters
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

MW = 1_000_000
UNIT = {"capacity_mw": 100, "rated_mva": 120, "inertia_s": 5, "marginal_cost_per_mwh": 50}


def fleet(name: str, kind: str, *agents: dict[str, Any]) -> dict[str, Any]:
    """A fleet of agents with the given parameters."""
    named = [{"name": f"{name}-{row}", **agent} for row, agent in enumerate(agents)]
    return {"name": name, "kind": kind, "agents": named}


def scenario(*fleets: dict[str, Any], **given: Any) -> Scenario:
    """A validated scenario of these fleets, an island with physics unless `given` says else."""
    values: dict[str, Any] = {"name": "small", "ticks": 12, "grid": {}, "fleets": fleets}
    return Scenario.model_validate({**values, **given})


def agents_of(given: Scenario) -> tuple[Roster, ...]:
    """Its agents."""
    return rosters(given)


def spec_of(given: Scenario) -> PhysicsSpec:
    """Its physics."""
    spec = physics_spec(given, agents_of(given))
    assert spec is not None
    return spec


def metered(**given: list[float]) -> Meters:
    """Meters in MW (`inertia_kws` in kW s); delivered follows from the parts."""
    agents = len(next(iter(given.values())))
    columns = no_meters(agents)
    for name, values in given.items():
        unit = 1 if name == "inertia_kws" else MW
        columns[name] = np.rint(np.array(values) * unit).astype(np.int64)
    columns["delivered_w"] = columns["generation_w"] - columns["load_w"] + columns["battery_w"]
    return Meters(**columns)
