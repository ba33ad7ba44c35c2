"""The physical grid of a scenario: what is refused, by name and place, before a run starts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarm.cli import main
from swarm.errors import UsageError
from swarm.runtime.setup import check_grid
from swarm.scenario.grid import Grid
from swarm.scenario.load import baseline_of, json_schema, load_scenario

BASE: dict[str, Any] = {
    "name": "town",
    "ticks": 6,
    "outside": {"import_limit_mw": 5, "export_limit_mw": 5, "rated_mva": 1000},
    "condensers": [{"name": "flywheel", "rated_mva": 2, "inertia_s": 6}],
    "grid": {
        "feeder": "generated:4",
        "reserves": {"containment_mw": 1, "restoration_mw": 1},
        "shedding": {"at_hz": [49.0, 48.8]},
        "emergency": {"detect_at_hz": 0.2},
    },
    "fleets": [
        {
            "name": "units",
            "kind": "generator",
            "agents": [
                {
                    "name": "engine",
                    "capacity_mw": 3,
                    "min_output_mw": 1,
                    "rated_mva": 4,
                    "inertia_s": 4,
                    "bus": "1",
                }
            ],
        },
        {
            "name": "loads",
            "kind": "consumer",
            "count": 2,
            "parameters": {"load_mw": 1, "flexible_mw": 0},
        },
    ],
    "events": [{"type": "islanding", "tick": 3, "duration_minutes": 10}],
    "baseline": {"name": "without", "set": ["grid.swarm=false"]},
}
ENGINE = "fleets.0.agents.0"
LOOP = """\
from,to,resistance_ohm,reactance_ohm,nominal_kv
a,b,0.1,0.1,20
b,c,0.1,0.1,20
c,a,0.1,0.1,20
"""


def changed(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The base with values replaced at dotted paths."""
    data = copy.deepcopy(BASE)
    for path, value in changes.items():
        node: Any = data
        *way, last = path.split(".")
        for part in way:
            node = node[int(part) if part.isdigit() else part]
        node[last] = value
    return data


def file(tmp_path: Path, changes: Mapping[str, Any]) -> str:
    path = tmp_path / "town.yaml"
    path.write_text(yaml.safe_dump(changed(changes), sort_keys=False))
    return str(path)


def test_the_base_is_valid_and_so_is_its_baseline(tmp_path: Path) -> None:
    loaded = load_scenario(file(tmp_path, {}))
    check_grid(loaded.scenario)
    assert loaded.notes == ()
    other = baseline_of(loaded.scenario)
    assert other is not None
    assert other.grid is not None
    assert (other.grid.swarm, other.baseline) == (False, None)
    assert (
        other.model_copy(
            update={"grid": loaded.scenario.grid, "baseline": loaded.scenario.baseline}
        )
        == loaded.scenario
    )


REFUSED_BY_THE_SCENARIO: dict[str, tuple[dict[str, Any], list[str]]] = {
    "negative inertia": ({f"{ENGINE}.inertia_s": -1}, ["inertia_s: got -1, expected at least 0"]),
    "infinite inertia": ({f"{ENGINE}.inertia_s": float("inf")}, ["inertia_s: got inf"]),
    "condenser inertia": (
        {"condensers.0.inertia_s": -1},
        ["condensers[0].inertia_s: got -1, expected at least 0"],
    ),
    "outside inertia": ({"outside.inertia_s": -1}, ["outside.inertia_s: got -1"]),
    "no droop": ({f"{ENGINE}.droop": 0}, ["droop: got 0, expected above 0"]),
    "outside without droop": ({"outside.droop": 0}, ["outside.droop: got 0"]),
    "lag": ({f"{ENGINE}.governor_time_constant_s": -0.1}, ["governor_time_constant_s: got -0.1"]),
    "share of pressure": ({f"{ENGINE}.high_pressure_fraction": 1.1}, ["got 1.1, expected at most"]),
    "delay": ({"fleets.1.parameters.response_delay_s": -1}, ["response_delay_s: got -1"]),
    "critical share": ({"fleets.1.parameters.critical_share": 1.2}, ["critical_share: got 1.2"]),
    "priority": ({"fleets.1.parameters.shed_priority": 10}, ["shed_priority: got 10"]),
    "name of a bus": ({f"{ENGINE}.bus": "ä"}, ["bus: got 'ä'"]),
    "damping": ({"grid.damping": -1}, ["grid.damping: got -1, expected at least 0"]),
    "step": ({"grid.step_ms": 21}, ["grid.step_ms: got 21, expected at most 20"]),
    "no step": ({"grid.step_ms": 0}, ["grid.step_ms: got 0, expected at least 1"]),
    "not a number": ({"grid.damping": float("nan")}, ["grid.damping: got nan"]),
    "misspelt": ({"grid.swarms": True}, ["grid.swarms: unknown field", "'swarm'"]),
    "misspelt inside": (
        {"grid.reserves.containment_mv": 1},
        ["grid.reserves.containment_mv: unknown field", "'containment_mw'"],
    ),
    "negative reserve": ({"grid.reserves.containment_mw": -1}, ["containment_mw: got -1"]),
    "reserve for nothing": ({"grid.reserves.price_cap_per_mw_h": 0}, ["price_cap_per_mw_h: got 0"]),
    "deadband": (
        {"grid.deadband_hz": 0.15, "grid.full_containment_at_hz": 0.15},
        ["grid: deadband_hz must be below full_containment_at_hz"],
    ),
    "rising steps": (
        {"grid.shedding.at_hz": [48.8, 49.0]},
        ["grid.shedding: at_hz must fall from step to step"],
    ),
    "one step twice": ({"grid.shedding.at_hz": [48.8, 48.8]}, ["at_hz must fall"]),
    "more than all load": (
        {"grid.shedding.share": 0.6},
        ["grid.shedding: 2 steps of 0.6 shed more than all load"],
    ),
    "steps above nominal": ({"grid.shedding.at_hz": [61.0]}, ["grid.shedding.at_hz[0]: got 61"]),
    "detection": ({"grid.emergency.detect_at_hz": 0}, ["grid.emergency.detect_at_hz: got 0"]),
    "no feeder": ({"grid.feeder_count": 0}, ["grid.feeder_count: got 0, expected above 0"]),
    "power factor": ({"grid.load_power_factor": 0}, ["grid.load_power_factor: got 0"]),
    "islanding of an island": (
        {"outside": None},
        ["events[0]: islanding: the scenario has no 'outside'"],
    ),
    "feeder that is no name": ({"grid.feeder": 5}, ["grid.feeder: got 5"]),
    "empty baseline": ({"baseline.set": []}, ["baseline.set"]),
}


@pytest.mark.parametrize("case", REFUSED_BY_THE_SCENARIO)
def test_refused_with_file_and_line(case: str, tmp_path: Path) -> None:
    changes, words = REFUSED_BY_THE_SCENARIO[case]
    path = file(tmp_path, changes)
    with pytest.raises(UsageError) as caught:
        load_scenario(path)
    for word in words:
        assert word in str(caught.value)
    place, line, *_ = str(caught.value).split(":")
    assert place == path
    # The line is of the field, or of what holds it.
    last = next(iter(changes)).split(".")[-1]
    text = Path(path).read_text().splitlines()[int(line) - 1]
    held = {"deadband_hz", "at_hz", "share", "outside", "set"}
    assert last in text or last in held


REFUSED_BY_THE_PHYSICS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown bus": (
        {f"{ENGINE}.bus": "9"},
        ["agent 'engine': bus '9' does not exist", "'generated:4:0'", "its buses are 0 to 3"],
    ),
    "bus without a feeder": (
        {"grid.feeder": None},
        ["agent 'engine': bus '1': the scenario has no feeder; set grid.feeder"],
    ),
    "unknown feeder": (
        {"grid.feeder": "case33"},
        ["unknown feeder 'case33'", "did you mean 'case33bw'"],
    ),
    "feeder of one bus": ({"grid.feeder": "generated:1"}, ["buses: expected 2 or more, got 1"]),
    "feeder with a loop": (
        {"grid.feeder": "{folder}/loop.csv", f"{ENGINE}.bus": None},
        ["feeder 'loop.csv': a loop through buses 'c', 'b', 'a'", "open one of its lines"],
    ),
    "feeder that is not there": (
        {"grid.feeder": "{folder}/none.csv"},
        ["none.csv: cannot be read"],
    ),
    "reserve above capacity": (
        {"grid.reserves.restoration_mw": 50},
        ["scenario 'town': grid.reserves.restoration_mw is 50, above the 3"],
    ),
    "nothing with inertia": (
        {"outside.rated_mva": 0, "condensers": [], f"{ENGINE}.inertia_s": 0},
        ["scenario 'town': grid: nothing has inertia", "'rated_mva' and 'inertia_s'"],
    ),
    "outside without a rating": (
        {"outside.rated_mva": 0},
        ["scenario 'town': outside.rated_mva is 0", "above 0"],
    ),
    "unknown field in the baseline": (
        {"baseline.set": ["grid.swram=false"]},
        ["scenario 'town': baseline.set: grid.swram=false", "'swarm'"],
    ),
    "bad value in the baseline": (
        {"baseline.set": ["grid.swarm=false", "grid.damping=-1"]},
        ["scenario 'town': baseline.set: ", "grid.damping=-1", "got -1, expected at least 0"],
    ),
    "physics of the baseline": (
        {"baseline.set": ["grid.reserves.containment_mw=70"]},
        ["grid.reserves.containment_mw is 70, above the 3"],
    ),
}


@pytest.fixture
def refused(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[str, list[str]]:
    """The file of a case that only the physics can refuse, and what must be said."""
    changes, words = REFUSED_BY_THE_PHYSICS[request.param]
    (tmp_path / "loop.csv").write_text(LOOP)
    feeder = changes.get("grid.feeder")
    if isinstance(feeder, str):
        changes = changes | {"grid.feeder": feeder.format(folder=tmp_path)}
    return file(tmp_path, changes), words


@pytest.mark.parametrize("refused", REFUSED_BY_THE_PHYSICS, indirect=True)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_refused_before_anything_is_written(
    refused: tuple[str, list[str]],
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, words = refused
    runs = tmp_path / "runs"
    arguments = {
        "run": ["run", "--scenario", path, "--engine", "inline", "--out", str(runs)],
        "validate": ["validate", path],
    }
    with pytest.raises(SystemExit) as end:
        main(arguments[command])
    said = capsys.readouterr()
    assert end.value.code == 2, said.err
    assert said.out == ""
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err
    assert not runs.exists()


def test_islanding_without_a_grid_is_told(tmp_path: Path) -> None:
    changes = {"grid": None, "baseline": None, f"{ENGINE}.bus": None}
    loaded = load_scenario(file(tmp_path, changes))
    assert loaded.notes == ("events[0] (islanding) has no effect: the scenario has no 'grid'",)


def test_agents_that_come_with_data_are_checked_when_they_are_there(tmp_path: Path) -> None:
    changes = {"grid.reserves.restoration_mw": 50, "baseline": None, "data": {"format": "rts_gmlc"}}
    check_grid(load_scenario(file(tmp_path, changes)).scenario)


def test_the_json_schema_knows_the_grid() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    assert validator.is_valid(BASE)
    for path, value in {
        "grid.swarms": True,
        "grid.damping": -1,
        "grid.step_ms": 21,
        "grid.reserves.containment_mw": -1,
        "grid.shedding.at_hz": [49.0, 61.0],
        "grid.emergency.detect": 0.2,
        "baseline.set": [],
        "outside.droop": 0,
        f"{ENGINE}.droop": 0,
        f"{ENGINE}.reheat_time_constant_s": -1,
        "fleets.1.parameters.critical_share": 2,
        "events.0.type": "isolation",
    }.items():
        assert not validator.is_valid(changed({path: value})), path
    definitions = json_schema()["$defs"]
    for name in ("Grid", "Reserves", "Shedding", "Emergency", "Baseline"):
        described = definitions[name]["properties"]
        assert definitions[name]["additionalProperties"] is False
        nested = {"shedding", "emergency"} if name == "Grid" else set()
        assert {f for f in described if not described[f].get("description")} <= nested


def test_thresholds_scale_with_nominal_frequency(tmp_path: Path) -> None:
    scenario = load_scenario(file(tmp_path, {"nominal_frequency_hz": 60})).scenario
    grid = scenario.grid
    assert isinstance(grid, Grid)
    assert scenario.hz(grid.shedding.at_hz[0]) == pytest.approx(58.8)
    assert scenario.hz(grid.emergency.detect_at_hz) == pytest.approx(0.24)
