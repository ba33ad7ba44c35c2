"""`swarm query`: answers, in every form, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.called import called
from tests.results.reports import copied, interrupt, made

Factory = pytest.TempPathFactory
Said = pytest.CaptureFixture[str]


@pytest.fixture
def folder(tmp_path_factory: Factory) -> Path:
    pytest.importorskip("duckdb", reason="duckdb is not installed: the extra query")
    return made("textbook", tmp_path_factory)


PRICES = "select tick, price_milli_per_mwh / 1000 as price from market order by tick"


def test_answers_as_a_table(folder: Path, capsys: Said) -> None:
    code, out, err = called(capsys, "query", folder, PRICES)
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines == [["3", "rows"], ["tick", "price"], ["0", "55"], ["1", "65"], ["2", "45"]]


def test_answers_as_json_csv_and_parquet(folder: Path, capsys: Said, tmp_path: Path) -> None:
    found = json.loads(called(capsys, "query", folder, PRICES, "--json")[1])
    assert [column["name"] for column in found["columns"]] == ["tick", "price"]
    assert found["rows"] == [[0, 55.0], [1, 65.0], [2, 45.0]]
    rows = list(csv.reader(io.StringIO(called(capsys, "query", folder, PRICES, "--csv")[1])))
    assert rows == [["tick", "price"], ["0", "55.0"], ["1", "65.0"], ["2", "45.0"]]
    path = tmp_path / "answer.parquet"
    code, out, _ = called(capsys, "query", folder, PRICES, "--parquet", path)
    assert (code, out) == (0, f"3 rows: {path}\n")
    assert pq.read_table(path).to_pydict() == {"tick": [0, 1, 2], "price": [55.0, 65.0, 45.0]}
    assert [each.name for each in tmp_path.iterdir()] == ["answer.parquet"]


def test_values_that_json_lacks(folder: Path, capsys: Said) -> None:
    sql = (
        "select sum(volume_w) w, 'nan'::double n, date '2025-06-18' d, null x, true b, "
        "1 as a, 2 as a, 0.5::decimal(3, 1) h from market"
    )
    (row,) = json.loads(called(capsys, "query", folder, sql, "--json")[1])["rows"]
    # 120, 150 and 80 MW.
    assert row == [350_000_000, None, "2025-06-18", None, True, 1, 2, 0.5]


def test_tables_join(folder: Path, capsys: Said) -> None:
    sql = "select kind, count(*) n from agents join registry using (agent) group by 1 order by 1"
    found = json.loads(called(capsys, "query", folder, sql, "--json")[1])["rows"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert dict(found) == {kind: 3 * n for kind, n in metrics["agents_by_kind"].items()}
    shown = json.loads(called(capsys, "query", folder, "show tables", "--json")[1])["rows"]
    assert [name for (name,) in shown] == sorted(path.name for path in (folder / "data").iterdir())


def test_a_long_answer_is_cut_for_people(folder: Path, capsys: Said) -> None:
    sql = "select range as n, 'a' || chr(27) as s from range(250)"
    _, out, _ = called(capsys, "query", folder, sql)
    lines = out.splitlines()
    assert lines[0] == "250 rows"
    assert lines[-1].startswith("... and 150 more")
    assert len(lines) == 103
    assert lines[2].split() == ["0", "a?"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("selec 1", "syntax error"),
        ("select nothing from market", "nothing"),
        ("select * from nowhere", "nowhere"),
        ("select * from read_csv('{file}')", "disabled by configuration"),
        ("select * from '{file}'", "disabled by configuration"),
        ("select * from read_text('{file}')", "disabled by configuration"),
        ("select * from read_parquet('https://example.org/x.parquet')", "disabled"),
    ],
)
def test_what_duckdb_refuses_is_told_with_the_columns(
    folder: Path, capsys: Said, tmp_path: Path, sql: str, words: str
) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("name\nhidden-word\n")
    code, out, err = called(capsys, "query", folder, sql.format(file=file))
    assert (code, out) == (2, "")
    assert words in err
    assert "hidden-word" not in err
    assert "  market: tick, price_milli_per_mwh, " in err
    assert "  registry: agent, id, fleet, kind" in err


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "select 1; select 2",
        "copy market to '{file}'",
        "drop view market",
        "create table t as select 1",
        "attach '{file}'",
        "install httpfs",
        "set threads = 1",
        "pragma version",
    ],
)
def test_only_what_reads_is_run(folder: Path, capsys: Said, tmp_path: Path, sql: str) -> None:
    file = tmp_path / "made"
    code, out, err = called(capsys, "query", folder, sql.format(file=file))
    assert (code, out) == (2, "")
    assert "expected one statement that reads" in err
    assert not file.exists()


def test_no_file_is_written_over(folder: Path, capsys: Said, tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("mine")
    code, _, err = called(capsys, "query", folder, PRICES, "--parquet", path)
    assert (code, path.read_text()) == (2, "mine")
    assert f"--parquet {path}" in err
    code, _, err = called(capsys, "query", folder, PRICES, "--parquet", tmp_path / "no/file")
    assert code == 2
    assert "there is no folder" in err
    code, _, err = called(capsys, "query", folder, PRICES, "--csv", "--json")
    assert code == 2
    assert "one of them" in err


def test_a_run_that_did_not_finish(folder: Path, tmp_path_factory: Factory, capsys: Said) -> None:
    copy = copied("textbook", tmp_path_factory)
    interrupt(copy)
    code, out, err = called(capsys, "query", copy, "select count(*) from market", "--csv")
    assert (code, out.splitlines()[1]) == (0, "3")
    assert err.startswith("note: this run did not finish (status interrupted)")
    (copy / "data/market/part-00000.parquet").write_bytes(b"PAR1")
    code, _, err = called(capsys, "query", copy, "select 1")
    assert code == 2
    assert "data/market: damaged" in err
    for part in (copy / "data").rglob("*.parquet"):
        part.unlink()
    code, _, err = called(capsys, "query", copy, "select 1")
    assert code == 2
    assert "holds no table" in err


def test_without_duckdb_it_says_what_to_install(
    tmp_path_factory: Factory, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    code, out, err = called(capsys, "query", made("textbook", tmp_path_factory), PRICES)
    assert (code, out) == (2, "")
    assert "pip install 'grid-swarm[query]'" in err
