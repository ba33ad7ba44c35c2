"""The order book: every offer of one tick as aligned arrays on the market's integer grid.

Prices are int64 milli-currency per MWh, quantities int64 watts, so that sums are exact and the
order of arrival cannot matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]

SELL = 1
BUY = -1
MILLI_PER_UNIT = 1_000
WATTS_PER_MW = 1_000_000
MAX_PRICE_MILLI = 2**31 - 1
"""Largest price the grid carries, about 2.1 million per MWh."""
MAX_TOTAL_W = 2**53
"""Largest sum of quantities in one book, about 9 billion MW: sums stay exact in float64 too."""
COLUMN_TYPES = {"side": np.int8, "price": np.int64, "quantity": np.int64, "agent": np.int64}


def to_milli(price_per_mwh: ArrayLike) -> Int:
    """Prices per MWh as int64 milli-currency per MWh, rounded half to even; any shape.

    Raises:
        ValueError: where a price is NaN, infinite or beyond `MAX_PRICE_MILLI`.
    """
    price = np.asarray(price_per_mwh, dtype=np.float64)
    _refuse(~np.isfinite(price), price, "price", "is not a finite number")
    _refuse(np.abs(price) > MAX_PRICE_MILLI / MILLI_PER_UNIT, price, "price", "is out of range")
    return np.rint(price * MILLI_PER_UNIT).astype(np.int64)


def to_watts(quantity_mw: ArrayLike) -> Int:
    """Quantities in MW as int64 watts, rounded half to even; any shape.

    Raises:
        ValueError: where a quantity is NaN, infinite, negative or beyond `MAX_TOTAL_W`.
    """
    quantity = np.asarray(quantity_mw, dtype=np.float64)
    _refuse(~np.isfinite(quantity), quantity, "quantity", "is not a finite number")
    _refuse(quantity < 0, quantity, "quantity", "is negative")
    _refuse(quantity > MAX_TOTAL_W / WATTS_PER_MW, quantity, "quantity", "is out of range")
    return np.rint(quantity * WATTS_PER_MW).astype(np.int64)


@dataclass(frozen=True)
class OrderBook:
    """Orders of one tick, aligned on the first axis.

    Attributes:
        side: int8 (n,), `SELL` (+1: generation, discharge, reduction) or `BUY` (-1).
        price: int64 (n,), limit price in milli-currency per MWh.
        quantity: int64 (n,), watts, zero or more.
        agent: int64 (n,), global index of the agent that placed the order.
    """

    side: NDArray[np.int8]
    price: Int
    quantity: Int
    agent: Int

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in COLUMN_TYPES}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the columns of an order book differ in length: {lengths}")
        for name, kind in COLUMN_TYPES.items():
            got = getattr(self, name).dtype
            if got != kind:
                raise ValueError(f"{name} must be {np.dtype(kind)} on the market's grid, got {got}")
        _refuse(np.abs(self.side) != 1, self.side, "side", "is neither +1 (sell) nor -1 (buy)")
        _refuse(self.quantity < 0, self.quantity, "quantity", "is negative")
        beyond = (self.price < -MAX_PRICE_MILLI) | (self.price > MAX_PRICE_MILLI)
        _refuse(beyond, self.price, "price", "is out of range")
        _refuse(self.agent < 0, self.agent, "agent", "is negative")
        # The float sum cannot wrap around but rounds; where it is in range, the other is exact.
        total_w = self.quantity.sum(dtype=np.float64)
        if total_w > MAX_TOTAL_W or int(self.quantity.sum()) > MAX_TOTAL_W:
            raise ValueError(
                f"the quantities of this book sum to more than {MAX_TOTAL_W} W, "
                "where exact sums could overflow"
            )

    def __len__(self) -> int:
        return len(self.side)

    @classmethod
    def from_mw(
        cls,
        side: ArrayLike,
        price_usd_per_mwh: ArrayLike,
        quantity_mw: ArrayLike,
        agent: ArrayLike,
    ) -> OrderBook:
        """A book from prices per MWh (in the scenario's currency) and quantities in MW, shape (n,).

        Raises:
            ValueError: for NaN, infinite or out-of-range values, negative quantities or agents,
                sides or agents that are no whole numbers, or columns of different length; the
                message names the column and the first bad row.
        """
        return cls(
            side=_whole(side, "side", np.int8),
            price=to_milli(price_usd_per_mwh).reshape(-1),
            quantity=to_watts(quantity_mw).reshape(-1),
            agent=_whole(agent, "agent", np.int64),
        )

    @classmethod
    def empty(cls) -> OrderBook:
        """A book without orders."""
        return cls.from_mw([], [], [], [])


def _whole(values: ArrayLike, name: str, kind: type[np.int8] | type[np.int64]) -> NDArray[Any]:
    """The values as integers of `kind`, flat; a cast alone would truncate and wrap around."""
    given = np.asarray(values).reshape(-1)
    if given.dtype.kind not in "iuf":
        given = given.astype(np.float64)
    with np.errstate(invalid="ignore"):
        whole = given.astype(kind)
    _refuse(whole != given, given, name, f"is not a whole number that fits {np.dtype(kind)}")
    return whole


def _refuse(bad: NDArray[np.bool_], values: NDArray[np.generic], name: str, what: str) -> None:
    if np.any(bad):
        row = int(np.flatnonzero(bad)[0])
        value = np.atleast_1d(values).reshape(-1)[row]
        raise ValueError(f"{name}[{row}] = {value} {what}")
