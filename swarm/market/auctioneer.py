"""The market of a run, tick by tick: gather offers, clear, notify, settle, keep the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from swarm.market.clearing import MECHANISMS, Clearing
from swarm.market.orders import SELL, Float, Int, OrderBook, to_milli
from swarm.market.outside import Connection
from swarm.market.settlement import settle_energy, settle_imbalance
from swarm.messages import (
    METER_COLUMNS,
    ORDER_COLUMNS,
    Meters,
    Notice,
    Orders,
    StepReply,
    no_meters,
)


@dataclass(frozen=True)
class MarketSpec:
    """All a market is made from.

    Attributes:
        mechanism: a name in `MECHANISMS`.
        vertical_step: see `clear`.
        price_floor: per MWh.
        price_cap: float64 (ticks,), per MWh.
        penalty_per_mwh: of energy that deviates from its contract.
        tick_minutes: length of a tick.
        outside: the connection outside.
        host_agents: global agent indices of each host, in the order of its meters.
        keep_orders: put every order into the record.
    """

    mechanism: str
    vertical_step: str
    price_floor: float
    price_cap: Float
    penalty_per_mwh: float
    tick_minutes: int
    outside: Connection
    host_agents: tuple[Int, ...]
    keep_orders: bool


class TickRecord(msgspec.Struct, array_like=True, frozen=True):
    """What one settled tick gave. Rows of agents are in global agent order."""

    tick: int
    price_milli: int | None
    status: str
    volume_w: int
    welfare_per_h: float
    supply_offered_w: int
    demand_bid_w: int
    orders: int
    outside_price_milli: int | None
    imported_w: int
    """Contracted with the connection outside, net; exports negative."""
    imbalance_price_milli: int
    operator_micro: int
    rounding_micro: int
    outside_micro: int
    contract_w: np.ndarray
    """int64 (n,), contracted net injection."""
    received_micro: np.ndarray
    """int64 (n,), paid out to the agent (negative: paid by it), imbalance included."""
    meters: Meters
    book: Orders | None
    """Every order and, in `accepted_w`, what was accepted of it; the last account is outside."""
    accepted_w: np.ndarray


class Cleared(msgspec.Struct, array_like=True, frozen=True):
    """What the market says of the tick it just cleared."""

    tick: int
    price_milli: int | None
    volume_w: int


class Market:
    """Clears and settles. Holds the ledger and the one contract set that is not settled yet."""

    def __init__(self, spec: MarketSpec) -> None:
        self.spec = spec
        self.agents = sum(len(index) for index in spec.host_agents)
        self.balances_micro = np.zeros(self.agents + 1, dtype=np.int64)
        """Ledger of every agent, the connection outside last."""
        self.operator_micro = 0
        self.rounding_micro = 0
        self._open: tuple[OrderBook, Clearing] | None = None
        self._last_price = 0
        penalty = np.full(self.agents + 1, int(to_milli(spec.penalty_per_mwh)))
        # The connection outside balances; it is not fined for it.
        penalty[-1] = 0
        self._penalty = penalty

    def clear(
        self, tick: int, replies: Sequence[StepReply]
    ) -> tuple[Cleared, TickRecord | None, tuple[Notice, ...]]:
        """Settle `tick - 1` on its meters, then clear the offers for `tick`.

        Returns:
            The clearing, the record of `tick - 1` (None at the first), and a notice per host.
        """
        record = self._settle(tick - 1, replies) if self._open is not None else None
        self._open = None
        none = np.zeros(0, dtype=np.int64)
        cleared, accepted = Cleared(tick, None, 0), none
        if tick < len(self.spec.price_cap):
            order, book, clearing = self._auction(tick, replies)
            self._open = book, clearing
            cleared = Cleared(tick, clearing.price, clearing.volume)
            accepted = np.empty_like(clearing.accepted)
            accepted[order] = clearing.accepted
        notices, at = [], 0
        for reply, agents in zip(replies, self.spec.host_agents, strict=True):
            sent = len(reply.orders.side)
            received = none if record is None else record.received_micro[agents]
            notices.append(Notice(tick, accepted[at : at + sent], received))
            at += sent
        return cleared, record, tuple(notices)

    def _auction(self, tick: int, replies: Sequence[StepReply]) -> tuple[Int, OrderBook, Clearing]:
        """Put all orders in global agent order and clear; the order is of host by host."""
        floor = int(to_milli(self.spec.price_floor))
        orders = [reply.orders for reply in replies]
        orders.append(self.spec.outside.orders(tick, self.agents, floor))
        columns = [
            np.concatenate([getattr(part, name) for part in orders]) for name in ORDER_COLUMNS
        ]
        # Whatever the packing; an agent's own orders keep the order it sent them in.
        order = np.argsort(columns[-1], kind="stable")
        book = OrderBook(*(column[order] for column in columns))
        clearing = MECHANISMS[self.spec.mechanism](
            book,
            price_floor=floor,
            price_cap=int(to_milli(self.spec.price_cap[tick])),
            vertical_step=self.spec.vertical_step,
        )
        return order, book, clearing

    def _settle(self, tick: int, replies: Sequence[StepReply]) -> TickRecord:
        assert self._open is not None
        book, clearing = self._open
        meters = self._gather(replies)
        contract = np.zeros(self.agents + 1, dtype=np.int64)
        np.add.at(contract, book.agent, clearing.accepted * book.side)
        outside = self.spec.outside
        actual = np.append(meters.delivered_w, outside.flow_w(int(meters.delivered_w.sum())))
        reference = self._imbalance_price(tick, clearing)
        energy = settle_energy(book, clearing, self.agents + 1, self.spec.tick_minutes)
        imbalance = settle_imbalance(
            actual - contract, reference, self._penalty, self.spec.tick_minutes
        )
        received = energy.participants + imbalance.participants
        self.balances_micro += received
        self.operator_micro += imbalance.operator
        self.rounding_micro += energy.rounding
        supply = book.side == SELL
        connected = outside.import_limit_w or outside.export_limit_w
        kept = self.spec.keep_orders
        return TickRecord(
            tick=tick,
            price_milli=clearing.price,
            status=clearing.status,
            volume_w=clearing.volume,
            welfare_per_h=clearing.welfare_usd_per_h,
            supply_offered_w=int(book.quantity[supply].sum()),
            demand_bid_w=int(book.quantity[~supply].sum()),
            orders=len(book),
            outside_price_milli=int(to_milli(outside.price_per_mwh[tick])) if connected else None,
            imported_w=int(contract[-1]),
            imbalance_price_milli=reference,
            operator_micro=imbalance.operator,
            rounding_micro=energy.rounding,
            outside_micro=int(received[-1]),
            contract_w=contract[:-1],
            received_micro=received[:-1],
            meters=meters,
            book=Orders(book.side, book.price, book.quantity, book.agent) if kept else None,
            accepted_w=clearing.accepted if kept else np.zeros(0, dtype=np.int64),
        )

    def _gather(self, replies: Sequence[StepReply]) -> Meters:
        """Meters of all hosts in global agent order."""
        columns = no_meters(self.agents)
        for reply, agents in zip(replies, self.spec.host_agents, strict=True):
            assert reply.meters is not None
            for name in METER_COLUMNS:
                columns[name][agents] = getattr(reply.meters, name)
        return Meters(**columns)

    def _imbalance_price(self, tick: int, clearing: Clearing) -> int:
        """Clearing price; without trade the outside price, without that the last price."""
        if clearing.price is not None:
            self._last_price = clearing.price
        elif self.spec.outside.import_limit_w or self.spec.outside.export_limit_w:
            return int(to_milli(self.spec.outside.price_per_mwh[tick]))
        return self._last_price
