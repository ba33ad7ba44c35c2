"""Takes every tick of a run and writes its tables in parts, in memory or to a folder.

Parts are cut by tick alone, each one row group, so that the same ticks give the same bytes
whatever runs them; memory holds one row group of each table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from swarm.errors import RunError
from swarm.grid.balance import Operated
from swarm.grid.feeder_table import FeederTable
from swarm.market.record import TickRecord
from swarm.messages import Int
from swarm.results import tables
from swarm.results.by_kind import first_agents, sum_by_kind
from swarm.results.folder import CHECKSUMS, checksum_lines, digest_of, write_bytes, write_text
from swarm.results.kpis import Totals, metrics
from swarm.rng import uniforms
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

FULL_AGENTS = 10_000
"""Most agents whose table is `full` where the scenario says `auto`."""
TRACE_ROWS = 1000
"""Samples of a disturbed interval; only sizes the parts of `trace`."""


@dataclass(frozen=True)
class Results:
    """What a run gave.

    Attributes:
        metrics: see `swarm.results.kpis.DEFINITIONS`.
        digest: one SHA-256 over all tables.
        parts: relative path -> bytes of every part, where there is no folder; else None.
    """

    metrics: dict[str, Any]
    digest: str
    parts: dict[str, bytes] | None


def sampled_agents(scenario: Scenario, agents: int) -> Int | None:
    """Global indices of the agents in the table of agents, rising; None: all of them.

    A seeded sample without replacement: the agents with the least uniform of their own.
    """
    mode, size = scenario.results.agents, scenario.results.sample
    if mode == "full" or (mode == "auto" and agents <= FULL_AGENTS) or agents <= size:
        return None
    lot = uniforms(scenario.seed, "results/sample", 0, 0, agents)[:, 0]
    return np.sort(np.argsort(lot, kind="stable")[:size])


class ResultWriter:
    """A `swarm.loop.Sink`: writes tables, adds up metrics."""

    STATE = ("_totals", "_parts", "_store")
    """See `swarm.snapshot`."""

    def __init__(
        self,
        scenario: Scenario,
        rosters: tuple[Roster, ...],
        folder: Path | None,
        feeder: FeederTable | None = None,
    ) -> None:
        """Write the registry at once.

        Args:
            scenario: complete, with fleets that came from data.
            rosters: its agents by kind, in global order.
            folder: the run's folder; None keeps the parts in memory.
            feeder: the feeder whose buses and lines are written; None: there is none.

        Raises:
            RunError: where the folder cannot be written; `write` and `finish` likewise.
        """
        self._scenario, self._rosters = scenario, rosters
        self._totals = Totals(scenario, rosters)
        self._first = first_agents(rosters)
        self._kinds = np.array([roster.kind for roster in rosters], dtype=object)
        self._agents_of_kind = np.array([len(roster) for roster in rosters], dtype=np.int64)
        agents = self._totals.agents
        self._sample = sampled_agents(scenario, agents)
        shown = np.arange(agents) if self._sample is None else self._sample
        self._shown = shown.astype(np.int32)
        self._store = _Store(folder)
        self._parts = {
            "market": self._part("market", 1, tables.table_of_rows),
            "grid": self._part("grid", 1, tables.table_of_rows),
            "kinds": self._part("kinds", len(rosters), tables.table_of_blocks),
            "agents": self._part("agents", len(shown), tables.table_of_blocks),
        }
        if scenario.results.orders:
            rows = agents * tables.ORDERS_PER_AGENT
            self._parts["orders"] = self._part("orders", rows, tables.table_of_blocks)
        if scenario.grid is not None:
            self._parts["events"] = self._part("events", 1, tables.table_of_blocks)
            self._parts["trace"] = self._part("trace", TRACE_ROWS, tables.table_of_blocks)
        if feeder is not None:
            self._buses = np.array(feeder.buses, dtype=object)
            self._lines = np.array(
                [f"{a}-{b}" for a, b in zip(feeder.line_from, feeder.line_to, strict=True)],
                dtype=object,
            )
            self._parts["buses"] = self._part("buses", len(self._buses), tables.table_of_blocks)
            self._parts["lines"] = self._part("lines", len(self._lines), tables.table_of_blocks)
        in_table = np.zeros(agents, dtype=bool)
        in_table[shown] = True
        schema = tables.schema_of("registry", scenario)
        self._store.put("registry", tables.registry_table(schema, rosters, in_table))

    def _part(self, table: str, rows_per_tick: int, build: Callable[..., pa.Table]) -> _Parts:
        schema = tables.schema_of(table, self._scenario)
        return _Parts(table, schema, tables.ticks_per_group(rows_per_tick), build, self._store)

    def write(self, record: TickRecord, operated: Operated) -> None:
        """Take one settled tick; ticks come in order."""
        balance = operated.balance
        assert balance is not None
        kinds = sum_by_kind(record, self._first)
        self._totals.add(record, operated, kinds)
        parts, tick = self._parts, record.tick
        parts["market"].add(tables.market_row(record))
        parts["grid"].add(tables.grid_row(balance))
        ticks = np.full(len(self._kinds), tick)
        parts["kinds"].add([ticks, self._kinds, self._agents_of_kind, *kinds.ints, *kinds.floats])
        ticks = np.full(len(self._shown), tick, dtype=np.int32)
        physical = self._scenario.grid is not None
        columns = tables.agent_columns(record, self._sample, physical)
        parts["agents"].add([ticks, self._shown, *columns])
        if record.book is not None and "orders" in parts:
            book = record.book
            ticks = np.full(len(book.side), tick, dtype=np.int32)
            parts["orders"].add(
                [ticks, book.agent, book.side, book.price, book.quantity, record.accepted_w]
            )
        if physical:
            parts["events"].add(tables.event_columns(operated.events))
            parts["trace"].add(tables.trace_columns(tick, operated.trace))
        if operated.voltages is not None:
            parts["buses"].add(tables.bus_columns(tick, self._buses, operated.voltages))
            parts["lines"].add(tables.line_columns(tick, self._lines, operated.voltages))

    def check_parts(self) -> None:
        """Raise RunError where a part that was written is no longer as it was written."""
        self._store.check()

    def finish(self) -> Results:
        """Write the last parts and the checksums."""
        for part in self._parts.values():
            part.finish()
        found = metrics(self._totals, self._scenario, self._rosters)
        found["agents_table"] = "full" if self._sample is None else "sample"
        found["agents_in_table"] = len(self._shown)
        self._store.finish()
        return Results(found, digest_of(self._store.checksums), self._store.parts)


class _Store:
    """Where parts go; keeps the checksum of each."""

    STATE = ("checksums", "_count")
    """See `swarm.snapshot`."""

    def __init__(self, folder: Path | None) -> None:
        self.checksums: dict[str, str] = {}
        self.parts: dict[str, bytes] | None = {} if folder is None else None
        self._folder = folder
        self._count: dict[str, int] = {}

    def put(self, name: str, table: pa.Table) -> None:
        """Write the next part of table `name`."""
        index = self._count.get(name, 0)
        self._count[name] = index + 1
        path, data = f"data/{name}/part-{index:05d}.parquet", tables.parquet_bytes(table)
        self.checksums[path] = hashlib.sha256(data).hexdigest()
        if self._folder is None:
            assert self.parts is not None
            self.parts[path] = data
        else:
            write_bytes(self._folder / path, data)

    def check(self) -> None:
        """See `ResultWriter.check_parts`."""
        for path, expected in self.checksums.items():
            assert self._folder is not None
            try:
                actual = hashlib.sha256((self._folder / path).read_bytes()).hexdigest()
            except OSError as error:
                raise RunError(f"{self._folder / path}: {error.strerror or error}") from None
            if actual != expected:
                raise RunError(f"{self._folder / path}: damaged, it is not what the run wrote")

    def finish(self) -> None:
        """Write the checksums."""
        if self._folder is not None:
            write_text(self._folder / CHECKSUMS, checksum_lines(self.checksums))


class _Parts:
    """One table: the ticks since its last part."""

    STATE = ("_ticks",)
    """See `swarm.snapshot`."""

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        ticks_per_part: int,
        build: Callable[..., pa.Table],
        store: _Store,
    ) -> None:
        self._name, self._schema, self._build, self._store = name, schema, build, store
        self._ticks_per_part = ticks_per_part
        self._ticks: list[Sequence[Any]] = []

    def add(self, tick: Sequence[Any]) -> None:
        """Add what one tick gave: a row of scalars, or a block of columns."""
        self._ticks.append(tick)
        if len(self._ticks) == self._ticks_per_part:
            self._flush()

    def finish(self) -> None:
        """Write what is left."""
        if self._ticks:
            self._flush()

    def _flush(self) -> None:
        self._store.put(self._name, self._build(self._schema, self._ticks))
        self._ticks = []
