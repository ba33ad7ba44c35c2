"""`swarm compare` as a user meets it: files, exit codes, and the same bytes for any --jobs."""

from __future__ import annotations

import json
import multiprocessing
from multiprocessing import connection
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import swarm as package
from swarm.cli import main
from swarm.cli.compare import days_of, seeds_of
from swarm.errors import RunError, UsageError
from swarm.learning.files import load_policies
from swarm.runtime import compare as planner
from swarm.runtime import compare_runs as runner
from swarm.scenario.days import held_out_days, split_of
from tests.learning.sets import drawn, one_each, saved

SHORT = ["--scenario", "price_spike", "--ticks", "4", "--agents", "8"]
UNTRAINED = [*SHORT, "--policies", "heuristic,random"]


def compare(*arguments: str) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as end:
        main(["compare", *arguments])
    return int(end.value.code or 0)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison of two policies on three seeds and two days, in this process."""
    out = tmp_path_factory.mktemp("compared") / "one"
    days = "2024-07-30,2024-12-30"
    assert (
        compare(*UNTRAINED, "--seeds", "0..2", "--days", days, "--jobs", "1", "--out", str(out))
        == 0
    )
    return out


def test_bytes_do_not_depend_on_jobs(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--days", "2024-07-30,2024-12-30", "--jobs", "2", "--json", "--quiet"]
    assert compare(*UNTRAINED, "--seeds", "0,1,2", *more, "--out", str(tmp_path / "two")) == 0
    for name in ("runs.parquet", "summary.json", "summary.md", "report.html"):
        assert (done / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    said = json.loads(capsys.readouterr().out)
    assert said.pop("out") == str(tmp_path / "two")
    assert len(said.pop("timings")["runs"]) == 12
    assert said == json.loads((done / "summary.json").read_text())
    assert {path.name for path in done.iterdir()} == {
        *("runs.parquet", "summary.json", "summary.md", "report.html", "timings.json")
    }


def test_a_row_is_the_run_that_swarm_run_gives(done: Path) -> None:
    rows = pq.read_table(done / "runs.parquet").to_pylist()
    keys = [(row["policy"], row["day"], row["seed"]) for row in rows]
    days = ("2024-07-30", "2024-12-30")
    assert keys == [(p, d, s) for p in ("heuristic", "random") for d in days for s in range(3)]
    run = package.run(
        "price_spike",
        ticks=4,
        agents=8,
        seed=2,
        sets=["start=2024-12-30T00:00:00+10:00"],
        policy="random",
        engine="inline",
        out=None,
    )
    assert rows[-1]["digest"] == run.digest
    assert rows[-1]["system_cost"] == run.metrics["system_cost"]
    assert rows[-1]["reward"] == pytest.approx(sum(run.metrics["profit_by_kind"].values()))


def test_tables_go_to_stdout_and_the_lost_load_value_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = ["--lost-load-value", "10000", "--against", "heuristic"]
    assert compare(*UNTRAINED, "--seeds", "4,5", *value, "--jobs", "1", "--out", str(tmp_path)) == 0
    said = capsys.readouterr()
    assert "10,000 AUD/MWh" in said.out
    assert "random against heuristic" in said.out
    assert "system cost (AUD)" in said.out
    assert "run 4/4" in said.err


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policies for every kind but homes, which nobody trained."""
    folder = tmp_path_factory.mktemp("policies")
    saved(folder, {kind: nets for kind, nets in one_each().items() if kind != "home"})
    return folder


@pytest.fixture(scope="module")
def held_out(policies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All three policies, each seed on a day of its own, without a word on either."""
    out = tmp_path_factory.mktemp("held-out") / "out"
    arguments = ["--policies-from", str(policies), "--seeds", "3..5", "--jobs", "1"]
    assert compare(*SHORT, *arguments, "--out", str(out)) == 0
    return out


def test_each_seed_has_a_held_out_day_of_its_own(held_out: Path) -> None:
    rows = pq.read_table(held_out / "runs.parquet").to_pylist()
    days = [day.isoformat() for day in held_out_days(2024, 3)]
    pairs = list(zip(days, (3, 4, 5), strict=True))
    assert [(row["policy"], row["day"], row["seed"]) for row in rows] == [
        (policy, *pair) for policy in ("trained", "heuristic", "random") for pair in pairs
    ]
    summary = json.loads((held_out / "summary.json").read_text())
    assert (summary["days"], summary["days_are"]) == (days, "held-out")
    assert summary["not_held_out"] == {}
    assert all(split_of(day) == "test" for day in held_out_days(2024, 3))
    chances = [
        each["probability_of_improvement"]["value"]
        for each in summary["metrics"]["total_cost"]["comparisons"]
    ]
    # Three days: each is won, lost or even.
    assert len(chances) == 3
    assert all(6 * chance == pytest.approx(round(6 * chance)) for chance in chances)


def test_a_trained_row_is_the_run_that_swarm_run_gives(held_out: Path, policies: Path) -> None:
    row = pq.read_table(held_out / "runs.parquet").to_pylist()[1]
    run = package.run(
        "price_spike",
        ticks=4,
        agents=8,
        seed=4,
        sets=[f"start={held_out_days(2024, 3)[1]}T00:00:00+10:00"],
        policy="trained",
        policies_from=policies,
        engine="inline",
        out=None,
    )
    assert row["policy"] == "trained"
    assert row["digest"] == run.digest


def test_all_output_says_what_the_days_are_and_what_was_trained(
    held_out: Path, policies: Path
) -> None:
    summary = json.loads((held_out / "summary.json").read_text())
    sha256 = load_policies(policies).sha256
    assert summary["trained"] == {"policies": str(policies), "sha256": sha256}
    for name in ("summary.md", "report.html"):
        text = (held_out / name).read_text()
        assert "on 3 held-out days" in text
        assert f"{held_out_days(2024, 3)[1]} (seed 4)" in text
        assert "neither trains nor chooses policies on these days" in text
        assert sha256[:16] in text
        assert "no policy was trained for home: heuristic" in text


def test_the_scenarios_own_day_and_validation_seeds_are_named(
    policies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--days", "own", "--seeds", "7,100000", "--jobs", "1"]
    more += ["--policies", "trained,random", "--policies-from", str(policies)]
    assert compare(*SHORT, *more, "--out", str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    assert "own day 2024-07-30" in said
    assert "Not held out: 2024-07-30 (validation)" in said
    assert "seeds 100000: trainings choose" in said
    rows = pq.read_table(tmp_path / "out" / "runs.parquet").to_pylist()
    assert {(row["day"], row["seed"]) for row in rows} == {
        *(("2024-07-30", 7), ("2024-07-30", 100000))
    }


def test_a_trained_operator_leads_the_runs_of_every_policy(tmp_path: Path) -> None:
    out, operated = tmp_path / "out", "grid.operator=trained"
    saved(tmp_path / "set", drawn({"operator": 1}))
    more = ["--policies", "heuristic,random", "--policies-from", str(tmp_path / "set")]
    more += ["--set", operated, "--seeds", "0,1", "--jobs", "1", "--out", str(out)]
    assert compare(*SHORT, *more) == 0
    assert "operator's policy is trained in all runs; it weighs" in (out / "summary.md").read_text()
    row = pq.read_table(out / "runs.parquet").to_pylist()[3]
    run = package.run(
        "price_spike",
        ticks=4,
        agents=8,
        seed=1,
        sets=[f"start={held_out_days(2024, 2)[1]}T00:00:00+10:00", operated],
        policy="random",
        policies_from=tmp_path / "set",
        engine="inline",
        out=None,
    )
    assert (row["policy"], row["digest"]) == ("random", run.digest)


BAD: dict[str, tuple[list[str], list[str]]] = {
    "unknown scenario": (["--scenario", "price_spyke"], ["price_spyke", "price_spike"]),
    "unknown policy": (["--policies", "heuristic,rando"], ["--policies", "rando", "'random'"]),
    "no policy": (["--policies", ","], ["--policies"]),
    "policy twice": (["--policies", "random,random"], ["--policies", "random", "twice"]),
    "unknown against": (["--against", "randon"], ["--against", "randon", "'random'"]),
    "one seed": (["--seeds", "3"], ["--seeds", "1 given", "two at least", "interval"]),
    "seed twice": (["--seeds", "0..3,2"], ["--seeds", "2", "twice"]),
    "no seeds": (["--seeds", "a..b"], ["--seeds", "a..b", "0..9"]),
    "a day twice": (["--days", "2024-07-30,2024-07-30"], ["--days", "2024-07-30", "twice"]),
    "no day": (["--days", "30.7.2024"], ["--days", "30.7.2024", "YYYY-MM-DD"]),
    "no jobs": (["--jobs", "0"], ["--jobs", "0"]),
    "jobs on Ray": (["--engine", "ray", "--jobs", "2"], ["--jobs", "inline"]),
    "address inline": (["--address", "auto"], ["--address"]),
    "worth less than nothing": (["--lost-load-value", "-1"], ["--lost-load-value", "-1"]),
    "worth no number": (["--lost-load-value", "nan"], ["--lost-load-value", "nan"]),
    "data nobody has": (["--data", "missing.csv"], ["missing.csv"]),
    "policies of none": (["--policies-from", "x", "--policies", "random"], ["--policies-from x"]),
    "policies nobody has": (["--policies-from", "nowhere"], ["nowhere", "is missing"]),
    "seeds to learn with": (
        ["--policies", "trained,random", "--policies-from", "x", "--seeds", "5,1000000"],
        ["--seeds", "1000000", "learned with", "below 100,000"],
    ),
    "more seeds than days": (["--seeds", "0..99"], ["--seeds", "100", "42", "--days own"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_starts(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = BAD[case]
    code = compare(*SHORT, *arguments, "--out", str(tmp_path / "out"))
    said = capsys.readouterr()
    assert code == 2, said.err
    for word in words:
        assert word in said.err
    assert not (tmp_path / "out").exists()


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("mine")
    assert compare(*UNTRAINED, "--out", str(tmp_path)) == 2
    assert "--out" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def failing(monkeypatch: pytest.MonkeyPatch, seed: int, error: BaseException) -> None:
    """Runs of policy `random` with this seed raise `error`."""
    real = runner.run_scenario

    def run_scenario(scenario: Any, options: Any, progress: Any) -> Any:
        if options.policy == "random" and scenario.seed == seed:
            raise error
        return real(scenario, options, progress)

    monkeypatch.setattr(runner, "run_scenario", run_scenario)


@pytest.mark.parametrize("error", [RunError("the disk is full"), ZeroDivisionError("by zero")])
def test_a_failed_run_is_named_and_the_others_are_kept(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(monkeypatch, 1, error)
    out = tmp_path / "out"
    assert compare(*UNTRAINED, "--seeds", "0..2", "--jobs", "1", "--out", str(out)) == 3
    said = capsys.readouterr()
    day = held_out_days(2024, 3)[1]
    assert f"random, seed 1, {day}: {error}" in said.err.replace("ZeroDivisionError: ", "")
    assert "5 of 6 runs finished" in said.out
    assert len(pq.read_table(out / "runs.parquet")) == 5
    summary = json.loads((out / "summary.json").read_text())
    assert [(each["policy"], each["seed"]) for each in summary["failures"]] == [("random", 1)]
    assert summary["metrics"]["reward"]["seeds"] == 2
    assert str(error) in (out / "summary.md").read_text()


def test_ctrl_c_keeps_what_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, 1, KeyboardInterrupt())
    out = tmp_path / "out"
    assert compare(*UNTRAINED, "--seeds", "0..2", "--jobs", "1", "--out", str(out)) == 130
    assert str(out) in capsys.readouterr().err
    assert len(pq.read_table(out / "runs.parquet")) == 4


def test_an_interrupt_waits_for_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(
        "import time\n"
        "from swarm.agents.policy import Heuristic\n"
        "class Sleeper(Heuristic):\n"
        "    def act(self, state, view):\n"
        "        time.sleep(600)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    policies = ["random", "sleeper:Sleeper"]
    planned = planner.plan_comparison(
        "price_spike", policies=policies, seeds=[0, 1], ticks=4, agents=8, jobs=2
    )
    children: list[Any] = []

    def told(done: int, total: int, result: Any) -> None:
        children.extend(multiprocessing.active_children())
        raise KeyboardInterrupt

    done = planner.carry_out(planned, told)
    assert done.interrupted
    assert [row.policy for row in done.rows] == ["random"]
    assert len(children) == 2
    for child in children:
        assert connection.wait([child.sentinel], timeout=60), "it still runs"


def test_a_process_that_dies_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A policy of the user's own, found where they stand, ends its process."""
    (tmp_path / "killer.py").write_text(
        "import os\n"
        "from swarm.agents.policy import Heuristic\n"
        "class Killer(Heuristic):\n"
        "    def act(self, state, view):\n"
        "        os._exit(1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    code = compare(*SHORT, "--policies", "killer:Killer", "--seeds", "0,1", "--jobs", "2")
    assert code == 3
    said = capsys.readouterr().err
    assert "killer:Killer, seed 0" in said
    assert "BrokenProcessPool" in said
    assert len(list((tmp_path / "compare").iterdir())) == 1


def test_seeds_and_days_as_given() -> None:
    assert seeds_of("0..3, 7,9 .. 10") == [0, 1, 2, 3, 7, 9, 10]
    assert [day.isoformat() for day in days_of("2025-06-18, 2025-06-19")] == [
        *("2025-06-18", "2025-06-19")
    ]
    assert days_of(None) is None
    assert days_of("own") == "own"
    for bad in ("", "3..1", "1..2..3", "-1", "1.5", "0..99999999999"):
        with pytest.raises(UsageError, match="--seeds"):
            seeds_of(bad)
