"""Files of a training: rows of figures, folders that are replaced whole, TensorBoard events."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from swarm.errors import RunError, UsageError
from swarm.results.training import (
    Events,
    check_row,
    events_in,
    read_rows,
    recover,
    replaced,
    rows_bytes,
)


def test_rows_are_read_as_they_were_up_to_an_episode(tmp_path: Path) -> None:
    rows = [{"loss/ev": 0.1}, {"score": -1.5, "loss/ev": 1e300}, {}]
    path = tmp_path / "rows.parquet"
    path.write_bytes(rows_bytes(rows))
    assert read_rows(path, 3) == rows
    assert read_rows(path, 2) == rows[:2]
    assert rows_bytes([dict(reversed(row.items())) for row in rows]) == path.read_bytes()
    with pytest.raises(UsageError, match=r"rows\.parquet: holds no row for each .* 1 to 4"):
        read_rows(path, 4)


def test_a_figure_that_is_not_finite_is_named() -> None:
    check_row(3, {"loss/ev": 0.0})
    with pytest.raises(RunError, match="episode 3: loss/ev is inf"):
        check_row(3, {"loss/ev": float("inf")})


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    for word in ("one", "two"):
        with replaced(tmp_path, "last") as folder:
            (folder / "word").write_text(word)

    def fail(folder: Path) -> None:
        (folder / "word").write_text("three")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replaced(tmp_path, "last") as folder:
        fail(folder)
    assert (tmp_path / "last" / "word").read_text() == "two"
    assert (tmp_path / "previous" / "word").read_text() == "one"
    recover(tmp_path, "last")
    assert (tmp_path / "last" / "word").read_text() == "two"
    # As a kill between the two renames leaves it.
    (tmp_path / "last").rename(tmp_path / "gone")
    recover(tmp_path, "last")
    assert (tmp_path / "last" / "word").read_text() == "one"


def test_without_tensorboard_there_are_no_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    assert events_in(tmp_path / "tensorboard", 0) is None
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_reads_the_figures_once(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for done, last in ((0, 4), (2, 5)):
        events = Events(tmp_path, done)
        for episode in range(done + 1, last + 1):
            events.add(episode, {"loss/ev": float(10 * done + episode)})
        events.close()
    read = accumulator.EventAccumulator(str(tmp_path))
    read.Reload()
    points = [(each.step, each.value) for each in read.Scalars("loss/ev")]
    # What came after episode 2 was done again.
    assert points == [(1, 1.0), (2, 2.0), (3, 23.0), (4, 24.0), (5, 25.0)]
