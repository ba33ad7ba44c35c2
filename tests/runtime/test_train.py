"""A training as a whole: what it writes, and that stops of any sort do not show in the bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from swarm.errors import RunError, UsageError
from swarm.learning import dqn
from swarm.learning.files import PolicySet, load_policies
from swarm.results.training import claimed, read_rows, rows_bytes
from swarm.runtime.train import Outcome, train
from swarm.runtime.train_options import Options
from tests.commands import ROOT
from tests.learning.kills import digests
from tests.learning.trainees import Wanderer, options


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, and a busy disk takes its time to sync."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The undisturbed training."""
    return train(Wanderer(), options(tmp_path_factory.mktemp("whole")))


def test_a_training_keeps_best_last_and_metrics(whole: Outcome) -> None:
    folder = whole.folder
    toy, policies = Wanderer(), {}
    for done in range(1, 11):
        toy.episode(done - 1)
        policies[done] = toy.policies()["ev"]["storage"]["layer0.bias"]
    # Scores come after episodes 3, 6, 9 and 10: 2.0, 0.5, 5.0, 6.0.
    assert (whole.episodes, whole.score, whole.best_episode) == (10, 6.0, 10)
    assert not whole.stopped_early
    for place, done in (("best", 10), ("last", 10), ("previous", 9)):
        kept = load_policies(folder / place)
        np.testing.assert_array_equal(
            kept.policies["ev"]["storage"]["layer0.bias"], policies[done], err_msg=place
        )
        assert kept.card["episodes"] == done
    card = load_policies(whole.policies).card
    assert card["command"] == "swarm train --scenario toy --episodes 10"
    assert card["score"] == 6.0
    assert load_policies(whole.policies).sha256 == whole.sha256

    rows = pq.read_table(folder / "metrics.parquet").to_pylist()
    assert [row["episode"] for row in rows] == list(range(1, 11))
    assert [row["score"] for row in rows if row["score"] is not None] == [2.0, 0.5, 5.0, 6.0]
    assert [row["loss/ev"] is None for row in rows] == [True] * 3 + [False] * 7
    assert not any("second" in name for name in rows[0])
    timings = pq.read_table(folder / "timings.parquet").to_pylist()
    assert all(row["agent_steps_per_second"] > 0 for row in timings)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["status"], manifest["done"], manifest["resumed"]) == ("finished", 10, 0)
    assert not list(folder.glob("**/*.tmp"))


def test_killed_at_any_moment_and_resumed_it_is_the_same(tmp_path: Path) -> None:
    """Every eleventh change of a file, and twelve random moments of one training."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.learning.kills", str(tmp_path), "11"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["changes"] > 14
    assert told["moments"] == 12
    assert told["wrong"] == [], done.stderr


class Bidder:
    """Generators' price levels by the project's own learner, on made-up transitions."""

    def __init__(self) -> None:
        settings = dqn.Settings(replay=60, warmup=16, batch=8, target_every=3)
        self.learner = dqn.Learner(settings, 7, 2, shared=True)

    def episode(self, index: int) -> Mapping[str, float]:
        draw = np.random.default_rng(index)
        told: dict[str, float] = {}
        for tick in range(5):
            self.learner.observe(
                draw.random((2, 2, 64), dtype=np.float32),
                draw.integers(0, 20, (2, 2)),
                draw.random((2, 2), dtype=np.float32),
                draw.random((2, 2, 64), dtype=np.float32),
                draw.random((2, 2)) < 0.2,
            )
            if self.learner.ready:
                told["loss/wind"] = float(self.learner.update(5 * index + tick)["loss"][0])
        return told

    def score(self) -> float:
        return -float(np.abs(self.learner.weights()["layer3.bias"]).sum())

    def policies(self) -> PolicySet:
        return {"wind": {"generator": self.learner.weights()}}

    def state(self) -> dict[str, NDArray[Any]]:
        return self.learner.state()

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        self.learner.load(state)


class Cut(Exception):
    """Ends a training at once, as a power cut would."""


def cut_at(trainee: Any, episode: int, error: BaseException) -> Any:
    """The trainee, whose episode of that index does not end."""
    real = trainee.episode

    def fail(index: int) -> Mapping[str, float]:
        if index == episode:
            raise error
        figures: Mapping[str, float] = real(index)
        return figures

    trainee.episode = fail
    return trainee


def test_a_real_learner_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    undisturbed = train(Bidder(), options(tmp_path / "whole", episodes=6, every=2))
    with pytest.raises(Cut):
        train(cut_at(Bidder(), 5, Cut()), options(tmp_path / "cut", episodes=6, every=2))
    [folder] = (tmp_path / "cut").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["done"] == 4
    resumed = train(Bidder(), options(tmp_path, episodes=6, every=2, resume=folder))
    assert digests(resumed.folder) == digests(undisturbed.folder)
    assert resumed.sha256 == undisturbed.sha256


def test_more_episodes_go_on_where_it_ended(whole: Outcome, tmp_path: Path) -> None:
    first = train(Wanderer(), options(tmp_path, episodes=6))
    assert first.best_episode == 3
    more = train(Wanderer(), options(tmp_path, resume=first.folder))
    assert digests(more.folder) == digests(whole.folder)
    again = train(Wanderer(), options(tmp_path, resume=first.folder))
    assert replace(again, folder=whole.folder, policies=whole.policies) == whole


def test_a_new_training_writes_over_nothing(tmp_path: Path) -> None:
    one = train(Wanderer(), options(tmp_path, episodes=1))
    before = digests(one.folder)
    other = train(Wanderer(), options(tmp_path, episodes=2))
    assert other.folder != one.folder
    assert digests(one.folder) == before


def test_patience_ends_it_and_can_be_extended(whole: Outcome, tmp_path: Path) -> None:
    """One score without improvement, after episode 6, ends it; two do not come in a row."""
    early = train(Wanderer(), options(tmp_path, patience=1))
    assert early.stopped_early
    assert (early.episodes, early.best_episode, early.score) == (6, 3, 2.0)
    manifest = json.loads((early.folder / "manifest.json").read_text())
    assert manifest["status"] == "stopped early"
    assert train(Wanderer(), options(tmp_path, patience=1, resume=early.folder)).episodes == 6
    more = train(Wanderer(), options(tmp_path, patience=2, resume=early.folder))
    assert digests(more.folder) == digests(whole.folder)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class Interrupted(Wanderer):
    """Ctrl-C comes in the middle of an episode, as often as told."""

    def __init__(self, at: int, times: int = 1) -> None:
        super().__init__()
        self.at, self.times = at, times

    def episode(self, index: int) -> Mapping[str, float]:
        if index == self.at:
            for _ in range(self.times):
                interrupt()
        return super().episode(index)


def test_ctrl_c_ends_the_episode_and_says_how_to_go_on(whole: Outcome, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt) as stop:
        train(Interrupted(4), options(tmp_path))
    [folder] = tmp_path.iterdir()
    assert f"swarm train --resume {folder}" in str(stop.value)
    assert "episode 5 of 10" in str(stop.value)
    assert json.loads((folder / "manifest.json").read_text())["status"] == "interrupted"
    assert load_policies(folder / "last").card["episodes"] == 5
    assert signal.getsignal(signal.SIGINT) is before
    train(Wanderer(), options(tmp_path, resume=folder))
    assert digests(folder) == digests(whole.folder)


def test_a_second_ctrl_c_leaves_at_once(whole: Outcome, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt, match="episode 3 of 10"):
        train(Interrupted(4, times=2), options(tmp_path))
    [folder] = tmp_path.iterdir()
    train(Wanderer(), options(tmp_path, resume=folder))
    assert digests(folder) == digests(whole.folder)


def test_workers_that_end_on_ctrl_c_are_no_failure(tmp_path: Path) -> None:
    toy = Wanderer()
    real = toy.episode

    def episode(index: int) -> Mapping[str, float]:
        if index == 4:
            interrupt()
            raise BrokenPipeError("a worker is gone")
        return real(index)

    toy.episode = episode  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt, match="episode 3 of 10"):
        train(toy, options(tmp_path))


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_figure_that_is_not_finite_stops_it(value: float, tmp_path: Path) -> None:
    class Diverging(Wanderer):
        def episode(self, index: int) -> Mapping[str, float]:
            return {**super().episode(index), "loss/ev": value if index == 7 else 0.0}

    with pytest.raises(RunError, match=r"episode 8: loss/ev is (nan|-inf)"):
        train(Diverging(), options(tmp_path))
    [folder] = tmp_path.iterdir()
    assert load_policies(folder / "last").card["episodes"] == 6
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["status"] == "failed"
    assert "loss/ev" in manifest["error"]


OTHER: dict[str, tuple[dict[str, Any], list[str]]] = {
    "worlds": ({"settings": {"worlds": 3, "kinds": ["ev"]}}, ["settings.worlds was 2 and is 3"]),
    "kinds": ({"settings": {"worlds": 2, "kinds": []}}, ["settings.kinds", "['ev']"]),
    "seed": ({"seed": 4}, ["seed was 0 and is 4"]),
    "every": ({"every": 5}, ["every was 3 and is 5"]),
    "scenario": ({"resolved": "name: toy\nseed: 9\n"}, ["scenario", "'seed: 0'", "'seed: 9'"]),
    "longer scenario": ({"resolved": "name: toy\nseed: 0\nticks: 3\n"}, ["''", "'ticks: 3'"]),
}


@pytest.mark.parametrize("case", OTHER)
def test_another_training_is_not_resumed(case: str, whole: Outcome) -> None:
    more, words = OTHER[case]
    before = digests(whole.folder)
    with pytest.raises(UsageError) as refused:
        train(Wanderer(), options(whole.folder.parent, resume=whole.folder, **more))
    for word in [*words, f"swarm train --resume {whole.folder}"]:
        assert word in str(refused.value)
    assert digests(whole.folder) == before


def test_another_version_or_start_is_not_resumed(
    whole: Outcome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    asked = options(tmp_path, resume=folder)
    with pytest.raises(UsageError, match="start was None and is "):
        train(Wanderer(), replace(asked, start=load_policies(whole.policies)))
    monkeypatch.setattr("swarm.runtime.train_options.version", lambda: "9.9.9")
    with pytest.raises(UsageError, match=r"version was .* and is '9\.9\.9'"):
        train(Wanderer(), asked)


def test_the_policies_it_starts_from_are_kept(whole: Outcome, tmp_path: Path) -> None:
    start = load_policies(whole.policies)
    done = train(Wanderer(), options(tmp_path, episodes=1, start=start))
    assert load_policies(done.folder / "start").sha256 == start.sha256
    assert load_policies(done.folder).card["identity"]["start"] == start.sha256


DAMAGED = (
    "manifest.json",
    "scenario.resolved.yaml",
    "metrics.parquet",
    "timings.parquet",
    "last/state.safetensors",
    "last/state.json",
    "last/policies.safetensors",
    "last/policies.json",
    "best/policies.safetensors",
    "best/policies.json",
)


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("harm", ["missing", "cut", "other"])
def test_a_damaged_file_is_refused_by_name(
    name: str, harm: str, whole: Outcome, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    path = folder / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + b"\xb7" * 32 + data[middle + 32 :])
    with pytest.raises(UsageError) as refused:
        train(Wanderer(), options(tmp_path, resume=folder))
    assert name in str(refused.value)


def test_a_changed_metric_is_refused(whole: Outcome, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    rows = read_rows(folder / "metrics.parquet", 10)
    rows[3]["reward/ev"] += 1e-9
    (folder / "metrics.parquet").write_bytes(rows_bytes(rows))
    with pytest.raises(UsageError, match=r"metrics\.parquet: is damaged"):
        train(Wanderer(), options(tmp_path, resume=folder))


def test_without_the_last_checkpoint_it_goes_on_from_the_one_before(
    whole: Outcome, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(whole.folder, folder)
    (folder / "last" / "state.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match=r"remove .*last to go on from the checkpoint before"):
        train(Wanderer(), options(tmp_path, resume=folder))
    shutil.rmtree(folder / "last")
    train(Wanderer(), options(tmp_path, resume=folder))
    assert digests(folder) == digests(whole.folder)


def test_a_state_of_another_learner_is_refused(tmp_path: Path) -> None:
    class Picky(Wanderer):
        def load(self, state: Mapping[str, NDArray[Any]]) -> None:
            raise UsageError("weights layer9.bias is None; expected shape (1, 3)")

    done = train(Wanderer(), options(tmp_path, episodes=3))
    with pytest.raises(UsageError, match=r"--resume .*layer9\.bias"):
        train(Picky(), options(tmp_path, resume=done.folder))


@pytest.mark.parametrize("name", ["episodes", "every", "patience"])
def test_numbers_below_one_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--{name} 0"):
        train(Wanderer(), options(tmp_path / "out", **{name: 0}))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"manifest\.json.*folder of a training"):
        train(Wanderer(), options(tmp_path, resume=tmp_path))
    (tmp_path / "manifest.json").write_text('{"status": "finished"}')
    with pytest.raises(UsageError, match="not of a training"):
        train(Wanderer(), options(tmp_path, resume=tmp_path))


def test_two_processes_do_not_train_in_one_folder(whole: Outcome) -> None:
    with claimed(whole.folder), pytest.raises(UsageError, match="another process"):
        train(Wanderer(), options(whole.folder.parent, resume=whole.folder))


def test_equal_options_give_equal_names_but_for_the_time(tmp_path: Path) -> None:
    def code(asked: Options) -> str:
        return train(Wanderer(), asked).folder.name.split("-")[3]

    one = options(tmp_path, episodes=1)
    assert code(one) == code(replace(one, episodes=2))
    assert code(one) != code(replace(one, settings={"worlds": 3}))
