"""Records and balances made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.grid.balance import Balance, Operated
from swarm.grid.feeder_table import FeederTable
from swarm.market.record import TickRecord
from swarm.messages import FORECAST_HOURS, Meters, Signal, no_meters

Stream = list[tuple[TickRecord, Operated]]
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


def balance_of(tick: int, **given: Any) -> Balance:
    """A balance of zeros but for what is `given`; nothing is known of frequency and voltage."""
    needed = Balance.__struct_fields__[: -len(Balance.__struct_defaults__)]
    return Balance(**(dict.fromkeys(needed, 0) | {"tick": tick} | given))


def operated_of(tick: int, **given: Any) -> Operated:
    """What an operator says of `tick`: fields of `Operated` that are `given`, else of `Balance`."""
    nothing = np.full(FORECAST_HOURS, np.nan)
    signal = Signal(tick + 2, np.nan, nothing, nothing, -500.0, 3000.0, 0.0, True)
    own = {name: given.pop(name) for name in Operated.__struct_fields__ if name in given}
    return Operated(balance_of(tick, **given), signal, **own)


def three_buses() -> FeederTable:
    """A feeder of two lines, from `source` over `middle` to `end`."""
    none = np.zeros(2)
    return FeederTable(
        name="three",
        nominal_kv=20.0,
        source_bus="source",
        buses=("source", "middle", "end"),
        line_from=("source", "middle"),
        line_to=("middle", "end"),
        resistance_ohm=none,
        reactance_ohm=none,
        capacitance_f=none,
        rating_a=none,
        load_w=np.zeros(3),
        load_var=np.zeros(3),
    )


def row(agents: int = 5, scale: int = 1, **by_agent: float) -> np.ndarray:
    """int64 (agents,): zero but for what is given as a7=..., times `scale`."""
    values = np.zeros(agents, dtype=np.int64)
    for name, value in by_agent.items():
        values[int(name[1:])] = round(value * scale)
    return values
