"""Two references for the clearing that share nothing with it.

`walk` is the textbook merit order in Python ints: sort, match the best bid with the best offer
while they cross, share ties by exact fractions. `solve` is the welfare maximum as a linear program.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from books import Row
from scipy.optimize import linprog
from swarm.market import BUY, SELL, OrderBook


@dataclass(frozen=True)
class Walked:
    """What the textbook says of a book: see `Clearing`; `upper` is the highest clearing price."""

    price: int | None
    upper: int | None
    volume: int
    status: str
    welfare: int
    accepted: list[int]


def walk(rows: list[Row]) -> Walked:
    """Merit order by sorting and matching one pair at a time."""
    offers = sorted(
        (i for i, row in enumerate(rows) if row[0] == SELL and row[2]), key=lambda i: rows[i][1]
    )
    bids = sorted(
        (i for i, row in enumerate(rows) if row[0] == BUY and row[2]), key=lambda i: -rows[i][1]
    )
    rest = [row[2] for row in rows]
    s = b = volume = 0
    while s < len(offers) and b < len(bids) and rows[offers[s]][1] <= rows[bids[b]][1]:
        traded = min(rest[offers[s]], rest[bids[b]])
        volume += traded
        rest[offers[s]] -= traded
        rest[bids[b]] -= traded
        s += rest[offers[s]] == 0
        b += rest[bids[b]] == 0
    if volume == 0:
        return Walked(None, None, 0, "no_trade", 0, [0] * len(rows))

    matched = [row[2] - left for row, left in zip(rows, rest, strict=True)]
    sold_at = [rows[i][1] for i in offers if matched[i]]
    bought_at = [rows[i][1] for i in bids if matched[i]]
    unsold_at = [rows[i][1] for i in offers if rest[i]]
    unserved_at = [rows[i][1] for i in bids if rest[i]]
    price = max(sold_at + unserved_at[:1])
    scarce = not unsold_at and unserved_at and unserved_at[0] >= max(sold_at)
    accepted = [0] * len(rows)
    for side, worst in ((SELL, max(sold_at)), (BUY, min(bought_at))):
        _share_ties(rows, side, worst, matched, accepted)
    return Walked(
        price=price,
        upper=min(bought_at + unsold_at[:1]),
        volume=volume,
        status="scarcity" if scarce else "cleared",
        welfare=sum(-row[0] * row[1] * q for row, q in zip(rows, accepted, strict=True)),
        accepted=accepted,
    )


def _share_ties(
    rows: list[Row], side: int, worst: int, matched: list[int], accepted: list[int]
) -> None:
    """Fill `accepted` for one side: matched in full above the worst price, shared out at it."""
    tied = [i for i, row in enumerate(rows) if row[0] == side and row[1] == worst]
    for i, row in enumerate(rows):
        if row[0] == side and row[1] != worst:
            accepted[i] = matched[i]
    of_agent: dict[int, int] = defaultdict(int)
    for i in tied:
        of_agent[rows[i][3]] += rows[i][2]
    left = largest_remainder(of_agent, sum(matched[i] for i in tied))
    for i in tied:
        accepted[i] = min(rows[i][2], left[rows[i][3]])
        left[rows[i][3]] -= accepted[i]


def largest_remainder(weight: dict[int, int], amount: int) -> dict[int, int]:
    """Hare quota: floors of the exact shares, what is left by largest remainder, then key."""
    total = sum(weight.values())
    exact = {key: Fraction(amount * w, total) for key, w in weight.items()}
    share = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (share[key] - exact[key], key))
    for key in by_remainder[: amount - sum(share.values())]:
        share[key] += 1
    return share


@dataclass(frozen=True)
class Optimum:
    """Solution of the welfare maximum: its value and the quantity of every order, float64 (n,)."""

    welfare: float
    quantity: np.ndarray


def solve(book: OrderBook) -> Optimum:
    """Maximize accepted bids less accepted offers, supply equal to demand, by HiGHS.

    Quantities are scaled to the largest of the book and prices to per MWh: solvers have absolute
    tolerances.
    """
    if len(book) == 0:
        return Optimum(0.0, np.zeros(0))
    scale = max(int(book.quantity.max()), 1)
    side = book.side.astype(np.float64)
    result = linprog(
        side * book.price / 1_000,
        A_eq=side[None, :],
        b_eq=[0.0],
        bounds=np.column_stack((np.zeros(len(book)), book.quantity / scale)),
        method="highs",
    )
    assert result.status == 0, result.message
    return Optimum(-result.fun * scale * 1_000, result.x * scale)


def sum_by_agent(agent: Iterable[int], value: Iterable[int]) -> dict[int, int]:
    """Sums per agent in Python ints, agents without any left out."""
    sums: dict[int, int] = defaultdict(int)
    for a, v in zip(agent, value, strict=True):
        sums[int(a)] += int(v)
    return {a: v for a, v in sums.items() if v}
