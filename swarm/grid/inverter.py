"""Volt-var and volt-watt of inverters: IEEE Std 1547-2018, category B, default settings.

Tables 8 (volt-var) and 10 (volt-watt) of the standard. Its open-loop response times of 5 s and
10 s are short beside a market interval, so `swarm.grid.feeder` takes the settled state. The
standard lets an inverter below 5 % of its rated power stop giving reactive power; here reactive
power is there at any active power, at night as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VOLT_VAR_PU = (0.92, 0.98, 1.02, 1.08)
VOLT_VAR_SHARE = (0.44, 0.0, 0.0, -0.44)
"""Reactive power as a share of the rated apparent power; positive is injected."""
VOLT_WATT_PU = (1.06, 1.10)
VOLT_WATT_SHARE = (1.0, 0.2)
"""Most active power as a share of the rating."""


@dataclass(frozen=True, eq=False)
class Inverters:
    """m inverters in one interval; injection is positive.

    Raises ValueError, naming the field, for shapes that differ, values that are not finite, a
    rating that is not positive and generation below zero.

    Attributes:
        bus: int (m,), index of the bus in the feeder's table.
        rated_va: float64 (m,), rated apparent power.
        power_w: float64 (m,), active power before curtailment.
        generation_w: float64 (m,), the part of it that may be curtailed. May exceed `power_w`
            where a load or a charging battery is behind the same inverter.
    """

    bus: IntArray
    rated_va: FloatArray
    power_w: FloatArray
    generation_w: FloatArray

    def __post_init__(self) -> None:
        shape = np.shape(self.bus)
        if len(shape) != 1 or not np.issubdtype(np.asarray(self.bus).dtype, np.integer):
            raise ValueError(f"bus: expected one row of integers, got shape {shape}")
        for name in ("rated_va", "power_w", "generation_w"):
            value = getattr(self, name)
            if np.shape(value) != shape:
                raise ValueError(f"{name}: expected shape {shape}, got {np.shape(value)}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name}: expected finite values, got {first_bad(value)}")
        if (self.rated_va <= 0).any():
            raise ValueError(f"rated_va: expected more than 0, got {self.rated_va.min()}")
        if (self.generation_w < 0).any():
            raise ValueError(f"generation_w: expected 0 or more, got {self.generation_w.min()}")


def first_bad(values: FloatArray) -> float:
    """The first value that is not finite."""
    flat = np.ravel(values)
    return float(flat[~np.isfinite(flat)][0])


def volt_var(voltage_pu: FloatArray) -> FloatArray:
    """Reactive power as a share of the rating, any shape; positive is injected."""
    return np.interp(voltage_pu, VOLT_VAR_PU, VOLT_VAR_SHARE)


def volt_watt(voltage_pu: FloatArray) -> FloatArray:
    """Most active power as a share of the rating, any shape."""
    return np.interp(voltage_pu, VOLT_WATT_PU, VOLT_WATT_SHARE)


def operating_point(
    inverters: Inverters, voltage_pu: FloatArray, most_w: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Active power in W and reactive power in var, both (m,), at the terminal voltage (m,).

    Reactive power has priority: generation makes room for it inside the rated apparent power.
    What cannot be curtailed (a discharging battery) keeps its power, and reactive power gets the
    room that is left. `most_w` (m,) is a further bound on active power, infinite for none. The
    result is continuous in the voltage.
    """
    rated = inverters.rated_va
    wanted = volt_var(voltage_pu) * rated
    most = np.minimum(volt_watt(voltage_pu) * rated, np.sqrt(rated**2 - wanted**2))
    most = np.minimum(most, most_w)
    curtailed = np.minimum(np.maximum(inverters.power_w - most, 0.0), inverters.generation_w)
    active = inverters.power_w - curtailed
    room = np.sqrt(np.maximum(rated**2 - active**2, 0.0))
    return active, np.minimum(np.maximum(wanted, -room), room)
