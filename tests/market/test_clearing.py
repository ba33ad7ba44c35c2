"""The invariants of a clearing, each over random books, against two independent references."""

from __future__ import annotations

import random
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from swarm.market.clearing import MECHANISMS, Clearing, clear, pay_as_bid, weighted_quantile
from swarm.market.orders import BUY, SELL, OrderBook

from .oracle import Order, dual_welfare, solve, walk
from .strategies import (
    BOUNDS,
    CAP,
    ENORMOUS_W,
    FLOOR,
    bids,
    book_of,
    books,
    offers,
    orders,
    prices,
    solvable,
    trading_books,
)

VERTICAL_STEP = [
    Order(SELL, 10_000, 10, 0),
    Order(SELL, 30_000, 10, 1),
    Order(BUY, 50_000, 10, 2),
    Order(BUY, 20_000, 10, 3),
]


def cleared(found: list[Order], **options: str) -> Clearing:
    return clear(book_of(found), **BOUNDS, **options)


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


# Known answers


@pytest.mark.parametrize(
    ("demand", "price", "served"),
    [
        (120, 55.0, [30, 25, 50, 15, 0, 0, 0, 0]),
        (150, 65.0, [30, 25, 50, 15, 30, 0, 0, 0]),
        (80, 45.0, [30, 25, 25, 0, 0, 0, 0, 0]),
    ],
)
def test_worked_example(demand: int, price: float, served: list[int]) -> None:
    """Six generators, two demand responses, a storage bid of 40 that stays out, and inelastic load.

    The load bids at the cap, as the design says.
    """
    supply = [(25, 30), (30, 25), (45, 50), (55, 15), (65, 40), (75, 35), (80, 8), (90, 5)]
    book = OrderBook.from_mw(
        [SELL] * 8 + [BUY, BUY],
        [*(cost for cost, _ in supply), 40, 3_000],
        [*(size for _, size in supply), 10, demand],
        range(10),
    )
    clearing = clear(book, **BOUNDS)
    assert clearing.price_usd_per_mwh == price
    assert clearing.accepted_mw.tolist() == [*served, 0, demand]
    assert clearing.volume_mw == demand
    assert clearing.status == "cleared"
    cost = sum(c * mw for (c, _), mw in zip(supply, served, strict=True))
    assert clearing.welfare_usd_per_h == 3_000 * demand - cost


def test_vertical_step_clears_at_its_lower_end_or_midpoint() -> None:
    assert cleared(VERTICAL_STEP).price == 20_000
    assert cleared(VERTICAL_STEP, vertical_step="midpoint").price == 25_000
    assert cleared(VERTICAL_STEP).accepted.tolist() == [10, 0, 10, 0]


def test_scarcity_sets_the_cap() -> None:
    found = [Order(SELL, 10_000, 60, 0), Order(SELL, 20_000, 40, 1), Order(BUY, CAP, 130, 2)]
    clearing = cleared(found)
    assert (clearing.price, clearing.volume, clearing.status) == (CAP, 100, "scarcity")


def test_scarcity_is_priced_by_the_best_unserved_bid() -> None:
    found = [
        Order(SELL, 10_000, 100, 0),
        Order(BUY, CAP, 60, 1),
        Order(BUY, 80_000, 50, 2),
        Order(BUY, 70_000, 50, 3),
    ]
    clearing = cleared(found)
    assert (clearing.price, clearing.status) == (80_000, "scarcity")
    assert clearing.accepted.tolist() == [100, 60, 40, 0]


def test_demand_equal_to_supply_is_no_scarcity() -> None:
    clearing = cleared([Order(SELL, 10_000, 100, 0), Order(BUY, CAP, 100, 1)])
    assert (clearing.price, clearing.volume, clearing.status) == (10_000, 100, "cleared")


@pytest.mark.parametrize(
    ("found", "price", "accepted"),
    [
        pytest.param([], None, [], id="empty"),
        pytest.param([Order(BUY, CAP, 5, 0)] * 2, None, [0, 0], id="bids only"),
        pytest.param([Order(SELL, FLOOR, 5, 0)] * 2, None, [0, 0], id="offers only"),
        pytest.param(
            [Order(SELL, 5, 0, 0), Order(BUY, 9, 0, 1)], None, [0, 0], id="no quantity at all"
        ),
        pytest.param([Order(SELL, 5, 0, 0), Order(BUY, 9, 4, 1)], None, [0, 0], id="empty offer"),
        pytest.param([Order(SELL, 9, 4, 0), Order(BUY, 8, 4, 1)], None, [0, 0], id="no crossing"),
        pytest.param(
            [Order(side, 7, 6, agent) for agent, side in enumerate([SELL, SELL, SELL, BUY])],
            7,
            [2, 2, 2, 6],
            id="all ties",
        ),
        pytest.param(
            [Order(SELL, CAP, 9, 0), Order(BUY, CAP, 5, 1), Order(BUY, CAP, 1, 2)],
            CAP,
            [6, 5, 1],
            id="all at the cap",
        ),
        pytest.param(
            [Order(SELL, FLOOR, 9, 0), Order(BUY, FLOOR, 12, 1)], FLOOR, [9, 9], id="at the floor"
        ),
        pytest.param(
            [Order(SELL, -30, 5, 0), Order(SELL, -10, 5, 1), Order(BUY, -5, 7, 2)],
            -10,
            [5, 2, 7],
            id="negative prices",
        ),
        pytest.param(
            [Order(SELL, 10, ENORMOUS_W, 0), Order(BUY, 20, 7, 1)], 10, [7, 7], id="enormous offer"
        ),
        pytest.param(
            [Order(SELL, 10, 7, 0), Order(BUY, 20, ENORMOUS_W, 1)], 20, [7, 7], id="enormous bid"
        ),
    ],
)
def test_degenerate_books(found: list[Order], price: int | None, accepted: list[int]) -> None:
    clearing = cleared(found)
    assert clearing.price == price
    assert clearing.accepted.tolist() == accepted
    assert (clearing.price_usd_per_mwh is None) == (clearing.status == "no_trade")


# Large books


@pytest.mark.parametrize("distinct_prices", [1, 5, 200, 3_500_000])
@pytest.mark.parametrize("agents", [50, 10**6])
def test_large_books_equal_the_walk(distinct_prices: int, agents: int) -> None:
    rng = np.random.default_rng([distinct_prices, agents])
    size = 12_000
    side = rng.choice([SELL, BUY], size, p=[0.6, 0.4])
    price = FLOOR + rng.integers(0, distinct_prices, size) * ((CAP - FLOOR) // distinct_prices)
    quantity = np.where(rng.random(size) < 0.1, 0, rng.integers(0, 50_000_000, size))
    agent = rng.integers(0, agents, size) if agents < size else rng.permutation(size)
    found = [Order(*row) for row in np.column_stack([side, price, quantity, agent]).tolist()]
    expected, clearing = walk(found), cleared(found)
    assert clearing.price == expected.price
    assert clearing.welfare == expected.welfare
    assert clearing.accepted.tolist() == expected.accepted
    assert clearing.volume == expected.volume > 0


# Refusals


def test_refuses_a_floor_above_the_cap() -> None:
    with pytest.raises(ValueError, match=r"price_floor 6 is above price_cap 5"):
        clear(OrderBook.empty(), price_floor=6, price_cap=5)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("price", [FLOOR - 1, CAP + 1])
def test_refuses_prices_outside_the_bounds(mechanism: str, price: int) -> None:
    found = [Order(SELL, 5, 1, 0), Order(BUY, price, 1, 0), Order(BUY, CAP, 1, 0)]
    with pytest.raises(ValueError, match=rf"price\[1\] = {price} is outside .*-500000\.\.3000000"):
        MECHANISMS[mechanism](book_of(found), **BOUNDS)


@given(orders)
def test_bounds_themselves_are_allowed(order: Order) -> None:
    book = book_of([order])
    assert clear(book, price_floor=order.price, price_cap=order.price).status == "no_trade"
    with pytest.raises(ValueError, match="outside the bounds"):
        clear(book, price_floor=order.price + 1, price_cap=order.price + 1)


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


# The quantile


@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 5)), min_size=1, max_size=40), st.data()
)
def test_weighted_quantile_of_few(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    total = sum(weight for _, weight in rows)
    assume(total > 0)
    target = data.draw(st.integers(1, total))
    price, weight = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    assert weighted_quantile(price, weight, target) == naive_quantile(price, weight, target)


def naive_quantile(price: np.ndarray, weight: np.ndarray, target: int) -> int:
    reached = 0
    for p, w in sorted(zip(price.tolist(), weight.tolist(), strict=True)):
        reached += w
        if reached >= target:
            return int(p)
    raise AssertionError("the weights do not reach the target")


MANY = 20_000
MANY_PRICES = {
    "wide": lambda rng: rng.integers(-(2**31) + 1, 2**31, MANY),
    "few": lambda rng: rng.integers(0, 5, MANY) * 1_000,
    "one": lambda rng: np.full(MANY, -77),
    # Nearly all in the histogram's first bin, which has to be cut again and again.
    "skewed": lambda rng: np.append(rng.geometric(1e-3, MANY - 1), 2**31 - 1),
    "skewed twice": lambda rng: np.concatenate(
        [rng.integers(0, 300, MANY - 2), [2**19, 2**31 - 1]]
    ),
    "skewed down": lambda rng: -np.append(rng.geometric(1e-3, MANY - 1), 2**31 - 1),
}
MANY_WEIGHTS = {
    "equal": lambda rng: np.ones(MANY, dtype=np.int64),
    "some zero": lambda rng: np.where(rng.random(MANY) < 0.5, 0, rng.integers(0, 10**9, MANY)),
    "one enormous": lambda rng: np.append(np.ones(MANY - 1, dtype=np.int64), 2**52),
    "all on one": lambda rng: np.append(np.zeros(MANY - 1, dtype=np.int64), 3),
    "up to the limit": lambda rng: np.full(MANY, 2**53 // MANY),
}


@pytest.mark.parametrize("prices_of", MANY_PRICES.values(), ids=MANY_PRICES)
@pytest.mark.parametrize("weights_of", MANY_WEIGHTS.values(), ids=MANY_WEIGHTS)
def test_weighted_quantile_of_many(prices_of, weights_of) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(5)
    price, weight = prices_of(rng), weights_of(rng)
    order = rng.permutation(MANY)
    price, weight = price[order], weight[order]
    total = int(weight.sum())
    for target in {1, 2, total // 3 or 1, total // 2 or 1, total - 1 or 1, total}:
        assert weighted_quantile(price, weight, target) == naive_quantile(price, weight, target)
