"""What an area gives back, and what it calls for: needs of an alert, recovery, load that returns.

Functions on a `Run` of one interval; the rules are those of `swarm.grid.emergency`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from swarm.grid.emergency import NONE
from swarm.grid.frequency_fine import history

if TYPE_CHECKING:
    from swarm.grid.frequency_run import Run

_EPS = 1e-9


def need(run: Run, t: float, first: bool) -> float:
    """What the alert asks for, W, injection positive."""
    window, f = run.spec.estimate_window_s, run.deviation
    slope = (f - history(run.times, run.deviations, t - window)) / window
    need = -run.swing.mass_w_s_per_hz * slope
    side = -math.copysign(1.0, f if abs(f) > 0.25 * run.band or not first else slope)
    if not first:
        # What would bring the deviation back, beyond what secondary control still has.
        excess = max(abs(f) - 0.5 * run.band, 0.0)
        active = sum(
            gain
            for gain, dead, up, down, *_ in run.groups.constants
            if dead < abs(f) < dead + (down if f > 0.0 else up) / max(gain, 1e-300)
        )
        excess *= run.swing.damping_w_per_hz + active
        called = run.protocol.coming_w()
        soon = run.secondary.step * run.spec.reassess_s / run.spec.secondary_cycle_s
        need += side * (excess - min(run.secondary.room(side), soon)) - called
    else:
        # Containment answers too, and is left with little to do once all have answered.
        need -= side * _containment_to_come(run, side)
    return need if need * side > 0.0 else 0.0


def _containment_to_come(run: Run, side: float) -> float:
    """What fast droop will still give at the edge of the range of recovery, W."""
    have, edge = run.interval.responders, run.spec.release_pu * run.spec.nominal_hz
    fast = (have.governor_lag_s == 0.0) & (have.reheat_lag_s == 0.0)
    limit = have.up_w if side > 0.0 else have.down_w
    there = np.minimum(limit, have.gain_w_per_hz * np.maximum(edge - have.deadband_hz, 0.0))
    given = side * np.array(run.groups.powers())
    return float(np.maximum(there - given, 0.0)[fast].sum())


def feed_forward(run: Run, t: float, left: float) -> None:
    """Take back what the schedules of this interval replace, as fast as they ramp in."""
    replaced = run.interval.replaced_w
    if replaced == 0.0 or t > run.ramp_end + _EPS or run.ramp_end == 0.0:
        return
    amount = replaced * min(run.spec.secondary_cycle_s, run.ramp_end) / run.ramp_end
    rest = abs(amount)
    if run.protocol.phase != NONE and amount * (run.protocol.called_w or run.protocol.load_w) > 0.0:
        rest = run.protocol.ease(t, rest, run.spec.nominal_hz + run.deviation)
        run.jump(t)
    before = run.secondary.output
    run.secondary.shift(-math.copysign(rest, amount))
    run.secondary_energy += (run.secondary.output - before) * left


def recover(run: Run, t: float, left: float, moved_w: float) -> None:
    """A stage of recovery, in a cycle in which secondary control has moved by `moved_w`."""
    protocol, secondary = run.protocol, run.secondary
    if t < run.inside.since + run.spec.release_wait_s - _EPS or not protocol.calm():
        return
    hz = run.spec.nominal_hz + run.deviation
    protocol.begin_recovery(t, hz)
    side = protocol.called_w
    if side == 0.0 and not protocol.off.any():
        # Generation that was called off goes home at its own pace.
        if protocol.generation == 0.0:
            protocol.finish(t, hz)
        return
    if run.shedding.active:
        return
    room = secondary.room(1.0 if side == 0.0 else side)
    taken = protocol.hand_over(t, min(room, max(0.0, secondary.step - moved_w)), hz)
    secondary.take_over(taken)
    run.secondary_energy += taken * left
    run.close_coarse()
    run.freeze()


def ease(run: Run, t: float) -> None:
    """Give back what has become too much."""
    protocol, f = run.protocol, run.deviation
    run.next_ease = t + run.spec.ease_s
    side = protocol.called_w or run.protocol.load_w + run.shed_w
    if side * f <= 0.0 or abs(f) <= run.spec.release_pu * run.spec.nominal_hz:
        return
    slope = (f - history(run.times, run.deviations, t - 0.5)) / 0.5
    swing = run.swing
    surplus = swing.mass_w_s_per_hz * slope + swing.damping_w_per_hz * f - run.groups.total()
    surplus = max(0.0, math.copysign(surplus, f * surplus))
    if protocol.phase != NONE:
        protocol.begin_recovery(t, run.spec.nominal_hz + f)
        surplus = protocol.ease(t, surplus, run.spec.nominal_hz + f)
    if t < run.above.since + run.spec.restore_wait_s:
        surplus = 0.0
    while f > 0.0 and surplus > 0.0 and run.shedding.active:
        surplus -= _return_load(run, t, surplus, run.end - t)
    run.jump(t)


def restore(run: Run, t: float, left: float, moved_w: float) -> None:
    """Load returns feeder by feeder, as fast as secondary control can take it over."""
    if t < run.above.since + run.spec.restore_wait_s - _EPS or run.protocol.called_w > 0.0:
        return
    secondary = run.secondary
    amount = min(secondary.room(1.0), max(0.0, secondary.step - moved_w))
    if amount <= 0.0:
        return
    given = _return_load(run, t, amount, left)
    secondary.take_over(given)
    run.secondary_energy += given * left
    run.close_coarse()
    run.freeze()


def _return_load(run: Run, t: float, amount_w: float, left: float) -> float:
    """Up to `amount_w` of the last step shed returns; how much did."""
    step = run.step_load_w
    given = min(amount_w, step * (1.0 - run.returned))
    run.shed_energy -= given * left
    run.returned += given / step if step > 0.0 else 1.0
    if run.returned >= 1.0 - _EPS:
        run.returned = 0.0
        run.shedding.reset(int(np.flatnonzero(run.shedding.acted)[-1]))
        run.event(t, "restoration", -step)
    return given
