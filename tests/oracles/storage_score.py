"""What batteries earned in a run, beside the most that each could have earned at its prices.

From a run's tables alone, and the optimum. Used by the test beside it and by
`benchmarks/storage_optimum.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.agents import battery
from swarm.learning.optimum import optimum
from swarm.results.run import Run
from swarm.scenario.fleets import rosters
from swarm.scenario.schema import Scenario


@dataclass(frozen=True)
class Batteries:
    """The batteries of a run and what they did.

    Attributes:
        parameters: of n batteries.
        power_mw: float64 (ticks, n), at the meter, discharge positive.
        money: float64 (n,), received less wear, currency.
        gained_mwh: float64 (n,), stored at the end less that at the start.
        price_per_mwh: float64 (ticks,), the outside price.
        tick_hours: length of a tick.
    """

    parameters: battery.Battery
    power_mw: np.ndarray
    money: np.ndarray
    gained_mwh: np.ndarray
    price_per_mwh: np.ndarray
    tick_hours: float


def read_batteries(scenario: Scenario, run: Run) -> Batteries:
    """The storages of a finished run whose table of agents has all of them."""
    everybody = rosters(scenario)
    roster = next(roster for roster in everybody if roster.kind == "storage")
    n, agents = len(roster), sum(map(len, everybody))
    table = run.agents

    def column(name: str) -> np.ndarray:
        rows = table.column(name).to_numpy().reshape(-1, agents)
        return rows[:, roster.first : roster.first + n]

    parameters = battery.build(roster)
    return Batteries(
        parameters=parameters,
        power_mw=column("delivered_w") / 1e6,
        money=(column("received_micro") - column("cost_micro")).sum(axis=0) / 1e6,
        gained_mwh=column("stored_mwh")[-1] - parameters.initial_mwh,
        price_per_mwh=run.market.column("outside_price_milli_per_mwh").to_numpy() / 1000,
        tick_hours=scenario.tick_hours,
    )


def end_values(p: battery.Battery, price_per_mwh: np.ndarray) -> np.ndarray:
    """Value of a stored MWh at the end, (n,): what it brings at the median price, not below 0."""
    worth = p.discharge_efficiency * (np.median(price_per_mwh) - p.degradation_cost_per_mwh)
    return np.maximum(worth, 0.0)


def profits(b: Batteries) -> np.ndarray:
    """Money and the value of the energy gained, currency, (n,)."""
    return b.money + end_values(b.parameters, b.price_per_mwh) * b.gained_mwh


def optima(b: Batteries) -> np.ndarray:
    """The most that each could have earned, counted as in `profits`, currency, (n,)."""
    value = end_values(b.parameters, b.price_per_mwh)
    return np.array(
        [
            optimum(
                b.parameters, i, b.price_per_mwh, b.tick_hours, end_value_per_mwh=value[i]
            ).profit
            for i in range(len(value))
        ]
    )
