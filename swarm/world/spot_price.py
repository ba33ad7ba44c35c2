"""A synthetic spot price driven by residual load, for a market that a price taker sells into.

The structure is that of the spot market price model of Burger, Klar, Mueller, Schindlmayr (A spot
market model for pricing derivatives in electricity markets, Quantitative Finance 4, 2004): the
load that plants with fuel have to carry, on a supply curve, times a slow process for fuel prices,
plus a quick one, and spikes. The supply curve is a convex line through points, as He, Hildmann,
Herzog, Andersson fit it to residual load (Modeling the merit order curve of the European Energy
Exchange power market in Germany, IEEE Trans. Power Systems 28, 2013). Spikes come where a hidden
process goes above a level, which is lower the scarcer capacity is, and fall back within an hour
or so (regime jumps: Huisman, Mahieu, Energy Economics 25, 2003). All figures are round, not a fit.
"""

from __future__ import annotations

import numpy as np

from swarm.scenario.schema import Site
from swarm.world import weather
from swarm.world.weather import FloatArray, Timeline

LOAD_MEAN = 0.51
"""Of the two load profiles that the load is made of, over a year."""
AREAS = 8
"""Columns of weather that the price area is spread over."""
WIND_CAPACITY, SOLAR_CAPACITY = 1.0, 1.1
"""Over the mean load; with the mean availabilities 30 and 16 % of energy."""

# Residual load over the mean load, and the price over its mean: must-run plants pay to stay on
# below zero, then coal and gas, then the last plants there are.
SUPPLY_LOAD = (-0.7, -0.2, 0.1, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8)
SUPPLY_PRICE = (-1.5, -0.3, 0.25, 0.85, 1.2, 1.5, 2.1, 3.5, 6.0)

FUEL_SHARE, FUEL_HOURS = 0.12, 500.0
QUICK_SHARE, QUICK_HOURS = 0.10, 1.0
SPIKE_HOURS = 0.7
SPIKE_LEVEL, SPIKE_LEVEL_SCARCE = 3.1, 1.8
"""Level of the hidden standard normal process above which the price leaps, at a residual load at or
below the mean load, and at or above `SCARCE` of it."""
SCARCE = 1.6
SPIKE_HEIGHT = 12.0
"""Leap for each standard deviation above the level."""


def spot_price(seed: int, site: Site, timeline: Timeline, load: FloatArray) -> FloatArray:
    """Price over its mean, about 1 over many years, at times negative; (ticks,).

    Args:
        seed: the run's seed; the weather is that of the run's sites.
        site: where the sun and the weather are.
        timeline: ticks.
        load: (ticks,), share of its peak, `LOAD_MEAN` over a year.
    """
    wind = _area(weather.wind(seed, site, timeline, AREAS))
    sun = _area(weather.solar(seed, site, timeline, AREAS))
    residual = load / LOAD_MEAN - WIND_CAPACITY * wind - SOLAR_CAPACITY * sun
    fuel, quick, hidden = (
        timeline.tick_means(_process(seed, f"spot_price/{part}", timeline, hours))
        for part, hours in (("fuel", FUEL_HOURS), ("quick", QUICK_HOURS), ("spike", SPIKE_HOURS))
    )
    merit = np.interp(residual, SUPPLY_LOAD, SUPPLY_PRICE)
    level = np.interp(residual, (1.0, SCARCE), (SPIKE_LEVEL, SPIKE_LEVEL_SCARCE))
    spike = SPIKE_HEIGHT * np.maximum(hidden - level, 0.0)
    # The slow process has a mean of 1, as a log-normal one.
    slow = np.exp(FUEL_SHARE * fuel - 0.5 * FUEL_SHARE**2)
    price: FloatArray = merit * slow + QUICK_SHARE * quick + spike
    return price


def _process(seed: int, stream: str, timeline: Timeline, hours: float) -> FloatArray:
    return weather.ar1(
        seed,
        stream,
        0,
        steps=timeline.ticks * timeline.steps_per_tick,
        step_s=timeline.step_s,
        time_constant_hours=hours,
    )


def _area(columns: FloatArray) -> FloatArray:
    """Mean over columns, added up one by one, so that no shape changes its bits."""
    total: FloatArray = columns[:, 0].copy()
    for column in range(1, columns.shape[1]):
        total += columns[:, column]
    mean: FloatArray = total / columns.shape[1]
    return mean
