"""What an audit log says, and whether the result tables say the same.

Both classes are checks of `swarm.trust.verify.verify_log`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from swarm.errors import UsageError
from swarm.messages import Int
from swarm.trust.dispatch import Reason
from swarm.trust.records import (
    Contracts,
    Countersignatures,
    Dispatches,
    EmergencySteps,
    Record,
    Refusals,
    Violations,
)

Rows = tuple[int, Int, Int]
"""A tick, and agents (n,) with their contracts in watts (n,)."""


class Tally:
    """Counts what a log holds.

    Attributes:
        records: records of each kind.
        contracts: contracts.
        countersignatures: signatures on them, fewer where one binds several agents.
        dispatches: contracts that were acted on.
        refusals: by stage and reason, as `dispatch tampered`.
        violations: by stage and rule, as `offer max_discharge`.
        emergency_steps: steps of the emergency protocol.
        first_tick: the first tick of a record; None: there is none.
        last_tick: the last one.
    """

    def __init__(self) -> None:
        """Start at nothing."""
        self.records: Counter[str] = Counter()
        self.contracts = self.countersignatures = 0
        self.dispatches = self.emergency_steps = 0
        self.refusals: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.first_tick: int | None = None
        self.last_tick: int | None = None

    def take(self, number: int, record: Record) -> str | None:
        """See `swarm.trust.verify.Check`; a count finds nothing wrong."""
        self.records[type(record).__name__] += 1
        self.first_tick = record.tick if self.first_tick is None else self.first_tick
        self.last_tick = record.tick
        match record:
            case Contracts():
                self.contracts += len(record.agent)
            case Countersignatures():
                self.countersignatures += len(record.first)
            case Dispatches():
                self.dispatches += len(record.agent)
            case EmergencySteps():
                self.emergency_steps += len(record.step)
            case Refusals():
                for code, count in Counter(record.reason.tolist()).items():
                    self.refusals[f"{record.stage} {reason_name(code)}"] += count
            case Violations():
                for rule, count in record.count().items():
                    self.violations[f"{record.stage} {rule}"] += count
        return None

    def finish(self) -> tuple[int, int, str] | None:
        """See `swarm.trust.verify.Check`."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            name: dict(value) if isinstance(value, Counter) else value
            for name, value in vars(self).items()
        }


def reason_name(code: int) -> str:
    """A reason to refuse by name; a code that has none by number."""
    names = {reason.value: reason.name.lower() for reason in Reason}
    return names.get(code, f"code {code}")


class ContractsInTables:
    """The table of agents holds the contracts of the log: those of its agents, and no other.

    It has a row for each agent that it is to list, in every tick with contracts.

    Attributes:
        compared: rows of the table that were compared.
    """

    def __init__(self, rows: Iterator[Rows], listed: Int, finished: bool) -> None:
        """Start a check.

        Args:
            rows: of the table, see `contract_rows`; read as the log goes on.
            listed: int64 (n,), the agents that the table lists, rising.
            finished: False: the run was cut off, its table may end anywhere.
        """
        self.compared = 0
        self._rows, self._listed, self._finished = rows, listed, finished
        self._next = next(rows, None)
        self._number = 0

    def take(self, number: int, record: Record) -> str | None:
        """See `swarm.trust.verify.Check`."""
        if not isinstance(record, Contracts):
            return None
        self._number = number
        found = False
        while self._next is not None and self._next[0] <= record.tick:
            found = self._next[0] == record.tick
            held = (record.agent, record.quantity_w) if found else None
            wrong = self._compare(self._next, held)
            if wrong is not None:
                return wrong
            self._next = next(self._rows, None)
        if not found and self._finished:
            return f"tick {record.tick} is not in the table of agents"
        return None

    def finish(self) -> tuple[int, int, str] | None:
        """See `swarm.trust.verify.Check`: what follows the last contracts holds none."""
        while self._finished and self._next is not None:
            wrong = self._compare(self._next, None)
            if wrong is not None:
                return self._number, self._next[0], wrong
            self._next = next(self._rows, None)
        return None

    def _compare(self, rows: Rows, held: tuple[Int, Int] | None) -> str | None:
        tick, agent, contract_w = rows
        if not np.array_equal(agent, self._listed):
            return f"tick {tick} of the table of agents has other agents than the registry says"
        expected_w = np.zeros(len(agent), dtype=np.int64)
        if held is not None and len(held[0]):
            at = np.minimum(np.searchsorted(held[0], agent), len(held[0]) - 1)
            expected_w = np.where(held[0][at] == agent, held[1][at], 0)
        self.compared += len(agent)
        wrong = np.flatnonzero(contract_w != expected_w)
        if not len(wrong):
            return None
        first = wrong[0]
        return (
            f"the table of agents has {contract_w[first]} W contracted for agent {agent[first]} "
            f"at tick {tick}, the log {expected_w[first]} W"
        )


def contract_rows(run_dir: Path) -> Iterator[Rows]:
    """The contracts in the table of agents, tick by tick; memory holds one part of it.

    Raises:
        UsageError: where a part is damaged, or its ticks do not rise.
    """
    last = -1
    names = ["tick", "agent", "contract_w"]
    for path in sorted((run_dir / "data" / "agents").glob("*.parquet")):
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                table = file.read(columns=names)
            ticks, agents, contracts_w = (table.column(name).to_numpy() for name in names)
        except (OSError, KeyError, pa.ArrowException):
            raise UsageError(f"{path}: damaged: no table of agents") from None
        cuts = [0, *(np.flatnonzero(np.diff(ticks)) + 1).tolist(), len(ticks)]
        for start, stop in pairwise(cuts):
            if start == stop:
                continue
            tick = int(ticks[start])
            if tick <= last:
                raise UsageError(f"{path}: damaged: tick {tick} after tick {last}")
            last = tick
            yield tick, agents[start:stop].astype(np.int64), contracts_w[start:stop]
