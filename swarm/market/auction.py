"""What a tick contracts: from offers, or from what was answered to a called price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from swarm.market.awards import Sealed, outcomes
from swarm.market.clearing import MECHANISMS, Clearing
from swarm.market.curves import Curves, Quantities
from swarm.market.negotiation import Agreement, share
from swarm.market.orders import Float, Int, OrderBook, to_milli
from swarm.market.outside import Connection
from swarm.market.record import Agreed, Cleared
from swarm.market.reserve import NO_PRICES, ReserveContracts, without_reserve
from swarm.messages import NO_CODES, NO_RESERVE, NOTHING, ORDER_COLUMNS, Codes, Drawn, Orders
from swarm.trust.holder import Signing
from swarm.trust.records import Violations

if TYPE_CHECKING:
    from swarm.scenario.negotiation import Negotiation


@dataclass(frozen=True)
class MarketSpec:
    """All a market is made from.

    Attributes:
        mechanism: a name in `MECHANISMS`, or `negotiated`.
        vertical_step: see `clear`.
        price_floor: per MWh.
        price_cap: float64 (ticks,), per MWh.
        penalty_per_mwh: of energy that deviates from its contract.
        tick_minutes: length of a tick.
        outside: the connection outside.
        host_agents: global agent indices of each host, in the order of its meters.
        keep_orders: put every order into the record.
        reserve_price_cap_per_mw_h: most the operator pays for reserve, per MW and hour.
        reserve_penalty_factor: times the price of reserve: the fine for what was sold and not held.
        negotiation: rules of `negotiated`; None: another mechanism.
        signing: how contracts are signed; None: there are none.
        signers: public key of the first agent of each host, which signs the host's offers.
        own_sun: bool (n,), generation is behind the meter of a home; empty: of nobody.
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
    reserve_price_cap_per_mw_h: float = 0.0
    reserve_penalty_factor: float = 0.0
    negotiation: Negotiation | None = None
    signing: Signing | None = None
    signers: tuple[bytes, ...] = ()
    own_sun: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def agents(self) -> int:
        """Number of agents."""
        return sum(len(index) for index in self.host_agents)

    def outside_curves(self, tick: int, connected: bool) -> Curves:
        """Supply and demand of the connection outside at `tick`; none where it is cut."""
        floor = int(to_milli(self.price_floor))
        orders = self.outside.orders(tick, self.agents, floor)
        return Curves(orders, None if connected else np.zeros(len(orders.side), dtype=bool))


@dataclass(frozen=True)
class Contracted:
    """What is contracted for one tick.

    Attributes:
        order: int64 (orders,), the book's rows in the order of the orders, host by host.
        book: less what reserve takes of it.
        clearing: of the book.
        asked_w: reserve asked for, by product.
        reserve: what was bought of it; None: nobody offered any.
        connected: the connection outside traded.
        outcome: int8 (orders,), an `Outcome` of each row of the book.
        agreement: of a negotiation; None: it was an auction.
        agreed: how it ended; None likewise.
        sealed: signed; None: nothing is.
        violations: what policies took from the offers.
    """

    order: Int
    book: OrderBook
    clearing: Clearing
    asked_w: tuple[int, ...]
    reserve: ReserveContracts | None
    connected: bool
    outcome: Codes
    agreement: Agreement | None = None
    agreed: Agreed | None = None
    sealed: Sealed | None = None
    violations: Violations | None = None

    def told(self, tick: int, outside: int, sealed: Sealed | None) -> Cleared:
        """What everybody is told.

        Args:
            tick: which one.
            outside: the account of the connection outside.
            sealed: the contracts, in shadow mode those that are not dispatched.
        """
        clearing, book, reserve = self.clearing, self.book, self.reserve
        traded, agreed = book.agent == outside, self.agreed
        agents = len(np.unique(book.agent[~traded]))
        return Cleared(
            tick=tick,
            price_milli=clearing.price,
            volume_w=clearing.volume,
            imported_w=int((clearing.accepted[traded] * book.side[traded]).sum()),
            reserve_asked_w=self.asked_w,
            reserve_bought_w=NO_RESERVE if reserve is None else reserve.total_w(),
            reserve_price_milli=NO_PRICES if reserve is None else reserve.price_milli,
            contracts=0 if sealed is None else len(sealed.record.agent),
            rounds=1 if agreed is None else agreed.rounds,
            consensus=agreed.consensus if agreed is not None else clearing.price is not None,
            agreed=agents if agreed is None else agreed.answered,
            answers=agents if agreed is None else agreed.answered * agreed.rounds,
            trades=() if sealed is None else sealed.largest(),
        )


def auction(
    spec: MarketSpec,
    tick: int,
    offered: Sequence[Orders],
    reserve: ReserveContracts | None,
    drawn: Drawn,
) -> Contracted:
    """Put all orders in global agent order and clear what reserve leaves.

    Args:
        spec: of the market.
        tick: to be cleared.
        offered: orders of each host.
        reserve: bought before; None: nobody offered any.
        drawn: what the operator says as `tick` is cleared.
    """
    floor = int(to_milli(spec.price_floor))
    orders = list(offered)
    if drawn.connected:
        orders.append(spec.outside.orders(tick, spec.agents, floor))
    columns = [np.concatenate([getattr(part, name) for part in orders]) for name in ORDER_COLUMNS]
    # Whatever the packing; an agent's own orders keep the order it sent them in.
    order = np.argsort(columns[-1], kind="stable")
    sent = OrderBook(*(column[order] for column in columns))
    book = sent if reserve is None else without_reserve(sent, reserve)
    # A negotiation ends where a uniform price does, so its plans in shadow mode do too.
    clear = MECHANISMS.get(spec.mechanism, MECHANISMS["uniform_price"])
    clearing = clear(
        book,
        price_floor=floor,
        price_cap=int(to_milli(spec.price_cap[tick])),
        vertical_step=spec.vertical_step,
    )
    outcome = outcomes(sent.quantity, book, clearing)
    return Contracted(order, book, clearing, drawn.reserve_w, reserve, drawn.connected, outcome)


def negotiated(
    quantities: Sequence[Quantities],
    agreed: Agreed,
    reserve: ReserveContracts | None,
    drawn: Drawn,
) -> Contracted:
    """Share out what was answered to the final price; see `auction`."""
    found = share(quantities, agreed.price_milli, agreed.dearer_supply_w)
    return Contracted(
        order=NOTHING,
        book=found.book,
        clearing=found.clearing,
        asked_w=drawn.reserve_w,
        reserve=reserve,
        connected=drawn.connected,
        outcome=NO_CODES,
        agreement=found,
        agreed=agreed,
    )
