"""What an agent sees when it offers, and what meets it when the interval happens."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from swarm.messages import Float, Int, Signal

NOTHING_SOLD = np.zeros((0, 0), dtype=np.int64)


@dataclass(frozen=True)
class View:
    """What the agents of one shard see at the start of a tick, before they offer.

    Attributes:
        signal: what everybody sees.
        tick_hours: length of the tick.
        hour_of_day: local clock at the start of the tick, 0..24.
        forecast: expected value of each of the shard's own series in the coming interval, (n,).
        standing: bool (n,), planned maintenance or an outage known of: may not offer.
        uniforms: (n, 4), the policy's own randomness for this tick.
        full_containment_pu: deviation of the frequency at which containment reserve is fully
            active, as a share of nominal.
        accepted_w: int64 (n, order slots), accepted of what was offered for the last tick; (0, 0)
            before.
    """

    signal: Signal
    tick_hours: float
    hour_of_day: float
    forecast: dict[str, Float]
    standing: np.ndarray
    uniforms: Float
    full_containment_pu: float = 0.004
    accepted_w: Int = field(default_factory=lambda: NOTHING_SOLD)

    @property
    def emergency(self) -> bool:
        """The emergency protocol is active: nobody adds load that can wait."""
        return self.signal.emergency


@dataclass(frozen=True)
class Interval:
    """What happens to the agents of one shard during one tick.

    Attributes:
        tick: which one.
        tick_hours: its length.
        hour_of_day: local clock at its start.
        actual: value of each of the shard's own series, (n,).
        accepted_w: int64 (n, slots), accepted of each order slot.
        offered_w: int64 (n, slots), offered in each slot.
        failed: bool (n,), an outage event or planned maintenance holds the unit.
        carbon_price_per_tonne: CO2 price.
        uniforms: (n, 4), nature's randomness for this tick.
        physical: the run has a grid: headroom and sudden changes are metered.
        reserved: bool (n,), sold reserve and holds it; None: nobody does.
        struck: bool (n,), an outage event begins in this interval; None: nobody is struck.
        load_jump: (n,), part of the load series that comes at once at the interval's start because
            a load step begins (or ends: negative where it was a rise); None: nothing.
    """

    tick: int
    tick_hours: float
    hour_of_day: float
    actual: dict[str, Float]
    accepted_w: Int
    offered_w: Int
    failed: np.ndarray
    carbon_price_per_tonne: float
    uniforms: Float
    physical: bool = False
    reserved: np.ndarray | None = None
    struck: np.ndarray | None = None
    load_jump: Float | None = None


def nominal_hz(frequency_hz: float) -> float:
    """The nominal frequency, 50 or 60 Hz, that a frequency is near; 50 where it is not known."""
    return 60.0 if frequency_hz > 55 else 50.0


def watts(power_mw: Float) -> Int:
    """MW to whole watts, rounded down: never more than there is."""
    return np.floor(np.maximum(power_mw, 0.0) * 1e6 + 1e-6).astype(np.int64)


def noisy(load: Float, noise: Float, uniform: Float) -> Float:
    """Load with an even error of standard deviation `noise` (share) around it, (n,)."""
    seen: Float = load * np.maximum(0.0, 1.0 + noise * np.sqrt(12.0) * (uniform - 0.5))
    return seen


def price_points(signal: Signal) -> Float:
    """Finite hourly prices known to everybody: next 24 hours' forecast and last 24 hours."""
    points: Float = np.concatenate([signal.price_forecast, signal.price_history])
    return points[np.isfinite(points)]
