"""Kill a training with SIGKILL, resume it, and compare: `python -m tests.learning.kills FOLDER`.

A process of its own, without threads, that forks each training. Prints JSON: how many kills there
were, and what went wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from swarm.errors import UsageError
from swarm.learning.files import load_policies
from swarm.runtime.train import train
from swarm.runtime.train_options import read_manifest
from tests.learning.trainees import Wanderer, options

EVENTS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
"""Audit events of a change of files, raised before it takes place."""


def forked(work: Callable[[], object]) -> int:
    """Process id of a child that does `work` and ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def ended(child: int) -> int:
    """How a child ended: its exit code, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(change: int, out: Path) -> None:
    """Train, and be killed before the `change`-th change of a file below `out`."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in EVENTS and (str(arguments[0]).startswith(str(out)) or event != "open"):
            seen += 1
            if seen == change:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    train(Wanderer(), options(out))


def digests(folder: Path) -> dict[str, str]:
    names = ("metrics.parquet", "best/policies.safetensors", "last/policies.safetensors")
    names += ("last/state.safetensors", "last/state.json", "best/policies.json")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def resumed(folder: Path) -> int:
    return forked(lambda: train(Wanderer(), options(folder.parent, resume=folder)))


def only(out: Path) -> Path:
    [folder] = out.iterdir()
    return folder


def at_every_change(base: Path, expected: dict[str, str], step: int) -> tuple[int, list[str]]:
    """A training killed at each `step`-th change of a file, then resumed."""
    wrong, kills = [], 0
    for change in range(1, 10_000, step):
        out = base / f"change-{change}"
        code = ended(forked(lambda change=change, out=out: killed_at(change, out)))
        if code == 0:
            return kills, wrong
        if code != -signal.SIGKILL:
            return kills, [*wrong, f"change {change}: exit code {code}"]
        kills += 1
        if not out.exists() or not list(out.iterdir()):
            continue
        folder = only(out)
        try:
            manifest = read_manifest(folder)
        except UsageError:
            continue  # nothing had been learned
        if manifest["done"]:
            load_policies(folder)
        if ended(resumed(folder)) != 0 or digests(folder) != expected:
            wrong.append(f"change {change}")
    return kills, wrong


def at_random_moments(base: Path, expected: dict[str, str], span: float) -> tuple[int, list[str]]:
    """One training killed again and again, some time after each start."""
    draw, kills = random.Random(0), 0
    out = base / "moments"
    child = forked(lambda: train(Wanderer(), options(out)))
    while kills < 12:
        time.sleep(draw.random() * span)
        os.kill(child, signal.SIGKILL)
        kills += ended(child) != 0
        started = out.exists() and any((each / "manifest.json").exists() for each in out.iterdir())
        if started:
            child = resumed(only(out))
        else:
            out = base / f"moments-{kills}"
            child = forked(lambda out=out: train(Wanderer(), options(out)))
    code = ended(child)
    right = code == 0 and digests(only(out)) == expected
    return kills, [] if right else [f"random moments: exit code {code}"]


def main() -> None:
    # What is written survives a kill without it, and nobody pulls the plug here.
    os.fsync = lambda descriptor: None
    # Loads pandas where it is installed: once here instead of in every child.
    pa.array([0.0])
    base, step = Path(sys.argv[1]), int(sys.argv[2])
    begin = time.perf_counter()
    if ended(forked(lambda: train(Wanderer(), options(base / "whole")))) != 0:
        sys.exit("the undisturbed training failed")
    span = time.perf_counter() - begin
    expected = digests(only(base / "whole"))
    kills, wrong = at_every_change(base, expected, step)
    more, also = at_random_moments(base, expected, span)
    print(json.dumps({"changes": kills, "moments": more, "wrong": wrong + also, "span": span}))


if __name__ == "__main__":
    main()
