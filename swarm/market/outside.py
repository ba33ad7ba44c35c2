"""The connection to the grid outside: its orders, and what flows over it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.market.orders import BUY, SELL, Float, to_milli
from swarm.messages import Orders


@dataclass(frozen=True)
class Connection:
    """Limits in watts and the price of each tick.

    Attributes:
        import_limit_w: most power in.
        export_limit_w: most power out.
        price_per_mwh: float64 (ticks or more,), outside price.
        import_premium_per_mwh: added to the price of imports.
        export_discount_per_mwh: taken off the price of exports.
        balancing_margin_w: part of both limits that is not traded.
    """

    import_limit_w: int
    export_limit_w: int
    price_per_mwh: Float
    import_premium_per_mwh: float
    export_discount_per_mwh: float
    balancing_margin_w: int

    @classmethod
    def none(cls, ticks: int) -> Connection:
        """An island: no limits above zero."""
        return cls(0, 0, np.zeros(ticks), 0.0, 0.0, 0)

    @property
    def limits_w(self) -> tuple[int, int]:
        """Most power in and most power out."""
        return self.import_limit_w, self.export_limit_w

    def prices_milli(self, tick: int) -> tuple[int, int]:
        """Import and export price at `tick`, milli-currency per MWh.

        The export price is at least one grid unit lower, so the connection never trades with
        itself.
        """
        price = self.price_per_mwh[tick]
        buy_in = int(to_milli(price + self.import_premium_per_mwh))
        sell_out = int(to_milli(price - self.export_discount_per_mwh))
        return buy_in, min(sell_out, buy_in - 1)

    def orders(self, tick: int, account: int, price_floor: int) -> Orders:
        """Imports offered and exports bid at `tick` by participant `account`.

        Where the export price is below the floor, exports are bid at the floor; where that would
        meet the import price, there is no bid.
        """
        buy_in, sell_out = self.prices_milli(tick)
        limits = np.array([self.import_limit_w, self.export_limit_w], dtype=np.int64)
        quantity = np.maximum(limits - self.balancing_margin_w, 0)
        price = np.array([buy_in, max(sell_out, price_floor)], dtype=np.int64)
        kept = (quantity > 0) & [True, price[1] < price[0]]
        side = np.array([SELL, BUY], dtype=np.int8)
        return Orders(side[kept], price[kept], quantity[kept], np.full(2, account)[kept])

    def flow_w(self, net_w: int) -> int:
        """What flows in (negative: out) while the agents inject `net_w` in sum, within limits."""
        return max(-self.export_limit_w, min(self.import_limit_w, -net_w))
