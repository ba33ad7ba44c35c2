"""Columns of a CSV or Parquet file as arrays: text, times and numbers, each checked.

Rows are counted from 1, without the header.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from numpy.typing import NDArray

from swarm.errors import UsageError, nearest

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_2, _YEAR_9999 = (
    (datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) for year in (2, 9999)
)
_PARQUET_MAGIC = b"PAR1"
_OFFSET = r"(Z|[+-]\d\d(:?\d\d)?)$"
_TIME_AND_OFFSET = r":\d\d(\.\d+)?" + _OFFSET
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class Times:
    """Times of the rows in microseconds since 1970, each of shape (rows,).

    `utc` and `latest` differ where a local time happens twice (the two readings) or never.
    `local` is the clock time as written, or as the column's own time zone shows it.
    """

    utc: IntArray
    latest: IntArray
    local: IntArray
    notes: tuple[str, ...] = ()


def clock(microseconds: int, zone: tzinfo | None) -> str:
    """A time as ISO 8601 with the offset of `zone`, without seconds where they are zero."""
    time = (EPOCH + timedelta(microseconds=int(microseconds))).astimezone(zone)
    return time.isoformat(timespec="auto" if time.second or time.microsecond else "minutes")


def check_file(path: Path) -> bool:
    """Refuse what is no readable, filled file; true for Parquet, false for text."""
    try:
        if path.is_dir():
            raise UsageError(f"--data {path}: is a folder; expected a CSV or Parquet file")
        with path.open("rb") as file:
            head = file.read(4096)
    except FileNotFoundError:
        raise UsageError(f"--data {path}: there is no such file; check the path") from None
    except OSError as error:
        raise UsageError(f"--data {path}: cannot be read: {error.strerror}") from None
    if not head:
        raise UsageError(f"--data {path}: is empty; expected a CSV or Parquet file")
    parquet = head.startswith(_PARQUET_MAGIC)
    if not parquet and (b"\0" in head or path.suffix.lower() in (".parquet", ".pq")):
        raise UsageError(f"--data {path}: is neither CSV text nor a Parquet file")
    return parquet


def csv_header(path: Path) -> list[str]:
    """Column names of a CSV file. Raises `UsageError` where there are none."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error):
        raise UsageError(f"--data {path}: is not CSV text in UTF-8") from None
    if not any(name.strip() for name in header):
        raise UsageError(f"--data {path}: its first line has no column names")
    if any("\n" in name or "\r" in name for name in header):
        raise UsageError(f"--data {path}: a name in its first line is not closed by a quote")
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        raise UsageError(f"--data {path}: its columns are not separated by commas: {header[0]!r}")
    return header


def check_columns(where: str, header: list[str], wanted: dict[str, str]) -> None:
    """Refuse a missing or doubled column; `wanted` maps a column to what asks for it."""
    for column, asked_by in wanted.items():
        if column not in header:
            raise UsageError(
                f"{where}: has no column {column!r}, asked for by {asked_by}"
                f"{nearest(column, header)}"
            )
        if header.count(column) > 1:
            raise UsageError(f"{where}: has column {column!r} {header.count(column)} times")


def read_csv(path: Path, types: dict[str, Any]) -> pa.Table:
    """The columns `types` (name: Arrow type) of a CSV file; only an empty cell is null.

    Raises `UsageError` for a line with too few or many cells, as a file that was cut off has.
    `pa.ArrowInvalid` for a cell that is not of its type is left to the caller.
    """
    options = pa_csv.ConvertOptions(
        include_columns=list(types),
        column_types=types,
        null_values=[""],
        strings_can_be_null=True,
    )
    try:
        table = pa_csv.read_csv(path, convert_options=options)
    except pa.ArrowInvalid as error:
        if "CSV parse error" in str(error):
            problem = str(error).splitlines()[0].removeprefix("CSV parse error: ")
            raise UsageError(f"--data {path}: a broken line (cut off?): {problem}") from None
        if "invalid UTF8" in str(error):
            raise UsageError(f"--data {path}: is not CSV text in UTF-8") from None
        raise
    if table.num_rows == 0:
        raise UsageError(f"--data {path}: has column names and no rows")
    return table


def load_columns(path: Path, wanted: dict[str, str]) -> tuple[pa.Table, list[str]]:
    """The columns `wanted` (name: what asks for it) as an Arrow table, and notes.

    CSV columns come as text, Parquet columns in their own types. Raises `UsageError`.
    """
    where = f"--data {path}"
    if check_file(path):
        try:
            file = pa_parquet.ParquetFile(path)
            check_columns(where, file.schema_arrow.names, wanted)
            table = file.read(columns=list(wanted))
        except (pa.ArrowException, OSError):
            raise UsageError(f"{where}: is a broken Parquet file (cut off?)") from None
        if table.num_rows == 0:
            raise UsageError(f"{where}: has no rows")
        return table, []
    check_columns(where, csv_header(path), wanted)
    table = read_csv(path, {name: pa.string() for name in wanted})
    with path.open("rb") as raw:
        raw.seek(-1, 2)
        whole = raw.read() in b"\r\n"
    return table, [] if whole else [f"{path.name}: its last line has no end; it may be cut off"]


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    """The column in one piece, dictionaries unpacked, text trimmed."""
    array = pa.concat_arrays(column.chunks)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_large_string(array.type):
        array = array.cast(pa.string())
    return pc.utf8_trim_whitespace(array) if pa.types.is_string(array.type) else array


def _cast_times(where: str, text: pa.Array, kind: Any, original: pa.Array) -> pa.Array:
    """Parse text as times of type `kind`; the first that is none is refused with its row."""
    try:
        return text.cast(kind)
    except pa.ArrowInvalid:
        good, bad = 0, len(text)  # text[:good] parses, text[:bad] does not
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                text[good:middle].cast(kind)
                good = middle
            except pa.ArrowInvalid:
                bad = middle
        raise UsageError(
            f"{where}: row {good + 1} is no time: {original[good].as_py()!r}; expected ISO 8601, "
            "as 2024-07-30T18:00:00+10:00"
        ) from None


def read_times(where: str, column: pa.ChunkedArray, timezone: str | None) -> Times:
    """Read a time column: text in ISO 8601, or timestamps, with an offset or in `timezone`.

    Raises `UsageError` for an empty or unreadable time, for times of which only some have an
    offset, for times without one where `timezone` is not given, and for an unknown zone.
    """
    array = _one_array(column)
    if array.null_count:
        row = array.is_null().index(True).as_py() + 1
        raise UsageError(f"{where}: row {row} has no time")
    utc_type, local_type = pa.timestamp("us", tz="UTC"), pa.timestamp("us")
    if pa.types.is_string(array.type):
        with_offset = pc.match_substring_regex(array, _TIME_AND_OFFSET)
        if pc.all(with_offset).as_py():
            utc = _cast_times(where, array, utc_type, array)
            bare = pc.replace_substring_regex(array, _OFFSET, "")
            local = _cast_times(where, bare, local_type, array)
            return _times(where, utc, utc, local, timezone)
        if pc.any(with_offset).as_py():
            row = with_offset.index(False).as_py()
            raise UsageError(
                f"{where}: row {row + 1} has no UTC offset where other rows have one: "
                f"{array[row].as_py()!r}; write all times with an offset, or none"
            )
        local = _cast_times(where, array, local_type, array)
    elif pa.types.is_timestamp(array.type) and array.type.tz is not None:
        local = pc.local_timestamp(array).cast(local_type, safe=False)
        utc = array.cast(utc_type, safe=False)
        return _times(where, utc, utc, local, timezone)
    elif pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        local = array.cast(local_type, safe=False)
    else:
        raise UsageError(f"{where}: is of type {array.type}; expected ISO 8601 text or timestamps")
    if timezone is None:
        raise UsageError(
            f"{where}: its times have no UTC offset ({array[0].as_py()}); set data.timezone to "
            "their IANA zone, as Australia/Brisbane"
        )
    try:
        utc, latest = (
            pc.assume_timezone(local, timezone, ambiguous=which, nonexistent=which)
            for which in ("earliest", "latest")
        )
    except pa.ArrowInvalid:
        raise UsageError(
            f"data.timezone: no time zone {timezone!r}; expected an IANA name, as Europe/Berlin"
        ) from None
    return _times(where, utc, latest, local, None)


def _times(
    where: str, utc: pa.Array, latest: pa.Array, local: pa.Array, unused_timezone: str | None
) -> Times:
    """Arrow timestamps as `Times`; years that no calendar here can show are refused."""
    first, last, shown = (
        array.cast(pa.int64()).to_numpy(zero_copy_only=False) for array in (utc, latest, local)
    )
    outside = (first < _YEAR_2) | (first >= _YEAR_9999)
    if outside.any():
        raise UsageError(f"{where}: row {int(outside.argmax()) + 1} is not in the years 2 to 9998")
    note = f"{where}: its times have UTC offsets; data.timezone {unused_timezone} is not used"
    return Times(first, last, shown, () if unused_timezone is None else (note,))


def read_numbers(where: str, column: pa.ChunkedArray) -> tuple[pa.Array, FloatArray]:
    """The column as written, and as float64 of shape (rows,) with NaN for what is no number.

    Raises `UsageError` for a column type that holds neither numbers nor text.
    """
    array = _one_array(column)
    if pa.types.is_string(array.type):
        fits = pc.match_substring_regex(array, _NUMBER)
        numbers = pc.if_else(fits, array, pa.scalar(None, pa.string())).cast(pa.float64())
    elif (
        pa.types.is_integer(array.type)
        or pa.types.is_floating(array.type)
        or pa.types.is_decimal(array.type)
        or pa.types.is_null(array.type)
    ):
        numbers = array.cast(pa.float64(), safe=False)
    else:
        raise UsageError(f"{where}: is of type {array.type}; expected numbers")
    values: FloatArray = numbers.to_numpy(zero_copy_only=False).astype(np.float64, copy=True)
    values[~np.isfinite(values)] = np.nan
    return array, values
