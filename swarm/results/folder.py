"""Files of a run: a folder that never overwrites, atomic writes, and the digest of its tables."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from swarm.errors import RunError, UsageError

CHECKSUMS = "SHA256SUMS"
"""Checksums of the tables, in the format of `sha256sum`; its own SHA-256 is the run's digest."""


def new_run_folder(out: Path, scenario_name: str, seed: int, resolved: str, now: datetime) -> Path:
    """Create `out/<utc>-<scenario>-s<seed>-<hash>`; a name that is taken gets -2, -3 and so on.

    Args:
        out: made where it does not exist.
        scenario_name: name of the scenario.
        seed: seed of the run.
        resolved: the complete scenario as text; the hash is of it and the code's version.
        now: when the run started, with its time zone.

    Raises:
        UsageError: where the folder cannot be made or written.
    """
    code = hashlib.sha256(f"{version()}\n{resolved}".encode()).hexdigest()[:8]
    name = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{scenario_name}-s{seed}-{code}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = _first_free(out, name)
        # A folder one may make is not always one that takes files (quota, full disk).
        probe = folder / ".probe"
        probe.write_bytes(b"probe")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"--out {out}: cannot write there ({error.strerror or error}); "
            "give a folder you can write to with --out"
        ) from None
    return folder


def version() -> str:
    """Version of the installed package; a source checkout has a commit instead (manifest)."""
    try:
        return importlib.metadata.version("grid-swarm")
    except importlib.metadata.PackageNotFoundError:
        return "source"


def _first_free(out: Path, name: str) -> Path:
    attempt = 1
    while True:
        folder = out / (name if attempt == 1 else f"{name}-{attempt}")
        try:
            folder.mkdir()
        except FileExistsError:
            attempt += 1
        else:
            return folder


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: temp, fsync, rename, fsync of the folder.

    Raises:
        RunError: where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; make room there, or run again with "
            "another --out"
        ) from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of `text` as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as JSON: sorted keys, two spaces, a newline; NaN and infinity become null."""
    write_text(path, json.dumps(_finite(value), indent=2, sort_keys=True, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value


def checksum_lines(checksums: Mapping[str, str]) -> str:
    """What `sha256sum` prints for files in order of their paths, `hex  path` a line."""
    return "".join(f"{checksums[path]}  {path}\n" for path in sorted(checksums))


def digest_of(checksums: Mapping[str, str]) -> str:
    """One SHA-256 for all tables: that of `checksum_lines`.

    Args:
        checksums: relative posix path -> SHA-256 of the file's bytes, hex.
    """
    return hashlib.sha256(checksum_lines(checksums).encode()).hexdigest()


def checksums_of(run_dir: Path) -> dict[str, str]:
    """SHA-256 of every table file under `run_dir/data`, by path relative to `run_dir`."""
    found = {}
    for path in sorted((run_dir / "data").rglob("*.parquet")):
        with path.open("rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(run_dir).as_posix()] = checksum
    return found


def digest_folder(run_dir: Path) -> str:
    """One SHA-256 over the result tables of a run, computed from their bytes as they are now.

    The same as `find data -name '*.parquet' | LC_ALL=C sort | xargs sha256sum | sha256sum` in the
    run's folder.
    """
    return digest_of(checksums_of(run_dir))
