"""The quiet path: exact steps of a piecewise linear system.

Droop with deadband and saturation is linear between its corners, so that inside one piece the area
is a linear system with a constant or ramping input, and one step of any length is a product with
the exponential of its augmented matrix (Van Loan, "Computing integrals involving the matrix
exponential", IEEE Trans. Automatic Control 23, 1978). Where a step leaves its piece it is repeated
by halves up to the corner. Dead time counts as a lag of the same length, which is the same to first
order in slow signals; a group that would reach its ramp limit sends the area to the fine path.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from swarm.grid.frequency_fine import Groups, Swing, asked
from swarm.grid.frequency_types import Floats

# The system's vector: deviation, its integral, 1, power / mass, its slope, then the lags.
_F, _INTEGRAL, _ONE, _POWER, _SLOPE, _LAGS = range(6)
_HALVINGS = 8
_TAYLOR = 10


@dataclass(frozen=True, slots=True)
class _Ladder:
    """Steps of one length in one piece: `samples` equal ones stacked, and its halves."""

    stack: Floats  # (samples * n, n)
    halves: list[Floats]  # step length / 2**j, (n, n) each


@dataclass(frozen=True, slots=True)
class _Piece:
    low_hz: float
    high_hz: float
    matrix: Floats  # (n, n)
    constant: list[float]  # (g,) W
    slope: list[float]  # (g,) W/Hz
    rate_hz_per_s: float  # beyond it some group meets its ramp limit


class Coarse:
    """Exact propagation of one area. Powers inside are divided by the swing's mass."""

    def __init__(self, groups: Groups, swing: Swing, step_s: float) -> None:
        self.groups, self.swing, self.step_s = groups, swing, step_s
        corners = {0.0}
        self.lag: list[float] = []
        self.slow: list[float] = []
        self.share: list[float] = []
        for gain, dead, up, down, delay, _, lag, slow, share in groups.constants:
            if gain > 0.0:
                corners |= {-dead - up / gain, -dead, dead, dead + down / gain}
            self.lag.append(lag + delay)
            self.slow.append(slow)
            self.share.append(share if slow > 0.0 else 1.0)
        self.corners = sorted(corners)
        count = len(self.lag)
        place = iter(range(_LAGS, _LAGS + 2 * count))
        self.at_governor = [next(place) if lag > 0.0 else -1 for lag in self.lag]
        self.at_reheat = [next(place) if slow > 0.0 else -1 for slow in self.slow]
        self.size = next(place, _LAGS + 2 * count)
        self.pieces: dict[int, _Piece] = {}
        self.ladders: dict[tuple[int, float], _Ladder] = {}
        self.time_in: dict[int, float] = {}
        self.integral_in: dict[int, float] = {}
        self.vector = np.zeros(self.size)
        self.integral = 0.0

    def enter(self, deviation_hz: float) -> None:
        """Take over the groups' state."""
        z = self.vector = np.zeros(self.size)
        z[_F], z[_ONE] = deviation_hz, 1.0
        for i in range(len(self.lag)):
            if self.at_governor[i] >= 0:
                z[self.at_governor[i]] = self.groups.governor[i] / self.swing.mass_w_s_per_hz
            if self.at_reheat[i] >= 0:
                z[self.at_reheat[i]] = self.groups.reheat[i] / self.swing.mass_w_s_per_hz
        self.start = z.copy()
        self.time_in, self.integral_in, self.integral = {}, {}, 0.0

    def leave(self) -> float:
        """Give the state back and book the groups' energy; returns the integral of deviation."""
        groups, mass, z = self.groups, self.swing.mass_w_s_per_hz, self.vector
        f = float(z[_F])
        used = [(self._piece(p), self.time_in[p], self.integral_in[p]) for p in self.time_in]
        for i, (gain, dead, up, down, *_) in enumerate(groups.constants):
            energy = sum(p.constant[i] * s + p.slope[i] * integral for p, s, integral in used)
            u = asked(gain, dead, up, down, f)
            y, x = self.at_governor[i], self.at_reheat[i]
            if y >= 0:
                energy -= self.lag[i] * mass * float(z[y] - self.start[y])
            if x >= 0:
                change = float(z[x] - self.start[x])
                energy -= (1.0 - self.share[i]) * self.slow[i] * mass * change
            groups.energy[i] += energy
            groups.ramped[i] = u
            groups.governor[i] = float(z[y]) * mass if y >= 0 else u
            groups.reheat[i] = float(z[x]) * mass if x >= 0 else groups.governor[i]
        return self.integral

    def advance(
        self,
        times: list[float],
        deviations: list[float],
        seconds: float,
        power_w: float,
        slope_w_per_s: float,
        limits_hz: tuple[float, float],
    ) -> bool:
        """One stretch of `seconds` with a linear input.

        False, and nothing changed, if frequency would leave `limits_hz` or a group meet its ramp
        limit: then the fine path must take it.
        """
        mass = self.swing.mass_w_s_per_hz
        z = self.vector
        f = z[_F]
        z[_INTEGRAL], z[_POWER], z[_SLOPE] = 0.0, power_w / mass, slope_w_per_s / mass
        index = bisect_right(self.corners, f)
        piece = self._piece(index)
        ladder = self._ladder(index, seconds)
        steps = (ladder.stack @ z).reshape(-1, self.size)
        found = steps[:, _F].tolist()
        low, high = min(found), max(found)
        if piece.low_hz <= low and high <= piece.high_hz:
            if low < limits_hz[0] or high > limits_hz[1]:
                return False
            if piece.rate_hz_per_s < math.inf:
                h, last = seconds / len(found), f
                for value in found:
                    if abs(value - last) > piece.rate_hz_per_s * h:
                        return False
                    last = value
            self.vector = steps[-1].copy()
            self._book(index, seconds, float(self.vector[_INTEGRAL]))
            t, h = times[-1], seconds / len(found)
            times.extend([t + h * k for k in range(1, len(found) + 1)])
            deviations.extend(found)
            return True
        return self._by_halves(times, deviations, seconds, limits_hz)

    def _by_halves(
        self,
        times: list[float],
        deviations: list[float],
        seconds: float,
        limits_hz: tuple[float, float],
    ) -> bool:
        z, whole = self.vector, 1 << _HALVINGS
        start, position = times[-1], 0
        first = max(0, math.ceil(math.log2(max(seconds / self.step_s, 1.0))))
        level = first
        new: list[tuple[int, float, float, float, float]] = []
        while position < whole:
            index = bisect_right(self.corners, z[_F])
            piece, ladder = self._piece(index), self._ladder(index, seconds)
            level = max(first, level - 1)
            while (whole >> level) > whole - position or position % (whole >> level):
                level += 1
            while True:
                after = ladder.halves[level] @ z
                f = float(after[_F])
                if level == _HALVINGS or piece.low_hz <= f <= piece.high_hz:
                    break
                level += 1
            h = seconds / (1 << level)
            if not limits_hz[0] <= f <= limits_hz[1]:
                return False
            if abs(f - z[_F]) > piece.rate_hz_per_s * h:
                return False
            position += whole >> level
            when = start + seconds * position / whole
            new.append((index, h, float(after[_INTEGRAL] - z[_INTEGRAL]), when, f))
            z = after
        for index, h, integral, when, f in new:
            times.append(when)
            deviations.append(f)
            self._book(index, h, integral)
        self.vector = z
        return True

    def _book(self, index: int, seconds: float, integral: float) -> None:
        self.time_in[index] = self.time_in.get(index, 0.0) + seconds
        self.integral_in[index] = self.integral_in.get(index, 0.0) + integral
        self.integral += integral

    def _piece(self, index: int) -> _Piece:
        found = self.pieces.get(index)
        if found is not None:
            return found
        corners = [-math.inf, *self.corners, math.inf]
        low, high = corners[index], corners[index + 1]
        if math.isinf(low) or math.isinf(high):
            middle = low + 1.0 if math.isinf(high) else high - 1.0
        else:
            middle = 0.5 * (low + high)
        mass = self.swing.mass_w_s_per_hz
        a = np.zeros((self.size, self.size))
        a[_F, _POWER] = a[_INTEGRAL, _F] = a[_POWER, _SLOPE] = 1.0
        a[_F, _F] = -self.swing.damping_w_per_hz / mass
        constants, slopes, rate = [], [], math.inf
        for i, (gain, dead, up, down, _, ramp, *_) in enumerate(self.groups.constants):
            u = asked(gain, dead, up, down, middle)
            slope = -gain if -down < u < up and u != 0.0 else 0.0
            constant = u - slope * middle
            constants.append(constant)
            slopes.append(slope)
            if slope:
                rate = min(rate, ramp / gain)
            # What the group asks for as a row, then the lags it passes.
            row = np.zeros(self.size)
            row[_ONE], row[_F] = constant / mass, slope / mass
            y, x = self.at_governor[i], self.at_reheat[i]
            if y >= 0:
                a[y] = row / self.lag[i]
                a[y, y] -= 1.0 / self.lag[i]
                row = np.zeros(self.size)
                row[y] = 1.0
            if x >= 0:
                a[x] = row / self.slow[i]
                a[x, x] -= 1.0 / self.slow[i]
                a[_F, x] += 1.0 - self.share[i]
            a[_F] += self.share[i] * row
        self.pieces[index] = piece = _Piece(low, high, a, constants, slopes, rate)
        return piece

    def _ladder(self, index: int, seconds: float) -> _Ladder:
        key = (index, round(seconds, 9))
        found = self.ladders.get(key)
        if found is not None:
            return found
        a = self._piece(index).matrix * seconds
        norm = float(np.abs(a).sum(axis=1).max())
        level = max(_HALVINGS, math.ceil(math.log2(max(norm, 1e-9) / 0.5)))
        a /= 2.0**level
        one = np.eye(self.size)
        step = one
        for k in range(_TAYLOR, 0, -1):
            step = one + a @ step / k
        halves = [step]
        for _ in range(level):
            halves.append(halves[-1] @ halves[-1])
        halves = halves[::-1][: _HALVINGS + 1]
        level = min(_HALVINGS, max(0, math.ceil(math.log2(seconds / self.step_s) - 1e-9)))
        stack = [halves[level]]
        for _ in range((1 << level) - 1):
            stack.append(stack[-1] @ halves[level])
        self.ladders[key] = ladder = _Ladder(np.concatenate(stack), halves)
        return ladder
