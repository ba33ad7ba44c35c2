"""One decision end to end: what one agent wanted, was awarded, did and got in one tick.

It joins the audit log and the result tables. The contract's proof and every signature on it are
computed anew; that the log as a whole is sound is for `swarm.results.audit_check` to say.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from swarm.errors import UsageError
from swarm.messages import RESERVE_PRODUCTS
from swarm.results.audit import LOG, read_public_keys
from swarm.results.audit_check import PURPOSES, TrustFacts, read_manifest, trust_facts
from swarm.results.audit_contents import reason_name
from swarm.results.run import MANIFEST, Run
from swarm.trust.audit import LogFault, frames, open_log
from swarm.trust.contracts import TickSeal, build_contracts, seal_is_signed
from swarm.trust.keys import verify
from swarm.trust.merkle import Tree, verify_inclusion
from swarm.trust.records import (
    POWER,
    Contracts,
    Countersignatures,
    Dispatches,
    Record,
    Refusals,
    Violations,
    from_bytes,
)

LATER_TICKS = 2
"""Records of a tick are in the log before those appended so many ticks later."""


@dataclass(frozen=True)
class Sealed:
    """A contract in the log.

    Attributes:
        record: number of the record.
        quantity_w: net injection.
        price_milli: milli-currency per MWh.
        reserve_w: by product, those above zero.
        leaf: its place among the contracts of the tick.
        leaves: number of them.
        in_tree: its proof leads to the root that was sealed.
        seal_valid: the market signed that root for this tick and run.
    """

    record: int
    quantity_w: int
    price_milli: int
    reserve_w: dict[str, int]
    leaf: int
    leaves: int
    in_tree: bool
    seal_valid: bool


@dataclass(frozen=True)
class Signed:
    """A countersignature.

    Attributes:
        record: number of the record.
        first: global index of the first agent that it binds; its key signs.
        agents: how many it binds.
        valid: it holds for the contracts in the log.
    """

    record: int
    first: int
    agents: int
    valid: bool


@dataclass(frozen=True)
class Violated:
    """What a policy took away: `field` is `W` or `price`, in watts or milli-currency per MWh."""

    record: int
    stage: str
    rule: str
    slot: int
    field: str
    asked: int
    allowed: int


@dataclass(frozen=True)
class Refused:
    """A refusal at a stage, with the name of its reason (`swarm.trust.dispatch.Reason`)."""

    record: int
    stage: str
    reason: str


@dataclass(frozen=True)
class Order:
    """An order as it was sent, side +1 sells and -1 buys, and what was accepted of it."""

    side: int
    price_milli: int
    quantity_w: int
    accepted_w: int


@dataclass(frozen=True)
class Logged:
    """What the audit log has on the decision."""

    contract: Sealed | None = None
    countersignature: Signed | None = None
    violations: tuple[Violated, ...] = ()
    dispatched_w: int | None = None
    dispatch_record: int | None = None
    refusals: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class Decision:
    """One agent in one tick.

    Attributes:
        agent: global index.
        id: of the agent.
        kind: of the agent.
        tick: the interval.
        starts: local time at which it starts, ISO 8601.
        currency: of prices and money.
        orders: what it offered; None: orders were not kept.
        log: what the audit log has.
        row: its row in the table of agents; None: it is not in that table.
        price_milli: the clearing price, milli-currency per MWh; None: nothing traded, or the tick
            is not in the tables.
    """

    agent: int
    id: str
    kind: str
    tick: int
    starts: str
    currency: str
    orders: tuple[Order, ...] | None
    log: Logged
    row: dict[str, Any] | None
    price_milli: int | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def explain(run_dir: Path, agent: str, tick: int) -> Decision:
    """What one agent did in one tick, and why.

    Args:
        run_dir: the run's folder.
        agent: the agent's id, or its global index.
        tick: the interval.

    Raises:
        UsageError: where it is no run with an audit log, the agent or tick is unknown, or a file
            is missing or damaged.
    """
    manifest = read_manifest(run_dir)
    facts = trust_facts(run_dir, manifest)
    run = Run(run_dir, manifest, {}, {}, "")
    registry = run.registry
    index = _index_of(agent, registry.column("id").to_pylist())
    ticks = manifest.get("ticks")
    if type(ticks) is not int:
        raise UsageError(f"{MANIFEST}: ticks: expected a whole number, got {ticks!r}")
    if not 0 <= tick < ticks:
        raise UsageError(f"tick {tick}: expected 0 to {ticks - 1}")
    market = _rows(run_dir, "market", tick, None)
    rows = _rows(run_dir, "agents", tick, index)
    has_orders = (run_dir / "data" / "orders").is_dir()
    orders = _rows(run_dir, "orders", tick, index) if has_orders else None
    metadata = {key.decode(): text.decode() for key, text in registry.schema.metadata.items()}
    return Decision(
        agent=index,
        id=registry.column("id")[index].as_py(),
        kind=registry.column("kind")[index].as_py(),
        tick=tick,
        starts=_starts(metadata, tick),
        currency=metadata["currency"],
        orders=None if orders is None else tuple(_order(row) for row in orders),
        log=_logged(run_dir, facts, index, tick),
        row=rows[0] if rows else None,
        price_milli=market[0]["price_milli_per_mwh"] if market else None,
    )


def _index_of(agent: str, ids: list[str]) -> int:
    if agent in ids:
        return ids.index(agent)
    if agent.isdecimal() and int(agent) < len(ids):
        return int(agent)
    # The cutoff is low: of thousands of names one hint is better than all of them.
    close = difflib.get_close_matches(agent, ids, n=1, cutoff=0.1) or ids[:1]
    raise UsageError(
        f"agent {agent!r}: this run has none of that name (did you mean {close[0]!r}?); "
        f"an index is 0 to {len(ids) - 1}"
    )


def _rows(run_dir: Path, table: str, tick: int, agent: int | None) -> list[dict[str, Any]]:
    """Rows of one tick, and of one agent; none where the table ends before it."""
    folder = run_dir / "data" / table
    if not folder.is_dir():
        return []
    wanted = [("tick", "=", tick)]
    if agent is not None:
        wanted.append(("agent", "=", agent))
    try:
        found: list[dict[str, Any]] = pq.read_table(folder, filters=wanted).to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UsageError(f"{folder}: damaged: {error}") from None
    return found


def _order(row: dict[str, Any]) -> Order:
    return Order(row["side"], row["price_milli_per_mwh"], row["quantity_w"], row["accepted_w"])


def _starts(metadata: dict[str, str], tick: int) -> str:
    start = datetime.fromisoformat(metadata["start"])
    return (start + tick * timedelta(minutes=int(metadata["tick_minutes"]))).isoformat()


def _records(run_dir: Path, tick: int) -> Iterator[tuple[int, Record]]:
    """The log's records of one tick and their numbers; memory holds one record."""
    try:
        with open_log(run_dir / LOG) as file:
            for frame in frames(file):
                if frame.tick > tick + LATER_TICKS:
                    return
                if frame.tick < tick:
                    continue
                record = from_bytes(frame.kind, frame.payload)
                if record.tick == tick:
                    yield frame.number, record
    except LogFault as fault:
        # A torn end is all that a crash leaves; what lies before it was checked.
        if not fault.torn:
            raise _damaged(fault.what) from None
    except ValueError as error:
        raise _damaged(str(error)) from None


def _damaged(what: str) -> UsageError:
    return UsageError(f"{LOG}: {what}; swarm audit verify says more")


def _logged(run_dir: Path, facts: TrustFacts, agent: int, tick: int) -> Logged:
    found = Logged()
    agents = np.zeros(0, dtype=np.int64)
    contracts: list[bytes] = []
    for number, record in _records(run_dir, tick):
        if isinstance(record, Contracts):
            agents = record.agent
            contracts = _contracts_of(bytes.fromhex(facts.run_id), record)
            found = replace(found, contract=_sealed(facts, number, record, contracts, agent))
        elif isinstance(record, Countersignatures):
            signed = _signed(run_dir, facts, number, record, agents, contracts, agent)
            found = replace(found, countersignature=signed or found.countersignature)
        elif isinstance(record, Violations):
            found = replace(found, violations=found.violations + _violated(number, record, agent))
        elif isinstance(record, Dispatches):
            at = np.flatnonzero(record.agent == agent)
            if len(at):
                power_w = int(record.power_w[at[0]])
                found = replace(found, dispatched_w=power_w, dispatch_record=number)
        elif isinstance(record, Refusals):
            codes = record.reason[record.agent == agent].tolist()
            refused = tuple(Refused(number, record.stage, reason_name(code)) for code in codes)
            found = replace(found, refusals=found.refusals + refused)
    return found


def _contracts_of(run: bytes, record: Contracts) -> list[bytes]:
    try:
        return build_contracts(
            run,
            record.tick,
            record.agent,
            record.quantity_w,
            record.price_milli,
            record.reserve_w,
            last_tick=record.last_tick,
        )
    except ValueError as error:
        raise _damaged(str(error)) from None


def _sealed(
    facts: TrustFacts, number: int, record: Contracts, contracts: list[bytes], agent: int
) -> Sealed | None:
    at = np.flatnonzero(record.agent == agent)
    if not len(at):
        return None
    leaf, leaves = int(at[0]), len(contracts)
    path = Tree(contracts).proof(leaf)
    market = bytes.fromhex(facts.market_public_key)
    run = bytes.fromhex(facts.run_id)
    seal = TickSeal(run, record.tick, leaves, record.root, market, record.signature)
    reserve_w = zip(RESERVE_PRODUCTS, record.reserve_w[leaf].tolist(), strict=True)
    return Sealed(
        record=number,
        quantity_w=int(record.quantity_w[leaf]),
        price_milli=int(record.price_milli[leaf]),
        reserve_w={product: watts for product, watts in reserve_w if watts},
        leaf=leaf,
        leaves=leaves,
        in_tree=verify_inclusion(record.root, leaves, leaf, contracts[leaf], path),
        seal_valid=seal_is_signed(seal),
    )


def _signed(
    run_dir: Path,
    facts: TrustFacts,
    number: int,
    record: Countersignatures,
    agents: np.ndarray,
    contracts: list[bytes],
    agent: int,
) -> Signed | None:
    offset = agent - record.first
    at = np.flatnonzero((offset >= 0) & (offset < record.agents))
    if not len(at):
        return None
    first, count = int(record.first[at[0]]), int(record.agents[at[0]])
    start, stop = np.searchsorted(agents, (first, first + count)).tolist()
    _, keys = read_public_keys(run_dir)
    signature = record.signature[at[0]].tobytes()
    data, purpose = b"".join(contracts[start:stop]), PURPOSES[facts.signatures]
    valid = bool(data) and first < len(keys) and verify(keys[first], purpose, data, signature)
    return Signed(number, first, count, valid)


def _violated(number: int, record: Violations, agent: int) -> tuple[Violated, ...]:
    return tuple(
        Violated(
            record=number,
            stage=record.stage,
            rule=record.rules[int(record.rule[at])],
            slot=int(record.slot[at]),
            field="W" if record.field[at] == POWER else "price",
            asked=int(record.asked[at]),
            allowed=int(record.allowed[at]),
        )
        for at in np.flatnonzero(record.agent == agent)
    )
