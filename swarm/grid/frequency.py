"""Frequency of one control area over one market interval.

The per-unit swing equation of a low-order frequency response model (Anderson and Mirheydar, "A
low-order system frequency response model", IEEE Trans. Power Systems 5, 1990; Kundur, Power System
Stability and Control, 1994, chapter 11), with all masses on one frequency:

    2 E_k / f0 * df/dt = imbalance + responses - D * load * (f - f0) / f0

Responses are droop groups (containment), secondary control, under-frequency load shedding,
protection of generation and the emergency protocol. After a disturbance the area runs at a fine
step (`frequency_fine`), else by exact coarse steps (`frequency_coarse`). A blackout lasts to the
end of its interval; the next one starts at nominal and at rest: black start is not modelled.
"""

from __future__ import annotations

import math

import numpy as np

from swarm.grid.frequency_run import Run
from swarm.grid.frequency_types import (
    AreaSpec,
    AreaState,
    EmergencyResources,
    EmergencyState,
    Event,
    Floats,
    FrequencyResult,
    Interval,
    Responders,
    Trips,
    at_rest,
    no_emergency_resources,
    no_trips,
)

__all__ = [
    "AreaSpec",
    "AreaState",
    "EmergencyResources",
    "EmergencyState",
    "Event",
    "FrequencyResult",
    "Interval",
    "Responders",
    "Trips",
    "no_emergency_resources",
    "no_trips",
    "simulate",
    "start",
]

_ROCOF_WINDOW_S = 0.5
_TRACE_FINE_S, _TRACE_COARSE_S = 0.1, 1.0


def start(
    spec: AreaSpec, groups: int, storage: int = 0, loads: int = 0, trips: int = 0
) -> AreaState:
    """An area at nominal frequency and at rest, for so many groups and resources."""
    steps = len(spec.shed_at_pu)
    return AreaState(
        deviation_hz=0.0,
        past_s=np.array([-1.0, 0.0]),
        past_hz=np.zeros(2),
        ramped_w=np.zeros(groups),
        governor_w=np.zeros(groups),
        reheat_w=np.zeros(groups),
        secondary_w=0.0,
        secondary_integral_w=0.0,
        secondary_wait_s=spec.secondary_cycle_s,
        plateau_w=0.0,
        frozen_w=0.0,
        shed=np.zeros(steps, dtype=bool),
        shed_due_s=np.full(steps, math.inf),
        returned_share=0.0,
        above_since_s=math.inf,
        tripped=np.zeros(trips, dtype=bool),
        trip_due_s=np.full(trips, math.inf),
        emergency=at_rest(storage, loads),
        fine_left_s=0.0,
        blackout=False,
    )


def simulate(spec: AreaSpec, state: AreaState, interval: Interval) -> FrequencyResult:
    """Run one interval from `state`; the new state is in the result.

    Raises ValueError if the interval's groups, resources or trips do not fit the state.
    """
    have, emergency = interval.emergency, state.emergency
    for name, size, expected in (
        ("responders", interval.responders.gain_w_per_hz.size, state.governor_w.size),
        ("emergency.storage", have.storage_up_w.size, emergency.storage_w.size),
        ("emergency.load", have.load_w.size, emergency.load_off_w.size),
        ("trips", interval.trips.power_w.size, state.tripped.size),
        ("shed_at_pu", len(spec.shed_at_pu), state.shed.size),
    ):
        if size != expected:
            raise ValueError(f"{name} has {size} entries, expected {expected} as in the state")
    run = Run(spec, state, interval)
    run.simulate()
    return _result(run)


def _result(run: Run) -> FrequencyResult:
    spec, protocol, seconds = run.spec, run.protocol, run.end
    nominal = spec.nominal_hz
    times = np.array(run.times)
    deviations = np.array(run.deviations)
    now, seen = times[run.first :], deviations[run.first :]
    lasted = float(now[-1])
    outside = np.array([_outside(now, seen, band * nominal)[0] for band in spec.band_pu])
    first, last = _outside(now, seen, spec.band_pu[0] * nominal)[1:]
    blackout = run.blackout_s < math.inf
    if blackout:
        outside += seconds - lasted
        last = math.inf
    if run.interval.sudden_w != 0.0:
        first = 0.0
    before = np.interp(now - _ROCOF_WINDOW_S, times, deviations)
    happened = (
        run.interval.sudden_w != 0.0
        or bool(run.fine_parts)
        or protocol.phase != 0
        or bool(run.shedding.acted.any())
        or outside[1] > 0.0
    )
    trace = _trace(run, now) if happened else np.zeros(0)
    return FrequencyResult(
        state=_state(run, times, deviations),
        minimum_hz=nominal + float(seen.min()),
        maximum_hz=nominal + float(seen.max()),
        mean_hz=nominal + (run.integral / lasted if lasted > 0.0 else float(seen[-1])),
        end_hz=nominal + float(seen[-1]),
        steepest_hz_per_s=float(np.abs(seen - before).max()) / _ROCOF_WINDOW_S,
        seconds_outside=outside,
        containment_w=np.array(run.groups.energy) / seconds,
        secondary_w=run.secondary_energy / seconds,
        storage_w=protocol.storage_energy / seconds,
        noncritical_w=protocol.load_energy / seconds,
        generation_w=protocol.generation_energy / seconds,
        shed_w=run.shed_energy / seconds,
        tripped_w=run.tripped_energy / seconds,
        blackout_w=run.blackout_energy / seconds,
        damping_w=run.damping_energy / seconds,
        inertial_w=run.inertial_energy / seconds,
        settled_s=last - first,
        events=tuple(sorted(run.events, key=lambda e: e.second)),
        response_s=protocol.response_s,
        trace_s=trace,
        trace_hz=nominal + np.interp(trace, now, seen),
        fine=bool(run.fine_parts),
    )


def _outside(times: Floats, deviations: Floats, band: float) -> tuple[float, float, float]:
    """Seconds outside +-band (linear between samples), and its first and last moment."""
    beyond = np.abs(deviations) - band
    out = beyond > 0.0
    if not out.any():
        return 0.0, math.nan, math.nan
    a, b = beyond[:-1], beyond[1:]
    h = np.diff(times)
    with np.errstate(divide="ignore", invalid="ignore"):
        cross = np.clip(np.where(a != b, a / (a - b), 0.0), 0.0, 1.0)
    share = np.where(out[:-1], np.where(out[1:], 1.0, cross), np.where(out[1:], 1.0 - cross, 0.0))
    entered = int(out.argmax())
    first = (
        float(times[0])
        if entered == 0
        else float(times[entered - 1] + cross[entered - 1] * h[entered - 1])
    )
    final = out.size - 1 - int(out[::-1].argmax())
    last = math.inf if final == out.size - 1 else float(times[final] + cross[final] * h[final])
    return float(share @ h), first, last


def _trace(run: Run, now: Floats) -> Floats:
    """Times of the trace: 0.1 s apart in the fine parts and 1 s elsewhere."""
    grid: Floats = np.arange(0.0, float(now[-1]) + 1e-9, _TRACE_FINE_S)
    fine = np.zeros(grid.size, dtype=bool)
    for begin, end in run.fine_parts:
        fine |= (grid >= begin - 1e-9) & (grid <= end + 1e-9)
    whole = np.arange(grid.size) % round(_TRACE_COARSE_S / _TRACE_FINE_S) == 0
    chosen: Floats = grid[fine | whole]
    return chosen


def _state(run: Run, times: Floats, deviations: Floats) -> AreaState:
    spec, end = run.spec, run.end
    if run.blackout_s < math.inf:
        fresh = start(
            spec,
            len(run.groups.energy),
            run.protocol.storage.size,
            run.protocol.off.size,
            run.protection.acted.size,
        )
        object.__setattr__(fresh, "blackout", True)
        return fresh
    delays = run.interval.responders.delay_s
    keep = 1.0 + spec.coarse_step_s + float(delays.max(initial=0.0))
    recent = max(1, int(np.searchsorted(times, end - keep)) - 1)
    return AreaState(
        deviation_hz=run.deviation,
        past_s=times[recent:] - end,
        past_hz=deviations[recent:],
        ramped_w=np.array(run.groups.ramped),
        governor_w=np.array(run.groups.governor),
        reheat_w=np.array(run.groups.reheat),
        secondary_w=run.secondary.output,
        secondary_integral_w=run.secondary.integral,
        secondary_wait_s=run.next_cycle - end,
        plateau_w=run.plateau,
        frozen_w=run.frozen,
        shed=run.shedding.acted,
        shed_due_s=run.shedding.due - end,
        returned_share=run.returned,
        above_since_s=run.above.since - end,
        tripped=run.protection.acted,
        trip_due_s=run.protection.due - end,
        emergency=run.protocol.after(end, run.inside.since),
        fine_left_s=max(0.0, run.fine_until - end),
        blackout=False,
    )
