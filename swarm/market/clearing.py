"""Clearing of one tick's book by merit order: one price from vectorized selection.

The uniform price is where supply sorted up meets demand sorted down. It is the smallest order
price p at which supply at or below p covers demand above p:

    S(<= p) >= D(> p)   <=>   S(<= p) + D(<= p) >= D_total,

the quantity-weighted quantile of all order prices, both sides together, at total demand. So no
side needs sorting: a histogram of prices finds the bin, and only that bin is sorted (linear time).
This is also max(last accepted supply, best rejected bid): the lower end of the interval of
clearing prices where the curves meet on a vertical step, the marginal order's price where one is
partly accepted, and the best unserved bid where supply runs out, so scarcity is priced
(merit order and marginal pricing: Schweppe et al., Spot Pricing of Electricity, 1988).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from swarm.market.exact import exact_dot, share_pro_rata
from swarm.market.orders import BUY, MILLI_PER_UNIT, SELL, WATTS_PER_MW, Float, Int, OrderBook

Status = Literal["cleared", "scarcity", "no_trade"]
HISTOGRAM_BITS = 10
SORT_BELOW = 1024
BLOCK = 2**14
"""Rows binned at a time: what fits the processor's cache."""


@dataclass(frozen=True)
class Clearing:
    """The outcome of one book.

    Attributes:
        price: clearing price in milli-currency per MWh; None where nothing trades.
        accepted: int64 (n,), watts accepted of each order, aligned to the book.
        volume: watts bought, and as many sold.
        status: `cleared`; `scarcity` where all supply is sold and an unserved bid sets the price;
            `no_trade`.
        welfare: sum of accepted bids less accepted offers, in milli-currency-watts per MWh;
            `welfare_usd_per_h` gives it per hour.
        pay: int64 (n,), price each accepted order is settled at, milli-currency per MWh.
    """

    price: int | None
    accepted: Int
    volume: int
    status: Status
    welfare: int
    pay: Int

    @property
    def price_usd_per_mwh(self) -> float | None:
        """The price per MWh in the scenario's currency."""
        return None if self.price is None else self.price / MILLI_PER_UNIT

    @property
    def volume_mw(self) -> float:
        """Volume in MW."""
        return self.volume / WATTS_PER_MW

    @property
    def accepted_mw(self) -> Float:
        """Accepted quantities in MW, (n,)."""
        return self.accepted / WATTS_PER_MW

    @property
    def welfare_usd_per_h(self) -> float:
        """Welfare per hour in the scenario's currency."""
        return self.welfare / (MILLI_PER_UNIT * WATTS_PER_MW)


class Mechanism(Protocol):
    """A market mechanism: a book in, a clearing out."""

    def __call__(
        self, book: OrderBook, *, price_floor: int, price_cap: int, vertical_step: str = "lower"
    ) -> Clearing:
        """Clear `book`; prices in milli-currency per MWh."""


def clear(
    book: OrderBook, *, price_floor: int, price_cap: int, vertical_step: str = "lower"
) -> Clearing:
    """Clear at one uniform price. Permutation of the book changes nothing.

    Orders at the margin share pro rata by agent: largest remainder, then lowest agent index.
    Several orders of one agent at the margin are added up first, then filled in book order.

    Args:
        book: the orders.
        price_floor: least price allowed, milli-currency per MWh.
        price_cap: highest price allowed, milli-currency per MWh.
        vertical_step: `lower` end or `midpoint` of the interval of clearing prices.

    Raises:
        ValueError: where the floor is above the cap, an order's price is outside the two, or
            `vertical_step` is unknown.
    """
    if price_floor > price_cap:
        raise ValueError(f"price_floor {price_floor} is above price_cap {price_cap}")
    if vertical_step not in ("lower", "midpoint"):
        raise ValueError(f"vertical_step {vertical_step!r} is neither 'lower' nor 'midpoint'")
    _refuse_outside(book.price, price_floor, price_cap)
    total = int(book.quantity.sum())
    demand_total = (total - int(np.einsum("i,i", book.side, book.quantity))) // 2
    if demand_total == 0:
        return _no_trade(book)

    margin = weighted_quantile(book.price, book.quantity, demand_total)
    sells = book.side == SELL
    # A product: choosing by a mask in random order costs several times more.
    accepted = book.quantity * (sells == (book.price < margin))
    at = np.flatnonzero(book.price == margin)
    accepted[at] = 0
    both, net = int(accepted.sum()), int(np.einsum("i,i", book.side, accepted))
    supply_below, demand_above = (both + net) // 2, (both - net) // 2
    at_sell, at_buy = at[sells[at]], at[~sells[at]]
    supply = supply_below + int(book.quantity[at_sell].sum())
    demand = demand_above + int(book.quantity[at_buy].sum())
    volume = min(supply, demand)
    if volume == 0:
        return _no_trade(book)

    _fill_margin(book, at_sell, volume - supply_below, accepted)
    _fill_margin(book, at_buy, volume - demand_above, accepted)
    limit = max(-price_floor, price_cap) * 2 * volume
    welfare = -exact_dot(book.side, book.price, accepted, limit)
    all_sold = volume == total - demand_total
    status: Status = "scarcity" if all_sold and volume < demand else "cleared"
    found = margin
    if vertical_step == "midpoint":
        found = (margin + _upper_end(book, sells, accepted)) // 2
    pay = np.broadcast_to(np.int64(found), len(book))
    return Clearing(found, accepted, volume, status, welfare, pay)


def pay_as_bid(
    book: OrderBook, *, price_floor: int, price_cap: int, vertical_step: str = "lower"
) -> Clearing:
    """Accept as `clear` does, but pay every seller its own offer.

    Buyers all pay the volume-weighted mean of the accepted offers (at most the uniform price, so
    at most their bid), rounded to the grid; the market books the residue to rounding.
    """
    uniform = clear(book, price_floor=price_floor, price_cap=price_cap, vertical_step=vertical_step)
    if uniform.price is None:
        return uniform
    sells = book.side == SELL
    revenue = exact_dot(sells, book.price, uniform.accepted)
    mean = (2 * revenue + uniform.volume) // (2 * uniform.volume)
    pay = np.where(sells, book.price, mean)
    return Clearing(mean, uniform.accepted, uniform.volume, uniform.status, uniform.welfare, pay)


MECHANISMS: dict[str, Mechanism] = {"uniform_price": clear, "pay_as_bid": pay_as_bid}


def weighted_quantile(price: Int, weight: Int, target: int) -> int:
    """Smallest price p with sum of weights at prices <= p of at least `target`.

    Args:
        price: int64 (n,), any order.
        weight: int64 (n,), zero or more; their sum is at most 2**53 and at least `target`.
        target: above zero.
    """
    reached = 0
    # Bin sums in float64 are exact below 2**53. Each round keeps one bin of the last one.
    while len(price) > SORT_BELOW:
        low, high = int(price.min()), int(price.max())
        if low == high:
            return low
        shift = max(0, (high - low).bit_length() - HISTOGRAM_BITS)
        weights = np.zeros(2**HISTOGRAM_BITS)
        for start in range(0, len(price), BLOCK):
            rows = slice(start, start + BLOCK)
            weights += np.bincount((price[rows] - low) >> shift, weight[rows], len(weights))
        sums = np.cumsum(weights).astype(np.int64)
        hit = int(np.searchsorted(sums, target - reached))
        reached += int(sums[hit - 1]) if hit else 0
        first = low + (hit << shift)
        inside = (price >= first) & (price < first + (1 << shift))
        price, weight = price[inside], weight[inside]
    order = np.argsort(price)
    sums = np.cumsum(weight[order])
    return int(price[order[np.searchsorted(sums, target - reached)]])


def _no_trade(book: OrderBook) -> Clearing:
    nothing = np.zeros(len(book), dtype=np.int64)
    return Clearing(None, nothing, 0, "no_trade", 0, nothing)


def _fill_margin(book: OrderBook, index: Int, amount: int, accepted: Int) -> None:
    """Write the pro rata shares of `amount` into `accepted` at rows `index`."""
    if amount == 0:
        return
    if len(index) == 1:
        accepted[index] = amount
        return
    quantity = book.quantity[index]
    agents, owner = np.unique(book.agent[index], return_inverse=True)
    if len(agents) == len(index):
        accepted[index] = share_pro_rata(quantity, book.agent[index], amount)
        return
    # bincount adds in float64, exact below 2**53.
    of_agent = np.bincount(owner, weights=quantity).astype(np.int64)
    share = share_pro_rata(of_agent, agents, amount)
    by_agent = np.argsort(owner, kind="stable")
    placed = quantity[by_agent]
    before = np.cumsum(placed) - placed
    first = np.concatenate(([True], np.diff(owner[by_agent]) > 0))
    before -= np.maximum.accumulate(np.where(first, before, 0))
    accepted[index[by_agent]] = np.clip(share[owner[by_agent]] - before, 0, placed)


def _upper_end(book: OrderBook, sells: np.ndarray, accepted: Int) -> int:
    """min(lowest accepted bid, best rejected offer), milli-currency per MWh."""
    bound = np.where(sells, accepted < book.quantity, accepted > 0)
    return int(book.price[bound].min())


def _refuse_outside(price: Int, floor: int, cap: int) -> None:
    if len(price) and (price.min() < floor or price.max() > cap):
        row = int(np.flatnonzero((price < floor) | (price > cap))[0])
        raise ValueError(
            f"price[{row}] = {int(price[row])} is outside the bounds {floor}..{cap} "
            "(milli-currency per MWh)"
        )


__all__ = ["BUY", "MECHANISMS", "SELL", "Clearing", "Mechanism", "OrderBook", "clear", "pay_as_bid"]
