"""Clearings with known answers, large books, refusals, and the weighted quantile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from swarm.market.clearing import MECHANISMS, clear, weighted_quantile
from swarm.market.orders import BUY, SELL, OrderBook

from .oracle import Order, walk
from .strategies import BOUNDS, CAP, ENORMOUS_W, FLOOR, VERTICAL_STEP, book_of, cleared, orders

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


def test_an_unknown_vertical_step_is_refused() -> None:
    with pytest.raises(ValueError, match="vertical_step 'upper'"):
        clear(OrderBook.empty(), price_floor=0, price_cap=1, vertical_step="upper")
