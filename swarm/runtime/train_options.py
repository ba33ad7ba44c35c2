"""What is trained and for how long, and how the folder of a training says so.

A training goes on only where nothing differs that decides its bytes: the scenario, the settings,
the seed, and the versions of the code and of the libraries that compute.
"""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from swarm.errors import UsageError
from swarm.learning.files import Loaded, save_policies
from swarm.results import training as files
from swarm.results.folder import version, write_json, write_text
from swarm.runtime.manifest import true_to_the_end

MANIFEST = "manifest.json"
RESOLVED = "scenario.resolved.yaml"
LIBRARIES = ("numpy", "torch")
"""Another version of these may round otherwise."""


@dataclass(frozen=True)
class Options:
    """What is trained, how long, and where it is kept.

    Attributes:
        scenario: its name.
        seed: of everything random.
        resolved: the complete scenario as text.
        settings: all else that decides the weights, for JSON: kinds, worlds, data and so on.
        episodes: to be done in all.
        every: episodes between two checkpoints, each with a score.
        patience: scores in a row without improvement after which it ends; None: it does not.
        out: folder that gets the training's folder.
        resume: folder of a training to go on with.
        start: policies that the trainee was given to start from.
        command: that makes these policies, for their card.
        card: what else the card of the policies says.
    """

    scenario: str
    seed: int
    resolved: str
    settings: Mapping[str, Any]
    episodes: int
    every: int = 10
    patience: int | None = None
    out: Path = Path("trainings")
    resume: Path | None = None
    start: Loaded | None = None
    command: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """All but the scenario that decides the bytes of weights and metrics."""
        libraries = {name: _version_of(name) for name in LIBRARIES}
        found = {
            "version": version(),
            "libraries": libraries,
            "seed": self.seed,
            "every": self.every,
            "start": None if self.start is None else self.start.sha256,
            "settings": self.settings,
        }
        plain: dict[str, Any] = json.loads(json.dumps(found))
        return plain


def read_manifest(folder: Path) -> dict[str, Any]:
    """What the folder of a training says of it.

    Raises:
        UsageError: there is no such file, or it is damaged.
    """
    path = folder / MANIFEST
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        why = f"{path}: {error.strerror or error}; expected the folder of a training"
        raise UsageError(f"--resume {why}") from None
    except ValueError as error:
        raise UsageError(f"--resume {path}: is damaged: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("identity"), dict):
        raise UsageError(f"--resume {path}: is not of a training; `swarm train` makes such folders")
    return found


def check(options: Options) -> None:
    """Refuse what cannot be trained or resumed, before anything is made.

    Raises:
        UsageError: it names the option, or what differs in the folder that was to be resumed.
    """
    for name in ("episodes", "every", "patience"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: expected a number above 0")
    if options.resume is None:
        return
    manifest = read_manifest(options.resume)
    before, now = _flat(manifest["identity"]), _flat(options.identity())
    lines = [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    lines += _other_lines(options.resume / RESOLVED, options.resolved)
    if lines:
        raise UsageError(
            f"--resume {options.resume}: its weights could not go on as they would have:\n"
            + "\n".join(lines)
            + f"\nfor all as it was: {resuming(options.resume)}"
        )


@contextmanager
def recorded(folder: Path, manifest: dict[str, Any]) -> Iterator[None]:
    """Keep the manifest's status true, however the block ends."""

    def interrupted() -> str:
        return (
            f"training stands at episode {manifest['done']} of {manifest['episodes']}; "
            f"go on with: {resuming(folder)}"
        )

    def write() -> None:
        write_json(folder / MANIFEST, manifest)

    with true_to_the_end(manifest, write, interrupted):
        yield


def manifest_of(folder: Path, options: Options, now: datetime) -> dict[str, Any]:
    """The manifest of a training that starts or goes on now; a new one's other files are written.

    The manifest comes last: a folder without it is no training.
    """
    again = {
        "status": "started",
        "episodes": options.episodes,
        "patience": options.patience,
        "arguments": sys.argv[1:],
    }
    if options.resume is not None:
        kept = read_manifest(folder)
        kept.pop("error", None)
        return {**kept, **again, "resumed": kept["resumed"] + 1}
    write_text(folder / RESOLVED, options.resolved)
    if options.start is not None:
        save_policies(folder / files.START, options.start.policies, options.start.card)
    return {
        **again,
        "scenario": options.scenario,
        "identity": options.identity(),
        "command": options.command,
        "resumed": 0,
        "done": 0,
        "started_utc": now.isoformat(timespec="seconds"),
    }


def resuming(folder: Path) -> str:
    """The command that goes on with a training."""
    return shlex.join(["swarm", "train", "--resume", str(folder)])


def _version_of(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _flat(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The leaves of nested objects by their path."""
    found: dict[str, Any] = {}
    for name, entry in value.items():
        path = f"{before}{name}"
        found |= _flat(entry, f"{path}.") if isinstance(entry, dict) else {path: entry}
    return found


def _other_lines(path: Path, resolved: str) -> list[str]:
    """What the first line is in which the scenario at `path` differs from `resolved`."""
    try:
        before = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"--resume {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"--resume {path}: is damaged: {error}") from None
    now = resolved.splitlines()
    if before == now:
        return []
    length = max(len(before), len(now))
    pairs = zip(*(each + [""] * (length - len(each)) for each in (before, now)), strict=True)
    was, new = next((was.strip(), new.strip()) for was, new in pairs if was != new)
    return [f"scenario, by {path.name}: a line was {was!r} and is {new!r}"]
