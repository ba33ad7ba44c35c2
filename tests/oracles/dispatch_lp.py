"""An independent dispatch: one linear program per tick, read from a run's tables alone.

Used by the test beside it, and by `benchmarks/rts_gmlc.py` for the figures in the docs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.optimize import linprog


@dataclass(frozen=True)
class Units:
    """Generators of a run, from its registry: step widths and costs (n, 5), limits in MW."""

    agents: np.ndarray
    width_mw: np.ndarray
    cost_per_mwh: np.ndarray
    least_mw: np.ndarray
    most_mw: np.ndarray
    ramp_mw: np.ndarray


def read_units(registry: pa.Table, tick_minutes: int) -> Units:
    """The generators among the agents, with the cost steps the scenario gave them."""
    rows = [row for row in registry.to_pylist() if row["kind"] == "generator"]
    width, cost = np.zeros((len(rows), 5)), np.zeros((len(rows), 5))
    assets = [json.loads(row["parameters"]) for row in rows]
    for index, asset in enumerate(assets):
        steps = asset["cost_steps"] or [
            {"up_to_mw": asset["capacity_mw"], "cost_per_mwh": asset["marginal_cost_per_mwh"]}
        ]
        below = 0.0
        for place, step in enumerate(steps):
            width[index, place] = step["up_to_mw"] - below
            cost[index, place] = step["cost_per_mwh"]
            below = step["up_to_mw"]
    ramps = [asset["ramp_mw_per_minute"] for asset in assets]
    return Units(
        agents=np.array([row["agent"] for row in rows]),
        width_mw=width,
        cost_per_mwh=cost,
        least_mw=np.array([asset["min_output_mw"] for asset in assets]),
        most_mw=np.array([asset["capacity_mw"] for asset in assets]),
        ramp_mw=np.array([np.inf if r is None else r * tick_minutes for r in ramps]),
    )


def dispatch(
    units: Units,
    demand_mw: float,
    free_mw: float,
    last_mw: np.ndarray,
    available_mw: np.ndarray,
    committed: np.ndarray | None,
) -> tuple[float, np.ndarray, float]:
    """Least-cost outputs for one tick.

    Args:
        units: the generators.
        demand_mw: load and charging less discharging.
        free_mw: most that wind and sun can give, at no cost.
        last_mw: outputs of the tick before; NaN: ramps are free.
        available_mw: availability of each unit.
        committed: bool (n,), who runs and so keeps its least output; None relaxes commitment:
            every unit may run between zero and its limit.

    Returns:
        Cost per hour, outputs in MW (n,), and load not served in MW.
    """
    n = len(units.agents)
    free_ramp = np.isnan(last_mw)
    last = np.where(free_ramp, 0.0, last_mw)
    if committed is None:
        low = np.where(free_ramp, 0.0, np.maximum(0.0, last - units.ramp_mw))
        high = np.where(free_ramp, np.inf, last + units.ramp_mw)
        high = np.minimum(high, available_mw)
    else:
        low = np.where(free_ramp, units.least_mw, np.maximum(units.least_mw, last - units.ramp_mw))
        high = np.where(free_ramp, np.inf, np.maximum(units.least_mw, last + units.ramp_mw))
        high = np.where(committed, np.minimum(high, available_mw), 0.0)
        low = np.where(committed, np.minimum(low, high), 0.0)
    low = np.minimum(low, high)
    # Steps up to the least output are bought whole where the unit is committed.
    steps = units.width_mw.shape[1]
    cost = np.concatenate([units.cost_per_mwh.ravel(), [0.0, 1e5]])
    begin = np.cumsum(units.width_mw, axis=1) - units.width_mw
    least = np.zeros_like(units.width_mw)
    if committed is not None:
        floor = np.where(committed, np.minimum(units.least_mw, high), 0.0)
        least = np.clip(floor[:, None] - begin, 0.0, units.width_mw)
    bounds = [*zip(least.ravel(), units.width_mw.ravel(), strict=True), (0, free_mw), (0, None)]
    totals = np.zeros((n, n * steps + 2))
    for unit in range(n):
        totals[unit, unit * steps : (unit + 1) * steps] = 1.0
    balance = np.ones((1, n * steps + 2))
    answer = linprog(
        cost,
        A_ub=np.concatenate([totals, -totals]),
        b_ub=np.concatenate([high + 1e-9, -low + 1e-9]),
        A_eq=balance,
        b_eq=[demand_mw],
        bounds=bounds,
        method="highs",
    )
    assert answer.status == 0, answer.message
    output = answer.x[: n * steps].reshape(n, steps).sum(axis=1)
    short = float(answer.x[-1])
    return float(answer.fun - 1e5 * short), output, short
