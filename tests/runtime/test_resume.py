"""A run that was stopped anywhere and goes on ends with the bytes of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import swarm
from swarm.cli import main
from swarm.errors import RunError, UsageError
from swarm.results.run import Run
from swarm.runtime.checkpoint import ABOUT, FOLDER, KEPT
from swarm.runtime.resume import resume
from swarm.runtime.session import Silent

TICKS, STOP, EVERY = 30, 23, 5
SAME = ("audit.log", "audit.anchor.json", "metrics.json", "SHA256SUMS")
"""All that a run leaves, but for the manifest and what the clock says."""
KINDS_OF_RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "trained": ("price_spike", {}),
    "heuristic": ("price_spike", {"policy": "heuristic"}),
    "negotiated": ("price_spike", {"sets": ("market.mechanism=negotiated",)}),
    "shadow": ("price_spike", {"sets": ("trust.shadow=true",)}),
    "orders": ("price_spike", {"sets": ("results.orders=true", "trust.signatures=per_shard")}),
    "learning": ("price_spike", {"policy": "trained", "learn": True}),
    "emergency": ("emergency", {"sets": ("start=2025-06-18T18:00:00+02:00",)}),
    "policies": ("normal_day", {"sets": ("trust.signatures=none",)}),
}


class Stops(Silent):
    """Ends the run in a tick, as a crash would: what is not on the disk is lost."""

    def __init__(self, tick: int = STOP) -> None:
        self._tick = tick
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def tick(self, cleared: Any, operated: Any) -> None:
        if cleared.tick == self._tick:
            raise RunError("stopped")


def run_to_the_end(scenario: str, out: Path, **options: Any) -> Run:
    return swarm.run(
        scenario, ticks=TICKS, out=out, checkpoint_every=EVERY, **{"engine": "inline", **options}
    )


def stopped(scenario: str, out: Path, **options: Any) -> Path:
    """The folder of a run that was stopped in tick `STOP`."""
    before = set(out.iterdir()) if out.exists() else set()
    with pytest.raises(RunError, match="stopped"):
        run_to_the_end(scenario, out, progress=Stops(), **options)
    # The baseline, where there is one, has stopped as well: no other folder is made.
    [folder] = set(out.iterdir()) - before
    return folder


def assert_same(one: Run, other: Run) -> None:
    assert one.digest == other.digest
    assert one.run_dir is not None
    assert other.run_dir is not None
    for name in SAME:
        if (one.run_dir / name).exists() or (other.run_dir / name).exists():
            left, right = ((run.run_dir or Path()) / name for run in (one, other))
            assert left.read_bytes() == right.read_bytes(), name


@pytest.mark.parametrize("name", KINDS_OF_RUNS)
def test_any_kind_of_run_goes_on_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    scenario, options = KINDS_OF_RUNS[name]
    if scenario == "emergency":
        # Without its baseline, which would be stopped first.
        options = {**options, "sets": (*options["sets"], "baseline=null")}
    whole = run_to_the_end(scenario, tmp_path / "whole", **options)
    folder = stopped(scenario, tmp_path / "stopped", **options)
    done = resume(folder)
    assert_same(done, whole)
    assert done.manifest["status"] == "finished"
    assert "error" not in done.manifest
    assert not (folder / FOLDER).exists(), "nobody goes on from these"
    assert done.manifest["resumed_after_ticks"] == [19]
    assert swarm.read_run(folder).digest == whole.digest
    if options.get("learn"):
        for path in (folder / "policies").iterdir():
            twin = whole.run_dir / "policies" / path.name  # type: ignore[operator]
            if path.suffix == ".safetensors":
                assert path.read_bytes() == twin.read_bytes()


def test_engines_and_packings_go_on_where_another_stood(ray_cluster: str, tmp_path: Path) -> None:
    few: dict[str, Any] = {"agents": 16}
    whole = run_to_the_end("price_spike", tmp_path / "whole", **few)
    inline = stopped("price_spike", tmp_path / "inline", **few)
    assert_same(resume(inline, engine="ray"), whole)
    on_ray = stopped("price_spike", tmp_path / "ray", engine="ray", agents_per_actor=6, **few)
    copy = tmp_path / "copy"
    shutil.copytree(on_ray, copy / on_ray.name)
    assert_same(resume(on_ray), whole)
    assert_same(resume(copy / on_ray.name, engine="inline"), whole)


def test_learners_on_ray_go_on_too(ray_cluster: str, tmp_path: Path) -> None:
    few: dict[str, Any] = {"agents": 16, "policy": "trained", "learn": True}
    whole = run_to_the_end("price_spike", tmp_path / "whole", **few)
    folder = stopped("price_spike", tmp_path / "ray", engine="ray", agents_per_actor=8, **few)
    assert_same(resume(folder), whole)


def test_stopped_twice(tmp_path: Path) -> None:
    whole = run_to_the_end("price_spike", tmp_path / "whole")
    folder = stopped("price_spike", tmp_path / "stopped")
    with pytest.raises(RunError, match="stopped"):
        resume(folder, progress=Stops(27))
    done = resume(folder)
    assert_same(done, whole)
    assert done.manifest["resumed_after_ticks"] == [19, 24]


KILLED = """
import atexit, os, signal, sys
left, below = int(sys.argv[1]), sys.argv[2]
seen, kept = 0, None
def count(event, arguments):
    global seen, kept
    changes = event in ("os.rename", "os.truncate", "os.mkdir", "os.remove", "shutil.rmtree") or (
        event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"))
    if not changes or below not in str(arguments[0]):
        return
    if event == "os.rename" and "/checkpoints/0" in str(arguments[1]) and kept is None:
        kept = seen + 1
    if seen == left:
        os.kill(os.getpid(), signal.SIGKILL)
    seen += 1
sys.addaudithook(count)
atexit.register(lambda: print(kept, seen))
sys.argv = ["swarm", *sys.argv[3:]]
from swarm.cli import main
main()
"""
SMALL = ("--scenario", "auction_example", "--engine", "inline", "--set", "ticks=6", "--quiet")
NEVER = 10**9


def killed(before: int, out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command that is killed before it changes a file under `out` for the nth time."""
    command = [sys.executable, "-c", KILLED, str(before), str(out), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def _killed_at(points: int | None, tmp_path: Path) -> int:
    """Kill a small run before changes of files, evenly spread or all, and go on with each."""

    def run(out: Path, before: int) -> subprocess.CompletedProcess[str]:
        return killed(before, out, "run", *SMALL, "--checkpoint-every", "1", "--out", str(out))

    told = run(tmp_path / "whole", NEVER)
    [expected] = (tmp_path / "whole").iterdir()
    # Before the first checkpoint is whole there is nothing to go on from, and it is said.
    first, total = map(int, told.stdout.split())
    assert total > first + 50
    chosen = np.linspace(first, total - 1, points or total - first).round().astype(int).tolist()
    for at in chosen:
        out = tmp_path / f"at-{at}"
        assert run(out, at).returncode == -signal.SIGKILL
        [folder] = out.iterdir()
        if json.loads((folder / "manifest.json").read_text())["status"] != "finished":
            again = killed(NEVER, out, "resume", str(folder), "--quiet")
            assert again.returncode == 0, (at, again.stderr)
        for name in SAME:
            assert (folder / name).read_bytes() == (expected / name).read_bytes(), (at, name)
        shutil.rmtree(out)
    return len(chosen)


def test_killed_before_some_writes(tmp_path: Path) -> None:
    assert _killed_at(4, tmp_path) == 4


@pytest.mark.slow
def test_killed_before_any_write(tmp_path: Path) -> None:
    assert _killed_at(None, tmp_path) > 50


def damage(folder: Path, name: str) -> None:
    """Flip a bit in a part of the newest checkpoint."""
    newest = sorted((folder / FOLDER).iterdir())[-1]
    data = bytearray((newest / name).read_bytes())
    data[len(data) // 2] ^= 1
    (newest / name).write_bytes(bytes(data))


@pytest.mark.parametrize("name", ["market", "host-0000", "loop", "writer", ABOUT])
def test_a_damaged_checkpoint_is_left_for_the_one_before(name: str, tmp_path: Path) -> None:
    whole = run_to_the_end("price_spike", tmp_path / "whole", agents=10)
    folder = stopped("price_spike", tmp_path / "stopped", agents=10)
    assert len(list((folder / FOLDER).iterdir())) == KEPT
    damage(folder, name)
    told = Stops(-1)
    assert_same(resume(folder, progress=told), whole)
    assert any("is damaged and left out" in note for note in told.notes)


def test_without_a_whole_checkpoint_nothing_is_touched(tmp_path: Path) -> None:
    folder = stopped("price_spike", tmp_path, agents=10)
    for checkpoint in (folder / FOLDER).iterdir():
        (checkpoint / "market").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="no checkpoint to go on from"):
        resume(folder)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    folder = stopped("price_spike", tmp_path, agents=10)
    part = next((folder / "data").rglob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-1])
    # The registry is written anew, all other parts are kept.
    shutil.copytree(folder / "data", folder / "kept")
    if "registry" in str(part):
        assert resume(folder).digest
    else:
        with pytest.raises(RunError, match=part.name):
            resume(folder)


def test_what_the_run_reads_must_be_the_same(tmp_path: Path) -> None:
    folder = stopped("price_spike", tmp_path, agents=10)
    resolved = folder / "scenario.resolved.yaml"
    text = resolved.read_text()
    assert "seed: 7" in text
    resolved.write_text(text.replace("seed: 7", "seed: 8"))
    with pytest.raises(UsageError, match="has changed since it was started"):
        resume(folder)


def test_finished_runs_and_other_folders_are_refused(tmp_path: Path) -> None:
    done = run_to_the_end("price_spike", tmp_path / "done", agents=10)
    assert done.run_dir is not None
    with pytest.raises(UsageError, match="finished"):
        resume(done.run_dir)
    with pytest.raises(UsageError, match="not a run's folder"):
        resume(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        resume(tmp_path)


def test_no_checkpoints_where_none_are_wanted(tmp_path: Path) -> None:
    done = swarm.run(
        "price_spike", ticks=6, agents=10, engine="inline", out=tmp_path, checkpoint_every=0
    )
    assert done.run_dir is not None
    assert not (done.run_dir / FOLDER).exists()
    with pytest.raises(UsageError, match="--checkpoint-every -1"):
        swarm.run("price_spike", ticks=6, engine="inline", out=tmp_path, checkpoint_every=-1)


class Remembers:
    """A policy with a memory that no checkpoint knows of."""

    from swarm.agents.policy import Traits

    traits = Traits(stochastic=False, needs_training=False, has_memory=True)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self._kind, self._parameters = kind, parameters

    def act(self, state: Any, view: Any) -> np.ndarray:
        return np.asarray(self._kind.heuristic(self._parameters, state, view))

    def settle(self, settled: Any) -> None:
        pass


def test_a_policy_that_cannot_be_kept_is_told(tmp_path: Path) -> None:
    told = Stops(-1)
    done = run_to_the_end(
        "price_spike",
        tmp_path,
        agents=10,
        policy="tests.runtime.test_resume:Remembers",
        progress=told,
    )
    assert done.manifest["status"] == "finished"
    assert [note for note in told.notes if "no checkpoints: policy Remembers" in note]


def test_ctrl_c_keeps_the_tick_it_was_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = run_to_the_end("price_spike", tmp_path / "whole", agents=10)

    class Interrupts(Stops):
        def tick(self, cleared: Any, operated: Any) -> None:
            if cleared.tick == STOP:
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as stop:
        swarm.run(
            "price_spike",
            ticks=TICKS,
            agents=10,
            engine="inline",
            out=tmp_path / "stopped",
            progress=Interrupts(),
        )
    [folder] = (tmp_path / "stopped").iterdir()
    assert f"swarm resume {folder}" in str(stop.value)
    assert [path.name for path in (folder / FOLDER).iterdir()] == [f"{STOP:08d}"]
    with pytest.raises(SystemExit) as end:
        main(["resume", str(folder), "--json"])
    assert end.value.code == 0
    assert f'"digest": "{whole.digest}"' in capsys.readouterr().out
