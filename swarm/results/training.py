"""Files of a training: its figures, wall-clock times, TensorBoard events and checkpoints.

| file | what it is |
|---|---|
| `manifest.json` | status, arguments, and all that decides the weights |
| `scenario.resolved.yaml` | the scenario with every field |
| `metrics.parquet` | per episode: `episode` from 1, each figure, `score` where there is one |
| `timings.parquet` | per episode: wall-clock seconds and agent-steps per second |
| `start/` | the policies it started from, where there were some |
| `last/`, `previous/` | the last two checkpoints: policies, and the learners' whole state |
| `best/`, `.best.before/` | the policies of the best score, and of the best before it |
| `tensorboard/` | the figures as events, where TensorBoard is installed |

Metrics are the same bytes for the same training, killed and resumed or not; wall-clock times are
kept apart from them for that.
"""

from __future__ import annotations

import fcntl
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from swarm.errors import RunError, UsageError
from swarm.results.tables import parquet_bytes

METRICS = "metrics.parquet"
TIMINGS = "timings.parquet"
BEST, LAST, PREVIOUS, START = "best", "last", "previous", "start"
BEFORE = {BEST: ".best.before", LAST: PREVIOUS}
"""Where `replaced` keeps what a folder held before."""
STATE = "state.safetensors"
"""Name of the learners' state in `last` and `previous`."""

Row = Mapping[str, float]
"""Figures of one episode by name."""


def rows_bytes(rows: Sequence[Row]) -> bytes:
    """Figures of episodes 1, 2, ... as a Parquet file, a function of `rows` alone.

    Columns are `episode` (int64) and every name in order, float64, null where an episode lacks it.
    """
    names = sorted({name for row in rows for name in row})
    columns: dict[str, pa.Array] = {"episode": pa.array(range(1, len(rows) + 1), pa.int64())}
    for name in names:
        columns[name] = pa.array([row.get(name) for row in rows], pa.float64())
    return parquet_bytes(pa.table(columns))


def read_rows(path: Path, episodes: int) -> list[dict[str, float]]:
    """The rows of the first `episodes` episodes that `rows_bytes` wrote.

    Raises:
        UsageError: the file is missing, damaged or has fewer rows.
    """
    try:
        found = pq.read_table(path, page_checksum_verification=True).to_pylist()
    except FileNotFoundError:
        raise UsageError(f"{path}: is missing") from None
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path}: is damaged: {str(error).splitlines()[0]}") from None
    numbers = [row.pop("episode", None) for row in found[:episodes]]
    if numbers != list(range(1, episodes + 1)):
        raise UsageError(
            f"{path}: holds no row for each of the episodes 1 to {episodes} of the checkpoint"
        )
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in found[:episodes]
    ]


@contextmanager
def replaced(folder: Path, name: str) -> Iterator[Path]:
    """A new folder that takes the place of `folder/name` when the block ends without an error.

    What was there until then is kept as `BEFORE[name]`. Whenever the process is killed, one of the
    two is whole; see `recover`. The block must sync the files that it writes.

    Raises:
        RunError: where folders cannot be made or renamed.
    """
    fresh, old, current = folder / f".{name}.tmp", folder / BEFORE[name], folder / name
    with _told(folder):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
    yield fresh
    with _told(folder):
        if current.exists():
            if old.exists():
                shutil.rmtree(old)
            current.rename(old)
        fresh.rename(current)


def recover(folder: Path, name: str) -> None:
    """Put `BEFORE[name]` back where a kill between the renames of `replaced` left no `name`."""
    if not (folder / name).exists() and (folder / BEFORE[name]).exists():
        with _told(folder):
            (folder / BEFORE[name]).rename(folder / name)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write in {folder}: {error.strerror or error}") from error


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the claim ends with the process, however that ends.

    Raises:
        UsageError: another process holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{folder}: another process trains there; end it first") from None
        yield
    finally:
        os.close(descriptor)


class Events:
    """Figures as TensorBoard events, for `tensorboard --logdir FOLDER`."""

    def __init__(self, folder: Path, done: int) -> None:
        """
        Args:
            folder: gets an events file; made where it is missing.
            done: episodes that were done before. Events of later ones, which a killed training
                left, are dropped by TensorBoard.

        Raises:
            ImportError: TensorBoard is not installed.
        """
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event, self._summary = Event, Summary
        self._writer = EventFileWriter(str(folder))
        start = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=done + 1, session_log=start))

    def add(self, episode: int, row: Row) -> None:
        """The figures of one episode, counted from 1."""
        values = [self._summary.Value(tag=name, simple_value=row[name]) for name in sorted(row)]
        event = self._event(
            wall_time=time.time(), step=episode, summary=self._summary(value=values)
        )
        self._writer.add_event(event)

    def close(self) -> None:
        """Write what is held back."""
        self._writer.close()


def events_in(folder: Path, done: int) -> Events | None:
    """`Events` where TensorBoard is installed."""
    try:
        return Events(folder, done)
    except ImportError:
        return None


def check_row(episode: int, row: Row) -> None:
    """Raise RunError, which names episode and figure, where a figure is not finite."""
    for name, value in row.items():
        if not math.isfinite(value):
            raise RunError(
                f"episode {episode}: {name} is {value}: learning diverged; a lower learning rate "
                "or other seeds may help. The last checkpoint stays as it is"
            )
