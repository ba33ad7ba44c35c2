"""One interval of one area while it runs: what acts when, and which path takes each stretch."""

from __future__ import annotations

import math

import numpy as np

from swarm.grid.emergency import NONE, Protocol
from swarm.grid.frequency_coarse import Coarse
from swarm.grid.frequency_control import Inside, Relays, Secondary
from swarm.grid.frequency_fine import Groups, Swing, Watch, history, run
from swarm.grid.frequency_recovery import ease, feed_forward, need, recover, restore
from swarm.grid.frequency_types import AreaSpec, AreaState, Event, Interval

_EPS = 1e-9
INNER_STEP = 0.4
"""Inside the deadband one cycle of secondary control may undo at most this share of a deviation;
a sampled proportional control of a pure inertia swings at 2 (Astrom and Wittenmark,
Computer-Controlled Systems, 1997)."""


class Run:
    """Working copy of an area. Powers other than droop are booked as changes times time left."""

    def __init__(self, spec: AreaSpec, state: AreaState, interval: Interval) -> None:
        self.spec, self.interval, self.end = spec, interval, interval.seconds
        nominal = spec.nominal_hz
        # Before what is remembered, frequency is taken as steady.
        self.times: list[float] = [-1e6, *state.past_s.tolist()]
        self.deviations: list[float] = [float(state.past_hz[0]), *state.past_hz.tolist()]
        self.first = len(self.times) - 1
        self.events: list[Event] = []
        self.groups = Groups(
            interval.responders,
            state.ramped_w.tolist(),
            state.governor_w.tolist(),
            state.reheat_w.tolist(),
        )
        self.gain = float(interval.responders.gain_w_per_hz.sum())
        self.load_damping = spec.damping * interval.load_w / nominal
        bias = self.gain + self.load_damping
        mass = 2.0 * interval.kinetic_ws / nominal
        droops = interval.responders.gain_w_per_hz > 0.0
        self.secondary = Secondary(
            spec,
            min(bias, INNER_STEP * mass / (spec.secondary_proportional * spec.secondary_cycle_s)),
            bias,
            float(interval.responders.deadband_hz[droops].min(initial=math.inf)),
            (interval.secondary_down_w, interval.secondary_up_w),
            interval.secondary_gain,
            state.secondary_w,
            state.secondary_integral_w,
        )
        self.secondary_energy = self.secondary.output * self.end
        self.next_cycle = state.secondary_wait_s
        self.step_load_w = spec.shed_share * interval.load_w
        steps = len(spec.shed_at_pu)
        self.shedding = Relays(
            (np.array(spec.shed_at_pu).reshape(steps) - 1.0) * nominal,
            np.full(steps, math.inf),
            np.full(steps, spec.shed_delay_s),
            state.shed,
            state.shed_due_s,
        )
        trips = interval.trips
        self.protection = Relays(
            trips.under_hz - nominal,
            trips.over_hz - nominal,
            trips.delay_s,
            state.tripped,
            state.trip_due_s,
        )
        self.protocol = Protocol(spec, interval.emergency, state.emergency, self.end, self.events)
        self.returned = state.returned_share
        self.shed_energy = self.shed_w * self.end
        self.tripped_energy = np.where(state.tripped, -trips.power_w, 0.0) * self.end
        self.above = Inside((spec.restore_at_pu - 1.0) * nominal, math.inf, state.above_since_s)
        release = spec.release_pu * nominal
        self.inside = Inside(-release, release, state.emergency.inside_since_s)
        self.next_ease = spec.ease_s
        self.band = spec.band_pu[1] * nominal
        self.damping_energy = self.inertial_energy = self.integral = self.blackout_energy = 0.0
        self.blackout_s = math.inf
        self.fine_parts: list[tuple[float, float]] = []
        self.coarse: Coarse | None = None
        self.swing = Swing(1.0, 0.0)
        self.freeze()
        # The imbalance goes on where it was, then ramps to the plateau that gives the mean.
        self.level = state.plateau_w + state.frozen_w - self.frozen + interval.sudden_w
        ramp = interval.ramp_s if interval.ramp_s > 1e-6 else 0.0
        share = 0.5 * min(ramp, self.end) / self.end
        self.plateau = (interval.imbalance_w - share * self.level) / (1.0 - share)
        self.ramp_end = ramp
        self.fine_until = state.fine_left_s
        if interval.sudden_w != 0.0:
            self.mark(0.0)
            self.event(0.0, "sudden", interval.sudden_w)

    # --- power ---

    @property
    def shed_w(self) -> float:
        """Load that relays have cut off and that is not back, W."""
        return self.step_load_w * (int(self.shedding.acted.sum()) - self.returned)

    def freeze(self) -> None:
        """What shed load and tripped blocks add, and the swing equation that is left."""
        trips, tripped = self.interval.trips, self.protection.acted
        unserved = self.shed_w + self.protocol.load_w
        self.frozen = unserved - float(trips.power_w[tripped].sum())
        kinetic = self.interval.kinetic_ws - float(trips.kinetic_ws[tripped].sum())
        self.kinetic_left = kinetic / self.interval.kinetic_ws
        served = 1.0 - min(1.0, unserved / self.interval.load_w) if self.interval.load_w else 0.0
        swing = Swing(
            2.0 * max(kinetic, 1e-3 * self.interval.kinetic_ws) / self.spec.nominal_hz,
            self.load_damping * served,
        )
        if swing != self.swing:
            self.swing, self.coarse = swing, None

    def imbalance(self, t: float) -> float:
        """The imbalance of the interval at `t`, W."""
        if t >= self.ramp_end - _EPS:
            return self.plateau
        return self.level + (self.plateau - self.level) * t / self.ramp_end

    def other_power(self, t: float) -> tuple[float, float]:
        """Power at `t` of all but droop and moving storage, and its slope."""
        slope = self.protocol.generation_slope
        if t < self.ramp_end - _EPS:
            slope += (self.plateau - self.level) / self.ramp_end
        power = self.imbalance(t) + self.frozen + self.secondary.output + self.protocol.generation
        if not self.protocol.storage_moving:
            power += self.protocol.storage_w
        return power, slope

    # --- moments ---

    @property
    def deviation(self) -> float:
        """Now, Hz."""
        return self.deviations[-1]

    def event(self, t: float, step: str, power: float) -> None:
        """Note that something happened."""
        hz = self.spec.nominal_hz + self.deviation
        self.events.append(Event(t, step, power, hz))

    def mark(self, t: float) -> None:
        """Something happened at `t`: fine steps for a while."""
        self.fine_until = max(self.fine_until, t + self.spec.fine_seconds)

    def simulate(self) -> None:
        """Run the interval."""
        t = 0.0
        while t < self.end - _EPS:
            self._act(t)
            if self.blackout_s < math.inf:
                return
            t = self._advance(t, self._next_stop(t))
        self.close_coarse()

    def _next_stop(self, t: float) -> float:
        stop = min(self.end, self.next_cycle, self.shedding.next_s, self.protection.next_s)
        if t < self.ramp_end - _EPS:
            stop = min(stop, self.ramp_end)
        protocol = self.protocol
        if protocol.phase != NONE or protocol.alert < math.inf:
            stop = min(stop, protocol.next_s())
        if protocol.phase != NONE or self.shedding.active:
            stop = min(stop, max(self.next_ease, t + 0.1))
        return max(stop, t + 1e-6)

    def _act(self, t: float) -> None:
        """All that is due at `t`."""
        left = self.end - t
        if t >= self.next_cycle - _EPS:
            self.next_cycle += self.spec.secondary_cycle_s
            change = self.secondary.act(self.deviation)
            self.secondary_energy += change * left
            feed_forward(self, t, left)
            if self.shedding.active:
                restore(self, t, left, abs(change))
            if self.protocol.phase != NONE:
                recover(self, t, left, abs(change))
        if self.shedding.next_s <= t + _EPS:
            for _ in self.shedding.act(t):
                self.shed_energy += self.step_load_w * left
                self.above.since = math.inf
                self.event(t, "under_frequency_shedding", self.step_load_w)
            self.jump(t)
        if self.protection.next_s <= t + _EPS:
            for k in self.protection.act(t):
                power = -float(self.interval.trips.power_w[k])
                self.tripped_energy[k] += power * left
                if power:
                    self.event(t, "trip", power)
            self.jump(t)
        if self.protocol.phase != NONE or self.protocol.alert < math.inf:
            self._emergency(t)
        if t >= self.next_ease - _EPS and (self.protocol.phase != NONE or self.shedding.active):
            ease(self, t)
        low, high = self.spec.blackout_pu
        hz = 1.0 + self.deviation / self.spec.nominal_hz
        if not low < hz < high or self.kinetic_left < 1e-3:
            self._black_out(t, left)

    def jump(self, t: float) -> None:
        self.close_coarse()
        self.freeze()
        self.mark(t)

    def _emergency(self, t: float) -> None:
        protocol, hz = self.protocol, self.spec.nominal_hz + self.deviation
        if protocol.alert <= t + _EPS:
            first = protocol.rearm == -math.inf
            if protocol.raise_alert(t, need(self, t, first), hz):
                self.mark(t)
        if protocol.act(t, hz):
            self.jump(t)
        detect = self.spec.detect_pu * self.spec.nominal_hz
        if (
            protocol.armed(t)
            and abs(self.deviation) > detect
            and (protocol.phase == NONE or protocol.look_again(t, need(self, t, False)))
        ):
            protocol.detect(t, t, hz)

    def _black_out(self, t: float, left: float) -> None:
        """The area is lost: no load is served and nothing injects until the interval ends."""
        self.close_coarse()
        self.event(t, "blackout", 0.0)
        tripped = self.protection.acted
        lost = float(self.interval.trips.power_w[tripped].sum())
        self.secondary_energy -= self.secondary.output * left
        self.protocol.end(t)
        self.shed_energy += (self.interval.load_w - self.shed_w) * left
        rest = self.interval.imbalance_w * self.end - self._imbalance_until(t)
        self.blackout_energy = -(rest + (self.interval.load_w - lost) * left)
        self.blackout_s = t

    def _imbalance_until(self, t: float) -> float:
        ramp = min(t, self.ramp_end)
        return 0.5 * ramp * (self.level + self.imbalance(ramp)) + (t - ramp) * self.plateau

    # --- stretches ---

    def _advance(self, t: float, stop: float) -> float:
        """To `stop`, or to where something happens; returns the time reached."""
        first = len(self.times)
        inside_before = abs(self.deviation) <= self.band
        if t >= self.fine_until - _EPS and self._calm():
            if self._coarsely(t, stop):
                self._watch(stop, first, inside_before)
                return stop
            self.mark(t)
        self.close_coarse()
        reached = self._finely(t, stop)
        self._watch(reached, first, inside_before)
        self.shedding.watch(self.times, self.deviations)
        self.protection.watch(self.times, self.deviations)
        return reached

    def _watch(self, t: float, first: int, inside_before: bool) -> None:
        protocol = self.protocol
        if protocol.phase != NONE:
            protocol.finish_step(t)
            self.inside.watch(self.times, self.deviations, first)
        if self.shedding.active:
            self.above.watch(self.times, self.deviations, first)
        if inside_before and abs(self.deviation) > self.band:
            self.mark(t)

    def _calm(self) -> bool:
        if not self.protocol.calm():
            return False
        if self.coarse is not None:
            return True
        if self.shedding.next_s < math.inf or self.protection.next_s < math.inf:
            return False
        last = history(self.times, self.deviations, self.times[-1] - 0.5)
        return abs(self.deviation - last) < 0.25 * self.band

    def _coarsely(self, t: float, stop: float) -> bool:
        f = self.deviation
        low = max(self.shedding.guard_low, self.protection.guard_low)
        high = min(self.shedding.guard_high, self.protection.guard_high)
        if abs(f) <= self.band:
            low, high = max(low, -self.band), min(high, self.band)
        detect = self.spec.detect_pu * self.spec.nominal_hz
        if abs(f) <= detect and self.protocol.armed(t):
            low, high = max(low, -detect), min(high, detect)
        if self.coarse is None:
            self.coarse = Coarse(self.groups, self.swing, self.spec.coarse_step_s)
            self.coarse.enter(f)
            self.coarse_start = t, f
        power, slope = self.other_power(t)
        return self.coarse.advance(self.times, self.deviations, stop - t, power, slope, (low, high))

    def close_coarse(self) -> None:
        coarse = self.coarse
        if coarse is None:
            return
        self.coarse = None
        self._book(coarse.leave(), self.coarse_start[1])

    def _book(self, integral: float, f0: float) -> None:
        self.integral += integral
        self.damping_energy -= self.swing.damping_w_per_hz * integral
        self.inertial_energy -= self.swing.mass_w_s_per_hz * (self.deviation - f0)

    def _finely(self, t: float, stop: float) -> float:
        spec, protocol, f0 = self.spec, self.protocol, self.deviation
        nominal = spec.nominal_hz
        armed = protocol.armed(t)
        watch = Watch(
            low_hz=max(
                self.shedding.guard_low,
                self.protection.guard_low,
                (spec.blackout_pu[0] - 1.0) * nominal,
            ),
            high_hz=min(
                self.shedding.guard_high,
                self.protection.guard_high,
                (spec.blackout_pu[1] - 1.0) * nominal,
            ),
            detect_hz=spec.detect_pu * nominal if armed else math.inf,
            detect_rocof=spec.detect_rocof_pu_per_s * nominal if armed else math.inf,
            window_s=spec.detect_window_s,
        )
        power, slope = self.other_power(t)
        moving = protocol.storage_at if protocol.storage_moving else None
        integral, detected = run(
            self.groups,
            self.swing,
            self.times,
            self.deviations,
            stop,
            spec.step_s,
            power,
            slope,
            moving,
            watch,
        )
        self._book(integral, f0)
        reached = self.times[-1]
        if self.fine_parts and self.fine_parts[-1][1] == t:
            self.fine_parts[-1] = (self.fine_parts[-1][0], reached)
        else:
            self.fine_parts.append((t, reached))
        if detected is not None:
            protocol.detect(detected, reached, nominal + self.deviation)
            self.mark(reached)
        return reached
