"""Hypothesis strategies for order books that hit the market's edges often.

Prices come from a few values, so that ties and vertical steps are common; quantities are often
equal, zero or indivisible; several orders share an agent.
"""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from swarm.market.orders import BUY, SELL, OrderBook

from .oracle import Order

FLOOR, CAP = -500_000, 3_000_000
BOUNDS = {"price_floor": FLOOR, "price_cap": CAP}
ENORMOUS_W = 2**52

PRICES = [FLOOR, -1, 0, 1, 7, 10_000, 10_001, 55_000, CAP]
QUANTITIES = [0, 1, 1, 2, 3, 3, 5, 7, 10, 1_000_003, 30_000_000, 10**12]

sides = st.sampled_from([SELL, BUY])
prices = st.sampled_from(PRICES)
quantities = st.one_of(st.sampled_from(QUANTITIES), st.integers(0, 20))
agents = st.integers(0, 4)
orders = st.builds(Order, sides, prices, quantities, agents)
bids = st.builds(Order, st.just(BUY), prices, quantities, agents)
offers = st.builds(Order, st.just(SELL), prices, quantities, agents)


@st.composite
def order_lists(draw: st.DrawFn, max_size: int = 12) -> list[Order]:
    """Up to `max_size` orders, now and then one-sided or with one enormous order."""
    kind = draw(st.sampled_from(["any"] * 7 + ["bids", "offers", "enormous", "enormous"]))
    element = {"bids": bids, "offers": offers}.get(kind, orders)
    found = draw(st.lists(element, max_size=max_size))
    if kind == "enormous":
        at = draw(st.integers(0, len(found)))
        found.insert(at, Order(draw(sides), draw(prices), ENORMOUS_W, draw(agents)))
    return found


@st.composite
def crowded_lists(draw: st.DrawFn) -> list[Order]:
    """Books whose margin is crowded: one or two prices, many agents."""
    few = draw(st.lists(prices, min_size=1, max_size=2, unique=True))
    element = st.builds(Order, sides, st.sampled_from(few), quantities, agents)
    return draw(st.lists(element, min_size=2, max_size=14))


@st.composite
def free_lists(draw: st.DrawFn) -> list[Order]:
    """Any prices between the bounds, any quantities up to a gigawatt."""
    element = st.builds(
        Order, sides, st.integers(FLOOR, CAP), st.integers(0, 10**9), st.integers(0, 30)
    )
    return draw(st.lists(element, max_size=10))


books = st.one_of(order_lists(), order_lists(), crowded_lists(), free_lists())
"""Lists of `Order`; `book_of` makes an `OrderBook` of one."""


def book_of(found: list[Order]) -> OrderBook:
    """The arrays of `found`, in its order."""
    columns = np.array(found, dtype=np.int64).reshape(-1, 4).T
    return OrderBook(columns[0].astype(np.int8), *(column.copy() for column in columns[1:]))
