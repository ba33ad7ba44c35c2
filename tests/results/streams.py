"""Records and balances made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.grid.operator import Balance
from swarm.market.auctioneer import TickRecord
from swarm.messages import Meters, no_meters

Stream = list[tuple[TickRecord, Balance]]
MW = 1_000_000


def record_of(tick: int, agents: int, **given: Any) -> TickRecord:
    """A record in which nothing happened but what is `given`; meters as columns by name."""
    columns = no_meters(agents) | given.pop("meters", {})
    nothing = np.zeros(agents, dtype=np.int64)
    fields: dict[str, Any] = {
        "tick": tick,
        "price_milli": None,
        "status": "no_trade",
        "volume_w": 0,
        "welfare_per_h": 0.0,
        "supply_offered_w": 0,
        "demand_bid_w": 0,
        "orders": 0,
        "outside_price_milli": None,
        "imported_w": 0,
        "imbalance_price_milli": 0,
        "operator_micro": 0,
        "rounding_micro": 0,
        "outside_micro": 0,
        "contract_w": nothing,
        "received_micro": nothing,
        "meters": Meters(**columns),
        "book": None,
        "accepted_w": np.zeros(0, dtype=np.int64),
    }
    return TickRecord(**(fields | given))


def balance_of(tick: int, **given: int) -> Balance:
    """A balance of zeros but for what is `given`."""
    fields = dict.fromkeys(Balance.__struct_fields__, 0)
    return Balance(**(fields | {"tick": tick} | given))


def row(agents: int = 5, scale: int = 1, **by_agent: float) -> np.ndarray:
    """int64 (agents,): zero but for what is given as a7=..., times `scale`."""
    values = np.zeros(agents, dtype=np.int64)
    for name, value in by_agent.items():
        values[int(name[1:])] = round(value * scale)
    return values
