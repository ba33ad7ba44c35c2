"""The synthetic spot price: what drives it, and the figures its documentation states."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from swarm.scenario.schema import Site
from swarm.world.builtin import builtin_series

START = datetime(2025, 1, 1, tzinfo=timezone(timedelta(hours=1)))


def years(count: int) -> dict[str, np.ndarray]:
    """Hourly price, wind and sun of some years with a seed each, (years, hours)."""
    names = ("spot_price", "wind", "solar")
    made = [
        builtin_series(
            names,
            seed=seed,
            site=Site(),
            start=START,
            tick_minutes=60,
            ticks=8760,
            sites=8,
            cache=None,
        )
        for seed in range(count)
    ]
    return {name: np.array([each[name].mean(axis=1) for each in made]) for name in names}


def test_it_moves_as_markets_with_much_wind_and_sun_do() -> None:
    found = years(4)
    price = found["spot_price"]
    assert price.mean() == pytest.approx(1.0, abs=0.08)
    assert 0.05 < (price < 0).mean() < 0.15
    assert price.min() > -6
    assert 4 < price.max() < 40
    # Wind and sun press it down, by the merit order: at one hour of the day, as load has its own.
    for name in ("wind", "solar"):
        noon = (found[each].reshape(-1, 24)[:, 12] for each in ("spot_price", name))
        assert np.corrcoef(*noon)[0, 1] < -0.25
    # Unlike `daily_price` it is not a matter of the clock.
    by_hour = price.reshape(4, 365, 24)
    assert by_hour.mean(axis=(0, 1)).var() < 0.4 * price.var()
    spread = by_hour.max(axis=2) - by_hour.min(axis=2)
    assert np.quantile(spread, 0.9) > 2 * np.quantile(spread, 0.1)
    # It leaps on a few days in a hundred.
    assert 0.005 < (by_hour.max(axis=2) > 3.5).mean() < 0.15
