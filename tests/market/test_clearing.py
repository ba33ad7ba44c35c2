"""The invariants of a clearing, each over random books, against two independent references."""

from __future__ import annotations

import random
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from swarm.market.clearing import Clearing, pay_as_bid
from swarm.market.orders import BUY, SELL

from .oracle import Order, dual_welfare, solve, walk
from .strategies import (
    BOUNDS,
    CAP,
    FLOOR,
    VERTICAL_STEP,
    bids,
    book_of,
    books,
    cleared,
    offers,
    prices,
    solvable,
    trading_books,
)


def totals(found: list[Order], clearing: Clearing) -> dict[tuple[int, int, int], int]:
    """Accepted watts by agent, side and price."""
    total: dict[tuple[int, int, int], int] = defaultdict(int)
    for order, watts in zip(found, clearing.accepted.tolist(), strict=True):
        total[order.agent, order.side, order.price] += watts
    return {key: watts for key, watts in total.items() if watts}


def gain(order: Order, price: int) -> int:
    """What the order gains per unit at `price`: below zero where it is against its limit."""
    return order.side * (price - order.price)


# Balance and limits


@given(books)
def test_buys_equal_sells_equal_volume(found: list[Order]) -> None:
    clearing = cleared(found)
    for side in (SELL, BUY):
        accepted = zip(found, clearing.accepted.tolist(), strict=True)
        assert sum(watts for order, watts in accepted if order.side == side) == clearing.volume


@given(books)
def test_accepted_is_between_zero_and_offered(found: list[Order]) -> None:
    clearing = cleared(found)
    assert clearing.accepted.dtype == np.int64
    assert len(clearing.accepted) == len(clearing.pay) == len(found)
    for order, watts in zip(found, clearing.accepted.tolist(), strict=True):
        assert 0 <= watts <= order.quantity


@given(books, st.sampled_from(["lower", "midpoint"]))
def test_nothing_is_accepted_against_its_price(found: list[Order], step: str) -> None:
    clearing = cleared(found, vertical_step=step)
    for order, watts in zip(found, clearing.accepted.tolist(), strict=True):
        if watts:
            assert clearing.price is not None
            assert gain(order, clearing.price) >= 0


@given(trading_books, st.sampled_from(["lower", "midpoint"]))
def test_orders_in_the_money_are_accepted_in_full(found: list[Order], step: str) -> None:
    clearing = cleared(found, vertical_step=step)
    assert clearing.price is not None
    for order, watts in zip(found, clearing.accepted.tolist(), strict=True):
        if gain(order, clearing.price) > 0:
            assert watts == order.quantity


@given(books)
def test_without_trade_no_bid_reaches_an_offer(found: list[Order]) -> None:
    clearing = cleared(found)
    sold = [o.price for o in found if o.side == SELL and o.quantity]
    bid = [o.price for o in found if o.side == BUY and o.quantity]
    crossing = bool(sold and bid and min(sold) <= max(bid))
    assert (clearing.status == "no_trade") == (not crossing)
    assert (clearing.price is None) == (clearing.volume == 0) == (not crossing)
    if not crossing:
        assert not clearing.accepted.any()
        assert clearing.welfare == 0


# Price


@given(trading_books)
@example(VERTICAL_STEP)
def test_price_is_in_the_interval_of_the_accepted(found: list[Order]) -> None:
    lower, middle = cleared(found), cleared(found, vertical_step="midpoint")
    assert lower.price is not None
    least, most = [FLOOR], [CAP]
    for order, watts in zip(found, lower.accepted.tolist(), strict=True):
        served, rest = watts > 0, watts < order.quantity
        if served if order.side == SELL else rest:
            least.append(order.price)
        if rest if order.side == SELL else served:
            most.append(order.price)
    assert lower.price == max(least) <= min(most)
    assert middle.price == (max(least) + min(most)) // 2
    assert middle.accepted.tolist() == lower.accepted.tolist()


@given(books.map(solvable))
@example(VERTICAL_STEP)
def test_welfare_equals_the_linear_program(found: list[Order]) -> None:
    clearing = cleared(found)
    assert clearing.welfare == pytest.approx(solve(found).welfare, rel=1e-9, abs=1)


@given(trading_books.map(solvable))
@example(VERTICAL_STEP)
def test_price_supports_the_linear_program(found: list[Order]) -> None:
    clearing = cleared(found)
    assert clearing.price is not None
    optimum = solve(found)
    assert clearing.price == optimum.lowest_price
    assert clearing.price <= optimum.highest_price
    assert optimum.lowest_price - 1e-6 <= optimum.dual_price <= optimum.highest_price + 1e-6


@given(trading_books, st.sampled_from(["lower", "midpoint"]))
def test_price_and_dispatch_prove_each_other_optimal(found: list[Order], step: str) -> None:
    clearing = cleared(found, vertical_step=step)
    assert clearing.price is not None
    pairs = zip(found, clearing.accepted.tolist(), strict=True)
    assert clearing.welfare == sum(-o.side * o.price * watts for o, watts in pairs)
    assert clearing.welfare == dual_welfare(found, clearing.price)


@given(books)
@example(VERTICAL_STEP)
def test_equals_the_walk(found: list[Order]) -> None:
    expected, clearing = walk(found), cleared(found)
    assert clearing.price == expected.price
    assert clearing.volume == expected.volume
    assert clearing.welfare == expected.welfare
    assert clearing.accepted.tolist() == expected.accepted
    assert (clearing.status == "scarcity") == expected.scarcity


# What must change nothing


@given(books, st.randoms(use_true_random=False))
def test_order_of_arrival_changes_nothing(found: list[Order], rng: random.Random) -> None:
    order = rng.sample(range(len(found)), len(found))
    before, after = cleared(found), cleared([found[row] for row in order])
    assert (after.price, after.volume) == (before.price, before.volume)
    assert (after.status, after.welfare) == (before.status, before.welfare)
    assert totals([found[row] for row in order], after) == totals(found, before)


@given(books, st.randoms(use_true_random=False))
def test_order_of_arrival_changes_no_order_of_its_own_agent(
    found: list[Order], rng: random.Random
) -> None:
    single = [order._replace(agent=agent) for agent, order in enumerate(found)]
    order = rng.sample(range(len(single)), len(single))
    before, after = cleared(single), cleared([single[row] for row in order])
    assert after.accepted.tolist() == before.accepted[order].tolist()


@given(books.filter(len), st.data())
def test_splitting_an_order_changes_nothing(found: list[Order], data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(found) - 1))
    whole = found[row]
    part = data.draw(st.integers(0, whole.quantity))
    pieces = found.copy()
    pieces[row] = whole._replace(quantity=part)
    at = data.draw(st.integers(0, len(found)))
    pieces.insert(at, whole._replace(quantity=whole.quantity - part))
    before, after = cleared(found), cleared(pieces)
    assert (after.price, after.volume) == (before.price, before.volume)
    assert (after.status, after.welfare) == (before.status, before.welfare)
    assert totals(pieces, after) == totals(found, before)


@given(books, st.integers(1, 2_000))
def test_scaling_quantities_scales_volume_at_the_same_price(
    found: list[Order], factor: int
) -> None:
    factor = min(factor, 2**53 // max(1, sum(order.quantity for order in found)))
    before = cleared(found)
    after = cleared([order._replace(quantity=order.quantity * factor) for order in found])
    assert after.price == before.price
    assert after.status == before.status
    assert after.volume == before.volume * factor
    assert after.welfare == before.welfare * factor


# Monotonicity


def assert_never_lower(before: Clearing, after: Clearing) -> None:
    assert after.volume >= before.volume
    if before.price is not None:
        assert after.price is not None
        assert after.price >= before.price


@given(books, bids, st.sampled_from(["lower", "midpoint"]))
def test_a_new_bid_never_lowers_price_or_volume(found: list[Order], bid: Order, step: str) -> None:
    assert_never_lower(
        cleared(found, vertical_step=step), cleared([*found, bid], vertical_step=step)
    )


@given(books, bids, st.integers(1, 10**12), prices)
def test_a_bigger_or_better_bid_never_lowers_price_or_volume(
    found: list[Order], bid: Order, more: int, price: int
) -> None:
    before = cleared([*found, bid])
    assert_never_lower(before, cleared([*found, bid._replace(quantity=bid.quantity + more)]))
    assert_never_lower(before, cleared([*found, bid._replace(price=max(bid.price, price))]))


@given(books, offers, st.sampled_from(["lower", "midpoint"]))
def test_a_new_offer_never_raises_price_nor_lowers_volume(
    found: list[Order], offer: Order, step: str
) -> None:
    before = cleared(found, vertical_step=step)
    after = cleared([*found, offer], vertical_step=step)
    assert after.volume >= before.volume
    if before.price is not None:
        assert after.price is not None
        assert after.price <= before.price


@given(trading_books, offers, st.integers(1, 10**12), prices)
def test_a_bigger_or_cheaper_offer_never_raises_price(
    found: list[Order], offer: Order, more: int, price: int
) -> None:
    before = cleared([*found, offer])
    assert before.price is not None
    bigger = offer._replace(quantity=offer.quantity + more)
    cheaper = offer._replace(price=min(offer.price, price))
    for changed in (bigger, cheaper):
        after = cleared([*found, changed])
        assert after.price is not None
        assert after.price <= before.price
        assert after.volume >= before.volume


# The margin


@given(trading_books)
def test_margin_is_shared_pro_rata_within_one_watt(found: list[Order]) -> None:
    clearing = cleared(found)
    assert clearing.price is not None
    for side in (SELL, BUY):
        at = [r for r, o in enumerate(found) if o.side == side and o.price == clearing.price]
        offered: dict[int, int] = defaultdict(int)
        accepted: dict[int, int] = defaultdict(int)
        for row in at:
            offered[found[row].agent] += found[row].quantity
            accepted[found[row].agent] += int(clearing.accepted[row])
        total, amount = sum(offered.values()), sum(accepted.values())
        remainder = {}
        for agent, watts in offered.items():
            exact = Fraction(watts * amount, total) if total else Fraction(0)
            assert abs(accepted[agent] - exact) < 1
            remainder[agent] = exact - int(exact)
        # Those rounded up have the largest remainders; equal ones go to the lowest agent.
        up = [a for a in offered if accepted[a] * total > offered[a] * amount]
        down = [a for a in offered if a not in up]
        for raised in up:
            for kept in down:
                assert (-remainder[raised], raised) < (-remainder[kept], kept)


def test_margin_of_equals_goes_to_the_lowest_agents() -> None:
    found = [Order(SELL, 10, 1, agent) for agent in (4, 1, 3, 0, 2)] + [Order(BUY, 20, 3, 5)]
    assert cleared(found).accepted.tolist() == [0, 1, 0, 1, 1, 3]


def test_margin_of_equals_adds_up_the_orders_of_an_agent_first() -> None:
    found = [Order(SELL, 10, 1, agent) for agent in (2, 1, 0, 2, 1, 0)] + [Order(BUY, 20, 4, 3)]
    assert cleared(found).accepted.tolist() == [1, 1, 1, 0, 0, 1, 4]


def test_margin_within_one_agent_fills_in_book_order() -> None:
    found = [Order(SELL, 10, 6, 7), Order(SELL, 10, 6, 7), Order(BUY, 20, 8, 5)]
    assert cleared(found).accepted.tolist() == [6, 2, 8]


# Pay as bid


@given(books)
def test_pay_as_bid_accepts_what_the_uniform_price_accepts(found: list[Order]) -> None:
    uniform, as_bid = cleared(found), pay_as_bid(book_of(found), **BOUNDS)
    assert as_bid.accepted.tolist() == uniform.accepted.tolist()
    assert (as_bid.volume, as_bid.status) == (uniform.volume, uniform.status)
    assert as_bid.welfare == uniform.welfare


@given(trading_books)
def test_pay_as_bid_pays_offers_and_charges_their_mean(found: list[Order]) -> None:
    clearing = pay_as_bid(book_of(found), **BOUNDS)
    assert clearing.price is not None
    accepted, pay = clearing.accepted.tolist(), clearing.pay.tolist()
    spent = 0
    for order, watts, paid in zip(found, accepted, pay, strict=True):
        if order.side == SELL:
            assert paid == order.price
            spent += watts * order.price
        else:
            assert paid == clearing.price
            assert not watts or paid <= order.price
    mean = Fraction(spent, clearing.volume)
    assert abs(clearing.price - mean) <= Fraction(1, 2)
