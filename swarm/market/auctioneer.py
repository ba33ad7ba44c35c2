"""The market of a run, tick by tick: buy reserve, clear energy, notify, settle, keep the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from swarm.market.clearing import MECHANISMS, Clearing
from swarm.market.orders import SELL, Float, Int, OrderBook, to_milli
from swarm.market.outside import Connection
from swarm.market.reserve import NO_PRICES, ReserveContracts, buy_reserve, without_reserve
from swarm.market.settlement import (
    fine_missing,
    settle_availability,
    settle_energy,
    settle_imbalance,
    settle_response,
)
from swarm.messages import (
    NO_RESERVE,
    NOTHING,
    ORDER_COLUMNS,
    RESERVE_PRODUCTS,
    Drawn,
    Meters,
    Notice,
    Orders,
    Response,
    StepReply,
    concatenate,
    in_global_order,
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
        reserve_price_cap_per_mw_h: most the operator pays for reserve, per MW and hour.
        reserve_penalty_factor: times the price of reserve: the fine for what was sold and not held.
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
    """int64 (n,), paid out to the agent (negative: paid by it), imbalance and reserve included."""
    meters: Meters
    book: Orders | None
    """Every order, less what reserve took of it, and in `accepted_w` what was accepted of it; the
    last account is outside."""
    accepted_w: np.ndarray
    losses_w: int = 0
    """Lost on the feeder."""
    reserve_asked_w: tuple[int, ...] = NO_RESERVE
    """By product of `RESERVE_PRODUCTS`, as the next two."""
    reserve_bought_w: tuple[int, ...] = NO_RESERVE
    reserve_price_milli: tuple[int | None, ...] = NO_PRICES
    """Per MW and hour; None where nothing was bought."""
    availability_micro: int = 0
    """Paid to the agents for reserve held."""
    activation_micro: int = 0
    """Paid to the agents, net, for what the operator drew from them."""
    reserve_penalty_micro: int = 0
    """Paid by the agents for reserve sold and not held."""
    response: Response | None = None
    """What the operator drew from each agent; None: nothing."""
    reserve_received_micro: np.ndarray = NOTHING
    """int64 (n,), availability and activation less fines, part of `received_micro`; empty where no
    reserve was offered and nothing was drawn."""


class Cleared(msgspec.Struct, array_like=True, frozen=True):
    """What the market says of the tick it just cleared."""

    tick: int
    price_milli: int | None
    volume_w: int
    imported_w: int = 0
    """Contracted with the connection outside, net; exports negative."""
    reserve_asked_w: tuple[int, ...] = NO_RESERVE
    """By product of `RESERVE_PRODUCTS`, as the next two."""
    reserve_bought_w: tuple[int, ...] = NO_RESERVE
    reserve_price_milli: tuple[int | None, ...] = NO_PRICES


@dataclass(frozen=True)
class _Contracts:
    """What is contracted for one tick and not settled yet; `order` is of the book, host by host."""

    order: Int
    book: OrderBook
    clearing: Clearing
    asked_w: tuple[int, ...]
    reserve: ReserveContracts | None
    connected: bool

    def told(self, tick: int, outside: int) -> Cleared:
        """What everybody is told; `outside` is the account of the connection outside."""
        clearing, book, reserve = self.clearing, self.book, self.reserve
        traded = book.agent == outside
        return Cleared(
            tick=tick,
            price_milli=clearing.price,
            volume_w=clearing.volume,
            imported_w=int((clearing.accepted[traded] * book.side[traded]).sum()),
            reserve_asked_w=self.asked_w,
            reserve_bought_w=NO_RESERVE if reserve is None else reserve.total_w(),
            reserve_price_milli=NO_PRICES if reserve is None else reserve.price_milli,
        )


@dataclass(frozen=True)
class _ReserveMoney:
    """Settlement of reserve and response; `received` is int64 (n,), empty where there is none."""

    received: Int
    availability: int = 0
    activation: int = 0
    penalty: int = 0


class Market:
    """Clears and settles. Holds the ledger and the one contract set that is not settled yet."""

    def __init__(self, spec: MarketSpec) -> None:
        self.spec = spec
        self.agents = sum(len(index) for index in spec.host_agents)
        self.balances_micro = np.zeros(self.agents + 1, dtype=np.int64)
        """Ledger of every agent, the connection outside last."""
        self.operator_micro = 0
        self.rounding_micro = 0
        self._open: _Contracts | None = None
        self._last_price = 0
        penalty = np.full(self.agents + 1, int(to_milli(spec.penalty_per_mwh)))
        # The connection outside balances; it is not fined for it.
        penalty[-1] = 0
        self._penalty = penalty
        self._reserve_cap = int(to_milli(spec.reserve_price_cap_per_mw_h))
        self._reserve_factor = int(to_milli(spec.reserve_penalty_factor))

    def clear(
        self, tick: int, replies: Sequence[StepReply], drawn: Drawn
    ) -> tuple[Cleared, TickRecord | None, tuple[Notice, ...]]:
        """Settle `tick - 1` on its meters, then buy reserve and clear the offers for `tick`.

        Args:
            tick: the tick being cleared.
            replies: answers of all hosts to the step of `tick`.
            drawn: what the operator says as `tick` is cleared.

        Returns:
            The clearing, the record of `tick - 1` (None at the first), and a notice per host.

        Raises:
            ValueError: where `drawn` is of another tick, or an offer is not on the market's grid.
        """
        if drawn.tick != tick:
            raise ValueError(f"drawn.tick = {drawn.tick}, expected {tick}")
        record = None if self._open is None else self._settle(self._open, tick - 1, replies, drawn)
        self._open = None
        cleared, accepted, bought = Cleared(tick, None, 0), NOTHING, NOTHING
        if tick < len(self.spec.price_cap):
            found = self._open = self._auction(tick, replies, drawn)
            cleared = found.told(tick, self.agents)
            accepted = np.empty_like(found.clearing.accepted)
            accepted[found.order] = found.clearing.accepted
            bought = NOTHING if found.reserve is None else found.reserve.bought_w
        notices, at, reserve_at = [], 0, 0
        for reply, agents in zip(replies, self.spec.host_agents, strict=True):
            sent = len(reply.orders.side)
            reserves = 0 if reply.reserve is None else len(reply.reserve.agent)
            notices.append(
                Notice(
                    tick,
                    accepted[at : at + sent],
                    NOTHING if record is None else record.received_micro[agents],
                    bought[reserve_at : reserve_at + reserves],
                    _rows(drawn.response, agents),
                )
            )
            at, reserve_at = at + sent, reserve_at + reserves
        return cleared, record, tuple(notices)

    def _auction(self, tick: int, replies: Sequence[StepReply], drawn: Drawn) -> _Contracts:
        """Buy reserve, put all orders in global agent order and clear what reserve leaves."""
        floor = int(to_milli(self.spec.price_floor))
        orders = [reply.orders for reply in replies]
        if drawn.connected:
            orders.append(self.spec.outside.orders(tick, self.agents, floor))
        columns = [
            np.concatenate([getattr(part, name) for part in orders]) for name in ORDER_COLUMNS
        ]
        # Whatever the packing; an agent's own orders keep the order it sent them in.
        order = np.argsort(columns[-1], kind="stable")
        book = OrderBook(*(column[order] for column in columns))
        offers = [reply.reserve for reply in replies if reply.reserve is not None]
        reserve = None
        if offers:
            reserve = buy_reserve(
                concatenate(offers), drawn.reserve_w, self._reserve_cap, self.agents
            )
            book = without_reserve(book, reserve)
        clearing = MECHANISMS[self.spec.mechanism](
            book,
            price_floor=floor,
            price_cap=int(to_milli(self.spec.price_cap[tick])),
            vertical_step=self.spec.vertical_step,
        )
        return _Contracts(order, book, clearing, drawn.reserve_w, reserve, drawn.connected)

    def _settle(
        self, found: _Contracts, tick: int, replies: Sequence[StepReply], drawn: Drawn
    ) -> TickRecord:
        book, clearing, minutes = found.book, found.clearing, self.spec.tick_minutes
        meters = in_global_order(
            [reply.meters for reply in replies if reply.meters is not None], self.spec.host_agents
        )
        contract = np.zeros(self.agents + 1, dtype=np.int64)
        np.add.at(contract, book.agent, clearing.accepted * book.side)
        actual = np.append(meters.delivered_w, drawn.flow_w)
        reference = self._imbalance_price(tick, found)
        energy = settle_energy(book, clearing, self.agents + 1, minutes)
        # Of what was metered against the contract: response is no deviation of the agent's.
        imbalance = settle_imbalance(actual - contract, reference, self._penalty, minutes)
        received = energy.participants + imbalance.participants
        reserve = self._settle_reserve(found.reserve, meters, drawn.response, reference)
        operator = imbalance.operator
        if len(reserve.received):
            received[:-1] += reserve.received
            operator -= int(reserve.received.sum())
        self.balances_micro += received
        self.operator_micro += operator
        self.rounding_micro += energy.rounding
        supply = book.side == SELL
        outside, kept = self.spec.outside, self.spec.keep_orders
        return TickRecord(
            tick=tick,
            price_milli=clearing.price,
            status=clearing.status,
            volume_w=clearing.volume,
            welfare_per_h=clearing.welfare_usd_per_h,
            supply_offered_w=int(book.quantity[supply].sum()),
            demand_bid_w=int(book.quantity[~supply].sum()),
            orders=len(book),
            outside_price_milli=(
                int(to_milli(outside.price_per_mwh[tick])) if self._has_outside else None
            ),
            imported_w=int(contract[-1]),
            imbalance_price_milli=reference,
            operator_micro=operator,
            rounding_micro=energy.rounding,
            outside_micro=int(received[-1]),
            contract_w=contract[:-1],
            received_micro=received[:-1],
            meters=meters,
            book=Orders(book.side, book.price, book.quantity, book.agent) if kept else None,
            accepted_w=clearing.accepted if kept else NOTHING,
            losses_w=drawn.losses_w,
            reserve_asked_w=found.asked_w,
            reserve_bought_w=NO_RESERVE if found.reserve is None else found.reserve.total_w(),
            reserve_price_milli=NO_PRICES if found.reserve is None else found.reserve.price_milli,
            availability_micro=reserve.availability,
            activation_micro=reserve.activation,
            reserve_penalty_micro=reserve.penalty,
            response=drawn.response,
            reserve_received_micro=reserve.received,
        )

    def _settle_reserve(
        self,
        bought: ReserveContracts | None,
        meters: Meters,
        response: Response | None,
        reference: int,
    ) -> _ReserveMoney:
        """Pay reserve that was held, fine what was not, and pay for what was drawn."""
        if bought is None and response is None:
            return _ReserveMoney(NOTHING)
        minutes = self.spec.tick_minutes
        received = np.zeros(self.agents, dtype=np.int64)
        paid = drawn = fined = 0
        up = down = np.full(self.agents, reference, dtype=np.int64)
        if bought is not None:
            held = np.stack([getattr(meters, f"{name}_w") for name in RESERVE_PRODUCTS], axis=1)
            price = np.array([milli or 0 for milli in bought.price_milli], dtype=np.int64)
            payment = settle_availability(bought.sold_w, held, price, minutes)
            # Reserve that costs nothing to buy is still worth the energy it stands for.
            missing = np.maximum(price, reference)
            fine = fine_missing(bought.sold_w, held, missing, self._reserve_factor, minutes)
            received += payment.participants + fine.participants
            paid, fined = -payment.operator, fine.operator
            up, down = bought.energy_prices(reference)
        if response is not None:
            activation = settle_response(response, reference, up, down, minutes)
            received += activation.participants
            drawn = -activation.operator
        return _ReserveMoney(received, paid, drawn, fined)

    @property
    def _has_outside(self) -> bool:
        outside = self.spec.outside
        return bool(outside.import_limit_w or outside.export_limit_w)

    def _imbalance_price(self, tick: int, found: _Contracts) -> int:
        """Clearing price; without trade the outside price, without connection the last price."""
        if found.clearing.price is not None:
            self._last_price = found.clearing.price
        elif self._has_outside and found.connected:
            return int(to_milli(self.spec.outside.price_per_mwh[tick]))
        return self._last_price


def _rows(response: Response | None, agents: Int) -> Response | None:
    """The rows of some agents."""
    if response is None:
        return None
    return Response(
        response.activated_w[agents], response.shed_w[agents], response.held_back_w[agents]
    )
