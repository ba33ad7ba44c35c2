"""The cache: a hit equals a fresh series, and nothing that happens to the folder stops a run."""

from __future__ import annotations

import errno
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.scenario.schema import Site
from swarm.world import builtin, cache
from swarm.world.builtin import builtin_series, default_cache
from swarm.world.weather import FloatArray

KEY = "0123456789abcdef" * 2
ARRAY = np.arange(12.0).reshape(4, 3)
BASE: dict[str, Any] = {
    "seed": 1,
    "site": Site(),
    "start": datetime(2025, 6, 18, tzinfo=UTC),
    "tick_minutes": 5,
    "ticks": 20,
    "sites": 2,
}


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npy"))


def no_making(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> FloatArray:
        raise AssertionError("made again instead of read")

    monkeypatch.setattr(builtin, "_make", fail)


def test_a_hit_equals_a_fresh_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["solar", "wind", "temperature", "daily_price"]
    fresh = builtin_series(names, cache=None, **BASE)
    stored = builtin_series(names, cache=tmp_path, **BASE)
    no_making(monkeypatch)
    hit = builtin_series(names, cache=tmp_path, **BASE)
    for name in names:
        assert fresh[name].tobytes() == stored[name].tobytes() == hit[name].tobytes()
        assert hit[name].flags.c_contiguous
        assert hit[name].flags.writeable
    assert len(entries(tmp_path)) == 4


def test_any_plain_reader_opens_an_entry(tmp_path: Path) -> None:
    wind = builtin_series(["wind"], cache=tmp_path, **BASE)["wind"]
    (path,) = entries(tmp_path)
    assert np.load(path, allow_pickle=False).tobytes() == wind.tobytes()


def test_a_hit_loads_no_slow_library(tmp_path: Path) -> None:
    builtin_series(["solar", "h0"], cache=tmp_path, **BASE)
    code = (
        "import sys, datetime, pathlib\n"
        "from swarm.scenario.schema import Site\n"
        "from swarm.world.builtin import builtin_series\n"
        "start = datetime.datetime(2025, 6, 18, tzinfo=datetime.UTC)\n"
        "builtin_series(['solar', 'h0'], seed=1, site=Site(), start=start, tick_minutes=5,\n"
        "               ticks=20, sites=2, cache=pathlib.Path(sys.argv[1]))\n"
        "print([m for m in ('pandas', 'pvlib', 'demandlib', 'scipy') if m in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert answer.stdout.strip() == "[]"
    assert len(entries(tmp_path)) == 1  # h0 takes milliseconds: not stored


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"site": Site(latitude=10)},
        {"site": Site(longitude=10)},
        {"site": Site(altitude_m=10)},
        {"start": datetime(2025, 6, 19, tzinfo=UTC)},
        {"tick_minutes": 10},
        {"ticks": 21},
        {"sites": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_input_makes_another_entry(tmp_path: Path, change: dict[str, Any]) -> None:
    builtin_series(["wind"], cache=tmp_path, **BASE)
    changed = builtin_series(["wind"], cache=tmp_path, **(BASE | change))["wind"]
    assert len(entries(tmp_path)) == 2
    fresh = builtin_series(["wind"], cache=None, **(BASE | change))["wind"]
    assert changed.tobytes() == fresh.tobytes()


def test_versions_of_model_and_libraries_make_another_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builtin_series(["wind"], cache=tmp_path, **BASE)
    monkeypatch.setattr(builtin, "MODEL_VERSION", 10_000)
    builtin_series(["wind"], cache=tmp_path, **BASE)
    monkeypatch.setattr(builtin, "version", lambda _: "99")
    builtin_series(["wind"], cache=tmp_path, **BASE)
    assert len(entries(tmp_path)) == 3


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-8])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def claim_a_giant(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"(20, 2)", b"(9e9,9)"))


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, claim_a_giant])
def test_a_damaged_entry_is_noticed_and_made_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    good = builtin_series(["wind"], cache=tmp_path, **BASE)["wind"]
    (path,) = entries(tmp_path)
    content = path.read_bytes()
    damage(path)
    assert path.read_bytes() != content
    with caplog.at_level(logging.WARNING, logger="swarm.world.cache"):
        again = builtin_series(["wind"], cache=tmp_path, **BASE)["wind"]
    assert again.tobytes() == good.tobytes()
    assert "is damaged" in caplog.text
    assert [entry.read_bytes() for entry in entries(tmp_path)] == [content]


def test_a_sound_file_of_another_shape_is_not_taken(tmp_path: Path) -> None:
    cache.write(tmp_path, KEY, ARRAY)
    assert cache.read(tmp_path, KEY, (3, 4)) is None
    assert entries(tmp_path) == []
    narrow: Any = ARRAY.astype(np.float32)
    cache.write(tmp_path, KEY, narrow)
    assert cache.read(tmp_path, KEY, (4, 3)) is None


def test_unfinished_files_are_not_read(tmp_path: Path) -> None:
    cache.write(tmp_path, KEY, ARRAY)
    (path,) = entries(tmp_path)
    path.rename(tmp_path / f"{KEY}-abcdef.tmp")
    assert cache.read(tmp_path, KEY, (4, 3)) is None


def test_a_folder_that_cannot_be_used_does_not_stop_the_run(tmp_path: Path) -> None:
    fresh = builtin_series(["wind"], cache=None, **BASE)["wind"]
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    for place in (occupied, occupied / "below"):
        assert builtin_series(["wind"], cache=place, **BASE)["wind"].tobytes() == fresh.tobytes()
    assert occupied.read_text() == "not a folder"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cache.write(tmp_path, KEY, ARRAY)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cache.write(tmp_path, KEY, ARRAY)
    assert list(tmp_path.iterdir()) == []


def keys(count: int) -> list[str]:
    return [f"{index:032x}" for index in range(count)]


def test_the_entries_used_last_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_ENTRIES", 3)
    (tmp_path / "mine.npy").write_text("not an entry")
    for age, key in enumerate(keys(3)):
        cache.write(tmp_path, key, ARRAY)
        (path,) = tmp_path.glob(f"{key}-*.npy")
        os.utime(path, (1000 + age, 1000 + age))
    assert cache.read(tmp_path, keys(3)[0], (4, 3)) is not None  # now the newest
    cache.write(tmp_path, keys(4)[3], ARRAY)
    kept = {path.name.partition("-")[0] for path in entries(tmp_path)}
    assert kept == {keys(1)[0], keys(3)[2], keys(4)[3], "mine.npy"}


def test_the_folder_keeps_under_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(tmp_path, KEY, ARRAY)
    size = entries(tmp_path)[0].stat().st_size
    monkeypatch.setattr(cache, "MAX_BYTES", 3 * size)
    for key in keys(6):
        cache.write(tmp_path, key, ARRAY)
    assert len(entries(tmp_path)) == 3
    monkeypatch.setattr(cache, "MAX_ENTRY_BYTES", ARRAY.nbytes - 1)
    cache.write(tmp_path, "f" * 32, ARRAY)
    assert cache.read(tmp_path, "f" * 32, (4, 3)) is None


def test_default_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("SWARM_CACHE_DIR", "/own")
    assert default_cache() == Path("/own")
    monkeypatch.setenv("SWARM_CACHE_DIR", "")
    assert default_cache() == Path("/xdg/swarm")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_cache() == Path("/home/someone/.cache/swarm")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("SWARM_CACHE_DIR")
    assert default_cache() == Path("/home/someone/.cache/swarm")
