"""Tables: against the csv module on real data, numpy.interp on made-up series, and bad files."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.scenario.schema import Data
from swarm.world.table import TableSeries, read_table

AEMO = Path(__file__).resolve().parents[2] / "../shared/data/aemo_nem/sa1_5min.csv"
real_data = pytest.mark.skipif(not AEMO.is_file(), reason="needs ../shared/data/aemo_nem")
START = "2024-01-01T00:00:00+00:00"


def rows(
    values: list[object], *, start: str = START, minutes: float = 5, column: str = "load"
) -> str:
    """CSV text with a time column and one value column."""
    begin = datetime.fromisoformat(start)
    times = [(begin + k * timedelta(minutes=minutes)).isoformat() for k in range(len(values))]
    lines = [f"{time},{value}" for time, value in zip(times, values, strict=True)]
    return "\n".join([f"time,{column}", *lines]) + "\n"


def read(
    path: Path,
    data: Data | None = None,
    *,
    start: str = START,
    tick: int = 5,
    ticks: int = 3,
    horizon: int = 0,
    currency: str = "EUR",
) -> TableSeries:
    return read_table(
        path,
        data or Data(columns={"demand": "load"}),
        start=datetime.fromisoformat(start),
        tick_minutes=tick,
        ticks=ticks,
        horizon_ticks=horizon,
        currency=currency,
    )


def file(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def demand(result: TableSeries) -> list[float]:
    assert result.series["demand"].ndim == 2
    assert result.series["demand"].shape[1] == 1
    assert result.series["demand"].dtype == np.float64
    return [float(value) for value in result.series["demand"][:, 0]]


# Real prices


def aemo(start: str, ticks: int, horizon: int = 0, **changes: Any) -> TableSeries:
    fields: dict[str, Any] = {
        "time": "interval_end",
        "timestamp_is": "interval_end",
        "columns": {"outside_price": "price_aud_per_mwh"},
    }
    return read(
        AEMO, Data(**fields | changes), start=start, ticks=ticks, horizon=horizon, currency="AUD"
    )


@real_data
def test_aemo_prices_are_those_of_the_file() -> None:
    begin = datetime(2024, 7, 30, tzinfo=UTC) - timedelta(hours=10)
    with AEMO.open(newline="") as source:
        by_end = {
            datetime.fromisoformat(row["interval_end"]): float(row["price_aud_per_mwh"])
            for row in csv.DictReader(source)
        }
    expected = [by_end[begin + (k + 1) * timedelta(minutes=5)] for k in range(576)]

    result = aemo("2024-07-30T00:00:00+10:00", 288, 288)

    price = result.series["outside_price"]
    assert price.shape == (576, 1)
    assert price[:, 0].tolist() == expected
    assert price[17 * 12 + 11, 0] == 15672.59  # 17:55 to 18:00
    assert price[:288].max() == 17500.0
    assert result.notes[0].startswith("sa1_5min.csv: outside_price from price_aud_per_mwh")


@real_data
def test_aemo_start_in_another_offset_is_the_same_instant() -> None:
    there = aemo("2024-07-30T00:00:00+10:00", 12)
    adelaide = aemo("2024-07-29T23:30:00+09:30", 12)
    assert np.array_equal(there.series["outside_price"], adelaide.series["outside_price"])
    assert any("+10:00" in note and "+09:30" in note for note in adelaide.notes)


@real_data
def test_aemo_gap_between_windows_is_refused_and_the_horizon_ends_at_it() -> None:
    with pytest.raises(UsageError, match=r"no row for 2024-08-04T00:00\+10:00.*2024-07-29T23:55"):
        aemo("2024-08-03T00:00:00+10:00", 288)
    with pytest.raises(UsageError, match=r"'start' 2024-08-15T00:00\+10:00 is not in the file"):
        aemo("2024-08-15T00:00:00+10:00", 1)
    with pytest.raises(UsageError, match="is not in the file"):
        aemo("2024-08-15T00:00:00+10:00", 1, missing="hold")
    result = aemo("2024-08-03T00:00:00+10:00", 200, 288)
    assert len(result.series["outside_price"]) == 287
    held = aemo("2024-08-03T00:00:00+10:00", 288, missing="hold").series["outside_price"]
    assert held[287] == held[286]


@real_data
def test_aemo_columns_that_are_no_prices_or_empty() -> None:
    with pytest.raises(UsageError, match=r"demand_mw.*unit mw.*AUD per MWh"):
        aemo("2024-07-30T00:00:00+10:00", 1, columns={"outside_price": "demand_mw"})
    with pytest.raises(UsageError, match=r"has nothing at 2018-04-01T00:05\+10:00"):
        aemo("2018-04-01T00:00:00+10:00", 1, columns={"wind": "wind_available_mw"})


def test_interval_start_and_end(tmp_path: Path) -> None:
    path = file(tmp_path, rows([1, 2, 3, 4]))
    assert demand(read(path)) == [1, 2, 3]
    end = Data(columns={"demand": "load"}, timestamp_is="interval_end")
    assert demand(read(path, end)) == [2, 3, 4]


def test_scale_and_values_above_one(tmp_path: Path) -> None:
    data = Data(columns={"demand": "load"}, scale={"demand": 200.0})
    assert demand(read(file(tmp_path, rows([100, 210, 0])), data)) == [0.5, 1.05, 0.0]


def test_finer_is_averaged_and_told(tmp_path: Path) -> None:
    path = file(tmp_path, rows([1, 2, 3, 4, 5, 7], minutes=1))
    result = read(path, tick=2, ticks=3)
    assert demand(result) == [1.5, 3.5, 6.0]
    assert any("mean of 2 values" in note for note in result.notes)


def test_coarser_is_held_or_joined_between_middles(tmp_path: Path) -> None:
    path = file(tmp_path, rows([0, 12, 24], minutes=60))
    held = read(path, Data(columns={"demand": "load"}, coarser="hold"), tick=30, ticks=6)
    assert demand(held) == [0, 0, 12, 12, 24, 24]
    joined = read(path, tick=30, ticks=6)
    # Middles at 0:30, 1:30, 2:30; ticks at 0:15, 0:45 and so on. Level before the first middle
    # and, as the file ends, after the last.
    assert demand(joined) == [0, 3, 9, 15, 21, 24]
    assert any("joined linearly" in note for note in joined.notes)


def test_neighbours_of_the_window_shape_the_line_but_not_across_a_gap(tmp_path: Path) -> None:
    text = rows([0, 12, 24], minutes=60)
    late = rows([99, 99], start="2024-01-01T09:00:00+00:00", minutes=60).split("\n", 1)[1]
    path = file(tmp_path, text + late)
    assert demand(read(path, start="2024-01-01T01:00:00+00:00", tick=30, ticks=2)) == [9, 15]
    assert demand(read(path, start="2024-01-01T02:00:00+00:00", tick=30, ticks=2)) == [21, 24]


def test_equal_gaps_are_no_step_and_a_change_of_step_elsewhere_is(tmp_path: Path) -> None:
    def hours(*at: float) -> str:
        return "time,load\n" + "".join(
            f"2024-01-01T{int(hour):02d}:{int(hour % 1 * 60):02d}Z,{hour}\n" for hour in at
        )

    path = file(tmp_path, hours(0, 1, 2, 3, 4, 7, 10, 11, 12, 13))
    with pytest.raises(
        UsageError, match=r"not in the file.* 2024-01-01T07:00\+00:00 to 2024-01-01T08"
    ):
        read(path, start="2024-01-01T05:00Z", tick=60, ticks=2)
    path = file(tmp_path, hours(0, 1, 2, 3, 4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5))
    assert demand(read(path, tick=60, ticks=2)) == [0, 1]
    assert demand(read(path, start="2024-01-01T05:00Z", tick=60, ticks=2)) == [5.25, 6.25]


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(st.floats(0, 1e6), min_size=6, max_size=12),
    step=st.sampled_from([1, 5, 10, 30]),
    first=st.integers(0, 2),
    horizon=st.integers(0, 4),
)
def test_against_numpy_whatever_the_horizon(
    tmp_path: Path, values: list[float], step: int, first: int, horizon: int
) -> None:
    path = file(tmp_path, rows(list(values), minutes=step))
    begin = first * max(step, 5)
    ticks = (len(values) * step - begin) // 5
    if ticks < 1:
        return
    start = (datetime.fromisoformat(START) + timedelta(minutes=begin)).isoformat()
    short = max(1, ticks // 2)
    full = demand(read(path, start=start, ticks=ticks))
    part = demand(read(path, start=start, ticks=short, horizon=horizon))
    assert part == full[: min(short + horizon, ticks)]
    middles = begin + 5 * np.arange(ticks) + 2.5
    if step > 5:
        expected = np.interp(middles, (np.arange(len(values)) + 0.5) * step, values)
    else:
        inside = [
            [v for k, v in enumerate(values) if at - 2.5 <= k * step < at + 2.5] for at in middles
        ]
        expected = np.array([sum(some) / len(some) for some in inside])
    assert np.allclose(full, expected, rtol=1e-12, atol=1e-9)


def test_order_does_not_matter_and_is_told(tmp_path: Path) -> None:
    head, *lines = rows([1, 2, 3, 4, 5]).splitlines()
    shuffled = "\n".join([head, *(lines[k] for k in (3, 0, 4, 2, 1))]) + "\n"
    result = read(file(tmp_path, shuffled))
    assert demand(result) == [1, 2, 3]
    assert any("not in ascending order" in note for note in result.notes)


def test_offset_change_inside_the_window_is_converted_and_told(tmp_path: Path) -> None:
    text = (
        "time,load\n2024-03-31T01:30:00+01:00,1\n2024-03-31T03:00:00+02:00,2\n"
        "2024-03-31T03:30:00+02:00,3\n"
    )
    result = read(file(tmp_path, text), start="2024-03-31T01:30:00+01:00", tick=30)
    assert demand(result) == [1, 2, 3]
    assert any("UTC offset changes" in note and "+02:00" in note for note in result.notes)


def berlin_year_end_of_summer() -> str:
    """Local wall clock of 27 October 2024 in half hours: 02:00 and 02:30 happen twice."""
    clock = [*range(0, 6), 4, 5, *range(6, 12)]
    lines = [f"2024-10-27 {k // 2:02d}:{k % 2 * 30:02d},{at}" for at, k in enumerate(clock)]
    return "\n".join(["time,load", *lines]) + "\n"


def test_local_times_take_the_zone_and_unclear_ones_are_refused_where_needed(
    tmp_path: Path,
) -> None:
    path = file(tmp_path, berlin_year_end_of_summer())
    data = Data(columns={"demand": "load"}, timezone="Europe/Berlin")
    before = read(path, data, start="2024-10-27T00:00:00+02:00", tick=30, ticks=4)
    assert demand(before) == [0, 1, 2, 3]
    after = read(path, data, start="2024-10-27T03:00:00+01:00", tick=30, ticks=4)
    assert demand(after) == [8, 9, 10, 11]
    with pytest.raises(UsageError, match=r"2024-10-27T02:00 happens twice in Europe/Berlin"):
        read(path, data, start="2024-10-27T00:00:00+02:00", tick=30, ticks=5)
    with pytest.raises(UsageError, match=r"set data.timezone"):
        read(path, Data(columns={"demand": "load"}), tick=30)
    with pytest.raises(UsageError, match=r"no time zone 'Europe/Berln'"):
        read(path, Data(columns={"demand": "load"}, timezone="Europe/Berln"), tick=30)


def test_local_time_that_does_not_exist(tmp_path: Path) -> None:
    lines = [f"2024-03-31 {k // 2:02d}:{k % 2 * 30:02d},1" for k in range(12)]
    path = file(tmp_path, "\n".join(["time,load", *lines]) + "\n")
    data = Data(columns={"demand": "load"}, timezone="Europe/Berlin")
    with pytest.raises(UsageError, match=r"2024-03-31T02:00 does not exist in Europe/Berlin"):
        read(path, data, start="2024-03-31T01:00:00+01:00", tick=30, ticks=4)


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    text = rows([1.25, 2.5, 3.75])
    times = [datetime.fromisoformat(START) + k * timedelta(minutes=5) for k in range(3)]
    local = [time.replace(tzinfo=None) + timedelta(hours=10) for time in times]
    expected = demand(read(file(tmp_path, text)))
    zoned = pa.table({"time": pa.array(times), "load": pa.array([1.25, 2.5, 3.75])})
    naive = pa.table({"time": pa.array(local), "load": pa.array(["1.25", "2.5", "3.75"])})
    pq.write_table(zoned, tmp_path / "zoned.parquet")
    pq.write_table(naive, tmp_path / "naive.data")
    assert demand(read(tmp_path / "zoned.parquet")) == expected
    data = Data(columns={"demand": "load"}, timezone="Australia/Brisbane")
    assert demand(read(tmp_path / "naive.data", data)) == expected


def test_missing_values_and_rows_are_held_on_request(tmp_path: Path) -> None:
    head, *lines = rows([1, "", "x", "nan", "inf", 6, 7]).splitlines()
    path = file(tmp_path, "\n".join([head, *lines[:5], lines[6]]) + "\n")
    hold = Data(columns={"demand": "load"}, missing="hold")
    result = read(path, hold, ticks=7)
    assert demand(result) == [1, 1, 1, 1, 1, 1, 7]
    assert any(
        "held over 5 missing intervals (1 without a row, 4 without a number)" in note
        for note in result.notes
    )
    with pytest.raises(UsageError, match=r"'load' has nothing at 2024-01-01T00:05\+00:00.*5 of"):
        read(path, ticks=7)


@pytest.mark.parametrize("cell", ["x", "nan", "inf", "-inf", "1,5", "NA", "1e999", "0x10", "1_0"])
def test_a_cell_that_is_no_number(tmp_path: Path, cell: str) -> None:
    path = file(tmp_path, rows([1, f'"{cell}"', 3, 4]))
    with pytest.raises(UsageError, match=r"column 'load' has '.*' at 2024-01-01T00:05"):
        read(path)
    assert demand(read(path, start="2024-01-01T00:10:00+00:00", ticks=2)) == [3, 4]


def test_nothing_to_hold_at_the_start(tmp_path: Path) -> None:
    path = file(tmp_path, rows(["", 2, 3]))
    with pytest.raises(UsageError, match="nothing to hold"):
        read(path, Data(columns={"demand": "load"}, missing="hold"))


@pytest.mark.parametrize("missing", ["refuse", "hold"])
def test_horizon_ends_at_the_first_missing_value_of_any_series(
    tmp_path: Path, missing: Literal["refuse", "hold"]
) -> None:
    path = file(tmp_path, rows(["1,9", "2,9", "3,9", "4,9", ",9", "6,9"], column="load,sun"))
    data = Data(columns={"demand": "load", "solar": "sun"}, missing=missing)
    result = read(path, data, horizon=10)
    assert demand(result) == [1, 2, 3, 4]
    assert result.series["solar"][:, 0].tolist() == [9, 9, 9, 9]


def test_negative_is_refused_unless_it_is_a_price(tmp_path: Path) -> None:
    path = file(tmp_path, rows([1, -2, 3], column="value"))
    with pytest.raises(UsageError, match=r"'value' is negative at 2024-01-01T00:05\+00:00: -2"):
        read(path, Data(columns={"demand": "value"}))
    price = read(path, Data(columns={"outside_price": "value"})).series["outside_price"]
    assert price[:, 0].tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("price_aud_per_mwh", "is in AUD .* currency is EUR"),
        ("£/MWh", "is in GBP"),
        ("price_eur_per_kwh", "unit kwh"),
        ("load_mw", "unit mw"),
        ("energy_mwh", "unit mwh"),
    ],
)
def test_price_column_in_a_wrong_unit(tmp_path: Path, column: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"{column}.*{said}"):
        read(
            file(tmp_path, rows([1, 2, 3], column=column)), Data(columns={"outside_price": column})
        )


@pytest.mark.parametrize("column", ["price", "price_eur_per_mwh", "€/MWh", "eur_mwh", "$/MWh"])
def test_price_column_in_a_right_unit(tmp_path: Path, column: str) -> None:
    path = file(tmp_path, rows([1, 2, 3], column=column))
    assert read(path, Data(columns={"outside_price": column})).series["outside_price"][1, 0] == 2


@pytest.mark.parametrize("column", ["spot_price", "wind_usd", "eur"])
def test_a_price_is_no_load(tmp_path: Path, column: str) -> None:
    with pytest.raises(UsageError, match="price by its name"):
        read(file(tmp_path, rows([1, 2, 3], column=column)), Data(columns={"demand": column}))


def test_mapping_errors(tmp_path: Path) -> None:
    path = file(tmp_path, rows([1, 2, 3]))
    with pytest.raises(UsageError, match=r"data\.columns is empty"):
        read(path, Data())
    with pytest.raises(UsageError, match=r"no column 'laod'.*did you mean 'load'"):
        read(path, Data(columns={"demand": "laod"}))
    with pytest.raises(UsageError, match=r"no column 'when'.*data.time"):
        read(path, Data(time="when", columns={"demand": "load"}))
    with pytest.raises(UsageError, match=r"data.scale.demnd.*did you mean 'demand'"):
        read(path, Data(columns={"demand": "load"}, scale={"demnd": 2}))
    with pytest.raises(UsageError, match="never scaled"):
        read(path, Data(columns={"outside_price": "load"}, scale={"outside_price": 2}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rows([1, 2, 3, 2]).replace("00:05:00", "00:00:00"), "00:00.* is there twice, in rows 1"),
        (rows([1] * 9).replace("00:05:00", "00:07:00"), "00:07.*off the file's step of 5 minutes"),
        (rows([1]), "at least 2"),
        (rows([1] * 9, minutes=1 / 600), "0.1 seconds apart"),
        (rows([1, 2], start="2025-01-01T00:00:00+00:00"), "has 2025-01-01T00:00.* to 2025"),
    ],
)
def test_times_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read(file(tmp_path, text))


def test_a_last_line_without_end_is_told(tmp_path: Path) -> None:
    result = read(file(tmp_path, rows([1, 2, 3]).rstrip("\n")))
    assert any("may be cut off" in note for note in result.notes)
    assert not any(str(tmp_path) in note for note in result.notes)
