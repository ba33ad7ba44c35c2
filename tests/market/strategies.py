"""Hypothesis strategies for order books that hit the market's edges often.

Prices come from a few values, so that ties and vertical steps are common; quantities are often
equal, zero, indivisible or enormous; several orders share an agent. Every order is one draw, which
is several times faster than one draw a field.
"""

from __future__ import annotations

from itertools import combinations_with_replacement, product

import numpy as np
from hypothesis import strategies as st

from swarm.market.clearing import Clearing, clear
from swarm.market.orders import BUY, SELL, OrderBook

from .oracle import Order

FLOOR, CAP = -500_000, 3_000_000
BOUNDS = {"price_floor": FLOOR, "price_cap": CAP}
ENORMOUS_W = 2**49
MOST_ORDERS = 12
"""So many enormous orders still make a book that is not refused."""

PRICES = [FLOOR, -1, 0, 1, 7, 10_000, 10_001, 55_000, CAP]
QUANTITIES = [0, 1, 2, 3, 5, 7, 10, 1_000_003, 30_000_000, 10**12, ENORMOUS_W]

VERTICAL_STEP = [
    Order(SELL, 10_000, 10, 0),
    Order(SELL, 30_000, 10, 1),
    Order(BUY, 50_000, 10, 2),
    Order(BUY, 20_000, 10, 3),
]
"""The curves meet on a step from 20 to 30: clears at its lower end, or at 25 in the middle."""


def _any_of(sides: list[int], prices: list[int], agents: int) -> st.SearchStrategy[Order]:
    columns = product(sides, prices, QUANTITIES, range(agents))
    return st.sampled_from([Order(*row) for row in columns])


def _free(code: int) -> Order:
    """An order with any price between the bounds and any quantity under a gigawatt."""
    code, side = divmod(code, 2)
    code, agent = divmod(code, 30)
    quantity, price = divmod(code, CAP - FLOOR + 1)
    return Order((SELL, BUY)[side], FLOOR + price, quantity, agent)


prices = st.sampled_from(PRICES)
orders = _any_of([SELL, BUY], PRICES, 4)
bids = _any_of([BUY], PRICES, 4)
offers = _any_of([SELL], PRICES, 4)
free_orders = st.integers(0, 2 * 30 * (CAP - FLOOR + 1) * 10**9 - 1).map(_free)

crowds = st.lists(_any_of([SELL, BUY], [-1, 7], 8), min_size=2, max_size=MOST_ORDERS)
"""Books whose margin is crowded: two prices, many agents."""

books = st.one_of(
    st.lists(orders, max_size=MOST_ORDERS),
    crowds,
    st.lists(free_orders, max_size=MOST_ORDERS),
    st.lists(bids, max_size=3),
    st.lists(offers, max_size=3),
)
"""Lists of `Order`; `book_of` makes an `OrderBook` of one."""

_CROSSING = [
    (Order(SELL, ask, sold, agent), Order(BUY, bid, bought, 3 - agent))
    for ask, bid in combinations_with_replacement(PRICES, 2)
    for sold, bought in product(QUANTITIES[1:], repeat=2)
    for agent in range(4)
]
trading_books = st.builds(
    lambda pair, found: [pair[0], *found, pair[1]], st.sampled_from(_CROSSING), books
)
"""Books in which something trades for certain."""

MOST_SOLVABLE_W = 10**10


def solvable(found: list[Order]) -> list[Order]:
    """The same with quantities that the linear program's solver handles, see `oracle.solve`."""
    return [order._replace(quantity=min(order.quantity, MOST_SOLVABLE_W)) for order in found]


def book_of(found: list[Order]) -> OrderBook:
    """The arrays of `found`, in its order."""
    columns = np.array(found, dtype=np.int64).reshape(-1, 4).T
    return OrderBook(columns[0].astype(np.int8), *(column.copy() for column in columns[1:]))


def cleared(found: list[Order], **options: str) -> Clearing:
    """`clear` of `found` between the bounds."""
    return clear(book_of(found), **BOUNDS, **options)
