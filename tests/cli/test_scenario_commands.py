"""`swarm list`, `swarm validate`, `swarm schema`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from swarm.cli import list_, schema, validate
from swarm.errors import UsageError
from swarm.scenario import load

TEXT = """\
name: day
description: |
  A day with a spike.
  And more about it.
ticks: 288
fleets:
- {name: homes, kind: home, count: 30}
- {name: plants, kind: generator, agents: [{name: coal}, {name: gas}]}
events:
- {type: price_spike, at: "18:00", price_per_mwh: 2500, duration_minutes: 60}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "day.yaml").write_text(TEXT)
    (tmp_path / "an_island.yaml").write_text("name: an_island\n")
    monkeypatch.setattr(load, "builtin_folder", lambda: tmp_path)
    return tmp_path


def test_list(folder: Path) -> None:
    result = CliRunner().invoke(list_.command)
    assert result.exit_code == 0
    assert result.stdout == "an_island\nday        A day with a spike.\n"


def test_list_json(folder: Path) -> None:
    result = CliRunner().invoke(list_.command, ["--json"])
    assert json.loads(result.stdout) == [
        {"name": "an_island", "description": ""},
        {"name": "day", "description": "A day with a spike."},
    ]


@pytest.mark.parametrize("by_name", [True, False])
def test_validate(folder: Path, by_name: bool) -> None:
    file = folder / "day.yaml"
    result = CliRunner().invoke(validate.command, ["day" if by_name else str(file)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"{file}: valid"
    assert [line.split() for line in lines[1:]] == [
        ["scenario", "day"],
        ["ticks", "288", "of", "5", "min"],
        ["fleets", "2"],
        ["homes", "30", "home"],
        ["plants", "2", "generator"],
        ["agents", "32"],
        ["events", "1"],
        ["price_spike,", "ticks", "216", "to", "227"],
    ]
    assert "no effect" in result.stderr  # the spike of an island; notes stay off stdout


def test_validate_json(folder: Path) -> None:
    result = CliRunner().invoke(validate.command, ["day", "--json"])
    contents = json.loads(result.stdout)
    assert contents["valid"] is True
    assert (contents["name"], contents["ticks"], contents["agents"]) == ("day", 288, 32)
    assert contents["fleets"][1] == {"name": "plants", "kind": "generator", "agents": 2}
    assert contents["events"] == [{"type": "price_spike", "first_tick": 216, "end_tick": 228}]
    assert contents["fleets_from_data"] is False


def test_validate_tells_where_fleets_come_from_data(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: r\ndata: {format: rts_gmlc}\n")
    result = CliRunner().invoke(validate.command, [str(tmp_path / "r.yaml")])
    assert "more come with --data" in result.stdout


def test_validate_an_invalid_file(folder: Path) -> None:
    (folder / "bad.yaml").write_text(TEXT.replace("ticks", "tiks"))
    result = CliRunner().invoke(validate.command, [str(folder / "bad.yaml")])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert "bad.yaml:5: tiks: unknown field (did you mean 'ticks'?)" in str(result.exception)
    assert result.stdout == ""


def test_schema() -> None:
    result = CliRunner().invoke(schema.command)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == load.json_schema()


def test_no_slow_import() -> None:
    code = (
        "import sys, swarm.cli.list_, swarm.cli.validate, swarm.cli.schema; "
        "print([m for m in ('ray', 'torch', 'pandas', 'pvlib', 'scipy', 'pyarrow') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
