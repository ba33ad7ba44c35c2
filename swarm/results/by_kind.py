"""Sums of one tick over all agents of each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from swarm.market.record import TickRecord
from swarm.messages import FLOAT_METERS, METER_COLUMNS, RESERVE_PRODUCTS, Float, Int
from swarm.scenario.roster import Roster

RESPONSE_FIELDS = ("activated_w", "shed_w", "held_back_w")
HELD_FIELDS = tuple(f"{product}_w" for product in RESERVE_PRODUCTS)
UNWRITTEN_METERS = ("up_w", "down_w", "sudden_w", *HELD_FIELDS)
"""Meters that only operator and market need; what was held of reserve is written with a grid."""
WRITTEN_METERS = tuple(name for name in METER_COLUMNS if name not in UNWRITTEN_METERS)
SUMMED_METERS = tuple(
    name
    for name in WRITTEN_METERS
    if name not in (*FLOAT_METERS, "marginal_cost_milli", "forecast_w", "forecast_error_w")
)
POSITIVE_PARTS = ("discharge_w", "charge_w", "reduced_w")
"""What agents of a kind discharge, charge and put off; it does not cancel between them."""
INT_COLUMNS = (
    *("contract_w", "received_micro", *SUMMED_METERS, *POSITIVE_PARTS),
    *(RESPONSE_FIELDS),
)
FLOAT_COLUMNS = FLOAT_METERS


@dataclass(frozen=True)
class KindSums:
    """One tick's sums.

    Attributes:
        ints: int64 (len(INT_COLUMNS), kinds).
        floats: float64 (len(FLOAT_COLUMNS), kinds).
    """

    ints: Int
    floats: Float


def first_agents(rosters: Sequence[Roster]) -> Int:
    """Global index of the first agent of each kind, int64 (kinds,)."""
    return np.array([roster.first for roster in rosters], dtype=np.int64)


def sum_by_kind(record: TickRecord, first: Int) -> KindSums:
    """Sum the rows of agents of `record` by kind, in global agent order.

    Args:
        record: rows in global agent order, so that each kind is one run of rows.
        first: see `first_agents`.
    """
    meters = record.meters
    columns = [record.contract_w, record.received_micro]
    columns += [getattr(meters, name) for name in SUMMED_METERS]
    columns += [
        np.maximum(meters.battery_w, 0),
        np.maximum(-meters.battery_w, 0),
        np.maximum(meters.shifted_w, 0),
    ]
    response = record.response
    columns += [
        np.zeros_like(record.contract_w) if response is None else getattr(response, name)
        for name in RESPONSE_FIELDS
    ]
    floats = [getattr(meters, name) for name in FLOAT_COLUMNS]
    return KindSums(
        np.array([np.add.reduceat(column, first) for column in columns]),
        np.array([np.add.reduceat(column, first) for column in floats]),
    )
