"""What consumers paid in a run, and how often they were outside comfort; from its tables alone.

Used by `benchmarks/consumer_bills.py` and the test of the scores.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from swarm.results.run import Run
from swarm.scenario.schema import Scenario


@dataclass(frozen=True)
class Bills:
    """n consumers over a run.

    Attributes:
        bill: float64 (n,), paid, with what was put off and not yet caught up at the median price.
        discomfort: float64 (n,), load put off at the comfort price.
        drawn_mwh: float64 (n,), drawn, with what was not yet caught up.
        outside_comfort: bool (ticks, n), see `outside_comfort`.
    """

    bill: np.ndarray
    discomfort: np.ndarray
    drawn_mwh: np.ndarray
    outside_comfort: np.ndarray


def read_bills(scenario: Scenario, run: Run) -> Bills:
    """The consumers of a finished run in which all agents are consumers."""
    registry = run.registry.to_pylist()
    assert {row["kind"] for row in registry} == {"consumer"}
    assets = [json.loads(row["parameters"]) for row in registry]
    table = {
        name: run.agents.column(name).to_numpy().reshape(-1, len(assets))
        for name in ("received_micro", "cost_micro", "load_w", "shifted_w", "unserved_w")
    }
    backlog_mwh = run.agents.column("backlog_mwh").to_numpy().reshape(-1, len(assets))
    price = run.market.column("price_milli_per_mwh").to_numpy() / 1000
    left = backlog_mwh[-1]
    return Bills(
        bill=-table["received_micro"].sum(axis=0) / 1e6 + left * np.median(price),
        discomfort=table["cost_micro"].sum(axis=0) / 1e6,
        drawn_mwh=table["load_w"].sum(axis=0) * scenario.tick_hours / 1e6 + left,
        outside_comfort=outside_comfort(
            price_per_mwh=price,
            reduced_w=np.maximum(table["shifted_w"], 0),
            unserved_w=table["unserved_w"],
            backlog_mwh=backlog_mwh,
            comfort_price_per_mwh=np.array([comfort_price(asset) for asset in assets]),
            window_hours=np.array([asset["shift_window_hours"] for asset in assets]),
            tick_hours=scenario.tick_hours,
        ),
    )


def comfort_price(asset: dict[str, float | None]) -> float:
    """The price per MWh for which a consumer gladly puts load off."""
    asked = asset["response_price_per_mwh"]
    found = asset["comfort_preference"] if asked is None else asked
    assert found is not None
    return found


def outside_comfort(
    *,
    price_per_mwh: np.ndarray,
    reduced_w: np.ndarray,
    unserved_w: np.ndarray,
    backlog_mwh: np.ndarray,
    comfort_price_per_mwh: np.ndarray,
    window_hours: np.ndarray,
    tick_hours: float,
) -> np.ndarray:
    """Which consumers are outside comfort in which interval, bool (ticks, n).

    That is where load is not served; where load is put off for less than the comfort price; and
    where something put off is still not caught up at the end of an interval by which its window,
    counted from when the backlog began, is over.

    Args:
        price_per_mwh: (ticks,).
        reduced_w: (ticks, n), put off in the interval, net.
        unserved_w: (ticks, n).
        backlog_mwh: (ticks, n), at the end of the interval.
        comfort_price_per_mwh: (n,).
        window_hours: (n,).
        tick_hours: length of a tick.
    """
    outside = (unserved_w > 0) | (
        (reduced_w > 0) & (price_per_mwh[:, None] < comfort_price_per_mwh)
    )
    age = np.zeros(backlog_mwh.shape[1])
    for tick, backlog in enumerate(backlog_mwh):
        age = np.where(backlog > 0, age + tick_hours, 0.0)
        outside[tick] |= age >= window_hours + 0.5 * tick_hours
    return outside
