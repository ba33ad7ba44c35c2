"""Secondary control and relays: the parts of an area that act at moments, not all the time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from swarm.grid.frequency_types import AreaSpec, Bools, Floats


class Secondary:
    """Sampled PI on the area control error, limited in size and in rate.

    The error is `outer_w_per_hz` (the bias of the area) times the deviation beyond the deadband of
    droop, and `inner_w_per_hz` times that inside, where no droop damps the swing.
    The integrator stands still while the output is limited in the direction of the error
    (conditional integration: Astrom and Hagglund, Advanced PID Control, 2006, section 3.5).
    """

    def __init__(
        self,
        spec: AreaSpec,
        inner_w_per_hz: float,
        outer_w_per_hz: float,
        deadband_hz: float,
        limits_w: tuple[float, float],
        gain: float,
        output_w: float,
        integral_w: float,
    ) -> None:
        self.low, self.high = -limits_w[0], limits_w[1]
        self.cycle_s = spec.secondary_cycle_s
        self.inner, self.outer, self.deadband = inner_w_per_hz, outer_w_per_hz, deadband_hz
        self.proportional = gain * spec.secondary_proportional
        self.integral_share = gain * self.cycle_s / spec.secondary_integral_s
        self.step = (self.high - self.low) * self.cycle_s / spec.full_activation_s
        self.output = min(max(output_w, self.low), self.high)
        self.integral = min(max(integral_w, self.low), self.high)

    def act(self, deviation_hz: float) -> float:
        """One cycle; returns the change of the output, W."""
        low = max(self.low, self.output - self.step)
        high = min(self.high, self.output + self.step)
        beyond = max(abs(deviation_hz) - self.deadband, 0.0)
        inside = abs(deviation_hz) - beyond
        error = math.copysign(self.inner * inside + self.outer * beyond, deviation_hz)
        change = -self.integral_share * error
        wanted = self.integral + change - self.proportional * error
        if (wanted > high and change > 0.0) or (wanted < low and change < 0.0):
            # Integrate as far as the limit, no further.
            excess = wanted - high if change > 0.0 else wanted - low
            change = max(change - excess, 0.0) if change > 0.0 else min(change - excess, 0.0)
            wanted = self.integral + change - self.proportional * error
        self.integral += change
        before = self.output
        self.output = min(max(wanted, low), high)
        return self.output - before

    def take_over(self, power_w: float) -> None:
        """Take power over from somebody else who gives as much less."""
        self.output += power_w
        self.integral += power_w

    def shift(self, power_w: float) -> None:
        """Move the set point, as far as the limits allow."""
        moved = min(max(self.output + power_w, self.low), self.high) - self.output
        self.take_over(moved)

    def room(self, side: float) -> float:
        """What is left upwards (`side` above 0) or downwards, W."""
        return self.high - self.output if side > 0.0 else self.output - self.low


class Relays:
    """Relays (n,) that act once when frequency was beyond their limit for their delay.

    `low` and `high` (n,) are deviations in Hz; the time of crossing is linear between samples.
    """

    def __init__(
        self, low: Floats, high: Floats, delay_s: Floats, acted: Bools, due_s: Floats
    ) -> None:
        self.low, self.high, self.delay = low, high, delay_s
        self.acted = acted.copy()
        self.due = np.where(self.acted, math.inf, due_s)
        self._guard()

    def _guard(self) -> None:
        ready = ~self.acted
        self.active = not ready.all()
        self.guard_low = float(self.low[ready].max(initial=-math.inf))
        self.guard_high = float(self.high[ready].min(initial=math.inf))
        self.next_s = float(self.due.min(initial=math.inf))

    def watch(self, times: Sequence[float], deviations: Sequence[float]) -> None:
        """Start and reset timers by the last two samples."""
        f = deviations[-1]
        if self.guard_low <= f <= self.guard_high and self.next_s == math.inf:
            return
        t0, t1, f0 = times[-2], times[-1], deviations[-2]
        beyond = ((f < self.low) | (f > self.high)) & ~self.acted
        fresh = beyond & ~np.isfinite(self.due)
        if fresh.any():
            limit = np.where(f < self.low, self.low, self.high)
            share = (limit - f0) / (f - f0) if f != f0 else np.zeros(limit.size)
            share = np.where((share >= 0.0) & (share <= 1.0), share, 1.0)
            self.due = np.where(fresh, t0 + share * (t1 - t0) + self.delay, self.due)
        self.due[~beyond] = math.inf
        self.next_s = float(self.due.min(initial=math.inf))

    def act(self, t: float) -> list[int]:
        """The relays whose time has come, in index order; they are marked as acted."""
        found = np.flatnonzero(self.due <= t + 1e-9)
        self.acted[found] = True
        self.due[found] = math.inf
        self._guard()
        return [int(i) for i in found]

    def reset(self, index: int) -> None:
        """Make a relay ready again."""
        self.acted[index] = False
        self._guard()


class Inside:
    """Since when frequency is inside a range (deviations, Hz); inf while it is outside."""

    def __init__(self, low_hz: float, high_hz: float, since_s: float) -> None:
        self.low, self.high, self.since = low_hz, high_hz, since_s

    def watch(self, times: Sequence[float], deviations: Sequence[float], first: int) -> None:
        """Take in the samples from index `first` on."""
        part = deviations[first:]
        if not part:
            return
        if min(part) >= self.low and max(part) <= self.high:
            if self.since == math.inf:
                self.since = times[first]
            return
        self.since = math.inf
        for i in range(len(times) - 1, first - 1, -1):
            if not self.low <= deviations[i] <= self.high:
                break
            self.since = times[i]
