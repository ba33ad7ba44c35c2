"""Double-entry settlement against exact fractions, payment by payment."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.market.clearing import MECHANISMS, Clearing, clear
from swarm.market.orders import BUY, SELL, OrderBook
from swarm.market.settlement import Transaction, settle_energy, settle_imbalance

from .oracle import Order
from .strategies import BOUNDS, CAP, FLOOR, book_of, books

AGENTS = 31
"""One more than the strategies use."""
minutes = st.sampled_from([1, 5, 7, 15, 30, 60])
mechanisms = st.sampled_from(sorted(MECHANISMS))


def micro(price: int, watts: int, minutes: int) -> int:
    """milli-currency/MWh for so many watts and minutes, in micro-currency, half to even."""
    per_mwh = Fraction(price, 1_000)
    energy_mwh = Fraction(watts, 1_000_000) * Fraction(minutes, 60)
    return round(per_mwh * energy_mwh * 1_000_000)


def total(transaction: Transaction) -> int:
    return sum(transaction.participants.tolist()) + transaction.operator + transaction.rounding


def may_overflow(price: list[int], watts: list[int], minutes: int) -> bool:
    """Whether a product of the columns leaves 62 bits even before the division."""
    largest = max(map(abs, price), default=0) * max(map(abs, watts), default=0)
    return largest * minutes >= 2**62


# Energy


@given(books, mechanisms, minutes)
def test_revenue_equals_payments_exactly(found: list[Order], name: str, length: int) -> None:
    """Each order is paid as exact fractions say; the rounding account takes the rest."""
    clearing = MECHANISMS[name](book_of(found), **BOUNDS)
    pay, accepted = clearing.pay.tolist(), clearing.accepted.tolist()
    if may_overflow(pay, accepted, length):
        return
    settled = settle_energy(book_of(found), clearing, AGENTS, length)
    expected = [0] * AGENTS
    for order, price, watts in zip(found, pay, accepted, strict=True):
        expected[order.agent] += order.side * micro(price, watts, length)
    assert settled.participants.tolist() == expected
    assert total(settled) == 0
    assert settled.operator == 0


@given(books, mechanisms, minutes)
def test_nobody_is_settled_worse_than_their_order(
    found: list[Order], name: str, length: int
) -> None:
    clearing = MECHANISMS[name](book_of(found), **BOUNDS)
    pay, accepted = clearing.pay.tolist(), clearing.accepted.tolist()
    if may_overflow(pay, accepted, length):
        return
    settled = settle_energy(book_of(found), clearing, AGENTS, length).participants.tolist()
    asked = [0] * AGENTS
    for order, watts in zip(found, accepted, strict=True):
        asked[order.agent] += order.side * micro(order.price, watts, length)
    assert all(got >= least for got, least in zip(settled, asked, strict=True))


@given(books, mechanisms, minutes)
def test_the_rounding_account_gets_next_to_nothing(
    found: list[Order], name: str, length: int
) -> None:
    """Half a micro per order; and half a grid unit of the mean where buyers pay a mean."""
    clearing = MECHANISMS[name](book_of(found), **BOUNDS)
    if may_overflow(clearing.pay.tolist(), clearing.accepted.tolist(), length):
        return
    settled = settle_energy(book_of(found), clearing, AGENTS, length)
    of_mean = Fraction(clearing.volume * length, 2 * 60_000) if name == "pay_as_bid" else 0
    assert abs(settled.rounding) <= of_mean + Fraction(len(found), 2)


def test_the_worked_example_in_money() -> None:
    """120 MW at 55 for five minutes is 10 MWh and 550; 25 MW of it 114.58333."""
    supply = [(25, 30), (30, 25), (45, 50), (55, 15), (65, 40)]
    found = [Order(SELL, p * 1_000, q * 10**6, i) for i, (p, q) in enumerate(supply)]
    found.append(Order(BUY, CAP, 120 * 10**6, 5))
    book = book_of(found)
    settled = settle_energy(book, clear(book, **BOUNDS), 7, 5)
    assert settled.participants.tolist() == [
        137_500_000,
        114_583_333,
        229_166_667,
        68_750_000,
        0,
        -550_000_000,
        0,
    ]
    assert settled.rounding == 0


def test_the_residue_goes_to_the_rounding_account() -> None:
    """Three sellers of 1 W at 0.020 for an hour are owed 0.02 micro each: nobody gets any."""
    found = [Order(SELL, 20, 1, 0), Order(SELL, 20, 1, 1), Order(SELL, 20, 24, 2)]
    found.append(Order(BUY, 20, 26, 3))
    book = book_of(found)
    settled = settle_energy(book, clear(book, **BOUNDS), 4, 60)
    # 0.02, 0.02, 0.48 and 0.52 micro.
    assert settled.participants.tolist() == [0, 0, 0, -1]
    assert settled.rounding == 1


def test_no_trade_settles_nothing() -> None:
    book = book_of([Order(SELL, 10, 5, 0), Order(BUY, 9, 5, 1)])
    settled = settle_energy(book, clear(book, **BOUNDS), 2, 5)
    assert settled.participants.tolist() == [0, 0]
    assert (settled.operator, settled.rounding) == (0, 0)
    empty = OrderBook.empty()
    assert total(settle_energy(empty, clear(empty, **BOUNDS), 2, 5)) == 0


# What does not fit is refused


def uniform_pair(price: int, watts: int) -> tuple[OrderBook, Clearing]:
    book = book_of([Order(SELL, price, watts, 0), Order(BUY, price, watts, 1)])
    return book, clear(book, price_floor=-(2**31), price_cap=2**31)


def test_a_payment_of_62_bits_is_exact_and_one_beyond_is_refused() -> None:
    watts = 2**52 - 1
    book, clearing = uniform_pair(1_023, watts)
    settled = settle_energy(book, clearing, 2, 5)
    assert settled.participants.tolist() == [micro(1_023, watts, 5), -micro(1_023, watts, 5)]
    book, clearing = uniform_pair(1_025, watts)
    with pytest.raises(OverflowError, match="not fit"):
        settle_energy(book, clearing, 2, 5)


def test_payments_that_fit_each_but_not_in_sum_are_refused() -> None:
    """20,000 orders of one buyer, 2 GW at 1 million: 2.3e15 micro an hour each."""
    orders, watts, price = 20_000, 2**31 - 2**20, 2**30
    found = [Order(SELL, price, watts, 1 + row) for row in range(orders)]
    found += [Order(BUY, price, watts, 0) for _ in range(orders)]
    book = book_of(found)
    clearing = clear(book, price_floor=0, price_cap=2**31)
    assert micro(price, watts, 60) * orders > 2**63
    with pytest.raises(OverflowError, match="not fit"):
        settle_energy(book, clearing, orders + 1, 60)


# Imbalance

# Up to 17 GW each, which always fits.
deviations = st.lists(
    st.tuples(
        st.one_of(st.integers(-(2**34), 2**34), st.integers(-20, 20)),
        st.one_of(st.integers(0, 2_000_000), st.integers(0, 9)),
    ),
    max_size=12,
)
references = st.one_of(st.integers(FLOOR, CAP), st.integers(-9, 9))


@given(deviations, references, minutes)
def test_imbalance_sums_to_zero_at_two_prices(
    rows: list[tuple[int, int]], price: int, length: int
) -> None:
    """Short pays the price plus the penalty, long receives it less the penalty, exactly."""
    deviation = np.array([watts for watts, _ in rows], dtype=np.int64)
    penalty = np.array([milli for _, milli in rows], dtype=np.int64)
    watts = deviation.tolist()
    prices = [price + p if w < 0 else price - p for w, p in rows]
    settled = settle_imbalance(deviation, price, penalty, length)
    assert settled.participants.tolist() == [
        micro(p, w, length) for p, w in zip(prices, watts, strict=True)
    ]
    assert total(settled) == 0
    assert settled.rounding == 0


@given(deviations, references, st.integers(0, 5_000), minutes)
def test_one_penalty_for_all_equals_one_each(
    rows: list[tuple[int, int]], price: int, penalty: int, length: int
) -> None:
    deviation = np.array([watts for watts, _ in rows], dtype=np.int64)
    each = np.full(len(rows), penalty)
    one = settle_imbalance(deviation, price, penalty, length)
    several = settle_imbalance(deviation, price, each, length)
    assert one.participants.tolist() == several.participants.tolist()
    assert one.operator == several.operator


@given(deviations, references, minutes)
def test_a_penalty_never_pays(rows: list[tuple[int, int]], price: int, length: int) -> None:
    """Whoever deviates ends no better than without penalty, and the operator no worse."""
    deviation = np.array([watts for watts, _ in rows], dtype=np.int64)
    penalty = np.array([milli for _, milli in rows], dtype=np.int64)
    fined = settle_imbalance(deviation, price, penalty, length)
    free = settle_imbalance(deviation, price, 0, length)
    assert (fined.participants <= free.participants).all()
    assert fined.operator >= free.operator


def test_imbalance_by_hand() -> None:
    """6 MW short and 6 MW long for ten minutes at 100 +- 20: 1 MWh each."""
    deviation = np.array([-6_000_000, 6_000_000, 0])
    settled = settle_imbalance(deviation, 100_000, 20_000, 10)
    assert settled.participants.tolist() == [-120_000_000, 80_000_000, 0]
    assert settled.operator == 40_000_000


def test_an_imbalance_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OverflowError, match="not fit"):
        settle_imbalance(np.array([2**52]), 2_000, 0, 5)
