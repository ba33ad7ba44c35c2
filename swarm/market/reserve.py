"""Reserve, bought before energy, and what it takes out of the energy orders.

Each product of `RESERVE_PRODUCTS` is a book of its own: the agents' offers against one bid of the
operator at its price cap, cleared as energy is, at one price for all (availability payment). Where
the offers are less than what is asked for, the cap is the price. An agent promises that it can hold
the sum of its offers of one direction, so the products do not depend on one another; what it sells
beyond its spare power then leaves its energy orders, the least likely to trade first. This is
sequential procurement, reserve before energy (Kirschen and Strbac, Fundamentals of Power System
Economics, 2nd ed. 2018, chapter 6).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from swarm.market.clearing import clear
from swarm.market.orders import BUY, SELL, Int, OrderBook
from swarm.messages import DOWN, RESERVE_PRODUCTS, UP, ReserveOffers

PRODUCTS = len(RESERVE_PRODUCTS)
NO_PRICES: tuple[int | None, ...] = (None,) * PRODUCTS
_DIRECTION = np.array([int(product in DOWN) for product in range(PRODUCTS)])
"""Of each product: 0 up, 1 down."""


@dataclass(frozen=True)
class ReserveContracts:
    """Reserve bought for one tick.

    Attributes:
        offers: every offer, as given.
        bought_w: int64 (offers,), what was bought of each.
        price_milli: clearing price of each product, milli-currency per MW and hour; None where
            nothing was bought.
        sold_w: int64 (n, products), what each agent sold.
    """

    offers: ReserveOffers
    bought_w: Int
    price_milli: tuple[int | None, ...]
    sold_w: Int

    def total_w(self) -> tuple[int, ...]:
        """Watts bought of each product."""
        return tuple(self.sold_w.sum(axis=0).tolist())

    def energy_prices(self, reference: int) -> tuple[Int, Int]:
        """Price of energy activated upwards and downwards, int64 (n,) each, milli-currency per MWh.

        The reference, or where that is better for the agent the energy price of what it sold: the
        highest of its prices upwards, the lowest downwards.

        Args:
            reference: milli-currency per MWh.
        """
        offers, found = self.offers, []
        for direction, better in enumerate((np.maximum, np.minimum)):
            price: Int = np.full(len(self.sold_w), reference, dtype=np.int64)
            rows = (_DIRECTION[offers.product] == direction) & (self.bought_w > 0)
            better.at(price, offers.agent[rows], offers.energy_price[rows])
            found.append(price)
        return found[0], found[1]


def buy_reserve(
    offers: ReserveOffers, asked_w: tuple[int, ...], price_cap: int, agents: int
) -> ReserveContracts:
    """Clear each product; neither the order of agents nor a split of an offer matters.

    Offers above the cap are not bought. Ties at the margin are shared as in `clear`.

    Args:
        offers: of all agents, each agent's own in the order sent.
        asked_w: watts asked for, by product.
        price_cap: most the operator pays, milli-currency per MW and hour.
        agents: number of agents n.

    Raises:
        ValueError: where a column differs in length, an agent or product does not exist, a
            quantity, price or spare is negative, or rows of one agent and direction differ in
            spare.
    """
    _check(offers, agents)
    bought = np.zeros(len(offers.agent), dtype=np.int64)
    sold = np.zeros((agents, PRODUCTS), dtype=np.int64)
    prices: list[int | None] = []
    for product, asked in enumerate(asked_w):
        rows = np.flatnonzero((offers.product == product) & (offers.price <= price_cap))
        book = OrderBook(
            side=np.append(np.full(len(rows), SELL, np.int8), np.int8(BUY)),
            price=np.append(offers.price[rows], price_cap),
            quantity=np.append(offers.quantity[rows], asked),
            agent=np.append(offers.agent[rows], agents),
        )
        cleared = clear(book, price_floor=0, price_cap=price_cap)
        bought[rows] = cleared.accepted[:-1]
        prices.append(cleared.price)
    np.add.at(sold, (offers.agent, offers.product), bought)
    return ReserveContracts(offers, bought, tuple(prices), sold)


def without_reserve(book: OrderBook, contracts: ReserveContracts) -> OrderBook:
    """The energy orders less what the reserve sold needs of them.

    Reserve upwards beyond the agent's spare power leaves its dearest sell orders, reserve
    downwards its cheapest buy orders; among equals the later one first.

    Args:
        book: orders sorted by agent; accounts after the last agent keep theirs.
        contracts: the reserve sold.
    """
    needed = _needed(contracts)
    taken = _taken(book, SELL, needed[:, 0]) + _taken(book, BUY, needed[:, 1])
    return OrderBook(book.side, book.price, book.quantity - taken, book.agent)


def _needed(contracts: ReserveContracts) -> Int:
    """Watts of reserve up and down beyond the agent's spare power, int64 (n, 2)."""
    offers, sold_w = contracts.offers, contracts.sold_w
    spare = np.zeros((len(sold_w), 2), dtype=np.int64)
    spare[offers.agent, _DIRECTION[offers.product]] = offers.spare
    sold = np.stack([sold_w[:, UP].sum(axis=1), sold_w[:, DOWN].sum(axis=1)], axis=1)
    return np.maximum(sold - spare, 0)


def _taken(book: OrderBook, side: int, needed: Int) -> Int:
    """Watts taken out of each order of one side, int64 (orders,)."""
    needed = np.append(needed, np.zeros(1, dtype=np.int64))
    taken = np.zeros(len(book), dtype=np.int64)
    # Every account after the last agent needs nothing.
    of_order = needed[np.minimum(book.agent, len(needed) - 1)]
    # Backwards, and the sort is stable: the later of two equal orders comes first.
    rows = np.flatnonzero((book.side == side) & (of_order > 0))[::-1]
    rows = rows[np.lexsort((-side * book.price[rows], book.agent[rows]))]
    if len(rows):
        quantity = book.quantity[rows]
        before = np.cumsum(quantity) - quantity
        first = np.concatenate(([True], np.diff(book.agent[rows]) > 0))
        before -= np.maximum.accumulate(np.where(first, before, 0))
        taken[rows] = np.clip(of_order[rows] - before, 0, quantity)
    return taken


def _check(offers: ReserveOffers, agents: int) -> None:
    lengths = {field.name: len(getattr(offers, field.name)) for field in fields(offers)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns of reserve offers differ in length: {lengths}")
    _refuse(offers, "agent", (offers.agent < 0) | (offers.agent >= agents), f"0..{agents - 1}")
    bad = (offers.product < 0) | (offers.product >= PRODUCTS)
    _refuse(offers, "product", bad, f"0..{PRODUCTS - 1}")
    for name in ("quantity", "price", "spare"):
        _refuse(offers, name, getattr(offers, name) < 0, "zero or more")
    direction = _DIRECTION[offers.product]
    spare = np.zeros((agents, 2), dtype=np.int64)
    spare[offers.agent, direction] = offers.spare
    differs = spare[offers.agent, direction] != offers.spare
    _refuse(offers, "spare", differs, "the same in every row of the agent and direction")


def _refuse(offers: ReserveOffers, name: str, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"reserve offer {row} of agent {int(offers.agent[row])}: "
            f"{name} = {int(getattr(offers, name)[row])}, expected {expected}"
        )
