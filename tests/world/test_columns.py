"""Files that are broken or are not what they claim, and columns of wrong types."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from swarm.errors import UsageError
from swarm.world.columns import Times, load_columns, read_numbers, read_times

GOOD = b"time,load\n2024-01-01T00:00+00:00,1\n2024-01-01T00:05+00:00,2\n"
WANTED = {"time": "data.time", "load": "data.columns.demand"}


def read(path: Path) -> tuple[Times, list[float]]:
    table, _ = load_columns(path, WANTED)
    times = read_times(f"--data {path}: column 'time'", table.column("time"), None)
    _, numbers = read_numbers(f"--data {path}: column 'load'", table.column("load"))
    return times, [float(value) for value in numbers]


def test_text_with_mark_spaces_quotes_and_no_last_end(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    text = '"time","load"\r\n"2024-01-01 00:00Z", 1\r\n2024-01-01T10:05+1000,+2.5e0'
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    times, numbers = read(path)
    first = int(datetime.fromisoformat("2024-01-01T00:00+00:00").timestamp()) * 1_000_000
    assert times.utc.tolist() == [first, first + 300_000_000]
    assert times.local.tolist() == [first, first + 36_300_000_000]
    assert numbers == [1.0, 2.5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "no column names"),
        (b"time,load\n", "no rows"),
        (b"time;load\n2024-01-01;1\n", "not separated by commas"),
        (b"PK\x03\x04\x00\x00", "neither CSV text nor a Parquet file"),
        (b"\xff\xfet\xe9", "UTF-8"),
        (GOOD + b"\xff,3\n", "UTF-8"),
        (b"PAR1\x00\x01\x02", "broken Parquet"),
        (b"time,load,load\n2024-01-01T00:00Z,1,2\n", "2 times"),
        (GOOD[:-3], "broken line"),
        (b'time,"load\n2024-01-01T00:00Z,1\n', "not closed by a quote"),
        (GOOD.replace(b"T00:05", b"T25:05"), "row 2 is no time: '2024-01-01T25:05"),
        (GOOD.replace(b"T00:00+00:00", b"T00:00"), "row 1 has no UTC offset"),
        (GOOD.replace(b"2024-01-01T00:05+00:00", b""), "row 2 has no time"),
        (GOOD.replace(b"+00:00", b""), "set data.timezone"),
    ],
)
def test_broken_file(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=said) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_no_file_a_folder_and_a_wrong_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(UsageError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "table.parquet").write_bytes(GOOD)
    with pytest.raises(UsageError, match="neither CSV"):
        read(tmp_path / "table.parquet")


def test_parquet_cut_off_or_of_wrong_types(tmp_path: Path) -> None:
    times = [datetime.fromisoformat("2024-01-01T00:00Z") + k * timedelta(minutes=5) for k in (0, 1)]
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"time": times, "load": [True, False]}), path)
    with pytest.raises(UsageError, match=r"'load'.* type bool"):
        read(path)
    pq.write_table(pa.table({"time": [1, 2], "load": [1, 2]}), path)
    with pytest.raises(UsageError, match=r"'time'.* type int64"):
        read(path)
    far = pa.array([0, 2**62], pa.timestamp("us", tz="UTC"))
    pq.write_table(pa.table({"time": far, "load": [1, 2]}), path)
    with pytest.raises(UsageError, match="row 2 is not in the years"):
        read(path)
    pq.write_table(pa.table({"time": times, "load": [1, None]}), path)
    assert read(path)[1][0] == 1.0
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="broken Parquet"):
        read(path)
