"""Reads the RTS-GMLC test system (NREL, GridMod/RTS-GMLC) in its upstream folder layout.

What becomes of a row of `SourceData/gen.csv`, by its Unit Type:
- STEAM, CT, CC, NUCLEAR: a generator with the file's heat-rate curve, ramp, start cost (warm, or
  cold where no warm heat is given), times and outage rates. An incremental heat rate of zero stays.
- HYDRO, ROR: a must-take generator (upstream gives the same series as PMin and PMax), offered at
  the price floor. The reservoirs of `storage.csv` are not used with that series.
- PV, WIND: plants that can be curtailed, offered at 0. RTPV (rooftops): must-take, at the floor.
- CSP: a generator limited by the solar inflow, read as MW of electricity and cut at PMax. Its heat
  store is not modelled, and with it goes PMin, which only the store could hold. Without the inflow
  file it stays an agent without output.
- STORAGE: a storage with the energy of its head (upper) basin; the tail basin mirrors it.
- SYNC_COND: a condenser: inertia, no energy, no agent.
A bus of `bus.csv` with MW Load is a consumer with its share of its region's load.

Series come from REAL_TIME_* files (5 minutes) where they are there, else from DAY_AHEAD_* files
(hours); `swarm.world.resample` brings them to ticks. Their times have no zone: they are the run's
local clock, and the offset of `start` plays no role. Files must hold whole days without a gap,
whatever `data.missing` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.scenario.assets import Consumer
from swarm.scenario.schema import Condenser, Data, Fleet
from swarm.world.columns import check_columns, check_file, csv_header, read_csv, read_numbers
from swarm.world.resample import MINUTE_US, check_step, length, resampling_notes, to_ticks
from swarm.world.rts_units import KIND_OF_FLEET, Parameters, read_rows, read_units

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

DAY_US = 1440 * MINUTE_US
PERIODS_PER_DAY = {"REAL_TIME": 288, "DAY_AHEAD": 24}
# Fleet: folder under timeseries_data_files and end of the file name; upstream's case varies.
_FILES = {
    "hydro": ("HYDRO", "hydro"),
    "csp": ("CSP", "Natural_Inflow"),
    "pv": ("PV", "pv"),
    "rooftop": ("RTPV", "rtpv"),
    "wind": ("WIND", "wind"),
    "loads": ("Load", "regional_load"),
}
_TIME_COLUMNS = ("Year", "Month", "Day", "Period")
_EPOCH = datetime(1970, 1, 1)


@dataclass(frozen=True)
class RtsSystem:
    """The whole system; every series has the shape (ticks_read, 1), float64."""

    fleets: tuple[Fleet, ...]
    condensers: tuple[Condenser, ...]
    series: dict[str, FloatArray]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """One file over its whole span: `values` (intervals, columns) in MW, from `first` on.

    `names` are the series of its columns and `largest` the MW that stand for 1. Times are
    microseconds since 1970 on the local clock.
    """

    path: Path
    label: str
    step: int
    first: int
    names: list[str]
    values: FloatArray
    largest: FloatArray

    @property
    def end(self) -> int:
        """End of the last interval."""
        return self.first + len(self.values) * self.step


def read_rts_gmlc(
    root: Path,
    data: Data,
    *,
    start: datetime,
    tick_minutes: int,
    ticks: int,
    horizon_ticks: int,
    price_floor: float,
) -> RtsSystem:
    """Read the system at `root` (the repository, or its RTS_Data) for `ticks` from `start`.

    Every row of gen.csv becomes one agent or condenser named by its GEN UID, every bus with load a
    consumer `load-<bus>`. Up to `horizon_ticks` more are read where all files have them. A unit's
    availability series has its name and is a share of PMax; `load-region-<area>` is a share of the
    region's largest load in the file. Raises `UsageError` naming file, row, column and value.
    """
    if price_floor > 0:
        raise UsageError(
            f"market.price_floor is {price_floor:g}: must-take units are offered at the floor, "
            "which must be zero or below for RTS-GMLC"
        )
    base = _base(root)
    units = read_units(base / "SourceData", price_floor)
    notes = units.notes
    sources: list[_Source] = []
    idle: list[str] = []
    for fleet, pmax in units.pmax_mw.items():
        if fleet not in _FILES:
            continue
        path = _series_file(base, fleet)
        if path is not None:
            largest = np.array(list(pmax.values()))
            sources.append(_read_source(base, path, list(pmax), list(pmax), largest, notes))
        if fleet == "csp":
            told = "no *_Natural_Inflow.csv in timeseries_data_files/CSP: no output"
            if path is not None:
                told = "solar inflow counts as output up to PMax; heat store and PMin not modelled"
            notes.append(f"{', '.join(pmax)}: {told}")
            idle = [] if path is not None else list(pmax)
        elif path is None:
            raise _no_series(base, fleet, next(iter(pmax)))
    loads = _loads(base, sources, notes)
    series = _to_ticks(sources, data, start, tick_minutes, ticks, horizon_ticks, notes)
    count = len(next(iter(series.values()), np.empty(ticks)))
    series |= {name: np.zeros((count, 1)) for name in idle}
    agents = units.agents | {"loads": loads}
    fleets = tuple(
        Fleet(name=fleet, kind=kind, count=None, agents=tuple(agents[fleet]))
        for fleet, kind in KIND_OF_FLEET.items()
        if agents.get(fleet)
    )
    return RtsSystem(fleets, tuple(units.condensers), series, tuple(notes))


def _base(root: Path) -> Path:
    """The RTS_Data folder: below `root`, or `root` itself."""
    if not root.exists():
        raise UsageError(f"--data {root}: there is no such folder; check the path")
    for base in (root / "RTS_Data", root):
        if (base / "SourceData").is_dir():
            return base
    raise UsageError(
        f"--data {root}: has no RTS_Data/SourceData; give the root of the RTS-GMLC repository"
    )


def _series_file(base: Path, fleet: str) -> Path | None:
    """The REAL_TIME file of a fleet, else its DAY_AHEAD file, else None; in any case of letters."""
    folder, ending = _FILES[fleet]
    for resolution in PERIODS_PER_DAY:
        wanted = f"timeseries_data_files/{folder}/{resolution}_{ending}.csv".lower()
        for path in sorted(base.glob("timeseries_data_files/*/*.csv")):
            if path.relative_to(base).as_posix().lower() == wanted:
                return path
    return None


def _no_series(base: Path, fleet: str, wanted_by: str) -> UsageError:
    folder, ending = _FILES[fleet]
    return UsageError(
        f"--data {base / 'timeseries_data_files' / folder}: has neither REAL_TIME_{ending}.csv nor "
        f"DAY_AHEAD_{ending}.csv, which hold the series of {wanted_by}"
    )


def _loads(base: Path, sources: list[_Source], notes: list[str]) -> list[Parameters]:
    """Consumers of the buses with MW Load; the source of their regions is put to `sources`.

    A region's load goes to its buses in the proportion of MW Load (upstream's README).
    """
    rows = read_rows(base / "SourceData" / "bus.csv", "Bus ID", ("Bus ID", "MW Load", "Area"))
    rows = [row for row in rows if row.number("MW Load") > 0]
    total: dict[str, float] = {}
    for row in rows:
        area = row.cells["Area"]
        total[area] = total.get(area, 0.0) + row.number("MW Load")
    if not rows:
        return []
    path = _series_file(base, "loads")
    if path is None:
        raise _no_series(base, "loads", f"area {next(iter(total))}")
    names = [f"load-region-{area}" for area in total]
    source = _read_source(base, path, list(total), names, None, notes)
    sources.append(source)
    peak = dict(zip(total, source.largest.tolist(), strict=True))
    agents = []
    for row in rows:
        area = row.cells["Area"]
        parameters = {
            "load_mw": row.number("MW Load") * peak[area] / total[area],
            "flexible_mw": 0.0,
            "profile": f"load-region-{area}",
        }
        agents.append(row.checked(Consumer, f"load-{row.cells['Bus ID']}", parameters))
    return agents


def _read_source(
    base: Path,
    path: Path,
    columns: list[str],
    names: list[str],
    largest: FloatArray | None,
    notes: list[str],
) -> _Source:
    """Read `columns` of a file of series; `largest` None takes the largest value of each.

    Raises `UsageError` for a cell that is no number of zero or more, a date or period that does
    not exist or is there twice, a gap, and a day that is not whole.
    """
    where, label = f"--data {path}", path.relative_to(base).as_posix()
    if check_file(path):
        raise UsageError(f"{where}: is a Parquet file; expected CSV")
    header = csv_header(path)
    asked_by = {column: "the RTS-GMLC layout" for column in _TIME_COLUMNS}
    asked_by |= {column: "SourceData" for column in columns}
    check_columns(where, header, asked_by)
    types = dict.fromkeys(_TIME_COLUMNS, pa.int64()) | dict.fromkeys(columns, pa.float64())
    try:
        table = read_csv(path, types)
    except pa.ArrowInvalid:
        raise _bad_cell(where, path, list(types)) from None
    if any(table.column(name).null_count for name in types):
        raise _bad_cell(where, path, list(types))
    values: FloatArray = np.column_stack([table.column(name).to_numpy() for name in columns])
    year, month, day, period = (table.column(name).to_numpy() for name in _TIME_COLUMNS)

    def stamp(row: int) -> str:
        return f"row {row + 1} ({year[row]}-{month[row]}-{day[row]} period {period[row]})"

    bad = np.argwhere(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        row, at = int(bad[0, 0]), int(bad[0, 1])
        raise UsageError(
            f"{where}: {stamp(row)}: column {columns[at]!r} is {values[row, at]:g}; expected a "
            "finite number, zero or more"
        )
    periods = PERIODS_PER_DAY[path.name[:9].upper()]
    months = (year - 1970) * 12 + month - 1
    days = months.astype("M8[M]").astype("M8[D]") + (day - 1)
    real = (month >= 1) & (month <= 12) & (day >= 1) & (days.astype("M8[M]").astype(int) == months)
    real &= (period >= 1) & (period <= periods)
    if not real.all():
        row = int((~real).argmax())
        raise UsageError(f"{where}: {stamp(row)} does not exist; periods are 1 to {periods}")
    slots: IntArray = days.astype(np.int64) * periods + period - 1
    if np.any(np.diff(slots) < 0):
        order = np.argsort(slots, kind="stable")
        slots, values = slots[order], values[order]
        notes.append(f"{label}: its rows are not in ascending order; they were sorted")

    def time(slot: int) -> str:
        date = np.datetime64(0, "D") + slot // periods
        return f"{date} period {slot % periods + 1}"

    distance = np.diff(slots)
    for problem, broken in (("is there twice", distance == 0), ("is missing", distance > 1)):
        if broken.any():
            first = int(slots[int(broken.argmax())])
            at = first + (0 if problem == "is there twice" else 1)
            raise UsageError(f"{where}: {time(at)} {problem}; each interval must be there once")
    if slots[0] % periods or slots[-1] % periods != periods - 1:
        raise UsageError(
            f"{where}: goes from {time(int(slots[0]))} to {time(int(slots[-1]))}; expected whole "
            f"days of {periods} periods (cut off?)"
        )
    step = DAY_US // periods
    instead = "" if periods == PERIODS_PER_DAY["REAL_TIME"] else ", as there is no REAL_TIME file"
    notes.append(f"{label}: {len(columns)} series in steps of {length(step)}{instead}")
    unused = [name for name in header if name not in asked_by]
    if unused:
        notes.append(f"{label}: not in SourceData and so not used: {', '.join(unused)}")
    if largest is None:
        largest = values.max(axis=0)
    return _Source(path, label, step, int(slots[0]) * step, names, values, largest)


def _bad_cell(where: str, path: Path, columns: list[str]) -> UsageError:
    """The error for the first cell of `columns` that is empty or no number."""
    table = read_csv(path, dict.fromkeys(columns, pa.string()))
    for column in columns:
        raw, numbers = read_numbers(f"{where}: column {column!r}", table.column(column))
        whole = column in _TIME_COLUMNS
        bad = np.isnan(numbers) | ((numbers % 1 != 0) & whole)
        if bad.any():
            row = int(bad.argmax())
            stamp = "-".join(str(table.column(name)[row]) for name in _TIME_COLUMNS[:3])
            cell = raw[row].as_py()
            return UsageError(
                f"{where}: row {row + 1} ({stamp} period {table.column('Period')[row]}): column "
                f"{column!r} is {'empty' if cell is None else repr(cell)}; expected a "
                f"{'whole number' if whole else 'number'}"
            )
    return UsageError(f"{where}: a cell could not be read as a number")


def _to_ticks(
    sources: list[_Source],
    data: Data,
    start: datetime,
    tick_minutes: int,
    ticks: int,
    horizon_ticks: int,
    notes: list[str],
) -> dict[str, FloatArray]:
    """The window of every source as shares of its largest value, (ticks_read, 1) each."""
    begin = (start.replace(tzinfo=None) - _EPOCH) // timedelta(microseconds=1)
    tick = tick_minutes * MINUTE_US
    count = ticks + horizon_ticks
    for source in sources:
        if begin < source.first or begin + ticks * tick > source.end:
            raise UsageError(
                f"--data {source.path}: the run from {_local(begin)} to "
                f"{_local(begin + ticks * tick)} is not inside the file, which has "
                f"{_local(source.first)} to {_local(source.end)}; change 'start' or 'ticks'"
            )
        check_step(f"--data {source.path}", step=source.step, tick=tick, lead=begin - source.first)
        count = min(count, (source.end - begin) // tick)
    series: dict[str, FloatArray] = {}
    for source in sources:
        # One interval before and after the window, where there is one, shapes the line in it.
        low = max((begin - source.first) // source.step - 1, 0)
        high = -(-(begin + count * tick - source.first) // source.step) + 1
        chosen = source.values[low:high]
        excess = chosen > source.largest
        if excess.any():
            row, at = (int(index) for index in np.argwhere(excess)[0])
            notes.append(
                f"{source.label}: {np.count_nonzero(excess)} values above PMax were cut to it, the "
                f"first {chosen[row, at]:g} MW of {source.names[at]}, {source.largest[at]:g} MW"
            )
        shares = np.zeros_like(chosen)
        np.divide(chosen, source.largest, out=shares, where=source.largest > 0)
        made = to_ticks(
            np.minimum(shares, 1.0),
            step=source.step,
            tick=tick,
            lead=begin - source.first - low * source.step,
            ticks=count,
            coarser=data.coarser,
        )
        for at, name in enumerate(source.names):
            series[name] = np.ascontiguousarray(made[:, at : at + 1])
        notes += resampling_notes(source.label, step=source.step, tick=tick, coarser=data.coarser)
    return series


def _local(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="minutes")
