"""A negotiation from first call to filled orders, with agents that answer along their orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.market.curves import Curves, Sums, total
from swarm.market.negotiation import Agreement, Negotiated, negotiate, share
from swarm.market.orders import OrderBook
from swarm.messages import Orders
from swarm.scenario.negotiation import Negotiation

from .oracle import Order
from .strategies import CAP, FLOOR, book_of

PATIENT = Negotiation(max_rounds=200)
"""More rounds than any search needs."""


@dataclass(frozen=True)
class Deal:
    """What came of it; `accepted` is int64 (n,), aligned to the orders that were given."""

    negotiated: Negotiated
    agreement: Agreement
    accepted: np.ndarray
    heard: list[Sums]


def bargain(
    book: OrderBook,
    *,
    floor: int = FLOOR,
    cap: int = CAP,
    start_price: int = 0,
    rules: Negotiation = PATIENT,
    hosts: Sequence[int] = (),
    slowest_ms: int = 0,
) -> Deal:
    """Negotiate between the agents of `book`; agent a lives on host `hosts[a % len(hosts)]`."""
    home = np.array(hosts or [0])[book.agent % max(1, len(hosts))]
    rows = [np.flatnonzero(home == host) for host in sorted(set(home.tolist()) or {0})]
    curves = [
        Curves(
            Orders(book.side[own], book.price[own], book.quantity[own], book.agent[own]),
            answered=len(np.unique(book.agent[own])),
            slowest_ms=slowest_ms,
        )
        for own in rows
    ]
    heard: list[Sums] = []

    def ask(price: int) -> Sums:
        heard.append(total(curve.sums(price) for curve in curves))
        return heard[-1]

    found = negotiate(ask, start_price=start_price, floor=floor, cap=cap, rules=rules)
    final = ask(found.price)
    parts = [curve.quantities(found.price) for curve in curves]
    agreement = share(parts, found.price, final.dearer_supply_w)
    accepted = np.zeros(len(book), dtype=np.int64)
    for own, curve in zip(rows, curves, strict=True):
        accepted[own] = curve.fill(found.price, agreement.awards)
    return Deal(found, agreement, accepted, heard)


def bargained(found: list[Order], **options: object) -> Deal:
    """`bargain` over the orders of `found`."""
    return bargain(book_of(found), **options)  # type: ignore[arg-type]
