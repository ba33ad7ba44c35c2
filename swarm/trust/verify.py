"""Verification of an audit log: chain, anchor, contents; it names the first bad record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Protocol, TypedDict

import numpy as np

from swarm.messages import Int
from swarm.trust.anchor import Anchor
from swarm.trust.audit import LogFault, frames, open_log, read_header
from swarm.trust.records import (
    KINDS,
    Contracts,
    Countersignatures,
    Dispatches,
    Record,
    Refusals,
    Violations,
    from_bytes,
)


class FaultCode(StrEnum):
    """What is wrong with a log."""

    HEADER = "header"
    """It is no log, or that of another run than the anchor's."""
    TORN = "torn"
    """The file ends inside an append, as a crash leaves it: `AuditLog.recover` cuts that off."""
    DAMAGED = "damaged"
    """A record was changed, removed, put in or moved."""
    CONTENTS = "contents"
    """A record is sound but no record, or contradicts another."""
    CUT = "cut"
    """Records are missing at the end that the anchor counts."""
    BEYOND = "beyond"
    """Records that the anchor does not count yet: nobody vouches for them."""
    REWRITTEN = "rewritten"
    """The chain holds but ends in another head than the anchor's."""
    ANCHOR = "anchor"
    """The anchor's own signature is not valid."""
    RUN = "run"
    """The log may hold, but what else the run keeps is missing or does not fit it."""


@dataclass(frozen=True)
class Fault:
    """The first fault of a log.

    Attributes:
        code: which.
        record: number of the first bad record, from 0; None: it is not about one.
        tick: of that record, where it is known.
        what: in words.
    """

    code: FaultCode
    record: int | None
    tick: int | None
    what: str


@dataclass(frozen=True)
class Verified:
    """A log without a fault.

    Attributes:
        count: records that the anchor counts.
        head: of the chain after them.
        records: number of them of each kind, by name.
        beyond: whole records after them that nobody vouches for; only where the run was cut off.
        torn: the file ends inside a record or append after them; likewise.
    """

    count: int
    head: bytes
    records: dict[str, int]
    beyond: int = 0
    torn: bool = False


class Check(Protocol):
    """Looks at the contents of a log, record by record."""

    def take(self, number: int, record: Record) -> str | None:
        """What is wrong with this record, in the light of those before it; None: nothing."""

    def finish(self) -> tuple[int, int, str] | None:
        """Record, tick and what is wrong with the log as a whole; None: nothing."""


def verify_log(
    source: Path | bytes,
    anchor: Anchor,
    verify: Callable[[bytes, bytes], bool],
    checks: Sequence[Check] = (),
    cut_off: bool = False,
) -> Verified | Fault:
    """Verify a log against its anchor; memory holds one record at a time.

    The log is read twice: nothing of its contents is decoded before chain and anchor hold.

    Args:
        source: the log's file or its bytes.
        anchor: its anchor, kept apart from it.
        verify: whether (message, signature) of an anchor is valid.
        checks: of the contents, new ones for each log; `Pairs` is one.
        cut_off: the run ended without an anchor of its own: what a crash leaves behind an earlier
            one (records that chain on, a torn end) is counted and no fault. Its contents are not
            looked at.

    Raises:
        UsageError: where the file cannot be read.
    """
    with open_log(source) as file:
        try:
            tail = _chain(file, anchor, verify, cut_off)
            if isinstance(tail, Fault):
                return tail
            found = _contents(file, anchor, checks)
            return found if isinstance(found, Fault) else replace(found, **tail)
        except LogFault as fault:
            code = FaultCode.TORN if fault.torn else FaultCode.DAMAGED
            code = FaultCode.HEADER if fault.number is None else code
            return Fault(code, fault.number, fault.tick, fault.what)


class _Tail(TypedDict):
    """What lies behind the anchor: fields of `Verified`."""

    beyond: int
    torn: bool


def _chain(
    file: BinaryIO, anchor: Anchor, verify: Callable[[bytes, bytes], bool], cut_off: bool
) -> Fault | _Tail:
    """The first fault of chain and anchor, or what lies behind it. Raises LogFault."""
    run, head, _ = read_header(file)
    if run != anchor.run:
        what = f"is of run {run.hex()}, the anchor of run {anchor.run.hex()}"
        return Fault(FaultCode.HEADER, None, None, what)
    count, tick, torn = 0, None, False
    try:
        for frame in frames(file):
            if count >= anchor.count and not cut_off:
                what = f"record {count} (tick {frame.tick}) and what follows are not in the anchor"
                return Fault(FaultCode.BEYOND, count, frame.tick, what)
            count += 1
            if count <= anchor.count:
                tick, head = frame.tick, frame.head
    except LogFault as fault:
        if not (cut_off and fault.torn and count >= anchor.count):
            raise
        torn = True
    if count < anchor.count:
        what = f"ends before record {count}; the anchor counts {anchor.count}"
        return Fault(FaultCode.CUT, count, None, what)
    if head != anchor.head:
        what = "the chain holds, but its head is not the anchor's: it was written anew"
        last = anchor.count - 1 if anchor.count else None
        return Fault(FaultCode.REWRITTEN, last, tick, what)
    if not verify(anchor.message(), anchor.signature):
        return Fault(FaultCode.ANCHOR, None, None, "the signature of the anchor is not valid")
    return _Tail(beyond=count - anchor.count, torn=torn)


def _contents(file: BinaryIO, anchor: Anchor, checks: Sequence[Check]) -> Verified | Fault:
    """What the records say, or the first that says nothing or contradicts. Raises LogFault."""
    records = {kind.__name__: 0 for kind in KINDS.values()}
    for frame in islice(frames(file), anchor.count):
        try:
            record = from_bytes(frame.kind, frame.payload)
        except ValueError as error:
            return _contradiction(frame.number, frame.tick, str(error))
        records[type(record).__name__] += 1
        for check in checks:
            found = check.take(frame.number, record)
            if found is not None:
                return _contradiction(frame.number, frame.tick, found)
    for check in checks:
        late = check.finish()
        if late is not None:
            return _contradiction(*late)
    return Verified(anchor.count, anchor.head, records)


def _contradiction(number: int, tick: int, what: str) -> Fault:
    return Fault(FaultCode.CONTENTS, number, tick, f"record {number} (tick {tick}): {what}")


@dataclass
class _Open:
    """Contracts of one tick that are not all settled yet; arrays sorted by agent."""

    number: int
    agent: Int
    quantity_w: Int
    signed: Int
    """Countersignatures of each."""
    settled: np.ndarray
    """bool: dispatched or refused."""


class Pairs:
    """Dispatches and contracts are one to one.

    A tick has one record of contracts and each agent at most one in it. Each contract is
    countersigned at most once and then dispatched, within its quantity, or refused, exactly once;
    what was not countersigned is only refused. Where policies stepped in at dispatch the set point
    may lie beyond the quantity: a load goes on while the discharge that was to cover it is clipped.
    """

    def __init__(self, finished: bool = True) -> None:
        """Start a check.

        Args:
            finished: False: the run was cut off, contracts may be open at its end.
        """
        self._finished = finished
        self._open: dict[int, _Open] = {}
        self._last: int | None = None
        self._clipped: tuple[int, Int] | None = None

    def take(self, number: int, record: Record) -> str | None:
        """See `Check`."""
        if isinstance(record, Contracts):
            return self._contracts(number, record)
        if isinstance(record, Countersignatures):
            return self._countersigned(record)
        if isinstance(record, Dispatches):
            return self._settled(record.tick, record.agent, record.power_w)
        if isinstance(record, Refusals) and record.stage == "dispatch":
            return self._settled(record.tick, record.agent, None)
        if isinstance(record, Violations) and record.stage == "dispatch":
            self._clipped = record.tick, record.agent
        return None

    def finish(self) -> tuple[int, int, str] | None:
        """See `Check`."""
        if not self._finished:
            return None
        for tick, held in self._open.items():
            agent = held.agent[~held.settled][0]
            what = f"the contract of agent {agent} was neither dispatched nor refused"
            return held.number, tick, what
        return None

    def _contracts(self, number: int, record: Contracts) -> str | None:
        if self._last is not None and record.tick <= self._last:
            return f"contracts of tick {record.tick} after those of tick {self._last}"
        self._last = record.tick
        order = np.argsort(record.agent, kind="stable")
        agent, quantity = record.agent[order], record.quantity_w[order]
        twice = agent[1:][agent[1:] == agent[:-1]]
        if len(twice):
            return f"agent {twice[0]} has two contracts of tick {record.tick}"
        if len(agent):
            nothing = np.zeros(len(agent), dtype=np.int64)
            none = np.zeros(len(agent), dtype=bool)
            self._open[record.tick] = _Open(number, agent, quantity, nothing, none)
        return None

    def _countersigned(self, record: Countersignatures) -> str | None:
        held = self._open.get(record.tick)
        if held is None:
            return f"countersignatures of tick {record.tick}, which has no open contracts"
        start = np.searchsorted(held.agent, record.first)
        # A difference that would overflow is no number of agents.
        agents = np.clip(record.agents, 0, 2**62)
        stop = np.searchsorted(held.agent, np.clip(record.first, 0, 2**62) + agents)
        empty = (stop <= start) | (record.first < 0)
        if empty.any():
            return f"a countersignature of agent {record.first[empty][0]}, which has no contract"
        edges = np.zeros(len(held.agent) + 1, dtype=np.int64)
        np.add.at(edges, start, 1)
        np.add.at(edges, stop, -1)
        held.signed += np.cumsum(edges[:-1])
        twice = held.agent[held.signed > 1]
        return f"the contract of agent {twice[0]} was countersigned twice" if len(twice) else None

    def _settled(self, tick: int, agents: Int, power_w: Int | None) -> str | None:
        held = self._open.get(tick)
        if held is None:
            return f"tick {tick} has no open contracts" if len(agents) else None
        unknown = agents[~np.isin(agents, held.agent)]
        if len(unknown):
            return f"agent {unknown[0]} has no contract of tick {tick}"
        row = np.searchsorted(held.agent, agents)
        again = agents[held.settled[row] | (np.bincount(row, minlength=1)[row] > 1)]
        if len(again):
            return f"the contract of agent {again[0]} of tick {tick} was settled twice"
        if power_w is not None:
            unsigned = agents[held.signed[row] == 0]
            if len(unsigned):
                return f"agent {unsigned[0]} acted on a contract it did not countersign"
            asked = held.quantity_w[row]
            beyond = (power_w < np.minimum(asked, 0)) | (power_w > np.maximum(asked, 0))
            if self._clipped is not None and self._clipped[0] == tick:
                beyond &= ~np.isin(agents, self._clipped[1])
            if beyond.any():
                first = np.flatnonzero(beyond)[0]
                return (
                    f"agent {agents[first]} was dispatched at {power_w[first]} W on a contract of "
                    f"{asked[first]} W"
                )
        held.settled[row] = True
        if held.settled.all():
            del self._open[tick]
        return None
