"""What a learned policy remembers of its own market, as arrays: part of what agents observe."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents.view import price_points
from swarm.messages import Float, Int, Signal

MEDIAN_HOURS = 24.0
"""Time over which the running median of clearing prices is taken."""


@dataclass
class Memory:
    """Of n agents with `slots` order slots each; all arrays, so that a checkpoint can carry it.

    Attributes:
        accepted_w: int64 (n, slots), accepted in the last interval known.
        price_per_mwh: float64 (n,), at which each last offered; NaN before.
        received_micro: int64 (n,), what the last settled interval paid.
        prices_per_mwh: float64 (window,), last clearing prices, newest first; NaN: no trade.
    """

    accepted_w: Int
    price_per_mwh: Float
    received_micro: Int
    prices_per_mwh: Float

    def see(self, signal: Signal) -> None:
        """Take the clearing price of the last tick; once a tick."""
        self.prices_per_mwh = np.concatenate([[signal.price_per_mwh], self.prices_per_mwh[:-1]])

    def median_per_mwh(self, signal: Signal) -> float:
        """Running median of the clearing prices; before any trade that of the known hourly prices.

        NaN where no price is known.
        """
        known = self.prices_per_mwh[np.isfinite(self.prices_per_mwh)]
        if not len(known):
            known = price_points(signal)
        return float(np.median(known)) if len(known) else float("nan")


def empty(agents: int, slots: int, tick_hours: float) -> Memory:
    """Of agents that have seen nothing.

    Args:
        agents: how many.
        slots: order slots of their kind.
        tick_hours: length of a tick, which the window of prices depends on.

    Raises:
        ValueError: a tick without length.
    """
    if not tick_hours > 0:
        raise ValueError(f"tick_hours {tick_hours}: expected more than 0")
    window = max(1, round(MEDIAN_HOURS / tick_hours))
    return Memory(
        accepted_w=np.zeros((agents, slots), dtype=np.int64),
        price_per_mwh=np.full(agents, np.nan),
        received_micro=np.zeros(agents, dtype=np.int64),
        prices_per_mwh=np.full(window, np.nan),
    )
