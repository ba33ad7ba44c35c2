"""Run folders, atomic files and JSON."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path

import pytest

from swarm.errors import RunError, UsageError
from swarm.results.folder import digest_folder, new_run_folder, write_bytes, write_json, write_text

NOON = datetime.fromisoformat("2026-03-01T13:00:05+01:00")


def test_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hash_of(version: str, resolved: str) -> str:
        monkeypatch.setattr("importlib.metadata.version", lambda name: version)
        folder = new_run_folder(tmp_path / "deep" / "runs", "price_spike", 7, resolved, NOON)
        assert list(folder.iterdir()) == []
        name, code = folder.name.rsplit("-", 1)
        assert folder.parent == tmp_path / "deep" / "runs"
        assert name == "20260301T120005Z-price_spike-s7"
        return code

    code = hash_of("1.2.3", "name: x\n")
    assert code == hashlib.sha256(b"1.2.3\nname: x\n").hexdigest()[:8]
    assert len({code, hash_of("1.2.4", "name: x\n"), hash_of("1.2.3", "name: y\n")}) == 3


def test_never_overwritten(tmp_path: Path) -> None:
    made = []
    for _ in range(3):
        folder = new_run_folder(tmp_path, "day", 1, "", NOON)
        (folder / "manifest.json").write_text(str(len(made)))
        made.append(folder)
    assert [folder.name.removeprefix(made[0].name) for folder in made] == ["", "-2", "-3"]
    assert [(folder / "manifest.json").read_text() for folder in made] == ["0", "1", "2"]


@pytest.mark.parametrize("inside", ["", "runs", "a/b"])
def test_a_file_in_place_of_the_folder(tmp_path: Path, inside: str) -> None:
    file = tmp_path / "results"
    file.write_text("mine")
    with pytest.raises(UsageError) as error:
        new_run_folder(file / inside, "day", 1, "", NOON)
    assert f"--out {file / inside}: cannot write there" in str(error.value)
    assert "give a folder you can write to with --out" in str(error.value)
    assert file.read_text() == "mine"


def test_a_folder_that_takes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"--out .*No space left on device"):
        new_run_folder(tmp_path, "day", 1, "", NOON)


def test_json(tmp_path: Path) -> None:
    value = {"b": float("nan"), "a": [float("inf"), 1.5, {"z": (-float("inf"), "ü")}], "n": None}
    write_json(tmp_path / "x.json", value)
    text = (tmp_path / "x.json").read_text()
    assert text.startswith('{\n  "a": [\n')
    assert text.endswith("}\n")
    assert json.loads(text) == {"b": None, "a": [None, 1.5, {"z": [None, "ü"]}], "n": None}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_json_replaces_whole(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"status": "started", "long": "x" * 1000})
    write_json(tmp_path / "x.json", {"status": "finished"})
    assert json.loads((tmp_path / "x.json").read_text()) == {"status": "finished"}


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "x", "old")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(RunError, match=r"cannot write .*No space left on device"):
        write_bytes(tmp_path / "x", b"new")
    assert (tmp_path / "x").read_text() == "old"


def test_digest_of_a_folder(tmp_path: Path) -> None:
    for path, data in (("data/b/part-00000.parquet", b"1"), ("data/a/part-00000.parquet", b"2")):
        write_bytes(tmp_path / path, data)
    write_text(tmp_path / "metrics.json", "{}")
    lines = [
        f"{hashlib.sha256(b'2').hexdigest()}  data/a/part-00000.parquet\n",
        f"{hashlib.sha256(b'1').hexdigest()}  data/b/part-00000.parquet\n",
    ]
    digest = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert digest_folder(tmp_path) == digest
    write_text(tmp_path / "metrics.json", "{}\n")
    assert digest_folder(tmp_path) == digest
    (tmp_path / "data/a").rename(tmp_path / "data/c")
    assert digest_folder(tmp_path) != digest
