"""What the frequency of one control area is computed from, and what comes out.

Power is in watts, energy in watt-seconds, injection positive. A deviation is frequency less
nominal. Limits of frequency are in per unit of nominal, so that they hold for 50 and 60 Hz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def _number(name: str, value: float, low: float, high: float = math.inf) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, expected a number from {low} to {high}")


def _group(owner: object, names: tuple[str, ...]) -> None:
    """Make the named fields float arrays of one length without NaN or negative values."""
    size = None
    for name in names:
        values = np.asarray(getattr(owner, name), dtype=np.float64)
        object.__setattr__(owner, name, values)
        if values.ndim != 1 or size not in (None, values.size):
            raise ValueError(f"{name} has shape {values.shape}, expected ({size},) as {names[0]}")
        size = values.size
        if not (values >= 0.0).all():
            raise ValueError(f"{name} is {values.tolist()}, expected numbers of 0 or more")


@dataclass(frozen=True, slots=True)
class AreaSpec:
    """Constants of a run. Frequency limits are per unit of nominal, times are seconds.

    `damping` is the share by which load changes per share of frequency (1.0: 1 % per 1 %).
    Steps are at most `step_s` for `fine_seconds` after a disturbance, else at most `coarse_step_s`.

    Secondary control is a sampled PI on the area control error, `bias * deviation`, where bias is
    the area's droop gain plus load damping (UCTE Operation Handbook, Policy 1, appendix 1: an
    integral time of 50 to 200 s and a proportional share up to 0.5). It crosses its whole range,
    down to up, in `full_activation_s` (SO GL, article 158: at most 5 minutes).

    Load shedding has one relay per value of `shed_at_pu`; each sheds `shed_share` of the load when
    frequency was below its value for `shed_delay_s`. When frequency was above `restore_at_pu` for
    `restore_wait_s`, load returns feeder by feeder as secondary control takes it over.

    `detect_*`, `alert_latency_s`, `reassess_s` and `release_*` belong to the emergency protocol:
    see `swarm.grid.emergency`. Outside `blackout_pu` the area is lost.
    """

    nominal_hz: float
    damping: float
    step_s: float = 0.02
    coarse_step_s: float = 1.0
    fine_seconds: float = 60.0
    secondary_proportional: float = 0.2
    secondary_integral_s: float = 50.0
    secondary_cycle_s: float = 4.0
    full_activation_s: float = 300.0
    shed_at_pu: tuple[float, ...] = (0.98, 0.976, 0.972, 0.968)
    shed_share: float = 0.125
    shed_delay_s: float = 0.15
    restore_at_pu: float = 0.998
    restore_wait_s: float = 30.0
    band_pu: tuple[float, float] = (0.002, 0.004)
    detect_pu: float = 0.004
    detect_rocof_pu_per_s: float = 0.02
    detect_window_s: float = 0.1
    estimate_window_s: float = 0.04
    alert_latency_s: float = 0.02
    reassess_s: float = 5.0
    release_pu: float = 0.001
    release_wait_s: float = 10.0
    ease_s: float = 1.0
    blackout_pu: tuple[float, float] = (0.9, 1.1)

    def __post_init__(self) -> None:
        for name in (
            *("nominal_hz", "step_s", "coarse_step_s", "secondary_integral_s", "secondary_cycle_s"),
            *("full_activation_s", "detect_window_s", "estimate_window_s", "reassess_s"),
            *("detect_pu", "detect_rocof_pu_per_s", "release_pu", "release_wait_s", "ease_s"),
        ):
            _number(name, getattr(self, name), 1e-6)
        for name in (
            *("damping", "fine_seconds", "secondary_proportional", "shed_delay_s"),
            *("restore_wait_s", "alert_latency_s"),
        ):
            _number(name, getattr(self, name), 0.0)
        _number("shed_share * steps", self.shed_share * len(self.shed_at_pu), 0.0, 1.0)
        low, high = self.blackout_pu
        _number("blackout_pu[0]", low, 0.5, 0.999)
        _number("blackout_pu[1]", high, 1.001, 1.5)
        for value in self.shed_at_pu:
            _number("shed_at_pu", value, low, 1.0)
        _number("restore_at_pu", self.restore_at_pu, max((low, *self.shed_at_pu)), 1.0)
        _number("band_pu[0]", self.band_pu[0], 1e-6)
        _number("band_pu[1]", self.band_pu[1], self.band_pu[0])


@dataclass(frozen=True, slots=True)
class Responders:
    """Droop responders (g,), one entry per group of equal dynamics.

    A group is asked for `-gain * (deviation beyond the deadband)`, clipped to [-down_w, up_w], on
    the frequency of `delay_s` ago; the answer moves at most at `ramp_w_per_s` (inf: no limit), then
    passes the lag of the governor and of the reheater (0: none) as in Anderson and Mirheydar:
    `T_G y' = u - y`, `T_R x' = y - x`, `P = F y + (1 - F) x` with F `direct_share`.
    """

    gain_w_per_hz: Floats
    deadband_hz: Floats
    up_w: Floats
    down_w: Floats
    delay_s: Floats
    ramp_w_per_s: Floats
    governor_lag_s: Floats
    reheat_lag_s: Floats
    direct_share: Floats

    def __post_init__(self) -> None:
        _group(self, tuple(f.name for f in fields(self)))
        for f in fields(self):
            if f.name != "ramp_w_per_s" and not np.isfinite(getattr(self, f.name)).all():
                raise ValueError(f"{f.name} is not finite")
        if (self.direct_share > 1.0).any():
            raise ValueError(f"direct_share is {self.direct_share.tolist()}, expected 0 to 1")
        if (self.ramp_w_per_s <= 0.0).any():
            raise ValueError("ramp_w_per_s must be more than 0; use inf for no limit")


@dataclass(frozen=True, slots=True)
class EmergencyResources:
    """What the emergency protocol may use beyond bought reserve.

    Storage (s,): `storage_ramp_s` is the time from 0 to full power. Loads (b,): non-critical load
    in the declared order of shedding. Generation: totals that move at one ramp rate.
    """

    storage_up_w: Floats
    storage_down_w: Floats
    storage_delay_s: Floats
    storage_ramp_s: Floats
    load_w: Floats
    load_delay_s: Floats
    generation_up_w: float = 0.0
    generation_down_w: float = 0.0
    generation_ramp_w_per_s: float = 1.0

    def __post_init__(self) -> None:
        names = tuple(f.name for f in fields(self))
        _group(self, names[:4])
        _group(self, names[4:6])
        for name in names[6:8]:
            _number(name, getattr(self, name), 0.0)
        _number("generation_ramp_w_per_s", self.generation_ramp_w_per_s, 1e-9)


def no_emergency_resources() -> EmergencyResources:
    """Nothing that the emergency protocol could use."""
    none = np.zeros(0)
    return EmergencyResources(none, none, none, none, none, none)


@dataclass(frozen=True, slots=True)
class Trips:
    """Blocks of generation (k,) that protection takes off when frequency stays out of limits.

    A block trips when frequency was below `under_hz` or above `over_hz` for `delay_s`; `power_w`
    and `kinetic_ws` are lost with it. A tripped block stays off until its flag in the state is
    cleared: the interval's imbalance and kinetic energy go on counting it as running.
    """

    power_w: Floats
    kinetic_ws: Floats
    under_hz: Floats
    over_hz: Floats
    delay_s: Floats

    def __post_init__(self) -> None:
        _group(self, tuple(f.name for f in fields(self)))


def no_trips() -> Trips:
    """No generation with protection of its own."""
    none = np.zeros(0)
    return Trips(none, none, none, none, none)


@dataclass(frozen=True, slots=True)
class Interval:
    """One interval of one area.

    `kinetic_ws` is the energy of all rotating masses at nominal frequency (sum of H S).
    `imbalance_w` is the mean of injection less draw, the sudden part included, responses excluded.
    The imbalance starts where the last interval ended plus `sudden_w`, and ramps over `ramp_s` to
    the plateau that gives this mean. Keep `ramp_s` well below `seconds`: the plateau overshoots a
    change by `r / (1 - r)` with r = `ramp_s` / (2 `seconds`), 11 % for 60 of 300 s.
    `secondary_gain` multiplies both gains of secondary control.
    `replaced_w` is what the schedules of this interval bring that those of the last one lacked (a
    unit lost then and replaced by the market now): responses are taken back by it over the ramp.
    """

    seconds: float
    kinetic_ws: float
    load_w: float
    sudden_w: float
    imbalance_w: float
    ramp_s: float
    responders: Responders
    secondary_up_w: float
    secondary_down_w: float
    secondary_gain: float = 1.0
    replaced_w: float = 0.0
    emergency: EmergencyResources = field(default_factory=no_emergency_resources)
    trips: Trips = field(default_factory=no_trips)

    def __post_init__(self) -> None:
        _number("seconds", self.seconds, 0.1)
        _number("kinetic_ws", self.kinetic_ws, 1e-9, 1e300)
        for name in ("load_w", "secondary_up_w", "secondary_down_w"):
            _number(name, getattr(self, name), 0.0, 1e300)
        for name in ("sudden_w", "imbalance_w", "replaced_w"):
            _number(name, getattr(self, name), -1e300, 1e300)
        _number("ramp_s", self.ramp_s, 0.0, self.seconds)
        _number("secondary_gain", self.secondary_gain, 0.0, 2.0)


@dataclass(frozen=True, slots=True)
class EmergencyState:
    """The emergency protocol between two intervals; times count from the end of the last one.

    `phase` is 0 (none), 1 (active) or 2 (recovery). `*_target_w` is where a power is going;
    inf stands for "not planned".
    """

    phase: int
    detected_s: float
    alert_s: float
    rearm_s: float
    inside_since_s: float
    storage_w: Floats  # (s,)
    storage_target_w: Floats  # (s,)
    storage_start_s: Floats  # (s,)
    load_off_w: Floats  # (b,)
    load_called_w: Floats  # (b,) goes off when it is due
    load_due_s: Floats  # (b,)
    generation_w: float
    generation_target_w: float
    generation_start_s: float


def at_rest(storage: int, loads: int) -> EmergencyState:
    """No emergency, for so many storage units and blocks of load."""
    return EmergencyState(
        phase=0,
        detected_s=math.nan,
        alert_s=math.inf,
        rearm_s=-math.inf,
        inside_since_s=math.inf,
        storage_w=np.zeros(storage),
        storage_target_w=np.zeros(storage),
        storage_start_s=np.full(storage, math.inf),
        load_off_w=np.zeros(loads),
        load_called_w=np.zeros(loads),
        load_due_s=np.full(loads, math.inf),
        generation_w=0.0,
        generation_target_w=0.0,
        generation_start_s=math.inf,
    )


@dataclass(frozen=True, slots=True)
class AreaState:
    """An area between two intervals; times count from the end of the last one (past: negative).

    `plateau_w` is the imbalance at the end and `frozen_w` what shed load and tripped blocks added
    to it. To reconnect a tripped block, replace `tripped`.
    """

    deviation_hz: float
    past_s: Floats  # (p,) times of the last samples, the last one 0
    past_hz: Floats  # (p,) their deviations
    ramped_w: Floats  # (g,) after dead time and ramp limit
    governor_w: Floats  # (g,)
    reheat_w: Floats  # (g,)
    secondary_w: float
    secondary_integral_w: float
    secondary_wait_s: float
    plateau_w: float
    frozen_w: float
    shed: Bools  # (steps,)
    shed_due_s: Floats  # (steps,)
    returned_share: float  # of the last step that was shed, back already
    above_since_s: float
    tripped: Bools  # (k,)
    trip_due_s: Floats  # (k,)
    emergency: EmergencyState
    fine_left_s: float
    blackout: bool  # the last interval ended without voltage


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in an interval.

    `step` is one of sudden, detection, alert, storage, load_shedding, generation, recovery,
    load_restored, recovered, under_frequency_shedding, restoration, trip and blackout; `power_w`
    is positive where injection rises or draw falls.
    """

    second: float
    step: str
    power_w: float
    frequency_hz: float


@dataclass(frozen=True, slots=True)
class FrequencyResult:
    """What one interval did. Powers are means over it; `imbalance + sum of the means` is 0.

    `steepest_hz_per_s` is the largest mean rate of change over any 0.5 s. `seconds_outside` (2,)
    is the time outside each of `band_pu`. `settled_s` counts from the first disturbance to the
    moment from which on frequency stays inside `band_pu[0]`; nan if it never left, inf if it is
    outside at the end. `response_s` is simulated time from detection to the first storage response.
    `mean_hz` and `end_hz` stop at a blackout. Traces (m,) are empty where nothing happened.
    """

    state: AreaState
    minimum_hz: float
    maximum_hz: float
    mean_hz: float
    end_hz: float
    steepest_hz_per_s: float
    seconds_outside: Floats  # (2,)
    containment_w: Floats  # (g,)
    secondary_w: float
    storage_w: Floats  # (s,)
    noncritical_w: Floats  # (b,) load not served
    generation_w: float
    shed_w: float  # load not served after under-frequency shedding or blackout
    tripped_w: Floats  # (k,) negative
    blackout_w: float  # generation lost with the area, negative
    damping_w: float  # positive: load drew less
    inertial_w: float  # positive: rotating masses gave
    settled_s: float
    events: tuple[Event, ...]
    response_s: float
    trace_s: Floats  # (m,)
    trace_hz: Floats  # (m,)
    fine: bool  # some of it ran at the fine step
