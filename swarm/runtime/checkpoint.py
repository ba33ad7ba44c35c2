"""Checkpoints of a run: consistent cuts between two ticks, whole or not there at all.

    checkpoints/00000095/    after tick 95
        host-0000 ... market operator bargain loop writer audit [lessons] [learner]   safetensors
        checkpoint.json      what it is of, and the SHA-256 of each part

It is written beside its name, each file flushed to the disk, and then renamed, so that a crash
leaves it out. The last three are kept: one that a disk has damaged is left for the one before.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from swarm.errors import RunError, UsageError
from swarm.results.folder import sync_folder, version, write_bytes, write_json
from swarm.runtime.setup import Plan

FOLDER, ABOUT = "checkpoints", "checkpoint.json"
KEPT = 3
FORMAT = 1
FIRST_SECONDS = 5.0
"""Least wall-clock time between two checkpoints where their distance is `auto`."""
COST_SHARE = 0.02
"""Of the run's time that checkpoints may take where their distance is `auto`."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint, read and checked.

    Attributes:
        tick: that was cleared last.
        layout: of each host its shards: kind, first agent, number of agents.
        parts: bytes by name.
    """

    tick: int
    layout: tuple[tuple[tuple[str, int, int], ...], ...]
    parts: dict[str, bytes]


class Checkpoints:
    """Writes the checkpoints of a run."""

    def __init__(self, folder: Path, every: int | None, about: Mapping[str, Any]) -> None:
        """
        Args:
            folder: of the run.
            every: ticks between two; None: as many as keep their cost below `COST_SHARE`; 0: none.
            about: "layout" and "inputs", kept with each.
        """
        self._folder, self._every, self._about = folder / FOLDER, every, dict(about)
        self._last, self._cost = time.perf_counter(), 0.0
        self.seconds: list[float] = []
        """Wall-clock time of each so far."""

    def due(self, tick: int) -> bool:
        """Whether it is time for one after `tick`."""
        if self._every is not None:
            return self._every > 0 and (tick + 1) % self._every == 0
        least = max(FIRST_SECONDS, self._cost / COST_SHARE)
        return time.perf_counter() - self._last >= least

    def write(self, tick: int, parts: Mapping[str, bytes], begin: float) -> None:
        """Keep one after `tick`; `begin` is when its making began, by the performance counter.

        Raises:
            RunError: where it cannot be written; those before it stay.
        """
        name = f"{tick:08d}"
        making = self._folder / f".{name}.tmp"
        shutil.rmtree(making, ignore_errors=True)
        for part, data in parts.items():
            write_bytes(making / part, data)
        told = {
            "format": FORMAT,
            "version": version(),
            "tick": tick,
            **self._about,
            "sha256": {part: hashlib.sha256(data).hexdigest() for part, data in parts.items()},
        }
        write_json(making / ABOUT, told)
        final = self._folder / name
        shutil.rmtree(final, ignore_errors=True)
        try:
            making.rename(final)
            sync_folder(self._folder)
        except OSError as error:
            raise RunError(f"cannot write {final}: {error.strerror or error}") from None
        for old in _names(self._folder)[:-KEPT]:
            shutil.rmtree(self._folder / old, ignore_errors=True)
        self._last = time.perf_counter()
        self._cost = self._last - begin
        self.seconds.append(self._cost)


def drop(folder: Path) -> None:
    """Remove the checkpoints of a run that is finished; nobody goes on from them."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def kept_in(folder: Path) -> bool:
    """Whether a run's folder has a checkpoint to go on from."""
    return bool(_names(folder / FOLDER))


def newest(folder: Path, inputs: str, say: Callable[[str], None]) -> Checkpoint:
    """The newest checkpoint of a run that is whole.

    Args:
        folder: of the run.
        inputs: see `inputs_of`; of the run as it would be made now.
        say: is told of those that are left out, and why.

    Raises:
        UsageError: there is none, or it is of other inputs or another version.
    """
    for name in reversed(_names(folder / FOLDER)):
        found = _read(folder / FOLDER / name, say)
        if found is None:
            continue
        about, parts = found
        if about["version"] != version():
            raise UsageError(
                f"{folder}: its checkpoints are of version {about['version']}, this is {version()}"
            )
        if about["inputs"] != inputs:
            raise UsageError(
                f"{folder}: what the run reads has changed since it was started (data or policies)"
            )
        layout = tuple(
            tuple((str(kind), int(first), int(n)) for kind, first, n in host)
            for host in about["layout"]
        )
        return Checkpoint(int(about["tick"]), layout, parts)
    raise UsageError(f"{folder}: there is no checkpoint to go on from; run it again from the start")


def _read(path: Path, say: Callable[[str], None]) -> tuple[dict[str, Any], dict[str, bytes]] | None:
    try:
        about = json.loads((path / ABOUT).read_bytes())
        if about["format"] != FORMAT:
            raise ValueError(f"format {about['format']}, expected {FORMAT}")
        parts = {}
        for name, expected in about["sha256"].items():
            if Path(name).name != name:
                raise ValueError(f"a part called {name!r}")
            parts[name] = (path / name).read_bytes()
            if hashlib.sha256(parts[name]).hexdigest() != expected:
                raise ValueError(f"{name} is not what was written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        say(f"checkpoint {path} is damaged and left out: {error}")
        return None
    return about, parts


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.name.isdigit())


def inputs_of(ready: Plan, resolved: str) -> str:
    """One SHA-256 over what a run is made from: its scenario, its series, its policies."""
    digest = hashlib.sha256(resolved.encode())
    arrays: list[Any] = [ready.market.price_cap, ready.market.outside.price_per_mwh]
    for spec in ready.shards:
        digest.update(f"{spec.roster.kind} {spec.policy}".encode())
        arrays += [spec.series[role] for role in sorted(spec.series)]
        if spec.learned is not None:
            for network in sorted(spec.learned.weights):
                weights = spec.learned.weights[network]
                arrays += [weights[name] for name in sorted(weights)]
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def layout_of(hosts: Sequence[Sequence[Any]]) -> list[list[list[Any]]]:
    """Of each host its shards, for the checkpoint."""
    return [
        [[spec.roster.kind, spec.roster.first, len(spec.roster)] for spec in host] for host in hosts
    ]
