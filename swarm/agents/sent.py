"""What a shard offered for a tick, and how what was accepted of it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from swarm.market.orders import OrderBook
from swarm.market.reserve import NO_PRICES, ReserveContracts, without_reserve
from swarm.messages import DOWN, NOTHING, UP, Codes, Int, Orders, ReserveOffers
from swarm.trust.holder import no_reserve


@dataclass(frozen=True)
class Sent:
    """Offers of a shard for one tick.

    Attributes:
        price_milli: int64 (n, slots).
        asked_w: int64 (n, slots), what the traders wanted, zero where there is no order.
        offered_w: int64 (n, slots), what their policies let through, and was sent.
        reserve: None where nobody offers any.
    """

    price_milli: Int
    asked_w: Int
    offered_w: Int
    reserve: ReserveOffers | None = None

    @classmethod
    def nothing(cls, agents: int, slots: int) -> Self:
        """No offers."""
        none = np.zeros((agents, slots), dtype=np.int64)
        return cls(none, none, none)

    @property
    def rows(self) -> tuple[int, int]:
        """How many orders and how many reserve offers there are."""
        reserve = 0 if self.reserve is None else len(self.reserve.agent)
        return int(np.count_nonzero(self.offered_w)), reserve

    def accepted(self, accepted_w: Int) -> Int:
        """What was accepted of each order by agent and slot, int64 (n, slots)."""
        accepted = np.zeros_like(self.offered_w)
        accepted[np.nonzero(self.offered_w)] = accepted_w
        return accepted

    def sold(self, reserve_w: Int, first: int) -> Int:
        """Reserve sold by agent and product, int64 (n, 4), from what was sold of each offer."""
        sold = no_reserve(len(self.offered_w))
        if self.reserve is not None:
            np.add.at(sold, (self.reserve.agent - first, self.reserve.product), reserve_w)
        return sold

    def less_reserve(self, reserve_w: Int, sides: Sequence[int], first: int) -> Int:
        """Watts of each order after what reserve takes of it; see `without_reserve`."""
        row, slot = np.nonzero(self.offered_w)
        quantity = self.offered_w[row, slot]
        if self.reserve is None:
            return quantity
        # Only quantities change, and which goes first depends on price.
        side = np.array(sides, dtype=np.int8)[slot]
        book = OrderBook(side, self.price_milli[row, slot], quantity, row)
        offers = replace(self.reserve, agent=self.reserve.agent - first)
        sold = self.sold(reserve_w, first)
        return without_reserve(book, ReserveContracts(offers, reserve_w, NO_PRICES, sold)).quantity

    def limits_w(self, sides: Codes, first: int) -> Int:
        """Least and greatest injection that was offered, reserve included, int64 (n, 2)."""
        reserve = self.sold(NOTHING if self.reserve is None else self.reserve.quantity, first)
        sells = self.offered_w[:, sides > 0].sum(axis=1) + reserve[:, UP].sum(axis=1)
        buys = self.offered_w[:, sides < 0].sum(axis=1) + reserve[:, DOWN].sum(axis=1)
        return np.column_stack([-buys, sells])


def no_orders() -> Orders:
    """Orders of nobody."""
    none = np.zeros(0, dtype=np.int64)
    return Orders(none.astype(np.int8), none, none, none)
