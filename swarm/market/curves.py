"""Agents' supply and demand as step curves, and what they answer when a price is called.

An agent's curve is the orders it would else have sent. At a called price its quantities are *firm*
where the price beats its limit, and *indifferent* where it meets it: it takes any part of those.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from swarm.market.orders import BUY, SELL, Int
from swarm.messages import Orders


class Sums(msgspec.Struct, array_like=True, frozen=True):
    """What some agents together answer to one price. Watts are exact, so order cannot matter."""

    firm_supply_w: int
    """Offered below the price."""
    indifferent_supply_w: int
    """Offered at the price."""
    firm_demand_w: int
    """Wanted above the price."""
    indifferent_demand_w: int
    """Wanted at the price."""
    dearer_supply_w: int = 0
    """Offered above the price only; tells scarcity from bids below the next offer."""
    answered: int = 0
    """Agents that answered, those that want nothing included."""
    slowest_ms: int = 0
    """Simulated time of the slowest answer."""

    @property
    def supply_w(self) -> int:
        """Offered at or below the price."""
        return self.firm_supply_w + self.indifferent_supply_w

    @property
    def demand_w(self) -> int:
        """Wanted at or above the price."""
        return self.firm_demand_w + self.indifferent_demand_w

    @property
    def residual_w(self) -> int:
        """Firm watts that find no counterpart at the price."""
        return max(0, self.firm_supply_w - self.demand_w, self.firm_demand_w - self.supply_w)


class Quantities(msgspec.Struct, array_like=True, frozen=True):
    """Each agent's own answer to one price, int64 (n,) each; who wants nothing has no row."""

    agent: np.ndarray
    """Global indices, rising."""
    firm_supply_w: np.ndarray
    indifferent_supply_w: np.ndarray
    firm_demand_w: np.ndarray
    indifferent_demand_w: np.ndarray


@dataclass(frozen=True)
class Awards:
    """What each agent sells and buys, int64 (n,) each.

    Attributes:
        agent: global indices, rising.
        supply_w: watts sold.
        demand_w: watts bought.
    """

    agent: Int
    supply_w: Int
    demand_w: Int


def total(parts: Iterable[Sums]) -> Sums:
    """The sums of several hosts together; a round is over when the slowest has answered."""
    found = list(parts)
    return Sums(
        sum(part.firm_supply_w for part in found),
        sum(part.indifferent_supply_w for part in found),
        sum(part.firm_demand_w for part in found),
        sum(part.indifferent_demand_w for part in found),
        sum(part.dearer_supply_w for part in found),
        sum(part.answered for part in found),
        max((part.slowest_ms for part in found), default=0),
    )


@dataclass(frozen=True)
class _Side:
    """The orders of one side, best first.

    Attributes:
        side: `SELL` or `BUY`.
        rows: int64 (m,), in the host's orders; equal prices in their order.
        key: int64 (m,), rising: the price of an offer, the price of a bid times -1.
        sums: int64 (m + 1,), quantity before each row and after the last.
    """

    side: int
    rows: Int
    key: Int
    sums: Int

    @classmethod
    def of(cls, side: int, orders: Orders, quantity: Int) -> _Side:
        """The rows of `side` with a quantity above zero."""
        rows = np.flatnonzero((orders.side == side) & (quantity > 0))
        key = side * orders.price[rows]
        best = np.argsort(key, kind="stable")
        sums = np.concatenate(([0], np.cumsum(quantity[rows[best]])))
        return cls(side, rows[best], key[best], sums)

    def ends(self, price: int) -> tuple[int, int]:
        """How many rows are firm at `price`, and how many firm or indifferent."""
        key = self.side * price
        firm, willing = np.searchsorted(self.key, key), np.searchsorted(self.key, key, side="right")
        return int(firm), int(willing)

    def split(self, price: int) -> tuple[int, int, int]:
        """Watts that are firm, indifferent and unwilling at `price`."""
        firm, willing = (int(self.sums[end]) for end in self.ends(price))
        return firm, willing - firm, int(self.sums[-1]) - willing


class Curves:
    """The curves of one host's agents in one tick.

    Prices are sorted and quantities summed once, so a called price costs two binary searches a
    side, however many agents there are.
    """

    STATE = ("orders", "answered", "slowest_ms", "_supply", "_demand")
    """See `swarm.snapshot`."""

    def __init__(
        self,
        orders: Orders,
        takes_part: NDArray[np.bool_] | None = None,
        answered: int = 0,
        slowest_ms: int = 0,
    ) -> None:
        """Take the orders; they are not copied.

        Args:
            orders: (n,), in any order; `fill` answers in this one. Quantities sum to 2**53 at most.
            takes_part: bool (n,), whether the order's agent takes part in the tick; None: all do.
            answered: agents that answer, see `Sums`.
            slowest_ms: simulated time of their slowest answer.
        """
        self.orders = orders
        self.answered = answered
        self.slowest_ms = slowest_ms
        quantity = orders.quantity
        if takes_part is not None:
            quantity = np.where(takes_part, quantity, 0)
        self._supply = _Side.of(SELL, orders, quantity)
        self._demand = _Side.of(BUY, orders, quantity)

    def sums(self, price: int) -> Sums:
        """The answer of all agents together to `price`, milli-currency per MWh."""
        firm_supply, indifferent_supply, dearer = self._supply.split(price)
        firm_demand, indifferent_demand, _ = self._demand.split(price)
        return Sums(
            firm_supply,
            indifferent_supply,
            firm_demand,
            indifferent_demand,
            dearer,
            self.answered,
            self.slowest_ms,
        )

    def quantities(self, price: int) -> Quantities:
        """Each agent's own answer to `price`, milli-currency per MWh."""
        parts = []
        for half in (self._supply, self._demand):
            firm, willing = half.ends(price)
            parts += [half.rows[:firm], half.rows[firm:willing]]
        rows = np.concatenate(parts)
        column = np.repeat(np.arange(4), [len(part) for part in parts])
        agent, owner = np.unique(self.orders.agent[rows], return_inverse=True)
        watts = np.zeros((4, len(agent)), dtype=np.int64)
        np.add.at(watts, (column, owner), self.orders.quantity[rows])
        return Quantities(agent, *watts)

    def fill(self, price: int, awards: Awards) -> Int:
        """Split what each agent was awarded over its own orders.

        Cheapest offers and dearest bids first, equal ones in the order of the orders, and only
        those that `price` does not break.

        Args:
            price: the agreed price, milli-currency per MWh.
            awards: of these agents, and of others, which do not matter.

        Returns:
            int64 (n,), watts of each order, 0 to its quantity.

        Raises:
            ValueError: where an agent was awarded more than it answered to `price`.
        """
        orders = self.orders
        filled = np.zeros(len(orders.side), dtype=np.int64)
        if not len(awards.agent):
            return filled
        at = np.minimum(np.searchsorted(awards.agent, orders.agent), len(awards.agent) - 1)
        awarded = awards.agent[at] == orders.agent
        mine = np.zeros(len(awards.agent), dtype=bool)
        mine[at[awarded]] = True
        for half, watts in ((self._supply, awards.supply_w), (self._demand, awards.demand_w)):
            rows = half.rows[: half.ends(price)[1]]
            rows = rows[awarded[rows]]
            rows = rows[np.argsort(at[rows], kind="stable")]
            row_of, quantity = at[rows], orders.quantity[rows]
            before = np.cumsum(quantity) - quantity
            first = np.diff(row_of, prepend=-1) > 0
            before -= np.maximum.accumulate(np.where(first, before, 0))
            filled[rows] = np.clip(watts[row_of] - before, 0, quantity)
            answered = np.zeros(len(awards.agent), dtype=np.int64)
            np.add.at(answered, row_of, quantity)
            excess = mine & (watts > answered)
            if excess.any():
                row = int(np.flatnonzero(excess)[0])
                raise ValueError(
                    f"agent {awards.agent[row]} was awarded {watts[row]} W of "
                    f"{'supply' if half is self._supply else 'demand'} at {price}, expected at "
                    f"most the {answered[row]} W it answered"
                )
        return filled
