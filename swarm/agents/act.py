"""From what a network gives to the action of an agent's kind; pure functions over n agents.

Generators choose one of `LEVELS` prices, storages a power in [-1, 1], consumers a share in [0, 1].
Solar and wind choose as generators do, vehicles as storages, homes as storages and consumers. The
columns of an action are those of the kind's `ACTION`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from swarm.agents import battery, consumer, ev, generator, home
from swarm.agents.battery import Battery
from swarm.agents.view import View
from swarm.messages import Float, Int
from swarm.scenario.roster import MAX_COST_STEPS

LEVELS = 20
PRICE_RANGE = (20.0, 200.0)
"""Lowest and highest price of a generator's levels, per MWh."""
PLANT_RANGE = (-100.0, 0.0)
"""The same of solar and wind, which their kind never offers above zero."""


def level_price(level: Int, low_per_mwh: float, high_per_mwh: float) -> Float:
    """Price of each level: `LEVELS` even steps from the low end to the high one; any shape.

    Raises:
        ValueError: a level that is not a whole number from 0 to `LEVELS` - 1, or a range that
            does not rise.
    """
    chosen = np.asarray(level)
    if not np.issubdtype(chosen.dtype, np.integer):
        raise ValueError(f"level of type {chosen.dtype}: expected whole numbers")
    if ((chosen < 0) | (chosen >= LEVELS)).any():
        wrong = chosen[(chosen < 0) | (chosen >= LEVELS)][0]
        raise ValueError(f"level {wrong}: expected 0 to {LEVELS - 1}")
    if not -np.inf < low_per_mwh < high_per_mwh < np.inf:
        raise ValueError(f"price range {low_per_mwh} to {high_per_mwh}: expected to rise")
    step = (high_per_mwh - low_per_mwh) / (LEVELS - 1)
    return low_per_mwh + chosen.astype(np.float64) * step


def of_generator(
    p: generator.Parameters,
    s: generator.State,
    view: View,
    level: Int,
    price_range: tuple[float, float] = PRICE_RANGE,
) -> Float:
    """Offers at the price of the chosen levels; the heuristic decides who runs.

    Args:
        p: units.
        s: their state.
        view: what they see.
        level: int (n,), one price for all cost steps, or (n, `MAX_COST_STEPS`), one for each. A
            step is never offered below the one before it.
        price_range: lowest and highest price, per MWh.

    Returns:
        float64 (n, 1 + `MAX_COST_STEPS`).

    Raises:
        ValueError: levels of another shape, or see `level_price`.
    """
    n = len(p.capacity_mw)
    price = level_price(level, *price_range)
    if price.shape not in ((n,), (n, MAX_COST_STEPS)):
        raise ValueError(
            f"level of shape {price.shape}: expected ({n},) or ({n}, {MAX_COST_STEPS})"
        )
    steps = np.broadcast_to(price.reshape(n, -1), (n, MAX_COST_STEPS))
    commit = generator.heuristic(p, s, view)[:, 0]
    return np.column_stack([commit, np.maximum.accumulate(steps, axis=1)])


def of_plant(level: Int, price_range: tuple[float, float] = PLANT_RANGE) -> Float:
    """The offer of solar and wind at the price of the chosen level, int (n,) -> float64 (n, 1)."""
    return level_price(level, *price_range).reshape(-1, 1)


def opportunity(p: Battery, median_per_mwh: float) -> tuple[Float, Float]:
    """Limits at which batteries buy and sell, from the running median price; per MWh, (n,) each.

    With round-trip efficiency r and wear w, energy bought at the median m is sold without loss at
    `battery.break_even`, max(m / r, m) + w; energy sold at m was bought without loss at
    min(r (m - w), m - w). Above the first selling pays, below the second buying does: a battery
    does not buy above the first and does not sell below the second. Between the two, where a round
    trip against the median pays neither way, what it expects decides.
    """
    worth = median_per_mwh - p.degradation_cost_per_mwh
    round_trip = p.charge_efficiency * p.discharge_efficiency
    selling_pays = battery.break_even(p, np.full(len(worth), median_per_mwh))
    buying_pays = np.minimum(worth * round_trip, worth)
    return selling_pays, buying_pays


def of_storage(p: Battery, power: ArrayLike, median_per_mwh: float) -> Float:
    """Charges below zero, discharges above; the size is the share of the power it can run at.

    Args:
        p: n batteries.
        power: (n,) in [-1, 1]; what is beyond is cut, NaN is rest.
        median_per_mwh: running median price (`Memory.median_per_mwh`); NaN, none known: it rests.

    Returns:
        float64 (n, 4), prices from `opportunity`.

    Raises:
        ValueError: not one power for each battery.
    """
    share = _one_each("power", power, len(p.power_mw), -1.0)
    if not np.isfinite(median_per_mwh):
        return np.zeros((len(share), len(battery.ACTION)))
    buy, sell = opportunity(p, median_per_mwh)
    return np.column_stack([np.maximum(-share, 0.0), buy, np.maximum(share, 0.0), sell])


def of_vehicle(
    p: ev.Parameters, s: ev.State, view: View, power: ArrayLike, median_per_mwh: float
) -> Float:
    """As `of_storage`; buys at the heuristic's price where that is more, for the way ahead.

    Urgent charging does not depend on the action.
    """
    action = of_storage(p.battery, power, median_per_mwh)
    asked = ev.heuristic(p, s, view)
    action[:, 1] = np.where(action[:, 0] > 0, np.maximum(action[:, 1], asked[:, 1]), action[:, 1])
    return action


def of_consumer(p: consumer.Parameters, s: consumer.State, view: View, share: ArrayLike) -> Float:
    """Puts off its flexible load in the dearest `share` of the hours that its window still has.

    The price above which these hours lie is what it takes energy to be worth while it can wait
    (`consumer.worth_per_mwh`). It puts off for that price, but never for less than its comfort
    price, and catches up for less. Where load is shifted without loss, such a price is the best
    policy there is: the multiplier of what is owed (Boyd and Vandenberghe, Convex Optimization,
    2004, section 5.6). The quantile makes it alike in markets of any level.

    Args:
        p: n consumers.
        s: their state.
        view: what they see.
        share: (n,) in [0, 1]; what is beyond is cut, NaN is 0.

    Returns:
        float64 (n, 4).

    Raises:
        ValueError: not one share for each consumer.
    """
    chosen = _one_each("share", share, len(p.load_mw), 0.0)
    return consumer.at_worth(p, consumer.worth_per_mwh(p, s, view, chosen))


def of_home(p: home.Parameters, power: ArrayLike, share: ArrayLike, median_per_mwh: float) -> Float:
    """The battery as `of_storage`, with the share of its charging put off.

    A home's load is not flexible; what it can do without is charging.

    Args:
        p: n homes.
        power: (n,) in [-1, 1], of the storage's network.
        share: (n,) in [0, 1], of the consumer's network.
        median_per_mwh: running median price.

    Returns:
        float64 (n, 4).

    Raises:
        ValueError: not one power and one share for each home.
    """
    action = of_storage(p.battery, power, median_per_mwh)
    action[:, 0] *= 1.0 - _one_each("share", share, len(p.load_mw), 0.0)
    return action


def _one_each(name: str, value: ArrayLike, n: int, least: float) -> Float:
    """float64 (n,) cut to `least`..1, NaN as 0."""
    given = np.asarray(value, dtype=np.float64)
    if given.shape != (n,):
        raise ValueError(f"{name} of shape {given.shape}: expected ({n},)")
    return np.clip(np.where(np.isnan(given), 0.0, given), least, 1.0)
