"""A scenario with a baseline is run twice: first without what it is about, to compare."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import swarm
from swarm.cli import main, report
from swarm.errors import UsageError
from swarm.results.run import Run
from swarm.scenario.load import baseline_of, load_scenario

# The island of `emergency` from ten minutes before its largest unit fails.
SETS = ("start=2025-06-18T18:20:00+02:00", "ticks=5")
NAME = "without the swarm"


def run(sets: tuple[str, ...] = (), **options: Any) -> Run:
    given = {"engine": "inline", "policy": "heuristic"}
    return swarm.run("emergency", sets=(*SETS, *sets), **given | options)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run(out=tmp_path_factory.mktemp("runs"))


def test_two_runs_in_two_folders_name_each_other(compared: Run) -> None:
    baseline = compared.baseline
    assert baseline is not None
    assert compared.run_dir is not None
    assert baseline.run_dir is not None
    folders = {folder.name for folder in compared.run_dir.parent.iterdir()}
    assert folders == {compared.run_dir.name, baseline.run_dir.name}
    manifest = json.loads((compared.run_dir / "manifest.json").read_text())
    assert manifest["baseline"] == {
        "name": NAME,
        "run": baseline.run_dir.name,
        "digest": baseline.digest,
    }
    assert "baseline" not in baseline.manifest
    assert baseline.baseline is None
    for made in (compared, baseline):
        assert made.run_dir is not None
        assert made.manifest["status"] == "finished"
        assert swarm.read_run(made.run_dir).metrics == made.metrics


def test_they_differ_in_what_the_baseline_sets_and_in_nothing_else(compared: Run) -> None:
    baseline = compared.baseline
    assert baseline is not None
    whole = load_scenario("emergency", sets=SETS).scenario
    other = baseline_of(whole)
    assert other is not None
    back = other.model_copy(update={"grid": whole.grid, "baseline": whole.baseline})
    assert back == whole
    assert baseline.digest == swarm.run(other, engine="inline", out=None).digest
    assert baseline.digest != compared.digest
    assert baseline.metrics["agents"] == compared.metrics["agents"]
    batteries = baseline.agents.join(baseline.registry.select(["agent", "kind"]), "agent")
    frame = batteries.to_pandas()
    still = frame[frame.kind == "storage"]
    assert (still.contract_w == 0).all()
    assert (still.activated_w == 0).all()
    assert baseline.metrics["nadir_hz"] < compared.metrics["nadir_hz"]


def test_one_run_where_the_baseline_is_taken_away(compared: Run, tmp_path: Path) -> None:
    alone = run(("baseline=null",), out=tmp_path)
    assert alone.baseline is None
    assert "baseline" not in alone.manifest
    assert len(list(tmp_path.iterdir())) == 1
    assert alone.digest == compared.digest, "a comparison changes no result"


def test_in_memory(compared: Run) -> None:
    memory = run(out=None)
    assert memory.baseline is not None
    assert compared.baseline is not None
    assert memory.digest == compared.digest
    assert memory.baseline.digest == compared.baseline.digest
    assert memory.manifest["baseline"]["run"] is None


def test_progress_is_told_which_run_is_which() -> None:
    heard: list[str] = []

    class Ears:
        def note(self, text: str) -> None:
            heard.append(text)

        def begin(self, scenario: Any, agents: int) -> None:
            heard.append("begin")

        def starting(self, ready: int, actors: int) -> None:
            heard.append("starting")

        def traced(self, trace_id: str) -> None:
            heard.append("traced")

        def tick(self, cleared: Any, operated: Any) -> None:
            """Is told every tick of both."""

    run(out=None, progress=Ears())
    assert heard == [f"first {NAME}, to compare", "begin", "begin"]


def test_a_baseline_that_cannot_be_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"baseline\.set: grid\.damping=-1: .*at least 0"):
        run(("baseline.set=[grid.damping=-1]",), out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("with_baseline", [True, False])
def test_the_command_prints_both(
    with_baseline: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--scenario", "emergency", "--engine", "inline", "--out", str(tmp_path)]
    for each in SETS if with_baseline else (*SETS, "baseline=null"):
        arguments += ["--set", each]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    out = capsys.readouterr().out
    assert "emergency detected" in out
    assert (f"compared with the same run {NAME}" in out) is with_baseline
    folders = [str(folder) for folder in tmp_path.iterdir()]
    assert len(folders) == 1 + with_baseline
    assert all(folder in out for folder in folders)
    with pytest.raises(SystemExit):
        main([*arguments, "--json"])
    answer = json.loads(capsys.readouterr().out)
    if with_baseline:
        assert answer["baseline"]["nadir_hz"] < answer["nadir_hz"]
        assert answer["baseline"].keys() < answer.keys()
    else:
        assert answer["baseline"] is None


def test_ray_compares_the_same(ray_cluster: str, compared: Run) -> None:
    """The actors of the first run make room for those of the second."""
    on_ray = run(out=None, engine="ray", agents_per_actor=150)
    assert on_ray.baseline is not None
    assert compared.baseline is not None
    assert on_ray.digest == compared.digest
    assert on_ray.baseline.digest == compared.baseline.digest


def test_a_long_story_is_cut(
    compared: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = len(compared.table("events"))
    assert events > 3
    for most, left in ((2, events - 2), (events, 0)):
        monkeypatch.setattr(report, "MOST_EVENTS", most)
        report.print_report(compared)
        out = capsys.readouterr().out
        told = re.findall(r"^  \d\d:\d\d:\d\d\.\d{3} ", out, flags=re.MULTILINE)
        assert len(told) == most
        assert (f"... and {left} more in the table of events" in out) is (left > 0)
