"""From awards to signed contracts, and from the hosts' reports to the records of the audit log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec
import numpy as np

from swarm.market.clearing import Clearing
from swarm.market.curves import Quantities
from swarm.market.negotiation import Answer
from swarm.market.orders import Int, OrderBook
from swarm.messages import (
    Codes,
    Meters,
    Orders,
    Outcome,
    ReserveOffers,
    StepReply,
    decode,
    encode,
)
from swarm.trust.contracts import Proof, TickSeal, build_contracts, seal_tick
from swarm.trust.exchange import Awards, Report, TickAudit, joined, offers_data
from swarm.trust.holder import Signing
from swarm.trust.keys import Purpose, verify
from swarm.trust.records import Contracts, Countersignatures, Dispatches, Refusals, Violations

TRADES_TOLD = 5
Table = TypeVar("Table", Orders, ReserveOffers)


@dataclass(frozen=True)
class Sealed:
    """The contracts of one tick, in global agent order.

    Attributes:
        record: what the audit log keeps of them.
        seal: the market's.
        proofs: of each.
    """

    record: Contracts
    seal: TickSeal
    proofs: tuple[Proof, ...]

    def for_host(self, agents: Int) -> bytes:
        """The `Awards` of a host's agents, given by global index, rising."""
        rows = np.flatnonzero(np.isin(self.record.agent, agents))
        paths = [self.proofs[row].path for row in rows.tolist()]
        return encode(
            Awards(
                self.seal,
                self.record.agent[rows],
                self.record.price_milli[rows],
                np.array([self.proofs[row].leaf for row in rows.tolist()], dtype=np.int64),
                np.cumsum([len(path) for path in paths], dtype=np.int64),
                b"".join(paths),
            )
        )

    def largest(self) -> tuple[tuple[int, int], ...]:
        """Agent and net watts of the largest contracts, for people to look at."""
        order = np.argsort(-np.abs(self.record.quantity_w), kind="stable")[:TRADES_TOLD]
        return tuple(
            (int(self.record.agent[row]), int(self.record.quantity_w[row])) for row in order
        )


class Notary:
    """Signs contracts for the market and keeps what the audit log will say of each tick."""

    def __init__(
        self, signing: Signing, host_agents: Sequence[Int], signers: Sequence[bytes]
    ) -> None:
        """Start with no contracts.

        Args:
            signing: how the run signs.
            host_agents: global agent indices of each host.
            signers: public key of each host's first agent, which signs its offers.

        Raises:
            UsageError: where the market's key cannot be read.
        """
        self._signing, self._hosts, self._signers = signing, host_agents, signers
        self._key = signing.market_key()
        self.seconds = 0.0
        """Processor time of checking offers and sealing so far, of this thread."""
        self.sealing_ns = (0, 0)
        """Begin and end of the last sealing, nanoseconds since 1970, for traces."""
        self.refused_offers = 0
        """Hosts whose offers were set aside because their signature did not hold."""

    def accept(
        self, tick: int, replies: Sequence[StepReply]
    ) -> tuple[list[StepReply], list[Report]]:
        """The replies, with nothing left of offers whose signature does not hold; the reports."""
        begin = time.thread_time()
        accepted: list[StepReply] = []
        reports: list[Report] = []
        for reply, agents, signer in zip(replies, self._hosts, self._signers, strict=True):
            first = int(agents[0])
            shadow = b""
            if reply.shadow is not None:
                shadow = offers_data(tick, first, reply.shadow.orders, reply.shadow.reserve)
            data = offers_data(tick, first, reply.orders, reply.reserve, shadow)
            report = decode(reply.report, Report)
            holds = verify(signer, Purpose.OFFERS, data, report.signature)
            accepted.append(reply if holds else _without_offers(reply))
            reports.append(report)
            self.refused_offers += not holds
        self.seconds += time.thread_time() - begin
        return accepted, reports

    def heard(self, answers: Sequence[Answer]) -> list[Quantities]:
        """What was answered to the final price, nothing where the signature does not hold."""
        heard: list[Quantities] = []
        for answer, agents, signer in zip(answers, self._hosts, self._signers, strict=True):
            data = answer.signed_data(int(agents[0]))
            holds = verify(signer, Purpose.OFFERS, data, answer.signature)
            if answer.quantities is not None and holds:
                heard.append(answer.quantities)
            self.refused_offers += not holds
        return heard

    def seal(self, tick: int, book: OrderBook, clearing: Clearing, reserve_w: Int) -> Sealed:
        """Sign a contract for everybody who trades or holds reserve in `tick`.

        Its price is what the agent is paid or pays: where its orders differ in that, their mean.

        Args:
            tick: interval that was cleared.
            book: the orders.
            clearing: of them.
            reserve_w: int64 (n, 4), sold by each agent.
        """
        began_ns = time.time_ns()
        begin, n = time.thread_time(), len(reserve_w)
        net, gross = np.zeros((2, n + 1), dtype=np.int64)
        np.add.at(net, book.agent, clearing.accepted * book.side)
        np.add.at(gross, book.agent, clearing.accepted)
        price = np.full(n + 1, clearing.price or 0, dtype=np.int64)
        if len(clearing.pay) and np.ptp(clearing.pay):
            money = np.zeros(n + 1, dtype=np.int64)
            np.add.at(money, book.agent, clearing.accepted * clearing.pay)
            price = (2 * money + gross) // np.maximum(2 * gross, 1)
        agent = np.flatnonzero((gross[:n] > 0) | (reserve_w > 0).any(axis=1))
        columns = agent, net[agent], price[agent], reserve_w[agent]
        contracts = build_contracts(self._signing.run, tick, *columns)
        seal, proofs = seal_tick(self._key, self._signing.run, tick, contracts)
        self.seconds += time.thread_time() - begin
        self.sealing_ns = began_ns, time.time_ns()
        return Sealed(
            Contracts(tick, tick, seal.root, seal.signature, *columns), seal, tuple(proofs)
        )


def audit_of(
    sealed: Sealed, offer_violations: Violations | None, reports: Sequence[Report]
) -> TickAudit:
    """What the audit log keeps of the tick of `sealed`.

    Args:
        sealed: its contracts.
        offer_violations: what policies took from the offers for it.
        reports: of the step that ran its interval.
    """
    tick = sealed.seal.tick
    none = np.zeros(0, dtype=np.int64)
    codes = none.astype(np.int8)
    signed = joined([report.countersignatures for report in reports])
    dispatches = joined([report.dispatches for report in reports])
    refusals = joined([report.refusals for report in reports])
    empty = Countersignatures(tick, none, none, np.zeros((0, 64), dtype=np.uint8))
    return TickAudit(
        sealed.record,
        offer_violations,
        empty if signed is None else signed,
        joined([report.dispatch_violations for report in reports]),
        Dispatches(tick, none, none) if dispatches is None else dispatches,
        Refusals(tick, "dispatch", none, codes) if refusals is None else refusals,
    )


def unpermitted(audit: TickAudit, meters: Meters, before_w: Int, own_sun: np.ndarray) -> int:
    """Agents that moved in an interval without a contract they had dispatched.

    Load goes on without one, and a unit that runs cannot stop at once; but no battery moves, no
    load is shifted, and no plant raises its output. Sun behind an agent's own meter is not sold.

    Args:
        audit: of the interval.
        meters: of all n agents.
        before_w: int64 (n,), generation in the interval before.
        own_sun: bool (n,), generation is behind the meter of a home.
    """
    free = np.ones(len(before_w), dtype=bool)
    free[audit.dispatches.agent] = False
    raised = (meters.generation_w > before_w) & ~own_sun
    moved = (meters.battery_w != 0) | (meters.shifted_w != 0) | raised
    return int((free & moved).sum())


def outcomes(offered_w: Int, book: OrderBook, clearing: Clearing) -> Codes:
    """The `Outcome` of each order, int8 (m,).

    Args:
        offered_w: int64 (m,), as sent, before reserve took of it; zero where the signature on it
            did not hold, since nobody sends an order of nothing.
        book: what was cleared, in the same order.
        clearing: of the book.
    """
    accepted = clearing.accepted
    worse = (book.price - (clearing.price or 0)) * book.side > 0
    lost = np.where(worse, Outcome.OUT_OF_MERIT, Outcome.MARGINAL)
    if clearing.price is None:
        lost = np.full(len(book), Outcome.NO_TRADE)
    lost = np.where(book.quantity == 0, Outcome.RESERVED, lost)
    won = np.where(accepted == book.quantity, Outcome.FILLED, Outcome.PARTLY)
    found = np.where(accepted > 0, won, lost)
    result: Codes = np.where(offered_w == 0, Outcome.REFUSED, found).astype(np.int8)
    return result


def _without_offers(reply: StepReply) -> StepReply:
    """The reply with every quantity zero; the rows stay, so that the awards fit what was sent."""
    return msgspec.structs.replace(
        reply,
        orders=_emptied(reply.orders),
        reserve=None if reply.reserve is None else _emptied(reply.reserve),
        shadow=None
        if reply.shadow is None
        else msgspec.structs.replace(
            reply.shadow,
            orders=_emptied(reply.shadow.orders),
            reserve=None if reply.shadow.reserve is None else _emptied(reply.shadow.reserve),
        ),
    )


def _emptied(table: Table) -> Table:
    return replace(table, quantity=np.zeros_like(table.quantity))
