"""The disturbed path: small fixed steps, exact in the lags, second order in frequency.

One step predicts frequency by Euler, passes the asked powers through the exact solution of the
lags for a linear input, and corrects frequency with the mean power this gives: an exponential form
of Heun's method (Hochbruck and Ostermann, "Exponential integrators", Acta Numerica 19, 2010). Lags
much shorter than the step are harmless. Plain floats: for a handful of groups they are several
times faster than arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from swarm.grid.frequency_types import Responders

# (gain, deadband, up, down, delay, ramp in the step, lag, e, b0, b1, reheat, ex, c0, c1, share)
_Constants = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Swing:
    """`mass_w_s_per_hz` times rate of change = power - `damping_w_per_hz` times deviation."""

    mass_w_s_per_hz: float
    damping_w_per_hz: float


@dataclass(frozen=True, slots=True)
class Watch:
    """Deviations (Hz) and rate of change (Hz/s) that end a block of fine steps."""

    low_hz: float
    high_hz: float
    detect_hz: float
    detect_rocof: float
    window_s: float


class Groups:
    """State of the droop responders while an interval runs, and the energy (g,) they gave."""

    def __init__(
        self,
        responders: Responders,
        ramped: list[float],
        governor: list[float],
        reheat: list[float],
    ) -> None:
        self.constants: list[tuple[float, ...]] = list(
            zip(
                responders.gain_w_per_hz.tolist(),
                responders.deadband_hz.tolist(),
                responders.up_w.tolist(),
                responders.down_w.tolist(),
                responders.delay_s.tolist(),
                responders.ramp_w_per_s.tolist(),
                responders.governor_lag_s.tolist(),
                responders.reheat_lag_s.tolist(),
                responders.direct_share.tolist(),
                strict=True,
            )
        )
        limits = [(-c[3], c[2]) for c in self.constants]
        clip = [
            [min(max(v, low), high) for v, (low, high) in zip(values, limits, strict=True)]
            for values in (ramped, governor, reheat)
        ]
        self.ramped, self.governor, self.reheat = clip
        self.energy = [0.0] * len(self.constants)
        self.limited = [i for i, c in enumerate(self.constants) if math.isfinite(c[5])]
        self._cache: dict[float, list[_Constants]] = {}

    def total(self) -> float:
        """Power of all groups now, W."""
        return sum(self.powers())

    def powers(self) -> list[float]:
        """Power of each group now, W."""
        return [
            share * y + (1.0 - share) * x
            for (*_, share), y, x in zip(self.constants, self.governor, self.reheat, strict=True)
        ]

    def steps_for(self, swing: Swing, step_s: float) -> float:
        """The step that resolves the loops of frequency and droop: `step_s` or less."""
        direct, lagged = swing.damping_w_per_hz, 0.0
        for gain, _, _, _, delay, _, lag, *_ in self.constants:
            if lag > 0.0:
                lagged += gain / lag
            elif delay < step_s:
                direct += gain
        rate = max(
            2.0 * direct / swing.mass_w_s_per_hz, 3.0 * math.sqrt(lagged / swing.mass_w_s_per_hz)
        )
        return step_s / min(max(1.0, math.ceil(step_s * rate)), 64.0)

    def for_step(self, h: float) -> list[_Constants]:
        """Constants of one step of `h` seconds."""
        found = self._cache.get(h)
        if found is None:
            found = [
                (
                    gain,
                    dead,
                    up,
                    down,
                    delay,
                    ramp * h,
                    lag,
                    *_lag(h, lag),
                    reheat,
                    *_lag(h, reheat),
                    share,
                )
                for gain, dead, up, down, delay, ramp, lag, reheat, share in self.constants
            ]
            self._cache[h] = found
        return found


def asked(gain: float, dead: float, up: float, down: float, deviation: float) -> float:
    """Droop: what a group is asked for at a deviation, W."""
    if deviation > dead:
        return max(gain * (dead - deviation), -down)
    if deviation < -dead:
        return min(gain * (-dead - deviation), up)
    return 0.0


def _limited(group: _Constants, r0: float, before: float, seen: float, u1: float) -> float:
    """Where a rate limit from `r0` is after a step in which what is asked moves linearly.

    Deviation goes from `before` to `seen`, so that `u1` is asked at the end.
    """
    gain, dead, up, down, _, reach, *_ = group
    u0 = asked(gain, dead, up, down, before)
    if abs(before) <= dead < abs(seen):  # it moves only in the part beyond the deadband
        reach *= (abs(seen) - dead) / abs(seen - before)
    gap, change, met = u0 - r0, u1 - u0, 0.0
    if gap != 0.0:
        side = math.copysign(reach, gap)
        closing = side - change
        met = gap / closing if closing * gap > 0.0 else 1.0
        if met >= 1.0:
            return r0 + side
        r0 += side * met
    if abs(change) <= reach:
        return u1
    return r0 + math.copysign(reach, change) * (1.0 - met)


def _lag(h: float, lag: float) -> tuple[float, float, float]:
    """(e, b0, b1) of y1 = e y0 + b0 u0 + b1 u1, exact for u linear in the step."""
    if lag <= 0.0:
        return 0.0, 0.0, 1.0
    fall = -math.expm1(-h / lag)
    late = 1.0 - fall * lag / h
    return 1.0 - fall, fall - late, late


def run(
    groups: Groups,
    swing: Swing,
    times: list[float],
    deviations: list[float],
    stop_s: float,
    step_s: float,
    power_w: float,
    slope_w_per_s: float,
    moving: Callable[[float], float] | None,
    watch: Watch,
) -> tuple[float, float | None]:
    """Advance from `times[-1]` to `stop_s`, or to the first step that leaves the watched range.

    `power_w` is all other power at the start and `slope_w_per_s` its slope; `moving(t)` is a power
    that is neither, such as storage on its way. Samples are appended to `times` and `deviations`.
    Returns the integral of the deviation (Hz s) and the time of detection, if any.
    """
    t, f = times[-1], deviations[-1]
    count = max(1, math.ceil((stop_s - t) / groups.steps_for(swing, step_s) - 1e-6))
    h = round((stop_s - t) / count, 12)
    constants = groups.for_step(h)
    start, hh = t, 0.5 * h
    mass, damping = swing.mass_w_s_per_hz, swing.damping_w_per_hz
    kept, given = mass - damping * hh, 1.0 / (mass + damping * hh)
    ramped, governor, reheat = groups.ramped, groups.governor, groups.reheat
    governor_start, reheat_start = governor.copy(), reheat.copy()
    asked_energy = [0.0] * len(constants)
    pointers = [0] * len(constants)
    total, extra = groups.total(), moving(t) if moving else 0.0
    low, high, detect = watch.low_hz, watch.high_hz, watch.detect_hz
    window, steep = watch.window_s, watch.detect_rocof
    last_seen = [0.0] * len(constants)
    for i in groups.limited:
        last_seen[i] = history(times, deviations, t - groups.constants[i][4])
    back = 0
    integral, detected = 0.0, None
    rocof = math.inf
    add_time, add_deviation = times.append, deviations.append
    for k in range(1, count + 1):
        t1 = stop_s if k == count else start + k * h
        power1 = power_w + slope_w_per_s * h
        extra1 = moving(t1) if moving else 0.0
        guess = f + h * (power_w + extra + total - damping * f) / mass
        energy = hh * (power_w + power1 + extra + extra1)
        again = []
        for i, group in enumerate(constants):
            gain, dead, up, down, delay, ramp, lag, e, b0, b1, slow, ex, c0, c1, share = group
            if delay <= 0.0:
                seen = guess
            else:
                when = t1 - delay
                if when >= t:
                    seen = f + (guess - f) * (when - t) / h
                else:
                    j = pointers[i]
                    while times[j + 1] <= when:
                        j += 1
                    pointers[i] = j
                    seen = deviations[j] + (deviations[j + 1] - deviations[j]) * (
                        when - times[j]
                    ) / (times[j + 1] - times[j])
            if seen > dead:
                u = gain * (dead - seen)
                if u < -down:
                    u = -down
            elif seen < -dead:
                u = -gain * (dead + seen)
                if u > up:
                    u = up
            else:
                u = 0.0
            u0, y0 = ramped[i], governor[i]
            if ramp < math.inf:
                u = _limited(group, u0, last_seen[i], seen, u)
            if delay < h:
                again.append((i, u0))
            else:
                last_seen[i] = seen
            part = hh * (u0 + u)
            asked_energy[i] += part
            ramped[i] = u
            if lag > 0.0:
                y = e * y0 + b0 * u0 + b1 * u
                governor[i] = y
                part -= lag * (y - y0)
            else:
                y = governor[i] = u
                y0 = u0
            if slow > 0.0:
                x0 = reheat[i]
                x = reheat[i] = ex * x0 + c0 * y0 + c1 * y
                part -= (1.0 - share) * slow * (x - x0)
            else:
                reheat[i] = y
            energy += part
        f1 = (kept * f + energy) * given
        # The answers without dead time follow the corrected frequency.
        for i, u0 in again:
            gain, dead, up, down, delay, ramp, lag, *_ = constants[i]
            seen = f1 if delay <= 0.0 else f1 + (f - f1) * delay / h
            u = asked(gain, dead, up, down, seen)
            if ramp < math.inf:
                u = _limited(constants[i], u0, last_seen[i], seen, u)
                last_seen[i] = seen
            ramped[i] = u
            if lag <= 0.0:
                governor[i] = ramped[i]
                if constants[i][10] <= 0.0:
                    reheat[i] = ramped[i]
        total = groups.total()
        integral += hh * (f + f1)
        add_time(t1)
        add_deviation(f1)
        before = t
        t, f, power_w, extra = t1, f1, power1, extra1
        if steep < math.inf or detect < math.inf:
            when = t - window
            while times[back + 1] <= when:
                back += 1
            past = deviations[back] + (deviations[back + 1] - deviations[back]) * (
                when - times[back]
            ) / (times[back + 1] - times[back])
            last, rocof = rocof, abs(f - past) / window
            outward = f * (f - past) > 0.0 or abs(f) < detect
            if abs(f) > detect:
                last_f = abs(deviations[-2])
                share = (detect - last_f) / (abs(f) - last_f) if last_f < detect else 1.0
                detected = before + share * (t - before)
                break
            if rocof > steep and outward:
                share = (steep - last) / (rocof - last) if last < steep else 1.0
                detected = before + share * (t - before)
                break
        if f < low or f > high:
            break
    for i, (_, _, _, _, _, _, lag, _, _, _, slow, *_, share) in enumerate(constants):
        groups.energy[i] += asked_energy[i] - lag * (governor[i] - governor_start[i])
        if slow > 0.0:
            groups.energy[i] -= (1.0 - share) * slow * (reheat[i] - reheat_start[i])
    return integral, detected


def history(times: list[float], deviations: list[float], when: float) -> float:
    """Deviation at a time of the past, linear between samples."""
    return float(np.interp(when, times[-400:], deviations[-400:]))
