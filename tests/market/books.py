"""Strategies of order books: few distinct prices, so ties at the margin are the common case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st
from swarm.market import BUY, SELL, OrderBook

FLOOR = -500_000
CAP = 20_000_000
PRICES = (FLOOR, FLOOR + 1, -20_000, -1, 0, 1, 10_000, 10_001, 20_000, 30_000, CAP - 1, CAP)
SMALL = (0, 1, 2, 3, 5, 7, 10, 100, 999, 1_000_000)
ENORMOUS = 2**50
AGENTS = 5

Row = tuple[int, int, int, int]
"""Side, price, quantity, agent."""


def book_of(rows: Sequence[Row]) -> OrderBook:
    """The book with these rows."""
    side, price, quantity, agent = np.array(rows, dtype=np.int64).reshape(-1, 4).T.copy()
    return OrderBook(side.astype(np.int8), price, quantity, agent)


def rows_of(book: OrderBook) -> list[Row]:
    """The rows of a book as Python ints."""
    columns = (book.side, book.price, book.quantity, book.agent)
    return list(zip(*(column.tolist() for column in columns), strict=True))


@st.composite
def rows(
    draw: st.DrawFn, *, max_orders: int = 12, enormous: bool = True, one_each: bool = False
) -> list[Row]:
    """Rows of a book, possibly empty or one-sided.

    An order is drawn as one integer and taken apart, which is several times faster than four.

    Args:
        draw: given by hypothesis.
        max_orders: most orders.
        enormous: one order may exceed all others together.
        one_each: every order has an agent of its own (shuffled), else a few agents share them.
    """
    prices = draw(st.lists(st.sampled_from(PRICES), min_size=1, max_size=4, unique=True))
    base = len(prices) * len(SMALL) * AGENTS
    # One draw for the sides: 0 supply only, 1 demand only, both otherwise.
    sides = draw(st.integers(0, 9))
    codes = draw(st.lists(st.integers(0, 2 * base - 1), max_size=max_orders))
    agents = draw(st.permutations(range(len(codes)))) if one_each else None
    result = []
    for index, code in enumerate(codes):
        rest, is_buy = divmod(code, 2)
        rest, price = divmod(rest, len(prices))
        agent, quantity = divmod(rest, len(SMALL))
        side = SELL if sides == 0 else BUY if sides == 1 else (SELL, BUY)[is_buy]
        owner = agents[index] if agents is not None else agent
        result.append((side, prices[price], SMALL[quantity], owner))
    if enormous and result and draw(st.integers(0, 7)) == 0:
        side, price, _, agent = result[0]
        result[0] = (side, price, ENORMOUS, agent)
    return result


def orders(side: int) -> st.SearchStrategy[Row]:
    """One more order of this side."""
    return st.tuples(
        st.just(side), st.sampled_from(PRICES), st.sampled_from(SMALL), st.integers(0, AGENTS)
    )


def random_book(seed: int, orders: int, *, agents: int | None = None, levels: int = 0) -> OrderBook:
    """A long book drawn by numpy.

    Args:
        seed: of the draw.
        orders: number of orders.
        agents: number of agents they belong to; one order each where None.
        levels: number of distinct prices; prices all over the range where zero.
    """
    rng = np.random.default_rng(seed)
    price = rng.integers(0, 200_001, orders)
    if levels:
        price = rng.choice(np.unique(price)[:: max(1, len(np.unique(price)) // levels)], orders)
    quantity = np.rint(rng.lognormal(13, 2, orders)).astype(np.int64)
    quantity[rng.random(orders) < 0.02] = 0
    agent = rng.permutation(orders) if agents is None else rng.integers(0, agents, orders)
    side = rng.choice(np.array([SELL, BUY], dtype=np.int8), orders)
    return OrderBook(side, price, quantity, agent)
