"""A view of the operator by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from swarm.grid.observation import KIND_BLOCKS, KINDS, OperatorView

MW = 1e6


def view(**given: Any) -> OperatorView:
    """A quiet evening of a 50 Hz system of 1,000 MW; `given` replaces fields."""
    values: dict[str, Any] = {
        "tick": 7,
        "hour_of_day": 18.0,
        "tick_minutes": 5,
        "nominal_hz": 50.0,
        "end_hz": np.full(12, 50.0),
        "minimum_hz": np.full(12, 49.98),
        "maximum_hz": np.full(12, 50.02),
        "imbalance_w": np.zeros(12),
        "secondary_share": np.zeros(12),
        "unserved_w": np.zeros(12),
        "peak_load_w": 1000 * MW,
        "expected_load_w": np.array([500, 520, 540, 560]) * MW,
        "expected_weather_w": np.array([110, 100, 90, 80]) * MW,
        "containment_size_w": 20 * MW,
        "restoration_size_w": 60 * MW,
        "reserve_pending_w": np.array([30, 30, 90, 90]) * MW,
        "reserve_asked_w": np.array([20, 20, 60, 60]) * MW,
        "reserve_bought_w": np.array([20, 10, 60, 0]) * MW,
        "reserve_price_per_mw_h": np.array([50, 5, 95, np.nan]),
        "largest_unit_w": 40 * MW,
        "inertia_kws": 4_000_000,
        "flow_w": 100 * MW,
        "import_limit_w": 300 * MW,
        "emergency": False,
        "price_per_mwh": 50.0,
        "preference": np.array([0.5, 0.3, 0.2]),
        "by_kind": np.zeros((len(KINDS), len(KIND_BLOCKS))),
        "uniforms": np.full(4, 0.5),
    }
    return OperatorView(**{**values, **given})
