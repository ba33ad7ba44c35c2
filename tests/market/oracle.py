"""Independent references for the market: a greedy walk in Python integers, and a linear program.

Nothing here shares code or formula with `swarm.market`: the walk matches the cheapest offer with
the best bid until they part, the program is solved by HiGHS.
"""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog


class Order(NamedTuple):
    """One order on the market's grid."""

    side: int
    price: int
    quantity: int
    agent: int


class Walk(NamedTuple):
    """What the walk found; `price` and `upper` are the ends of the interval of prices."""

    price: int | None
    upper: int | None
    volume: int
    accepted: list[int]
    welfare: int
    scarcity: bool


def walk(orders: list[Order]) -> Walk:
    """Clear by matching the cheapest offer with the best bid until they part.

    The price is the lower end of the interval: max(last accepted offer, best rejected bid).
    """
    offers = sorted((o for o in orders if o.side > 0 and o.quantity), key=lambda o: o.price)
    bids = sorted((o for o in orders if o.side < 0 and o.quantity), key=lambda o: -o.price)
    volume = welfare = i = j = 0
    left_offer = offers[0].quantity if offers else 0
    left_bid = bids[0].quantity if bids else 0
    while i < len(offers) and j < len(bids) and offers[i].price <= bids[j].price:
        last_offer, last_bid = offers[i].price, bids[j].price
        traded = min(left_offer, left_bid)
        volume += traded
        welfare += traded * (last_bid - last_offer)
        left_offer -= traded
        left_bid -= traded
        if left_offer == 0:
            i += 1
            left_offer = offers[i].quantity if i < len(offers) else 0
        if left_bid == 0:
            j += 1
            left_bid = bids[j].quantity if j < len(bids) else 0
    if volume == 0:
        return Walk(None, None, 0, [0] * len(orders), 0, False)
    lower = max([last_offer, *(bid.price for bid in bids[j : j + 1])])
    upper = min([last_bid, *(offer.price for offer in offers[i : i + 1])])
    accepted = _accept(orders, 1, volume)
    for row, watts in enumerate(_accept(orders, -1, volume)):
        accepted[row] += watts
    # Nothing is left on offer, and the best bid not served sets the price.
    scarcity = i == len(offers) and j < len(bids) and bids[j].price == lower
    return Walk(lower, upper, volume, accepted, welfare, scarcity)


def _accept(orders: list[Order], side: int, volume: int) -> list[int]:
    """Fill price levels in merit order; the last one pro rata by agent, then in book order."""
    accepted = [0] * len(orders)
    levels: dict[int, list[int]] = defaultdict(list)
    for row, order in enumerate(orders):
        if order.side == side:
            levels[order.price].append(row)
    left = volume
    for price in sorted(levels, reverse=side < 0):
        of_agent: dict[int, int] = defaultdict(int)
        for row in levels[price]:
            of_agent[orders[row].agent] += orders[row].quantity
        amount = min(left, sum(of_agent.values()))
        share = largest_remainder(of_agent, amount)
        for row in levels[price]:
            order = orders[row]
            accepted[row] = min(order.quantity, share[order.agent])
            share[order.agent] -= accepted[row]
        left -= amount
    return accepted


def largest_remainder(quantity: dict[int, int], amount: int) -> dict[int, int]:
    """Share `amount` in proportion to `quantity`: Hamilton's method in exact fractions.

    What the floors leave goes to the largest remainders, among equals to the lowest key.
    """
    total = sum(quantity.values())
    if total == 0:
        return dict.fromkeys(quantity, 0)
    exact = {key: Fraction(value * amount, total) for key, value in quantity.items()}
    share = {key: int(value) for key, value in exact.items()}
    ranked = sorted(quantity, key=lambda key: (share[key] - exact[key], key))
    for key in ranked[: amount - sum(share.values())]:
        share[key] += 1
    return share


class Optimum(NamedTuple):
    """The linear program's answer, in milli-currency per MWh and watts."""

    welfare: float
    lowest_price: float
    highest_price: float
    dual_price: float


def solve(orders: list[Order]) -> Optimum:
    """Greatest welfare by HiGHS, and the prices that support it.

    The interval of supporting prices is complementary slackness applied to HiGHS's own dispatch: a
    bid that is served bounds the price from above, one that is not fully served from below, and
    the reverse for offers. It is -inf..inf where nothing bounds it.

    HiGHS works to absolute tolerances: beside more than about 10 GW it may lose a single watt or
    give no answer, so keep quantities below that here.
    """
    if not orders:
        return Optimum(0.0, -np.inf, np.inf, 0.0)
    side = np.array([order.side for order in orders], dtype=float)
    price = np.array([order.price for order in orders], dtype=float)
    quantity = np.array([order.quantity for order in orders], dtype=float)
    found = linprog(
        c=side * price,
        A_eq=side[None, :],
        b_eq=[0.0],
        bounds=np.column_stack([np.zeros(len(orders)), quantity]),
        method="highs",
    )
    assert found.status == 0, found.message
    # Whole watts: every vertex is whole, so half a watt tells apart.
    served, unserved = found.x > 0.5, found.x < quantity - 0.5
    below = np.where(side > 0, served, unserved)
    above = np.where(side > 0, unserved, served)
    return Optimum(
        welfare=-float(found.fun),
        lowest_price=float(price[below].max(initial=-np.inf)),
        highest_price=float(price[above].min(initial=np.inf)),
        dual_price=float(found.eqlin.marginals[0]),
    )


def dual_welfare(orders: list[Order], price: int) -> int:
    """Surplus everybody could want at `price`, exactly: never below the greatest welfare.

    By weak duality; equality with the welfare of a dispatch proves both the dispatch and the price
    optimal, without a solver.
    """
    return sum(max(0, o.side * (price - o.price)) * o.quantity for o in orders)
