"""What market and shards send each other about contracts; it travels as bytes, as it was signed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

import msgspec
import numpy as np

from swarm.messages import Int, Orders, ReserveOffers
from swarm.trust.contracts import Proof, TickSeal
from swarm.trust.records import (
    Contracts,
    Countersignatures,
    Dispatches,
    Record,
    Refusals,
    Violations,
)

Rows = TypeVar("Rows", Countersignatures, Dispatches, Refusals, Violations)


class Awards(msgspec.Struct, array_like=True, frozen=True):
    """The market to one host: the seal of a tick and where in it the host's contracts are.

    What a contract says but for its price is not sent: the host builds it from what it was
    awarded, so what is checked is what would be acted on.
    """

    seal: TickSeal
    agent: Int
    """int64 (c,), rising global indices of those who have a contract."""
    price_milli: Int
    """int64 (c,)."""
    leaf: Int
    """int64 (c,), place of each among the contracts of the tick."""
    path_end: Int
    """int64 (c,), where the proof of each ends in `paths`."""
    paths: bytes
    """The proofs one after the other."""

    def proofs(self, start: int, stop: int) -> list[Proof]:
        """The proofs of rows `start` to `stop - 1`."""
        ends = self.path_end[start:stop].tolist()
        begins = [int(self.path_end[start - 1]) if start else 0, *ends]
        return [
            Proof(leaf, self.paths[a:b])
            for leaf, a, b in zip(self.leaf[start:stop].tolist(), begins, ends, strict=False)
        ]


class Report(msgspec.Struct, array_like=True, frozen=True):
    """One host to the market: its signature on its offers, and what it did on contracts."""

    signature: bytes
    """On the offers sent with it, by the key of the host's first agent; see `offers_data`."""
    offer_violations: Violations | None
    """Of the offers sent with it; None: none."""
    countersignatures: Countersignatures | None
    """This and the rest are of the interval before; None where there were no contracts yet."""
    dispatch_violations: Violations | None
    dispatches: Dispatches | None
    refusals: Refusals | None


class TickAudit(msgspec.Struct, array_like=True, frozen=True):
    """All that the audit log keeps of one tick but for emergencies, in global agent order."""

    contracts: Contracts
    offer_violations: Violations | None
    countersignatures: Countersignatures
    dispatch_violations: Violations | None
    dispatches: Dispatches
    refusals: Refusals

    def records(self) -> list[Record]:
        """The records in the order of the log; those without rows are left out."""
        found: list[Record] = [self.contracts]
        if self.offer_violations is not None:
            found.append(self.offer_violations)
        if len(self.countersignatures.first):
            found.append(self.countersignatures)
        if self.dispatch_violations is not None:
            found.append(self.dispatch_violations)
        if len(self.dispatches.agent):
            found.append(self.dispatches)
        if len(self.refusals.agent):
            found.append(self.refusals)
        return found


def offers_data(
    tick: int, first: int, orders: Orders, reserve: ReserveOffers | None, shadow: bytes = b""
) -> bytes:
    """The bytes of one host's offers that are signed.

    Args:
        tick: for which they are.
        first: global index of the host's first agent, whose key signs.
        orders: as sent.
        reserve: as sent; None where nobody offers any.
        shadow: the same of what is offered in shadow mode only.
    """
    columns: list[np.ndarray] = [orders.side, orders.price, orders.quantity, orders.agent]
    if reserve is not None:
        columns += [reserve.agent, reserve.product, reserve.quantity, reserve.price]
        columns += [reserve.energy_price, reserve.spare]
    reserves = 0 if reserve is None else len(reserve.agent)
    head = struct.pack("<qqqq", tick, first, len(orders.side), reserves)
    return head + b"".join(column.tobytes() for column in columns) + shadow


def joined(parts: Sequence[Rows | None]) -> Rows | None:
    """The rows of all parts as one record of the first one's tick, by agent; None: there are none.

    An agent's own rows keep their order.
    """
    given = [part for part in parts if part is not None]
    if not given:
        return None
    names = tuple(type(given[0]).COLUMNS)
    columns = {name: np.concatenate([getattr(part, name) for part in given]) for name in names}
    order = np.argsort(columns[names[0]], kind="stable")
    return msgspec.structs.replace(
        given[0], **{name: column[order] for name, column in columns.items()}
    )
