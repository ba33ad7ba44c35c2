"""`swarm show`, `swarm digest` and the table they print."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from swarm.cli import digest, show
from swarm.cli.ui import print_table
from swarm.errors import UsageError
from swarm.grid.balance import Balance, Operated
from swarm.market.record import TickRecord
from swarm.messages import Meters, Signal, no_meters
from swarm.results.folder import new_run_folder, write_json
from swarm.results.writer import ResultWriter
from swarm.scenario.fleets import rosters
from swarm.scenario.schema import Scenario

MANIFEST: dict[str, Any] = {
    "status": "finished",
    "scenario": "quiet",
    "seed": 9,
    "ticks": 2,
    "agents": 3,
    "options": {"engine": "inline", "address": None},
    "notes": ["a gap was [held]"],
    "started_utc": "2026-03-01T12:00:00+00:00",
    "versions": {"python": "3.11"},
}


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Two ticks without trade of three storages."""
    fleets = [{"name": "batteries", "kind": "storage", "count": 3}]
    scenario = Scenario.model_validate({"name": "quiet", "seed": 9, "ticks": 2, "fleets": fleets})
    folder = new_run_folder(tmp_path, "quiet", 9, "", datetime(2026, 3, 1, tzinfo=UTC))
    writer = ResultWriter(scenario, rosters(scenario), folder)
    nothing, unknown = np.zeros(3, dtype=np.int64), np.full(24, np.nan)
    for tick in range(2):
        meters = Meters(**no_meters(3))
        record = TickRecord(
            tick, None, "no_trade", 0, 0.0, 0, 0, 0, None, 0, 0, 0, 0, 0, nothing, nothing, meters,
            None, nothing[:0],
        )  # fmt: skip
        signal = Signal(tick + 2, np.nan, unknown, unknown, -500.0, 3000.0, 0.0, False)
        writer.write(record, Operated(Balance(tick, *[0] * 11), signal))
    results = writer.finish()
    write_json(folder / "metrics.json", results.metrics)
    write_json(folder / "timings.json", {"wall_seconds": 0.5, "ticks_per_second": 4.0})
    write_json(folder / "manifest.json", MANIFEST | {"digest": results.digest})
    return folder


def digest_in(folder: Path) -> str:
    text: str = json.loads((folder / "manifest.json").read_text())["digest"]
    return text


def test_digest(run_dir: Path) -> None:
    result = CliRunner().invoke(digest.command, [str(run_dir)])
    assert (result.exit_code, result.stdout) == (0, digest_in(run_dir) + "\n")
    assert len(digest_in(run_dir)) == 64


def test_digest_json(run_dir: Path) -> None:
    result = CliRunner().invoke(digest.command, [str(run_dir), "--json"])
    assert json.loads(result.stdout) == {"run_dir": str(run_dir), "digest": digest_in(run_dir)}


@pytest.mark.parametrize("command", [digest.command, show.command])
def test_damage_is_refused(run_dir: Path, command: Any) -> None:
    part = run_dir / "data/grid/part-00000.parquet"
    part.write_bytes(part.read_bytes()[:-1])
    result = CliRunner().invoke(command, [str(run_dir)])
    assert isinstance(result.exception, UsageError)
    assert str(part) in str(result.exception)
    assert result.stdout == ""


def test_digest_of_an_unfinished_run_is_refused(run_dir: Path) -> None:
    write_json(run_dir / "manifest.json", MANIFEST | {"status": "interrupted"})
    result = CliRunner().invoke(digest.command, [str(run_dir)])
    assert isinstance(result.exception, UsageError)
    assert "status 'interrupted'" in str(result.exception)


def test_show(run_dir: Path) -> None:
    result = CliRunner().invoke(show.command, [str(run_dir)])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "quiet, seed 9"
    assert lines[-2:] == [f"results: {run_dir}", f"digest:  {digest_in(run_dir)}"]
    rows = {line[2:].split("  ")[0]: line.split("  ")[-1].strip() for line in lines[1:-2]}
    assert rows["status"] == "finished"
    assert rows["engine"] == "inline"
    assert rows["note"] == "a gap was [held]"
    assert rows["agents"] == "3 (3 storage)"
    assert rows["mean price"] == "-"
    assert rows["ticks without trade"] == "2"
    # Values start in one column.
    starts = {len(line) - len(line[2:].split("  ", 1)[1].lstrip()) for line in lines[1:-2]}
    assert len(starts) == 1


def test_show_json(run_dir: Path) -> None:
    whole = json.loads(CliRunner().invoke(show.command, [str(run_dir), "--json"]).stdout)
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert {name: whole[name] for name in metrics} == metrics
    assert whole["timings"]["wall_seconds"] == 0.5
    assert (whole["status"], whole["digest"]) == ("finished", digest_in(run_dir))
    assert whole["manifest"]["seed"] == 9


@pytest.mark.parametrize("status", ["started", "failed"])
def test_show_an_unfinished_run(run_dir: Path, status: str) -> None:
    manifest = MANIFEST | {"status": status, "error": "it broke"}
    write_json(run_dir / "manifest.json", manifest)
    (run_dir / "metrics.json").unlink()
    plain = CliRunner().invoke(show.command, [str(run_dir)])
    assert plain.exit_code == 0
    assert plain.stdout.splitlines()[1].split() == ["status", status]
    assert "it broke" in plain.stdout
    assert "digest" not in plain.stdout
    whole = json.loads(CliRunner().invoke(show.command, [str(run_dir), "--json"]).stdout)
    assert (whole["status"], whole["digest"]) == (status, None)


def test_show_nothing(tmp_path: Path) -> None:
    result = CliRunner().invoke(show.command, [str(tmp_path / "none")])
    assert isinstance(result.exception, UsageError)


ROWS = [("price", "1,000.00 [EUR]"), ("longer label", "-")]


def test_plain_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("a title", ROWS)
    expected = "a title\n  price         1,000.00 [EUR]\n  longer label  -\n"
    assert capsys.readouterr().out == expected


def test_plain_table_of_three_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(
        "a title", [("price", "1", "2,000"), ("b", "30", "-")], header=("", "ours", "their")
    )
    assert capsys.readouterr().out == (
        "a title\n         ours  their\n  price  1     2,000\n  b      30    -\n"
    )


def test_terminal_table_of_three_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    print_table("a title", [("price", "1", "[2]")], header=("", "ours", "their"))
    printed = capsys.readouterr().out
    for cell in ("price", "[2]", "ours", "their"):
        assert cell in printed


@pytest.mark.parametrize("no_color", [True, False])
def test_terminal_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    print_table("a title", ROWS)
    printed = capsys.readouterr().out
    assert "1,000.00 [EUR]" in printed
    assert "longer label" in printed
    assert ("\x1b[" in printed) is not no_color
