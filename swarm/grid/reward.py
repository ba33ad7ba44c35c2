"""What an interval was worth to the grid operator: stability, cost and emissions, more is better.

Each is about 1 a step. Nothing here weighs them against each other: a policy's preference does.
"""

from __future__ import annotations

import numpy as np

from swarm.grid.balance import Balance
from swarm.market.outside import Connection
from swarm.market.record import Cleared, TickRecord
from swarm.messages import Float, Meters

OBJECTIVES = ("stability", "cost", "emissions")
UNSERVED_WEIGHT = 10.0
"""Stability lost per share of the load that is not served: a tenth of it weighs as much as a whole
interval out of band."""
COST_SCALE_PER_MWH = 100.0
"""System cost per MWh of load that counts as 1."""
EMISSIONS_SCALE_T_PER_MWH = 1.0
"""CO2 per MWh of load that counts as 1: about that of coal."""
LEAST = -10.0
"""No objective falls below it in one interval."""


def reward(
    balance: Balance,
    meters: Meters,
    cleared: Cleared | TickRecord,
    outside: Connection,
    tick_minutes: int,
    outside_emissions_kg_per_mwh: float,
) -> Float:
    """The reward of one interval, float64 (3,) in the order of `OBJECTIVES`.

    Stability is the share of seconds within 0.1 Hz of nominal (scaled with nominal / 50) less
    `UNSERVED_WEIGHT` times the share of the load not served. Cost is minus the system cost per MWh
    of load (true cost of the agents, imports less exports at their prices, availability of the
    reserve bought) over `COST_SCALE_PER_MWH`; emissions are minus t CO2 per MWh of load. What
    activation of reserve costs is settled later and is not part of it.

    Args:
        balance: of the interval, with frequency.
        meters: of all agents in the interval.
        cleared: of the same tick, for the reserve that was bought.
        outside: the connection.
        tick_minutes: length of the interval.
        outside_emissions_kg_per_mwh: of imports.
    """
    hours = tick_minutes / 60
    load_w = max(balance.load_w, 1)
    load_mwh, import_mwh, export_mwh = (
        power / 1e6 * hours for power in (load_w, balance.import_w, balance.export_w)
    )
    in_band = 1.0 - balance.outside_100_mhz_s / (60.0 * tick_minutes)
    held = zip(cleared.reserve_bought_w, cleared.reserve_price_milli, strict=True)
    reserve = sum(bought / 1e6 * (price or 0) / 1e3 * hours for bought, price in held)
    price = float(outside.price_per_mwh[balance.tick])
    cost = (
        int(meters.cost_micro.sum()) / 1e6
        + import_mwh * (price + outside.import_premium_per_mwh)
        - export_mwh * (price - outside.export_discount_per_mwh)
        + reserve
    )
    tonnes = int(meters.emissions_g.sum()) / 1e6 + import_mwh * outside_emissions_kg_per_mwh / 1e3
    found = np.array(
        [
            in_band - UNSERVED_WEIGHT * balance.unserved_w / load_w,
            -cost / load_mwh / COST_SCALE_PER_MWH,
            -tonnes / load_mwh / EMISSIONS_SCALE_T_PER_MWH,
        ]
    )
    limited: Float = np.maximum(np.nan_to_num(found), LEAST)
    return limited
