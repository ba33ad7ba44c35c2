"""Energy books of shipped scenarios and of random grids, re-added from their tables alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import swarm
from swarm.scenario.schema import Scenario
from tests.oracles.grid_runs import (
    GridTables,
    check_books,
    check_devices,
    check_kinetic_energy,
    check_reserve,
    check_stored_energy,
)

TICKS = 6
FLEETS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "generator": {
        "capacity_mw": st.floats(0.5, 4.0),
        "min_output_mw": st.just(0.01),
        "marginal_cost_per_mwh": st.floats(20, 120),
        "ramp_mw_per_minute": st.sampled_from([None, 0.02, 0.5]),
        "droop": st.sampled_from([None, 0.05]),
        "reheat_time_constant_s": st.sampled_from([0.0, 8.0]),
        "rated_mva": st.floats(0.5, 5.0),
        "inertia_s": st.sampled_from([1.0, 4.0]),
    },
    "consumer": {
        "load_mw": st.floats(0.3, 1.5),
        "flexible_mw": st.floats(0, 0.3),
        "load_noise": st.sampled_from([0.0, 0.1]),
        "profile": st.sampled_from(["flat", "h0"]),
        "critical_share": st.floats(0, 1),
        "shed_priority": st.integers(0, 9),
        "shift_window_hours": st.sampled_from([0.5, 4.0]),
    },
    "storage": {
        "energy_mwh": st.floats(0.02, 2.0),
        "power_mw": st.floats(0.02, 1.0),
        "round_trip_efficiency": st.sampled_from([0.8, 1.0]),
        "self_discharge_per_hour": st.sampled_from([0.0, 0.01]),
        "initial_state_of_charge": st.floats(0.2, 0.9),
        "min_state_of_charge": st.sampled_from([0.0, 0.2]),
        "response_delay_s": st.sampled_from([0.0, 0.05]),
        "response_ramp_s": st.sampled_from([0.0, 0.1]),
    },
    "home": {
        "load_mw": st.floats(0, 0.1),
        "solar_mw": st.floats(0, 1.0),
        "power_mw": st.floats(0, 0.1),
        "energy_mwh": st.floats(0, 0.2),
        "shed_priority": st.integers(0, 9),
    },
    "ev": {"vehicle_to_grid": st.booleans(), "arrival_hour": st.sampled_from([9.0, 12.25])},
    "solar": {"capacity_mw": st.floats(0.05, 1.0)},
    "wind": {"capacity_mw": st.floats(0.05, 1.0)},
}
EVENTS: list[dict[str, Any]] = [
    {"type": "outage", "tick": 2, "duration_minutes": 10, "fleets": ["generator"]},
    {"type": "outage", "tick": 3, "duration_minutes": 10, "fleets": ["storage"]},
    {"type": "islanding", "tick": 2, "duration_minutes": 10},
    {"type": "load_step", "tick": 1, "duration_minutes": 15, "fleets": ["consumer"], "factor": 1.6},
    {"type": "load_step", "tick": 3, "duration_minutes": 15, "fleets": ["consumer"], "factor": 0.2},
    {"type": "cloud_front", "tick": 2, "duration_minutes": 10, "factor": 0.2},
]


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """A small grid at noon: any kinds, on an island or not, with or without reserve and feeder."""
    kinds = sorted(draw(st.sets(st.sampled_from(sorted(FLEETS)), min_size=1)) | {"generator"})
    fleets = [
        {
            "name": kind,
            "kind": kind,
            "count": draw(st.integers(1, 3)),
            "parameters": {name: draw(values) for name, values in FLEETS[kind].items()},
        }
        for kind in kinds
    ]
    limit = st.sampled_from([0.0, 0.5, 5.0])
    outside = None
    if draw(st.booleans()):
        outside = {
            "import_limit_mw": draw(limit),
            "export_limit_mw": draw(limit),
            "rated_mva": draw(st.sampled_from([5.0, 5000.0])),
        }
    reserves = None
    if draw(st.booleans()):
        reserves = {"containment_mw": 0.04, "restoration_mw": 0.04}
    events = [
        chosen
        for chosen in EVENTS
        if set(chosen.get("fleets", ())) <= set(kinds)
        and (outside is not None or chosen["type"] != "islanding")
        and draw(st.booleans())
    ]
    return Scenario.model_validate(
        {
            "name": "random",
            "seed": draw(st.integers(0, 99)),
            "start": "2025-06-18T12:00:00+02:00",
            "ticks": TICKS,
            "outages": False,
            "outside": outside,
            "nominal_frequency_hz": draw(st.sampled_from([50, 60])),
            "fleets": fleets,
            "events": events,
            "grid": {
                "swarm": draw(st.booleans()),
                "reserves": reserves,
                "feeder": draw(st.sampled_from([None, "case33bw"])),
                "volt_var": draw(st.booleans()),
            },
        }
    )


@settings(max_examples=12)
@given(scenario=scenarios(), policy=st.sampled_from(["heuristic", "random"]))
def test_random_grids_balance(scenario: Scenario, policy: str) -> None:
    run = swarm.run(scenario, engine="inline", out=None, policy=policy)
    t = GridTables(run)
    check_books(t)
    check_devices(t)
    check_stored_energy(t)
    check_kinetic_energy(t, scenario.nominal_frequency_hz)
    if scenario.grid is not None and scenario.grid.reserves is not None:
        check_reserve(t)
    for row in t.events():
        event(row["step"])


SURPLUS = """
name: surplus
seed: 22
start: 2025-06-18T12:00:00+02:00
ticks: 7
outages: false
grid: {}
fleets:
  - name: town
    kind: consumer
    count: 1
    parameters: {load_mw: 0.3, flexible_mw: 0.24, shift_window_hours: 0.5, shed_priority: 3}
  - name: units
    kind: generator
    count: 2
    parameters: {capacity_mw: 1.1, min_output_mw: 0.01, rated_mva: 3.3, inertia_s: 4}
  - {name: sun, kind: solar, count: 1, parameters: {capacity_mw: 0.05}}
  - {name: wind, kind: wind, count: 1, parameters: {capacity_mw: 0.3}}
"""


def test_generation_that_was_called_back_comes_home(tmp_path: Path) -> None:
    """A surplus calls wind and sun back; they come home when it is over, and the books close."""
    file = tmp_path / "surplus.yaml"
    file.write_text(SURPLUS)
    t = GridTables(swarm.run(file, engine="inline", out=None, policy="random"))
    check_books(t)
    check_kinetic_energy(t, 50.0)
    steps = [row["step"] for row in t.events()]
    assert "generation" in steps
    assert "recovered" in steps
    weather = t.meter("activated_w")[:, t.of("solar", "wind")].sum(axis=1)
    assert weather.min() < 0
    assert 0 in weather[weather.argmin() :], "it comes home"


SHIPPED = {
    "auction_example": (),
    "normal_day": ("start=2025-06-18T08:30:00+02:00", "ticks=12"),
    "renewable_heavy": ("start=2025-05-14T11:00:00+02:00", "ticks=12"),
}
"""Scenarios without physics, and fields that make their runs short; the others are checked in
`test_grid_scenarios`, `rts_gmlc` needs its data."""


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_scenarios_balance(name: str) -> None:
    t = GridTables(swarm.run(name, sets=SHIPPED[name], engine="inline", out=None))
    check_books(t)
    check_devices(t)
    check_stored_energy(t)
