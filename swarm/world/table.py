"""Reads series from a CSV or Parquet table by the column mapping of a scenario's `data`.

A row stands for an interval. Its length is the file's own step around the window of the run, found
from the times themselves; `timestamp_is: interval_end` moves every time back by one such step.

Times are judged in the whole file, because a row without a clear time cannot be placed. Gaps and
values are judged where the run needs them: in its window, and after it for as much of the forecast
horizon as the file has without a gap or a missing value. `swarm.world.resample` says how a series
comes to ticks; nothing is joined across a gap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from swarm.errors import UsageError, nearest
from swarm.scenario.schema import Data
from swarm.world.columns import EPOCH, Times, clock, load_columns, read_numbers, read_times
from swarm.world.resample import MINUTE_US, check_step, length, resampling_notes, to_ticks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

PRICE_SERIES = "outside_price"
SECOND_US = 1_000_000
_SPANS_SHOWN = 6
_RUN = 3
# Currencies (ISO 4217) in which electricity prices are published.
_CURRENCY = re.compile(
    "aud|bgn|brl|cad|chf|clp|cny|cop|czk|dkk|eur|gbp|huf|idr|inr|jpy|krw|mxn|myr|nok|nzd|php|pln|"
    "ron|rsd|rub|sek|sgd|thb|try|twd|uah|usd|vnd|zar"
)
_SIGNS = {"€": "EUR", "£": "GBP"}
_ENERGY_UNITS = frozenset(("wh", "kwh", "gwh", "twh", "mj", "gj", "mmbtu", "btu", "therm"))
_POWER_UNITS = frozenset(("w", "kw", "mw", "gw"))
_PRICE_WORDS = frozenset(("price", "cost", "tariff", "rate", "per", "rrp", "lmp", "spot", "value"))


@dataclass(frozen=True)
class TableSeries:
    """What a file gave: every series has the shape (ticks_read, 1), float64."""

    series: dict[str, FloatArray]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Window:
    """What the run needs, in microseconds since 1970 and ticks."""

    start: int
    tick: int
    ticks: int
    horizon_ticks: int
    zone: tzinfo

    @property
    def end(self) -> int:
        """End of the last tick."""
        return self.start + self.ticks * self.tick


@dataclass(frozen=True)
class _Slots:
    """The intervals of the file around the window, in a regular step.

    Slot k begins at `base + (k - 1) * step`: slot 1 holds the start of the run, slot 0 is the
    interval before it, `needed` slots from slot 1 cover the window. `row` is the row of the file
    for each slot, -1 where it has none. Labels are times as the file writes them.
    """

    base: int
    step: int
    needed: int
    row: IntArray
    label_shift: int
    zone: tzinfo
    spans: str

    def label(self, slot: int) -> str:
        """The file's time stamp of a slot."""
        return clock(self.base + (slot - 1) * self.step + self.label_shift, self.zone)


def read_table(
    path: Path,
    data: Data,
    *,
    start: datetime,
    tick_minutes: int,
    ticks: int,
    horizon_ticks: int,
    currency: str,
) -> TableSeries:
    """Read the series of `data.columns` for `ticks` intervals from `start` (with an offset).

    Up to `horizon_ticks` more are read where the file has them without a gap; all series get the
    same number of ticks. `outside_price` is left as it is, any other series is divided by its
    `data.scale`. Raises `UsageError` naming file, column, time and remedy.
    """
    if start.tzinfo is None:
        raise ValueError("start needs a UTC offset")
    where = f"--data {path}"
    time_column = f"{where}: column {data.time!r}"
    _check_mapping(where, data, currency)
    wanted = {column: f"data.columns.{series}" for series, column in data.columns.items()}
    table, notes = load_columns(path, {data.time: "data.time", **wanted})
    times = read_times(time_column, table.column(data.time), data.timezone)
    notes += times.notes
    window = _Window(
        start=(start - EPOCH) // timedelta(microseconds=1),
        tick=tick_minutes * MINUTE_US,
        ticks=ticks,
        horizon_ticks=horizon_ticks,
        zone=start.tzinfo,
    )
    slots, slot_notes = _place(where, time_column, times, window, data)
    notes += slot_notes

    series: dict[str, FloatArray] = {}
    for name, column in data.columns.items():
        what = f"{where}: column {column!r}"
        raw, numbers = read_numbers(what, table.column(column))
        values, hold_notes = _values(what, name, raw, numbers, slots, data.missing)
        notes += hold_notes
        if name != PRICE_SERIES:
            values /= data.scale.get(name, 1.0)
        # The interval before the window, where the file has it, shapes the line into it.
        before = int(np.isfinite(values[0]))
        lead = window.start - slots.base
        covered = slots.base + (len(values) - 1) * slots.step - window.start
        series[name] = to_ticks(
            values[1 - before :, np.newaxis],
            step=slots.step,
            tick=window.tick,
            lead=lead + before * slots.step,
            ticks=min(ticks + horizon_ticks, covered // window.tick),
            coarser=data.coarser,
        )
    count = min(len(values) for values in series.values())
    mapping = ", ".join(f"{name} from {column}" for name, column in data.columns.items())
    notes.insert(
        0,
        f"{path.name}: {mapping}; {clock(window.start, window.zone)} to "
        f"{clock(window.end, window.zone)} and {count - ticks} ticks more for forecasts",
    )
    notes += resampling_notes(path.name, step=slots.step, tick=window.tick, coarser=data.coarser)
    return TableSeries(
        {name: values[:count] for name, values in series.items()},
        tuple(note.replace(where, path.name) for note in notes),
    )


def _check_mapping(where: str, data: Data, currency: str) -> None:
    """Refuse a mapping that names nothing, or columns whose names show a wrong unit."""
    if not data.columns:
        raise UsageError(
            f"{where}: data.columns is empty; map series to columns, as outside_price: price"
        )
    for name in data.scale:
        if name == PRICE_SERIES:
            raise UsageError(f"data.scale.{name}: a price is never scaled; take it out")
        if name not in data.columns:
            hint = nearest(name, data.columns)
            raise UsageError(f"data.scale.{name}: data.columns has no series {name!r}{hint}")
    for name, column in data.columns.items():
        words = [word for word in re.split(r"[^a-z0-9€£]+", column.lower()) if word]
        found = {word.upper() for word in words if _CURRENCY.fullmatch(word)}
        found |= {code for sign, code in _SIGNS.items() if sign in column}
        field = f"{where}: data.columns.{name}: column {column!r}"
        if name != PRICE_SERIES:
            if found or "price" in column.lower():
                raise UsageError(
                    f"{field} holds a price by its name; {name} is a share or an amount: name "
                    "another column"
                )
            continue
        if found - {currency}:
            raise UsageError(
                f"{field} is in {', '.join(sorted(found - {currency}))} by its name, and the "
                f"scenario's currency is {currency}; nothing is converted: set currency, or name "
                f"a column in {currency}"
            )
        energy, power = _ENERGY_UNITS.intersection(words), _POWER_UNITS.intersection(words)
        ratio = found or "/" in column or _PRICE_WORDS.intersection(words)
        bare = "mwh" in words and not ratio
        if energy or power or bare:
            unit = min(energy or power or {"mwh"})
            raise UsageError(
                f"{field} has the unit {unit} by its name; expected a price in {currency} per MWh, "
                f"as price_{currency.lower()}_per_mwh"
            )


def _place(
    where: str, time_column: str, times: Times, window: _Window, data: Data
) -> tuple[_Slots, list[str]]:
    """Find the rows of the window and of the horizon, and refuse what cannot be placed."""
    notes: list[str] = []
    unclear = times.utc != times.latest
    clear: IntArray = np.flatnonzero(~unclear)
    if np.any(np.diff(times.utc[clear]) < 0):
        notes.append(f"{time_column}: times are not in ascending order; the rows were sorted")
    rows: IntArray = clear[np.argsort(times.utc[clear], kind="stable")]
    stamps: IntArray = times.utc[rows]
    twice = np.flatnonzero(np.diff(stamps) == 0)
    if twice.size:
        first = int(twice[0])
        raise UsageError(
            f"{time_column}: {clock(stamps[first], window.zone)} is there twice, in rows "
            f"{rows[first] + 1} and {rows[first + 1] + 1}; remove one"
        )
    if len(stamps) < 2:
        raise UsageError(f"{time_column}: {len(stamps)} usable rows; at least 2 are needed")
    step = _own_step(stamps, window)
    if step < SECOND_US:
        raise UsageError(
            f"{time_column}: its times are {length(step)} apart; expected a step of one second or "
            "more"
        )
    shift = step if data.timestamp_is == "interval_end" else 0
    _refuse_unclear(time_column, times, unclear, data, window, step, shift)

    begins: IntArray = stamps - shift
    spans = _spans(begins, step, window)
    at = int(np.searchsorted(begins, window.start - step, side="right"))
    if at == len(begins) or begins[at] > window.start:
        raise UsageError(
            f"{where}: 'start' {clock(window.start, window.zone)} is not in the file, which has "
            f"{spans}; set 'start' and 'ticks' inside it"
        )
    base = int(begins[at])
    check_step(where, step=step, tick=window.tick, lead=window.start - base)
    stop = int(np.searchsorted(begins, window.end, side="left"))
    off_step = np.flatnonzero((begins[at:stop] - base) % step)
    if off_step.size:
        odd = clock(begins[at + int(off_step[0])] + shift, window.zone)
        raise UsageError(
            f"{time_column}: {odd} is off the file's step of {length(step)} inside the window of "
            "the run; its times must have one step there"
        )
    notes += _offset_notes(time_column, times, rows[at:stop], window)

    needed = -(-(window.end - base) // step)
    # One interval more than the horizon, so that its length does not change the window's values.
    last = -(-(window.end + window.horizon_ticks * window.tick - base) // step) + 1
    near = np.flatnonzero((begins >= base - step) & (begins < base + last * step))
    near = near[(begins[near] - base) % step == 0]
    row: IntArray = np.full(last + 1, -1, dtype=np.int64)
    row[(begins[near] - base) // step + 1] = rows[near]
    return _Slots(base, step, needed, row, shift, window.zone, spans), notes


def _own_step(stamps: IntArray, window: _Window) -> int:
    """The file's step around the window: the most frequent distance between its times there.

    Only runs of `_RUN` equal distances count, where the file has any: a gap is no step, even where
    the window lies inside it.
    """
    distances = np.diff(stamps)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(distances)) + 1))
    lengths = np.diff(np.concatenate((starts, [distances.size])))
    steady = np.repeat(lengths, lengths) >= _RUN
    low = max(int(np.searchsorted(stamps, window.start, side="right")) - 2, 0)
    high = int(np.searchsorted(stamps, window.end, side="left")) + 1
    candidates = distances[low:high][steady[low:high]]
    if not candidates.size:
        candidates = distances[steady] if steady.any() else distances
    values, counts = np.unique(candidates, return_counts=True)
    return int(values[counts.argmax()])


def _refuse_unclear(
    time_column: str,
    times: Times,
    unclear: NDArray[np.bool_],
    data: Data,
    window: _Window,
    step: int,
    shift: int,
) -> None:
    """Refuse local times that happen twice or never where the window needs them."""
    reached = (times.utc < window.end + shift) & (times.latest > window.start - step + shift)
    bad = np.flatnonzero(unclear & reached)
    if bad.size:
        row = int(bad[0])
        gap = int(times.latest[row] - times.utc[row]) < MINUTE_US
        local = clock(int(times.local[row]), EPOCH.tzinfo).removesuffix("+00:00")
        raise UsageError(
            f"{time_column}: row {row + 1}: the local time {local} "
            f"{'does not exist' if gap else 'happens twice'} in {data.timezone}; write times with "
            "their UTC offset, or move the window away from the change of the clock"
        )


def _spans(begins: IntArray, step: int, window: _Window) -> str:
    """The spans without a gap of intervals that begin at `begins`, those near the window first."""
    breaks = np.flatnonzero(np.diff(begins) != step)
    firsts = begins[np.concatenate(([0], breaks + 1))]
    ends = begins[np.concatenate((breaks, [len(begins) - 1]))] + step
    away = np.maximum(np.maximum(firsts - window.start, window.start - ends), 0)
    shown = np.sort(np.argsort(away, kind="stable")[:_SPANS_SHOWN])
    texts = [f"{clock(firsts[i], window.zone)} to {clock(ends[i], window.zone)}" for i in shown]
    more = len(firsts) - len(texts)
    return ", ".join(texts) + (f" and {more} other spans" if more else "")


def _offset_notes(time_column: str, times: Times, rows: IntArray, window: _Window) -> list[str]:
    """Tell of UTC offsets that change inside the window or are not the run's."""
    offsets = (times.local - times.utc)[rows]
    changes = np.flatnonzero(np.diff(offsets))

    def shown(offset: int) -> str:
        sign, minutes = "-" if offset < 0 else "+", abs(int(offset)) // MINUTE_US
        return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}"

    if changes.size:
        first = int(changes[0]) + 1
        return [
            f"{time_column}: the UTC offset changes inside the window, from "
            f"{shown(offsets[first - 1])} to {shown(offsets[first])} at "
            f"{clock(times.utc[rows[first]], window.zone)}; all times were converted to UTC"
        ]
    own = clock(window.start, window.zone)[-6:]
    if shown(offsets[0]) != own:
        return [f"{time_column}: times at {shown(offsets[0])} were converted to the run's {own}"]
    return []


def _values(
    what: str, name: str, raw: pa.Array, numbers: FloatArray, slots: _Slots, missing: str
) -> tuple[FloatArray, list[str]]:
    """One value per slot, from slot 0 to the end of what the file has without a gap.

    Slot 0 is NaN where the file does not have it. Missing values of the window are refused or
    held; a negative value is refused unless it is a price.
    """
    values: FloatArray = np.where(slots.row >= 0, numbers[slots.row], np.nan)
    notes: list[str] = []
    bad = np.flatnonzero(np.isnan(values[1 : 1 + slots.needed])) + 1
    if bad.size:
        first = int(bad[0])
        at = slots.label(first)
        if slots.row[first] < 0:
            problem = f"has no row for {at}"
            remedy = f"the file has {slots.spans}; set 'start' and 'ticks' inside it"
        else:
            cell = raw[int(slots.row[first])].as_py()
            problem = f"has {'nothing' if cell is None else repr(cell)} at {at}, not a number"
            remedy = "set 'start' and 'ticks' to where it has numbers, map another column"
        problem += f" ({bad.size} of the {slots.needed} intervals of the run are missing)"
        if missing == "refuse":
            raise UsageError(f"{what} {problem}; {remedy}, or set data.missing: hold")
        if first == 1:
            raise UsageError(
                f"{what} {problem}; data.missing: hold has nothing to hold at the start of the "
                "run: move 'start' to a later time"
            )
        source = np.arange(values.size)
        source[bad] = 0
        values[bad] = values[np.maximum.accumulate(source)[bad]]
        absent = int(np.count_nonzero(slots.row[bad] < 0))
        notes.append(
            f"{what}: the last value was held over {bad.size} missing intervals ({absent} without "
            f"a row, {bad.size - absent} without a number), the first at {at}"
        )
    gaps = np.flatnonzero(np.isnan(values[1 + slots.needed :]))
    if gaps.size:
        values = values[: 1 + slots.needed + int(gaps[0])]
    below = np.flatnonzero(values < 0)
    if below.size and name != PRICE_SERIES:
        slot = int(below[0])
        raise UsageError(
            f"{what} is negative at {slots.label(slot)}: {values[slot]:g}; {name} must be zero or "
            "more: correct the value or map another column"
        )
    return values, notes
