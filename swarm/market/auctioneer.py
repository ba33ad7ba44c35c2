"""The market of a run, tick by tick: buy reserve, clear energy, notify, settle, keep the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from swarm.market.auction import Contracted, MarketSpec, auction, negotiated
from swarm.market.awards import Notary, audit_of, unpermitted
from swarm.market.curves import Quantities
from swarm.market.negotiation import Answer
from swarm.market.orders import SELL, Int, to_milli
from swarm.market.record import Agreed, Cleared, TickRecord
from swarm.market.reserve import NO_PRICES, ReserveContracts, buy_reserve
from swarm.market.settlement import (
    fine_missing,
    settle_availability,
    settle_energy,
    settle_imbalance,
    settle_response,
)
from swarm.messages import (
    NO_CODES,
    NO_RESERVE,
    NOTHING,
    RESERVE_PRODUCTS,
    Awarded,
    Codes,
    Drawn,
    Meters,
    Notice,
    Offers,
    Orders,
    Response,
    StepReply,
    Traded,
    concatenate,
    in_global_order,
)
from swarm.trust.exchange import Report, joined
from swarm.trust.holder import no_reserve

Column = TypeVar("Column", Int, Codes)


@dataclass(frozen=True)
class _ReserveMoney:
    """Settlement of reserve and response; `received` is int64 (n,), empty where there is none."""

    received: Int
    availability: int = 0
    activation: int = 0
    penalty: int = 0


class Market:
    """Clears and settles. Holds the ledger and the one contract set that is not settled yet."""

    STATE = (
        *("balances_micro", "operator_micro", "rounding_micro", "_open", "_shadow", "_last_price"),
        "_before_w",
    )
    """See `swarm.snapshot`."""

    def __init__(self, spec: MarketSpec) -> None:
        self.spec = spec
        self.agents = spec.agents
        self.balances_micro = np.zeros(self.agents + 1, dtype=np.int64)
        """Ledger of every agent, the connection outside last."""
        self.operator_micro = 0
        self.rounding_micro = 0
        self._open: Contracted | None = None
        self._shadow: Contracted | None = None
        self._last_price = 0
        self._before_w = np.zeros(self.agents, dtype=np.int64)
        self._notary: Notary | None = None
        if spec.signing is not None:
            self._notary = Notary(spec.signing, spec.host_agents, spec.signers)
        self._taken: tuple[int, list[StepReply], list[Report]] = (-1, [], [])
        penalty = np.full(self.agents + 1, int(to_milli(spec.penalty_per_mwh)))
        # The connection outside balances; it is not fined for it.
        penalty[-1] = 0
        self._penalty = penalty
        self._reserve_cap = int(to_milli(spec.reserve_price_cap_per_mw_h))
        self._reserve_factor = int(to_milli(spec.reserve_penalty_factor))

    @property
    def trust_seconds(self) -> float:
        """Processor time of checking offers and sealing contracts so far."""
        return 0.0 if self._notary is None else self._notary.seconds

    @property
    def sealing_ns(self) -> tuple[int, int]:
        """See `Notary.sealing_ns`; zeros where nothing is signed."""
        return (0, 0) if self._notary is None else self._notary.sealing_ns

    def buy_reserve(self, tick: int, replies: Sequence[StepReply], drawn: Drawn) -> tuple[Int, ...]:
        """Reserve for `tick`, before prices are called: what was bought of each host's offers."""
        replies, _ = self._accepted(tick, replies)
        return _by_host(self._buy_reserve(replies, drawn), replies)

    def clear(
        self,
        tick: int,
        replies: Sequence[StepReply],
        drawn: Drawn,
        agreed: Agreed | None = None,
        answers: Sequence[Answer] = (),
    ) -> tuple[Cleared, TickRecord | None, tuple[Notice, ...]]:
        """Settle `tick - 1` on its meters, then buy reserve and clear the offers for `tick`.

        Args:
            tick: the tick being cleared.
            replies: answers of all hosts to the step of `tick`.
            drawn: what the operator says as `tick` is cleared.
            agreed: how the negotiation for `tick` ended; None: there was none.
            answers: of all hosts to its final price.

        Returns:
            The clearing, the record of `tick - 1` (None at the first), and a notice per host.

        Raises:
            ValueError: where `drawn` is of another tick, or an offer is not on the market's grid.
        """
        if drawn.tick != tick:
            raise ValueError(f"drawn.tick = {drawn.tick}, expected {tick}")
        replies, reports = self._accepted(tick, replies)
        record = None
        if self._open is not None:
            record = self._settle(self._open, tick - 1, replies, reports, drawn)
        self._open = self._shadow = None
        cleared, offered = Cleared(tick, None, 0), [reply.orders for reply in replies]
        shadows = [reply.shadow for reply in replies if reply.shadow is not None]
        if tick < len(self.spec.price_cap):
            reserve = self._buy_reserve(replies, drawn)
            if agreed is not None:
                found = negotiated(
                    self._heard(tick, agreed, answers, drawn), agreed, reserve, drawn
                )
            else:
                found = auction(self.spec, tick, offered, reserve, drawn)
            if shadows:
                self._shadow = self._sealed(tick, self._plan(tick, shadows, drawn), reports)
            else:
                found = self._sealed(tick, found, reports)
            self._open = found
            sealed = found.sealed if self._shadow is None else self._shadow.sealed
            cleared = found.told(tick, self.agents, sealed)
        if record is not None:
            cleared = record.told(cleared)
        return cleared, record, self._notices(tick, replies, record, drawn)

    def _accepted(
        self, tick: int, replies: Sequence[StepReply]
    ) -> tuple[list[StepReply], list[Report]]:
        """The replies as far as their signatures hold, and their reports; checked once a tick."""
        if self._notary is None:
            return list(replies), []
        if self._taken[0] != tick:
            self._taken = (tick, *self._notary.accept(tick, replies))
        return self._taken[1:]

    def _heard(
        self, tick: int, agreed: Agreed, answers: Sequence[Answer], drawn: Drawn
    ) -> list[Quantities]:
        """What agents and the connection outside answered to the final price."""
        if self._notary is not None:
            heard = self._notary.heard(answers)
        else:
            heard = [each.quantities for each in answers if each.quantities is not None]
        outside = self.spec.outside_curves(tick, drawn.connected)
        return [*heard, outside.quantities(agreed.price_milli)]

    def _notices(
        self,
        tick: int,
        replies: Sequence[StepReply],
        record: TickRecord | None,
        drawn: Drawn,
    ) -> tuple[Notice, ...]:
        """What each host is told."""
        sent = [len(reply.orders.side) for reply in replies]
        found, shadow = self._open, self._shadow
        accepted, outcome = [NOTHING] * len(replies), [NO_CODES] * len(replies)
        bought, planned = [NOTHING] * len(replies), accepted
        if found is not None:
            bought = list(_by_host(found.reserve, replies))
            if found.agreement is None:
                accepted = _unsorted(found.order, found.clearing.accepted, sent)
                outcome = _unsorted(found.order, found.outcome, sent)
        if shadow is not None:
            offers = [reply.shadow for reply in replies if reply.shadow is not None]
            rows = [len(each.orders.side) for each in offers]
            planned = _unsorted(shadow.order, shadow.clearing.accepted, rows)
            held = _by_host(shadow.reserve, offers)
        signed = found if shadow is None else shadow
        notices = []
        for host, agents in enumerate(self.spec.host_agents):
            sealed = None if signed is None else signed.sealed
            notices.append(
                Notice(
                    tick,
                    accepted[host],
                    NOTHING if record is None else record.received_micro[agents],
                    bought[host],
                    _rows(drawn.response, agents),
                    outcome[host],
                    b"" if sealed is None else sealed.for_host(agents),
                    None if shadow is None else Awarded(planned[host], held[host]),
                    _traded(found, agents),
                )
            )
        return tuple(notices)

    def _buy_reserve(
        self, replies: Sequence[StepReply] | Sequence[Offers], drawn: Drawn
    ) -> ReserveContracts | None:
        offers = [reply.reserve for reply in replies if reply.reserve is not None]
        if not offers:
            return None
        return buy_reserve(concatenate(offers), drawn.reserve_w, self._reserve_cap, self.agents)

    def _plan(self, tick: int, shadows: Sequence[Offers], drawn: Drawn) -> Contracted:
        """What the swarm's offers would have got in shadow mode."""
        reserve = self._buy_reserve(shadows, drawn)
        return auction(self.spec, tick, [offers.orders for offers in shadows], reserve, drawn)

    def _sealed(self, tick: int, found: Contracted, reports: Sequence[Report]) -> Contracted:
        """The contracts, signed where the run signs."""
        if self._notary is None:
            return found
        sold = no_reserve(self.agents) if found.reserve is None else found.reserve.sold_w
        return replace(
            found,
            sealed=self._notary.seal(tick, found.book, found.clearing, sold),
            violations=joined([report.offer_violations for report in reports]),
        )

    def _settle(
        self,
        found: Contracted,
        tick: int,
        replies: Sequence[StepReply],
        reports: Sequence[Report],
        drawn: Drawn,
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
        audit = moved = None
        signed = found if self._shadow is None else self._shadow
        if signed.sealed is not None:
            audit = audit_of(signed.sealed, signed.violations, reports)
            if signed is found:
                moved = unpermitted(audit, meters, self._before_w, self.spec.own_sun)
        self._before_w = meters.generation_w
        supply = book.side == SELL
        outside, kept = self.spec.outside, self.spec.keep_orders
        return TickRecord(
            tick=tick,
            price_milli=clearing.price,
            status=clearing.status,
            volume_w=clearing.volume,
            # Limit prices stay with the agents where they negotiate.
            welfare_per_h=clearing.welfare_usd_per_h if found.agreement is None else np.nan,
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
            audit=audit,
            unpermitted=moved or 0,
            agreed=found.agreed,
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

    def _imbalance_price(self, tick: int, found: Contracted) -> int:
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


def _by_host(
    contracts: ReserveContracts | None, replies: Sequence[StepReply] | Sequence[Offers]
) -> tuple[Int, ...]:
    """What was bought of the reserve offers of each host, in the order sent."""
    rows = [0 if reply.reserve is None else len(reply.reserve.agent) for reply in replies]
    bought = NOTHING if contracts is None else contracts.bought_w
    return tuple(np.split(bought, np.cumsum(rows)[:-1]))


def _unsorted(order: Int, values: Column, rows: Sequence[int]) -> list[Column]:
    """Values of a sorted book in the order in which each host sent its rows."""
    sent = np.empty_like(values)
    sent[order] = values
    return np.split(sent, np.cumsum(rows))[:-1]


def _traded(found: Contracted | None, agents: Int) -> Traded | None:
    """What was agreed for a host's agents; None: there was no negotiation."""
    if found is None or found.agreement is None:
        return None
    awards = found.agreement.awards
    rows = np.isin(awards.agent, agents)
    price = found.clearing.price
    return Traded(
        0 if price is None else price,
        awards.agent[rows],
        awards.supply_w[rows],
        awards.demand_w[rows],
    )
