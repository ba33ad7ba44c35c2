"""`swarm report`."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest

from tests.cli.called import called
from tests.results.reports import copied, made

Factory = pytest.TempPathFactory


def test_writes_into_the_folder_and_again(
    tmp_path_factory: Factory, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copied("textbook", tmp_path_factory)
    path = folder / "report.html"
    for _ in range(2):
        assert called(capsys, "report", folder) == (0, f"report: {path}\n", "")
    assert path.read_text().startswith("<!DOCTYPE html>")
    # The report is no part of the results.
    code, digest, _ = called(capsys, "digest", folder)
    assert (code, digest) == called(capsys, "digest", made("textbook", tmp_path_factory))[:2]


def test_json_says_what_is_on_the_page(
    tmp_path_factory: Factory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    arguments = (made("textbook", tmp_path_factory), "--out", path, "--tick", 1, "--json")
    code, out, err = called(capsys, "report", *arguments)
    about = json.loads(out)
    assert (code, err) == (0, "")
    assert about["report"] == str(path)
    assert about["bytes"] == path.stat().st_size
    assert {"price", "merit"} <= set(about["shown"])
    assert "frequency" in about["hidden"]


def test_several_runs_go_to_where_one_stands(
    tmp_path_factory: Factory,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [made(name, tmp_path_factory) for name in ("textbook", "negotiated")]
    assert called(capsys, "report", *folders) == (0, "report: report.html\n", "")
    assert "B (auction_example" in (tmp_path / "report.html").read_text()
    code, _, err = called(capsys, "report", *folders, "--tick", 1)
    assert (code, "--tick is of the report of one run" in err) == (2, True)


def test_another_file_is_left_alone(
    tmp_path_factory: Factory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.html"
    path.write_text("mine")
    folder = made("textbook", tmp_path_factory)
    code, out, err = called(capsys, "report", folder, "--out", path)
    assert (code, out) == (2, "")
    assert f"--out {path}: is there and no report" in err
    assert path.read_text() == "mine"
    assert called(capsys, "report", folder, "--out", path, "--force")[0] == 0
    assert path.read_text() != "mine"


def test_opens_the_browser_when_asked(
    tmp_path_factory: Factory,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    path = tmp_path / "page.html"
    called(capsys, "report", made("textbook", tmp_path_factory), "--out", path)
    assert shown == []
    called(capsys, "report", made("textbook", tmp_path_factory), "--out", path, "--open")
    assert shown == [path.as_uri()]


@pytest.mark.parametrize("what", ["nothing", "no run", "damaged"])
def test_bad_folders_are_told(
    what: str, tmp_path_factory: Factory, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = tmp_path
    if what == "nothing":
        folder = tmp_path / "nothing"
    if what == "damaged":
        folder = copied("textbook", tmp_path_factory)
        (folder / "data/kinds/part-00000.parquet").write_bytes(b"PAR1")
    code, out, err = called(capsys, "report", folder)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert str(folder) in err
    assert not (folder / "report.html").exists()
