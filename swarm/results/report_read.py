"""What a report reads of a run: columns by tick, in parts, never a whole table of agents."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from swarm.errors import UsageError
from swarm.messages import Float, Int
from swarm.results.run import Run

MARKET = (
    "price_milli_per_mwh",
    "outside_price_milli_per_mwh",
    "volume_w",
    "imported_w",
)
NEGOTIATION = ("rounds", "consensus", "agreed")
GRID = (
    *("generation_w", "discharge_w", "load_w", "charge_w", "import_w", "export_w", "shed_w"),
    *("unserved_w", "frequency_min_hz", "frequency_max_hz", "frequency_mean_hz"),
    *("voltage_min_pu", "voltage_max_pu"),
)
KINDS = ("generation_w", "discharge_w", "received_micro", "cost_micro", "emissions_g", "stored_mwh")

Columns = Mapping[str, Float]
"""Column -> float64 (ticks,); NaN where the table has null."""


@dataclass(frozen=True)
class Clock:
    """Local time of the ticks; the UTC offset of the start holds for the whole run."""

    start: datetime
    minutes: int

    def at(self, tick: int, second: float = 0.0) -> str:
        """As plotly takes it, to the millisecond."""
        moment = self.start + timedelta(minutes=int(tick) * self.minutes, seconds=float(second))
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds").removesuffix(".000")

    def words(self, tick: int) -> str:
        """For people."""
        moment = self.start + timedelta(minutes=int(tick) * self.minutes)
        return f"{moment:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Ticks:
    """What a run tells of its ticks.

    Attributes:
        run: the run.
        clock: of its ticks.
        currency: of its money.
        tick: int64 (ticks,), from 0 on; those that market, grid and kinds all hold.
        market: `MARKET`, and `NEGOTIATION` where prices were negotiated.
        scarce: bool (ticks,): all supply was sold and an unserved bid set the price.
        grid: `GRID`.
        kinds: kind -> `KINDS`, in the order of the run.
    """

    run: Run
    clock: Clock
    currency: str
    tick: Int
    market: Columns
    scarce: np.ndarray
    grid: Columns
    kinds: Mapping[str, Columns]


def read_ticks(run: Run) -> Ticks | None:
    """Read what a run tells of its ticks; None where it ended before it wrote any.

    A year of five minutes takes about 100 MB.

    Args:
        run: from a folder.

    Raises:
        UsageError: a table is damaged or lacks a column.
    """
    schema = _schema(run, "market")
    if schema is None or _schema(run, "grid") is None or _schema(run, "kinds") is None:
        return None
    names = [*MARKET, *(name for name in NEGOTIATION if name in schema.names)]
    market, status = _by_tick(run, "market", names)
    grid, _ = _by_tick(run, "grid", list(GRID))
    kinds = _by_kind(run)
    shortest = min(
        len(market["tick"]), len(grid["tick"]), *(len(k["tick"]) for k in kinds.values())
    )
    if not np.array_equal(market["tick"][:shortest], np.arange(shortest)):
        raise UsageError(f"{run.run_dir}: damaged: ticks of the table of the market are missing")
    metadata = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    try:
        clock = Clock(datetime.fromisoformat(metadata["start"]), int(metadata["tick_minutes"]))
        currency = metadata["currency"]
    except (KeyError, ValueError):
        raise UsageError(
            f"{run.run_dir}: damaged: the tables do not say start, tick_minutes and currency"
        ) from None

    def cut(columns: Columns) -> Columns:
        return {name: values[:shortest] for name, values in columns.items() if name != "tick"}

    return Ticks(
        run=run,
        clock=clock,
        currency=currency,
        tick=market["tick"][:shortest].astype(np.int64),
        market=cut(market),
        scarce=status[:shortest] == "scarcity",
        grid=cut(grid),
        kinds={kind: cut(columns) for kind, columns in kinds.items()},
    )


def parts(
    run: Run, table: str, columns: Sequence[str], ticks: Int | None = None
) -> Iterator[pa.Table]:
    """The parts of a table one after the other, with these columns alone, page checksums checked.

    Args:
        run: from a folder.
        table: see `swarm.results.tables`; one that the run lacks has no parts.
        columns: of it.
        ticks: only rows of these ticks, rising; parts without them are not read.

    Raises:
        UsageError: a part is damaged or lacks a column.
    """
    for path in _paths(run, table):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                missing = sorted({*columns} - {*file.schema_arrow.names})
                if missing:
                    raise UsageError(f"{path}: has no column {missing[0]!r}: of another version")
                if ticks is not None and not _holds(file, ticks):
                    continue
                wanted = columns if ticks is None else dict.fromkeys(("tick", *columns))
                read = file.read(columns=list(wanted))
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from None
        if ticks is not None:
            read = read.filter(pc.is_in(read["tick"], pa.array(ticks, read["tick"].type)))
        yield read


def columns_of(run: Run, table: str) -> list[str]:
    """Names of the columns of a table; none where the run lacks it."""
    schema = _schema(run, table)
    return [] if schema is None else list(schema.names)


def events_of(run: Run, most: int) -> list[dict[str, Any]]:
    """The first `most` rows of the table of events, and the first row of every emergency.

    Raises:
        UsageError: as of `parts`.
    """
    found: list[dict[str, Any]] = []
    columns = ("tick", "second", "step", "power_w", "frequency_hz")
    for part in parts(run, "events", columns):
        for row in part.to_pylist():
            if len(found) < most or (row["step"] == "detection" and len(found) < 2 * most):
                found.append(row)
    return found


def registry_of(run: Run) -> tuple[list[str], Mapping[str, float]]:
    """Kind of each agent in global order, and the energy that all batteries of a kind hold, MWh.

    Raises:
        UsageError: as of `parts`, or the parameters of an agent are no JSON.
    """
    kinds: list[str] = []
    capacity_mwh: dict[str, float] = {}
    for part in parts(run, "registry", ("kind", "parameters")):
        for kind, text in zip(*(part[name].to_pylist() for name in part.schema.names), strict=True):
            kinds.append(kind)
            try:
                energy_mwh = json.loads(text).get("energy_mwh")
            except (ValueError, AttributeError):
                where = f"parameters of agent {len(kinds) - 1}"
                raise UsageError(f"{run.run_dir}: damaged: {where} are no JSON") from None
            if isinstance(energy_mwh, int | float):
                capacity_mwh[kind] = capacity_mwh.get(kind, 0.0) + energy_mwh
    return kinds, capacity_mwh


def number(column: pa.ChunkedArray) -> Float:
    """A column as float64; null is NaN."""
    values: Float = column.cast(pa.float64()).to_numpy()
    return values


def _by_tick(run: Run, table: str, names: Sequence[str]) -> tuple[dict[str, Float], np.ndarray]:
    """Columns of a table with a row for each tick, `tick` too; and the status, for the market."""
    status = ("status",) if table == "market" else ()
    read = list(parts(run, table, ("tick", *names, *status)))
    whole = pa.concat_tables(read)
    # Few words, many rows: kept as codes until here.
    said = whole["status"].to_numpy(zero_copy_only=False) if status else np.zeros(0, dtype=object)
    return {name: number(whole[name]) for name in ("tick", *names)}, said


def _by_kind(run: Run) -> dict[str, dict[str, Float]]:
    pieces: dict[str, dict[str, list[Float]]] = {}
    for part in parts(run, "kinds", ("tick", "kind", *KINDS)):
        kind_of_row = np.array(part["kind"].to_pylist(), dtype=object)
        columns = {name: number(part[name]) for name in ("tick", *KINDS)}
        for kind in dict.fromkeys(kind_of_row):
            rows = kind_of_row == kind
            of_kind = pieces.setdefault(kind, {name: [] for name in columns})
            for name, values in columns.items():
                of_kind[name].append(values[rows])
    return {
        kind: {name: np.concatenate(values) for name, values in of_kind.items()}
        for kind, of_kind in pieces.items()
    }


def _holds(file: pq.ParquetFile, ticks: Int) -> bool:
    """Whether a part may hold a row of the ticks, by the statistics of its column `tick`."""
    index = file.schema_arrow.names.index("tick")
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(index).statistics
        if statistics is None or not statistics.has_min_max:
            return True
        if bool(np.any((ticks >= statistics.min) & (ticks <= statistics.max))):
            return True
    return False


def _schema(run: Run, table: str) -> pa.Schema | None:
    for path in _paths(run, table):
        try:
            return pq.read_schema(path)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, error) from None
    return None


def _paths(run: Run, table: str) -> list[Path]:
    assert run.run_dir is not None
    return sorted((run.run_dir / "data" / table).glob("*.parquet"))


def _damaged(path: Path, error: Exception) -> UsageError:
    said = next(iter(str(error).splitlines()), type(error).__name__)
    return UsageError(f"{path}: damaged: {said}; restore it from a copy, or run again")
