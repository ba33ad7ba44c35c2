"""`swarm run` as a user meets it: output, exit codes, bad input refused before anything starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.cli import main

SHORT = ["run", "--scenario", "price_spike", "--engine", "inline", "--agents", "12", "--ticks", "6"]

SCENARIO = """\
name: tiny
ticks: 6
outside: {import_limit_mw: 5, export_limit_mw: 5}
fleets:
  - name: units
    kind: generator
    count: 1
    parameters: {capacity_mw: 3, min_output_mw: 1, marginal_cost_per_mwh: 40}
  - name: loads
    kind: consumer
    agents:
      - {name: north, load_mw: 2, flexible_mw: 0.5}
      - {name: south, load_mw: 1, flexible_mw: 0}
"""


def swarm(*arguments: str, out: Path) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--out", str(out)])
    return int(end.value.code or 0)


def file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return str(path)


def test_json_is_one_object_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert swarm(*SHORT, "--json", out=tmp_path) == 0
    said = capsys.readouterr()
    answer = json.loads(said.out)
    assert answer["ticks"] == 6
    assert answer["agents"] == 12
    assert Path(answer["run_dir"]).is_dir()
    assert len(answer["digest"]) == 64
    assert answer["timings"]["wall_seconds"] > 0
    assert "tick 6/6" in said.err


def test_quiet_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert swarm(*SHORT, "--quiet", out=tmp_path) == 0
    assert capsys.readouterr() == ("", "")


def test_summary_says_where_the_results_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swarm(*SHORT, out=tmp_path) == 0
    out = capsys.readouterr().out
    folder = next(tmp_path.iterdir())
    assert f"results: {folder}" in out
    assert "mean price" in out
    assert "AUD/MWh" in out


def test_results_are_never_overwritten(tmp_path: Path) -> None:
    for _ in range(3):
        assert swarm(*SHORT, "--quiet", out=tmp_path) == 0
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("agents", ["0", "1"])
def test_no_agent_and_one_agent_are_legal(
    agents: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*SHORT]
    arguments[arguments.index("12")] = agents
    assert swarm(*arguments, "--json", out=tmp_path) == 0
    assert json.loads(capsys.readouterr().out)["agents"] == int(agents)


BAD = {
    "unknown scenario": (["--scenario", "price_spyke"], None, ["price_spyke", "price_spike"]),
    "misspelt field": (
        [],
        SCENARIO.replace("ticks: 6", "tickz: 6"),
        ["scenario.yaml:2", "tickz", "did you mean 'ticks'"],
    ),
    "misspelt parameter": (
        [],
        SCENARIO.replace("capacity_mw", "capacity_mv"),
        ["capacity_mv", "capacity_mw"],
    ),
    "nan capacity": ([], SCENARIO.replace("capacity_mw: 3", "capacity_mw: .nan"), ["capacity_mw"]),
    "infinite capacity": (
        [],
        SCENARIO.replace("capacity_mw: 3", "capacity_mw: .inf"),
        ["capacity_mw"],
    ),
    "negative capacity": (
        [],
        SCENARIO.replace("capacity_mw: 3", "capacity_mw: -3"),
        ["capacity_mw"],
    ),
    "floor above cap": (
        ["--set", "market.price_floor=99", "--set", "market.price_cap=98"],
        SCENARIO,
        ["price_floor", "99", "98"],
    ),
    "zero ticks": (["--ticks", "0"], SCENARIO, ["--ticks", "0"]),
    "minimum above capacity": (
        [],
        SCENARIO.replace("min_output_mw: 1", "min_output_mw: 9"),
        ["min_output_mw", "9", "3"],
    ),
    "duplicate names": ([], SCENARIO.replace("south", "north"), ["north", "scenario.yaml:"]),
    "efficiency above 1": (
        [],
        SCENARIO.replace("kind: generator", "kind: storage").replace(
            "{capacity_mw: 3, min_output_mw: 1, marginal_cost_per_mwh: 40}",
            "{round_trip_efficiency: 1.2}",
        ),
        ["round_trip_efficiency", "1.2"],
    ),
    "event outside": (
        [],
        SCENARIO + "events: [{type: cloud_front, tick: 6}]\n",
        ["events", "6", "0..5"],
    ),
    "unknown policy": (["--policy", "greedy"], SCENARIO, ["greedy", "heuristic"]),
    "policy without class": (["--policy", "json:Nothing"], SCENARIO, ["json", "Nothing"]),
    "data nobody asked for": (["--data", "x.csv"], SCENARIO, ["--data", "x.csv"]),
    "outside price above cap": (
        ["--set", "market.price_cap=50"],
        SCENARIO,
        ["price_cap", "50"],
    ),
    "unknown profile": (
        ["--set", "fleets.units.parameters.profile=wynd"],
        SCENARIO,
        ["wynd", "wind"],
    ),
    "explicit list scaled": (["--agents", "7"], SCENARIO, ["--replicate"]),
    "bad set": (["--set", "market.price_kap=3"], SCENARIO, ["price_kap", "price_cap"]),
    "no agents per actor": (["--agents-per-actor", "0"], SCENARIO, ["--agents-per-actor"]),
    "address with inline": (["--address", "auto"], SCENARIO, ["--address"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, text, words = BAD[case]
    scenario = [] if text is None else ["--scenario", file(tmp_path, text)]
    code = swarm("run", "--engine", "inline", *scenario, *arguments, out=tmp_path / "runs")
    said = capsys.readouterr()
    assert code == 2, said.err
    assert said.out == ""
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "runs").exists(), "something was left half-written"


def test_an_out_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert swarm(*SHORT, out=tmp_path / "file" / "runs") == 2
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["missing.csv"]),
        (b"", ["empty"]),
        (b"interval_end,price\n2024-07-30T00:05:00+10:00,1\n", ["price_aud_per_mwh"]),
        (b"PAR1 not parquet at all", []),
    ],
)
def test_wrong_data_is_refused(
    content: bytes | None, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing.csv"
    if content is not None:
        path.write_bytes(content)
    assert swarm(*SHORT, "--data", str(path), out=tmp_path / "runs") == 2
    said = capsys.readouterr().err
    for word in ["missing.csv", *words]:
        assert word in said
    assert not (tmp_path / "runs").exists()


def test_rts_gmlc_without_data_names_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swarm("run", "--scenario", "rts_gmlc", out=tmp_path / "runs") == 2
    assert "--data" in capsys.readouterr().err


def test_unknown_command_has_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["rum"])
    assert end.value.code == 2
    assert "did you mean 'run'" in capsys.readouterr().err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom swarm.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'ray', 'torch', 'pandas', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Run a scenario" in done.stdout


def test_a_policy_of_the_users_own_is_found_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from swarm.agents.policy import Heuristic\nclass Mine(Heuristic):\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "swarm", *SHORT, "--policy", "mine:Mine", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ticks"] == 6
    assert "\x1b" not in done.stderr
