"""What every market mechanism keeps: those that clear a book, and the one that calls prices."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.market.clearing import MECHANISMS, Clearing
from swarm.market.orders import BUY, SELL, OrderBook
from swarm.market.settlement import settle_energy
from swarm.scenario.negotiation import Negotiation

from ..market.negotiated import PATIENT, bargain
from ..market.oracle import Order, walk
from ..market.strategies import BOUNDS, CAP, FLOOR, book_of, books, offers, solvable, trading_books


@dataclass(frozen=True)
class Outcome:
    """What orders traded (aligned to them), and the clearing that is settled, with its book."""

    accepted: list[int]
    pay: list[int]
    clearing: Clearing
    book: OrderBook


def on_one_book(name: str) -> Callable[[list[Order]], Outcome]:
    def run(found: list[Order]) -> Outcome:
        book = book_of(found)
        clearing = MECHANISMS[name](book, **BOUNDS)
        return Outcome(clearing.accepted.tolist(), clearing.pay.tolist(), clearing, book)

    return run


def by_rounds(rules: Negotiation, slowest_ms: int = 0) -> Callable[[list[Order]], Outcome]:
    def run(found: list[Order]) -> Outcome:
        deal = bargain(book_of(found), rules=rules, hosts=[0, 1, 1], slowest_ms=slowest_ms)
        clearing = deal.agreement.clearing
        pay = [clearing.price or 0] * len(found)
        return Outcome(deal.accepted.tolist(), pay, clearing, deal.agreement.book)

    return run


EXACT = {
    **{name: on_one_book(name) for name in MECHANISMS},
    "negotiated": by_rounds(PATIENT),
}
ALL = EXACT | {
    "negotiated, 5 rounds": by_rounds(Negotiation(max_rounds=5)),
    "negotiated, slow": by_rounds(PATIENT, slowest_ms=10_000),
}
every = pytest.mark.parametrize("mechanism", ALL.values(), ids=ALL)
FEWER = settings(max_examples=settings.default.max_examples // 4)
"""Each mechanism has properties of its own tested elsewhere, on more books."""
exact = pytest.mark.parametrize("mechanism", EXACT.values(), ids=EXACT)


def by_agent(found: list[Order], watts: list[int]) -> dict[tuple[int, int], int]:
    """Watts of each agent and side."""
    traded: dict[tuple[int, int], int] = defaultdict(int)
    for order, accepted in zip(found, watts, strict=True):
        traded[order.agent, order.side] += accepted
    return {key: watts for key, watts in traded.items() if watts}


@every
@given(found=books)
@FEWER
def test_it_balances_and_nobody_loses(
    mechanism: Callable[[list[Order]], Outcome], found: list[Order]
) -> None:
    outcome = mechanism(found)
    clearing = outcome.clearing
    sold = sum(w for o, w in zip(found, outcome.accepted, strict=True) if o.side == SELL)
    bought = sum(w for o, w in zip(found, outcome.accepted, strict=True) if o.side == BUY)
    assert sold == bought == clearing.volume
    assert (clearing.price is None) == (clearing.volume == 0) == (clearing.status == "no_trade")
    assert clearing.price is None or FLOOR <= clearing.price <= CAP
    for order, watts, paid in zip(found, outcome.accepted, outcome.pay, strict=True):
        assert 0 <= watts <= order.quantity
        assert not watts or order.side * (paid - order.price) >= 0


@every
@given(found=trading_books)
@FEWER
def test_what_is_settled_is_what_was_accepted(
    mechanism: Callable[[list[Order]], Outcome], found: list[Order]
) -> None:
    found = solvable(found)
    outcome = mechanism(found)
    book, clearing = outcome.book, outcome.clearing
    columns = (book.side, book.price, book.quantity, book.agent)
    settled = [Order(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]
    assert by_agent(settled, clearing.accepted.tolist()) == by_agent(found, outcome.accepted)
    money = settle_energy(book, clearing, participants=40, tick_minutes=5)
    assert int(money.participants.sum()) + money.operator + money.rounding == 0
    # Half a grid unit of the mean price and half a micro for each order.
    assert abs(money.rounding) <= clearing.volume * 5 / 60_000 / 2 + len(book) / 2


@every
@given(found=books, rng=st.randoms(use_true_random=False))
@FEWER
def test_order_of_arrival_changes_nothing(
    mechanism: Callable[[list[Order]], Outcome], found: list[Order], rng: random.Random
) -> None:
    shuffled = rng.sample(found, len(found))
    before, after = mechanism(found), mechanism(shuffled)
    for name in ("price", "volume", "status", "welfare"):
        assert getattr(after.clearing, name) == getattr(before.clearing, name)
    assert by_agent(shuffled, after.accepted) == by_agent(found, before.accepted)


@exact
@given(found=books)
@FEWER
def test_every_mechanism_accepts_what_merit_order_does(
    mechanism: Callable[[list[Order]], Outcome], found: list[Order]
) -> None:
    expected, outcome = walk(found), mechanism(found)
    assert outcome.accepted == expected.accepted
    assert (outcome.clearing.status == "scarcity") == expected.scarcity


@exact
@given(found=trading_books, offer=offers)
@FEWER
def test_a_new_offer_never_lowers_volume(
    mechanism: Callable[[list[Order]], Outcome], found: list[Order], offer: Order
) -> None:
    before, after = mechanism(found), mechanism([*found, offer])
    assert after.clearing.volume >= before.clearing.volume
