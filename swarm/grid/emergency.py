"""The emergency protocol of an area: detection, alert, storage, load, generation, recovery.

1. Detection: the deviation passes `detect_pu`, or frequency moves outward faster than
   `detect_rocof_pu_per_s` over `detect_window_s` (a relay measures over several cycles, ENTSO-E,
   "Frequency measurement requirements and usage", 2018).
2. Alert, `alert_latency_s` later. The deficit is taken from the rate of change by the swing
   equation, `-2 E_k / f0 * df/dt` (Terzija, "Adaptive underfrequency load shedding based on the
   magnitude of the disturbance estimation", IEEE Trans. Power Systems 21, 2006). While frequency
   stays beyond `detect_pu` the deficit is looked at anew every `reassess_s`.
3. Storage gives what is needed up to its limits, each unit after its own delay and ramp.
4. Non-critical load goes for what storage cannot give, in the declared order, but for what
   generation can cover before `reassess_s` is over.
5. Generation moves for the rest at its ramp rate.
6. Recovery, in reverse order (generation, load, storage), in stages: while frequency has been
   inside `release_pu` for `release_wait_s`, every cycle of secondary control takes over as much of
   generation and storage as its rate and room allow, watt for watt, so that frequency does not
   move. Load returns feeder by feeder, the last first. Where frequency passes
   `release_pu` on the other side (the market has replaced what was lost), the surplus is taken
   back at once, every `ease_s`.

A surplus goes the other way: storage charges, no load is touched, generation goes down.
"""

from __future__ import annotations

import math

import numpy as np

from swarm.grid.frequency_types import (
    AreaSpec,
    EmergencyResources,
    EmergencyState,
    Event,
    Floats,
)

NONE, ACTIVE, RECOVERY = 0, 1, 2
_JUMP_S = 1e-6  # ramps shorter than this are jumps
_LEAST_W = 0.5  # less than a watt is rounding, not a response


class Protocol:
    """The protocol while an interval of `seconds` runs; times count from its start.

    Energies (W s) are booked as every change of power times the time left.
    """

    def __init__(
        self,
        spec: AreaSpec,
        resources: EmergencyResources,
        state: EmergencyState,
        seconds: float,
        events: list[Event],
    ) -> None:
        self.spec, self.have, self.seconds, self.events = spec, resources, seconds, events
        self.phase = state.phase
        self.detected, self.alert, self.rearm = state.detected_s, state.alert_s, state.rearm_s
        low, high = -resources.storage_down_w, resources.storage_up_w
        self.storage = np.clip(state.storage_w, low, high)
        self.target = np.clip(state.storage_target_w, low, high)
        self.start = state.storage_start_s.copy()
        size = np.maximum(resources.storage_up_w, resources.storage_down_w)
        self.rate = size / np.maximum(resources.storage_ramp_s, _JUMP_S)
        self.off = np.minimum(state.load_off_w, resources.load_w)
        self.called = np.minimum(state.load_called_w, resources.load_w - self.off)
        """Load that goes off at `due`."""
        self.due = state.load_due_s.copy()
        low_w, high_w = -resources.generation_down_w, resources.generation_up_w
        self.generation = min(max(state.generation_w, low_w), high_w)
        self.generation_target = min(max(state.generation_target_w, low_w), high_w)
        self.generation_start = state.generation_start_s
        self.now = 0.0
        self.response_s = math.nan
        self.storage_energy = self.storage * seconds
        self.load_energy = self.off * seconds
        self.generation_energy = self.generation * seconds
        self._refresh()
        # Beginnings planned in the last interval are still to be told.
        self._storage_waits = 0.0 < self.storage_next < math.inf
        self._generation_waits = 0.0 < self.generation_start < math.inf

    # --- what the area sees ---

    def _refresh(self) -> None:
        self.load_w = float(self.off.sum())
        self.storage_w = float(self.storage.sum())
        self.storage_next = float(self.start.min(initial=math.inf))
        self.load_next = float(self.due.min(initial=math.inf))

    @property
    def storage_moving(self) -> bool:
        """Some unit is on its way to its target."""
        return self.storage_next <= self.now + 1e-9

    @property
    def generation_slope(self) -> float:
        """W/s."""
        if self.generation_start > self.now + 1e-9 or self.generation == self.generation_target:
            return 0.0
        rate = self.have.generation_ramp_w_per_s
        return rate if self.generation_target > self.generation else -rate

    def next_s(self) -> float:
        """The next planned moment."""
        found = min(self.alert, self.load_next)
        if self.phase != NONE and self.rearm > self.now + 1e-9:
            found = min(found, self.rearm)
        if self.storage_next > self.now + 1e-9:
            found = min(found, self.storage_next)
        if self.generation_start > self.now + 1e-9:
            return min(found, self.generation_start)
        slope = self.generation_slope
        if slope:
            found = min(found, self.now + (self.generation_target - self.generation) / slope)
        return found

    def coming_w(self) -> float:
        """Power that was called and has not come yet."""
        loads = float(self.called.sum())
        storage = float((self.target - self.storage).sum())
        return storage + loads + self.generation_target - self.generation

    def calm(self) -> bool:
        """Nothing is planned or moving but generation."""
        return self.alert == self.load_next == self.storage_next == math.inf

    def armed(self, t: float) -> bool:
        """Detection may fire."""
        return self.alert == math.inf and (self.phase == NONE or t >= self.rearm - 1e-9)

    def storage_at(self, t: float) -> float:
        """Move storage on to time `t` (not back) and return its power, W."""
        if t > self.now and self.storage_next == math.inf:
            self.generation_to(t)
            self.now = t
        elif t > self.now:
            since = np.maximum(self.start, self.now)
            reach = self.rate * np.maximum(t - since, 0.0)
            gap = self.target - self.storage
            reached = np.where(
                np.abs(gap) <= reach, self.target, self.storage + np.sign(gap) * reach
            )
            change = np.where(self.start < t, reached - self.storage, 0.0)
            self.storage = np.where(self.start < t, reached, self.storage)
            self.storage_energy += change * (self.seconds - 0.5 * (t + self.now))
            self.generation_to(t)
            self.now = t
            done = (self.start < t) & (self.storage == self.target)
            if done.any():
                self.start = np.where(done, math.inf, self.start)
            self.storage_w = float(self.storage.sum())
        return self.storage_w

    def generation_to(self, t: float) -> None:
        """Move generation on to time `t`."""
        reach = abs(self.generation_slope) * (t - self.now)
        gap = self.generation_target - self.generation
        change = gap if abs(gap) <= reach * (1.0 + 1e-9) else math.copysign(reach, gap)
        self.generation += change
        self.generation_energy += change * (self.seconds - 0.5 * (t + self.now))

    def finish_step(self, t: float) -> None:
        """Bring all to the end of a block."""
        if self.storage_next < math.inf:
            self.storage_at(t)
            self._refresh()
        elif t > self.now:
            self.generation_to(t)
            self.now = t

    # --- the steps ---

    def _event(self, t: float, step: str, power: float, hz: float) -> None:
        self.events.append(Event(t, step, power, hz))

    def detect(self, moment: float, t: float, hz: float) -> None:
        """Detection at `moment`, noticed at `t`; the alert follows."""
        if self.phase == NONE:
            self.phase = ACTIVE
            self._storage_waits = self._generation_waits = True
            self._event(moment, "detection", 0.0, hz)
        if self._storage_waits:
            self.detected = moment
        self.alert = max(moment + self.spec.alert_latency_s, t)

    def raise_alert(self, t: float, need_w: float, hz: float) -> bool:
        """Send the alert: `need_w` (injection positive) beyond what runs or was called before.

        A later alert that could call nothing more is not sent: then false.
        """
        first = self.rearm == -math.inf
        self.alert, self.rearm = math.inf, t + self.spec.reassess_s
        target, loads, generation = self._plan(need_w)
        changed = target != self.target
        more = changed.any() or loads.any() or generation != self.generation_target
        if not first and not more:
            return False
        self.phase = ACTIVE
        self._event(t, "alert", need_w, hz)
        self.target = target
        self.start = np.where(changed, t + self.have.storage_delay_s, self.start)
        # No step begins before the one that precedes it.
        last = float(self.start[changed].min()) if changed.any() else t
        for k in np.flatnonzero(loads).tolist():
            last = self.due[k] = max(t + float(self.have.load_delay_s[k]), last)
        self.called += loads
        if generation != self.generation_target:
            self.generation_target, self.generation_start = generation, last
        self._refresh()
        return True

    def look_again(self, t: float, need_w: float) -> bool:
        """Whether a later alert would call more; if not, wait."""
        target, loads, generation = self._plan(need_w)
        if (
            bool(loads.any())
            or generation != self.generation_target
            or bool((target != self.target).any())
        ):
            return True
        self.rearm = t + self.spec.reassess_s
        return False

    def _plan(self, need_w: float) -> tuple[Floats, Floats, float]:
        """Storage targets (s,), more load to shed of each block (b,), and generation for a need."""
        have = self.have
        rest = need_w + float(self.target.sum()) + self.generation_target
        # Storage, in proportion to what each unit has.
        limit = have.storage_up_w if rest > 0.0 else have.storage_down_w
        total = float(limit.sum())
        target = (max(-1.0, min(1.0, rest / total)) if total > 0.0 else 0.0) * limit
        rest -= float(target.sum())
        # Load in the declared order, but for what generation gives before it is looked at again.
        soon = min(have.generation_up_w, have.generation_ramp_w_per_s * self.spec.reassess_s)
        left = have.load_w - self.off - self.called
        before = np.cumsum(left) - left
        loads = np.clip(rest - soon - before, 0.0, left)
        loads[loads < _LEAST_W] = 0.0
        rest -= float(loads.sum())
        generation = min(max(rest, -have.generation_down_w), have.generation_up_w)
        return target, loads, generation

    def act(self, t: float, hz: float) -> bool:
        """Do what was planned for `t`; true if a power jumped or began to move."""
        acted = False
        self.now = t
        if self.storage_next <= t + 1e-9:
            begun = self.start <= t + 1e-9
            jump = begun & (self.rate * _JUMP_S >= np.abs(self.target - self.storage))
            change = np.where(jump, self.target - self.storage, 0.0)
            self.storage = np.where(jump, self.target, self.storage)
            self.storage_energy += change * (self.seconds - t)
            self.start = np.where(jump, math.inf, self.start)
            if self._storage_waits:
                self._storage_waits = False
                self.response_s = t - self.detected
                self._event(t, "storage", float(self.target.sum()), hz)
            acted = True
        if self.load_next <= t + 1e-9:
            for k in np.flatnonzero(self.due <= t + 1e-9).tolist():
                power = float(self.called[k])
                self.off[k] += power
                self.called[k], self.due[k] = 0.0, math.inf
                self.load_energy[k] += power * (self.seconds - t)
                self._event(t, "load_shedding", power, hz)
            acted = True
        if self._generation_waits and self.generation_start <= t + 1e-9:
            self._generation_waits = False
            if abs(self.generation_target - self.generation) > _LEAST_W:
                self._event(t, "generation", self.generation_target, hz)
        if acted:
            self._refresh()
        return acted

    @property
    def called_w(self) -> float:
        """Injection that storage and generation were called to give, negative in a surplus."""
        return float(self.target.sum()) + self.generation_target

    def begin_recovery(self, t: float, hz: float) -> None:
        """The first stage, once."""
        if self.phase == ACTIVE:
            self.phase = RECOVERY
            self._event(t, "recovery", 0.0, hz)

    def hand_over(self, t: float, amount_w: float, hz: float) -> float:
        """One stage: give up to `amount_w` to secondary control.

        Returns what it takes over at once, W, of the sign of what was called.
        """
        if self.generation_target != 0.0:
            taken = math.copysign(min(amount_w, abs(self.generation)), self.generation_target)
            self._take_generation(t, taken)
            if self.generation == 0.0:
                self.generation_target = 0.0
            return taken
        if self.off.any():
            return self._return_load(t, amount_w, hz)
        total = float(self.target.sum())
        taken = math.copysign(min(amount_w, abs(total)), total)
        self._take_storage(t, taken)
        self._refresh()
        return taken

    def ease(self, t: float, surplus_w: float, hz: float) -> float:
        """Take back `surplus_w` (zero or more) of what was called, in the same order.

        Returns what of it could not be taken back at once.
        """
        side = math.copysign(1.0, self.called_w)
        if self.generation_target != 0.0:
            self.generation_target, self.generation_start = 0.0, t
        while side > 0.0 and self.off.any() and surplus_w > 0.0:
            surplus_w -= self._return_load(t, surplus_w, hz)
        taken = min(surplus_w, abs(float(self.target.sum())))
        self._take_storage(t, side * taken)
        self._refresh()
        return surplus_w - taken

    def finish(self, t: float, hz: float) -> None:
        """All is given back."""
        self.phase, self.rearm = NONE, -math.inf
        self._event(t, "recovered", 0.0, hz)

    def _take_generation(self, t: float, power_w: float) -> None:
        self.generation -= power_w
        self.generation_target = self.generation
        self.generation_energy -= power_w * (self.seconds - t)

    def _take_storage(self, t: float, power_w: float) -> None:
        """At once: these are steps of secondary control's size, or what frequency asks for."""
        total = float(self.target.sum())
        if total == 0.0 or power_w == 0.0:
            return
        kept = max(0.0, 1.0 - power_w / total)
        kept = kept if kept > 1e-9 else 0.0
        self.storage_energy += (kept - 1.0) * self.storage * (self.seconds - t)
        self.storage, self.target = kept * self.storage, kept * self.target
        self.storage_w = float(self.storage.sum())

    def _return_load(self, t: float, amount_w: float, hz: float) -> float:
        """Give up to `amount_w` of the last block off back, feeder by feeder; returns how much."""
        k = int(np.flatnonzero(self.off)[-1])
        given = min(amount_w, float(self.off[k]))
        if self.off[k] - given < _LEAST_W:
            given = float(self.off[k])
        self.off[k] -= given
        self.load_energy[k] -= given * (self.seconds - t)
        self._refresh()
        if not self.off.any():
            self._event(t, "load_restored", 0.0, hz)
        return given

    def end(self, t: float) -> None:
        """All ends with the area at a blackout."""
        left = self.seconds - t
        self.storage_energy -= self.storage * left
        self.load_energy -= self.off * left
        self.generation_energy -= self.generation * left
        self.phase, self.alert, self.rearm = NONE, math.inf, -math.inf
        self.storage, self.target = np.zeros_like(self.storage), np.zeros_like(self.target)
        self.start = np.full_like(self.start, math.inf)
        self.off, self.called = np.zeros_like(self.off), np.zeros_like(self.called)
        self.due = np.full_like(self.due, math.inf)
        self.generation = self.generation_target = 0.0
        self._refresh()

    def after(self, t: float, inside_since: float) -> EmergencyState:
        """State at the end `t` of the interval, on the next interval's clock."""
        return EmergencyState(
            phase=self.phase,
            detected_s=self.detected - t,
            alert_s=self.alert - t,
            rearm_s=self.rearm - t,
            inside_since_s=inside_since - t,
            storage_w=self.storage,
            storage_target_w=self.target,
            storage_start_s=self.start - t,
            load_off_w=self.off,
            load_called_w=self.called,
            load_due_s=self.due - t,
            generation_w=self.generation,
            generation_target_w=self.generation_target,
            generation_start_s=self.generation_start - t,
        )
