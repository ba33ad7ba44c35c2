"""`swarm train` as a user meets it, with a toy in the place of what learns."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from swarm.cli import main
from swarm.cli.train_progress import TrainProgress, figure_words
from swarm.learning.files import load_policies
from swarm.learning.team import Settings
from swarm.runtime import trainee
from tests.learning.kills import digests
from tests.learning.trainees import Wanderer

CAP = "market.price_cap=20000"
BASE = ["--scenario", "price_spike", "--every", "2"]


def train(*arguments: str) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as end:
        main(["train", *arguments])
    return int(end.value.code or 0)


toys: list[Wanderer] = []
"""Those that were made."""


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the command asked to be trained, each time."""
    made: list[dict[str, Any]] = []

    def make_trainee(scenario: Any, **settings: Any) -> Wanderer:
        made.append({"scenario": scenario, **settings})
        toys.append(Wanderer(scenario.seed))
        return toys[-1]

    monkeypatch.setattr(trainee, "make_trainee", make_trainee, raising=False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return made


def only(out: Path) -> Path:
    [folder] = out.iterdir()
    return folder


def test_a_training_is_asked_for_kept_and_told(
    tmp_path: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "trainings"
    settings = ["--worlds", "3", "--kinds", "storage, ev", "--own-policies", "--year"]
    more = ["--seed", "5", "--set", CAP, "--jobs", "1", "--out", str(out)]
    assert train(*BASE, "--episodes", "4", *settings, *more) == 0
    folder = only(out)
    assert "price_spike-s5" in folder.name
    assert toys[-1].closed
    [made] = asked
    scenario = made.pop("scenario")
    assert (scenario.name, scenario.seed, scenario.market.price_cap) == ("price_spike", 5, 20000)
    assert made == {
        "settings": Settings(),
        "data": None,
        "year": True,
        "worlds": 3,
        "kinds": ("ev", "storage"),
        "shared": False,
        "start": None,
        "engine": "inline",
        "jobs": 1,
    }
    said = capsys.readouterr()
    assert f"policies: {folder / 'best'}" in said.out
    assert f"--policies-from {folder / 'best'}" in said.out
    assert "episode 4/4" in said.err
    assert "score after 2: 3, the best" in said.err
    card = load_policies(folder).card
    assert shlex.split(card["command"]) == [
        *("swarm", "train", "--scenario", "price_spike", "--episodes", "4", "--year"),
        *("--seed", "5", "--worlds", "3", "--every", "2", "--kinds", "storage, ev"),
        *("--own-policies", "--set", CAP),
    ]


def test_json_is_all_of_stdout_and_quiet_says_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*BASE, "--episodes", "4", "--out", str(tmp_path), "--quiet"]
    assert train(*arguments, "--json") == 0
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert said.err == ""
    folder = only(tmp_path)
    assert told == {
        "folder": str(folder),
        "policies": str(folder / "best"),
        "sha256": load_policies(folder).sha256,
        "episodes": 4,
        "score": 3.0,
        "best_episode": 2,
        "stopped_early": False,
    }
    assert train(*arguments) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


def test_resume_alone_goes_on_as_it_was(
    tmp_path: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["--seed", "3", "--kinds", "ev", "--own-policies", "--set", CAP]
    assert train(*BASE, *settings, "--episodes", "7", "--out", str(tmp_path / "whole")) == 0
    assert train(*BASE, *settings, "--episodes", "4", "--out", str(tmp_path / "part")) == 0
    folder = only(tmp_path / "part")
    assert train("--resume", str(folder), "--episodes", "7") == 0
    assert asked[2] == asked[0]
    assert "4 done before" in capsys.readouterr().err
    expected = digests(only(tmp_path / "whole"))
    found = digests(folder)
    for cards in ("best/policies.json",):
        # Their cards differ: one was asked for 4 episodes, the other for 7.
        assert found.pop(cards) != expected.pop(cards)
    assert found == expected
    # All over again, with all that was asked for: nothing is left to do.
    assert train("--resume", str(folder), *BASE, *settings, "--episodes", "7") == 0


DIFFERENT: dict[str, tuple[list[str], list[str]]] = {
    "worlds": (["--worlds", "7"], ["settings.worlds was 4 and is 7"]),
    "sharing": (["--own-policies"], ["settings.share_policies was True and is False"]),
    "kinds": (["--kinds", "home"], ["settings.kinds was [] and is ['home']"]),
    "seed": (["--seed", "9"], ["seed was 7 and is 9"]),
    "every": (["--every", "3"], ["every was 2 and is 3"]),
    "scenario": (["--scenario", "normal_day"], ["scenario"]),
    "field": (["--set", CAP], ["price_cap: 20000"]),
    "data": (["--data", "elsewhere"], ["settings.data was None", "elsewhere"]),
}


@pytest.mark.parametrize("case", DIFFERENT)
def test_what_differs_is_not_resumed(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*BASE, "--episodes", "2", "--out", str(tmp_path)) == 0
    before = digests(only(tmp_path))
    capsys.readouterr()
    arguments, words = DIFFERENT[case]
    assert train("--resume", str(only(tmp_path)), *arguments, "--episodes", "4") == 2
    said = capsys.readouterr().err
    for word in [*words, f"swarm train --resume {only(tmp_path)}"]:
        assert word in said
    assert digests(only(tmp_path)) == before


def test_a_training_starts_from_policies_and_resumes_without_them(
    tmp_path: Path, asked: list[dict[str, Any]]
) -> None:
    assert train(*BASE, "--episodes", "2", "--out", str(tmp_path / "one")) == 0
    one = only(tmp_path / "one")
    start = load_policies(one)
    arguments = [*BASE, "--from", str(one), "--episodes", "2", "--out", str(tmp_path / "two")]
    assert train(*arguments) == 0
    given = asked[1]["start"]["ev"]["storage"]["layer0.bias"]
    assert given.tobytes() == start.policies["ev"]["storage"]["layer0.bias"].tobytes()
    one.rename(tmp_path / "gone")
    assert train("--resume", str(only(tmp_path / "two")), "--episodes", "4") == 0
    assert asked[2]["start"]["ev"]["storage"]["layer0.bias"].tobytes() == given.tobytes()


BAD: dict[str, tuple[list[str], list[str]]] = {
    "nothing": ([], ["--scenario", "--resume"]),
    "no number of episodes": (["--scenario", "price_spike"], ["--episodes"]),
    "no episodes": ([*BASE, "--episodes", "0"], ["--episodes 0"]),
    "no worlds": ([*BASE, "--episodes", "1", "--worlds", "0"], ["--worlds 0"]),
    "no jobs": ([*BASE, "--episodes", "1", "--jobs", "0"], ["--jobs 0"]),
    "jobs on Ray": ([*BASE, "--episodes", "1", "--engine", "ray", "--jobs", "2"], ["--jobs 2"]),
    "unknown scenario": (["--scenario", "price_spyke", "--episodes", "1"], ["'price_spike'"]),
    "no training": (["--resume", "nowhere"], ["--resume nowhere", "manifest.json"]),
    "no policies": ([*BASE, "--episodes", "1", "--from", "nowhere"], ["nowhere", "missing"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_made(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: list[dict[str, Any]]
) -> None:
    arguments, words = BAD[case]
    assert train(*arguments, "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said
    assert not (tmp_path / "out").exists()
    assert not asked


def test_ctrl_c_exits_with_130_and_the_command_that_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted(Wanderer):
        def episode(self, index: int) -> Mapping[str, float]:
            if index == 2:
                os.kill(os.getpid(), signal.SIGINT)
            return super().episode(index)

    with monkeypatch.context() as patch:
        patch.setattr(trainee, "make_trainee", lambda scenario, **_: Interrupted(scenario.seed))
        assert train(*BASE, "--episodes", "6", "--out", str(tmp_path / "cut")) == 130
    said = capsys.readouterr().err
    folder = only(tmp_path / "cut")
    command = f"swarm train --resume {folder}"
    assert f"interrupted: training stands at episode 3 of 6; go on with: {command}" in said
    assert train(*shlex.split(command)[2:]) == 0
    assert train(*BASE, "--episodes", "6", "--out", str(tmp_path / "whole")) == 0
    assert digests(folder) == digests(only(tmp_path / "whole"))


def test_figures_in_words() -> None:
    figures = {
        "reward/ev": 1.0,
        "reward/storage": 2.0,
        "loss/ev": 0.125,
        "epsilon": 0.5,
        "price_per_mwh": 1234.5,
        "agent_steps": 3000.0,
    }
    assert figure_words(figures, 2.0, 90.4) == (
        "reward 1.5  loss 0.125  epsilon 0.50  price 1,234.50/MWh  1,500 agent-steps/s  "
        "0:01:30 left"
    )
    assert figure_words({}, 0.0, 0.0) == "0:00:00 left"


def test_a_terminal_gets_a_live_line() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=140)
    seconds = iter([100.0, 110.0])
    with TrainProgress(quiet=False, console=console, clock=lambda: next(seconds)) as shown:
        shown.begin(Path("there"), 2, 12)
        shown.episode(3, {"reward/ev": 0.25}, 4.0)
        shown.scored(3, 1.5, True)
    said = text.getvalue()
    assert "there: 12 episodes, 2 done before" in said
    assert "3/12" in said
    # One of ten episodes took 10 s with all that belongs to it: nine are left.
    assert "reward 0.25  0:01:30 left" in said
    assert "score after 3: 1.5, the best" in said
    assert "\x1b[" in said


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom swarm.cli import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'ray', 'torch', 'pandas', 'numpy', 'pydantic', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--share-policies / --own-policies" in done.stdout
