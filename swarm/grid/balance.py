"""What the operator says of an interval: its energy books, its physics, what happened when."""

from __future__ import annotations

from math import nan

import msgspec
import numpy as np

from swarm.messages import Alert, Signal


class Balance(msgspec.Struct, array_like=True, frozen=True):
    """One interval. Power is the mean in whole watts; in every tick, exactly,

    generation + discharge + import + shed == load + charge + export + losses + spilled.

    Where frequency is simulated, generation holds what rotating masses gave and load is less what
    frequency took off it, so the sum is of electric power at all times.
    """

    tick: int
    generation_w: int
    discharge_w: int
    load_w: int
    charge_w: int
    import_w: int
    export_w: int
    shed_w: int
    """Load cut off, by relay, by call or beyond the import limit."""
    spilled_w: int
    """Surplus that neither flowed out nor was held back."""
    unserved_w: int
    """Load without a contract, and load shed."""
    curtailed_w: int
    """Weather-driven power not used, held back by the operator included."""
    inertia_kws: int
    """Kinetic energy of machines that ran, condensers included, the grid outside not, kW s."""
    losses_w: int = 0
    """On the feeder, rounded; borne by the connection outside, or by frequency on an island."""
    imbalance_w: int = 0
    """Injection less draw against what was scheduled, before any response."""
    activated_up_w: int = 0
    """Response of agents upwards, sum over agents."""
    activated_down_w: int = 0
    held_back_w: int = 0
    """Generation cut back by voltage, a limit or protection."""
    inertial_w: int = 0
    """Given by rotating masses inside; part of generation."""
    damping_w: int = 0
    """Taken off the load by low frequency; the load is without it."""
    reserve_held_w: int = 0
    """Reserve that was there, over all products: of what was bought, or where none is, headroom."""
    connected: bool = True
    """The connection outside held; False on an island too."""
    frequency_min_hz: float = nan
    frequency_max_hz: float = nan
    frequency_mean_hz: float = nan
    frequency_end_hz: float = nan
    steepest_hz_per_s: float = nan
    """Largest rate of change of frequency, over half a second."""
    outside_100_mhz_s: float = nan
    """Seconds outside nominal +- 0.1 Hz (scaled with nominal / 50)."""
    outside_200_mhz_s: float = nan
    settled_s: float = nan
    """From the start of a disturbance until back inside +- 0.1 Hz to stay; NaN: never outside."""
    secondary_w: int = 0
    """Mean of secondary control."""
    voltage_min_pu: float = nan
    voltage_max_pu: float = nan
    buses: int = 0
    """Buses of the feeder whose voltage is known."""
    buses_in_band: int = 0
    """Of them, those within +- 5 %."""
    feeder_converged: bool = True


class Event(msgspec.Struct, array_like=True, frozen=True):
    """Something that happened inside an interval."""

    tick: int
    second: float
    """Simulated, from the start of the interval."""
    step: str
    power_w: float
    frequency_hz: float


class Trace(msgspec.Struct, array_like=True, frozen=True):
    """Frequency inside a disturbed interval, float64 (m,) each."""

    second: np.ndarray
    frequency_hz: np.ndarray


class Voltages(msgspec.Struct, array_like=True, frozen=True):
    """The feeder (one of equal ones) in one interval: arrays over its buses and lines."""

    voltage_pu: np.ndarray
    power_w: np.ndarray
    """Injection, volt-watt curtailment taken off."""
    reactive_var: np.ndarray
    line_loading: np.ndarray
    """Share of the rating; NaN without one."""
    line_losses_w: np.ndarray


class Operated(msgspec.Struct, array_like=True, frozen=True):
    """What the operator says after a tick: how the last went, the signal for the next."""

    balance: Balance | None
    signal: Signal
    alert: Alert | None = None
    """An emergency call that starts or ends with the signal's tick."""
    events: tuple[Event, ...] = ()
    trace: Trace | None = None
    voltages: Voltages | None = None
    response_s: float = nan
    """Simulated seconds from detection to the first response of storage; NaN without one."""
