"""A folder of arrays, found by the hash of what made them.

One entry is one file `<key>-<sha256 of the file>.npy`: a plain .npy that any reader opens, its
checksum in its name, so that both appear in one rename. Whatever goes wrong with the folder costs
time, never the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_ENTRIES = 256
MAX_BYTES = 2 * 1024**3
MAX_ENTRY_BYTES = MAX_BYTES // 4
"""Larger arrays are not stored: a few of them would push each other out run after run."""

_ENTRY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{64}\.npy|[0-9a-f]{32}-\w+\.tmp")
_log = logging.getLogger(__name__)


def default_cache() -> Path:
    """The user's cache folder: $SWARM_CACHE_DIR, else $XDG_CACHE_HOME/swarm, else ~/.cache/swarm.

    An empty variable counts as not set, and so does a relative $XDG_CACHE_HOME (XDG Base Directory
    Specification). Without a home the system's folder for temporary files stands in for it.
    """
    own = os.environ.get("SWARM_CACHE_DIR")
    if own:
        return Path(own)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if base.is_absolute():
        return base / "swarm"
    try:
        return Path.home() / ".cache" / "swarm"
    except RuntimeError:
        return Path(tempfile.gettempdir()) / "swarm-cache"


def cache_key(**inputs: Any) -> str:
    """32 hexadecimal digits of the SHA-256 over `inputs`, which JSON can hold."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read(folder: Path, key: str, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """The entry `key` with float64 values of `shape`; None where there is no sound one.

    A damaged file is reported in the log and removed.
    """
    for path in sorted(folder.glob(f"{key}-*.npy")):
        try:
            array = _load(path, shape)
        except OSError as error:
            _log.info("cache file %s is not readable: %s", path, error)
            continue
        except ValueError as error:
            _log.warning("cache file %s is damaged (%s): it is made again", path, error)
            with contextlib.suppress(OSError):
                path.unlink()
            continue
        with contextlib.suppress(OSError):
            os.utime(path)  # the newest entries are kept
        return array
    return None


def write(folder: Path, key: str, array: NDArray[np.float64]) -> None:
    """Store `array` under `key` and remove the oldest entries over the limits.

    A folder that cannot be written is left alone.
    """
    if array.nbytes > MAX_ENTRY_BYTES:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _store(folder, key, array)
        _prune(folder)
    except OSError as error:
        _log.info("cache folder %s is not usable: %s", folder, error)


def _load(path: Path, shape: tuple[int, ...]) -> NDArray[np.float64]:
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != path.stem.partition("-")[2]:
            raise ValueError("wrong checksum")
        file.seek(0)
        array: NDArray[np.float64] = np.load(file, allow_pickle=False)
    if array.dtype != np.float64 or array.shape != shape:
        raise ValueError(f"{array.dtype} {array.shape} instead of float64 {shape}")
    return array


def _store(folder: Path, key: str, array: NDArray[np.float64]) -> None:
    handle, name = tempfile.mkstemp(prefix=f"{key}-", suffix=".tmp", dir=folder)
    try:
        with os.fdopen(handle, "w+b") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        Path(name).replace(folder / f"{key}-{digest}.npy")
    finally:
        Path(name).unlink(missing_ok=True)


def _prune(folder: Path) -> None:
    """Remove the entries used longest ago until the limits hold; other files stay."""
    entries = []
    for path in folder.iterdir():
        if _ENTRY.fullmatch(path.name):
            with contextlib.suppress(FileNotFoundError):  # another run prunes too
                status = path.stat()
                entries.append((status.st_mtime_ns, path.name, status.st_size))
    total = 0
    for count, (_, name, size) in enumerate(sorted(entries, reverse=True), start=1):
        total += size
        if count > MAX_ENTRIES or total > MAX_BYTES:
            (folder / name).unlink(missing_ok=True)
