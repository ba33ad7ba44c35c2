"""What agents could give in an interval, by mechanism and by group of equal dynamics.

Reserve that was bought responds, and only it: containment by frequency, restoration by secondary
control. Where none is bought, running units with a governor respond within their headroom, half
of it for containment by their droop and half for secondary control. What is left beyond reserve is
there for the emergency protocol: batteries first, non-critical load, then generation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from swarm.grid.devices import BATTERY_KINDS, LOAD_KINDS, PRIORITIES, Devices
from swarm.grid.frequency_types import EmergencyResources, Responders, Trips
from swarm.messages import Float, Int, Meters

if TYPE_CHECKING:
    from swarm.scenario.grid import Grid

OUTSIDE_GOVERNOR_LAG_S, OUTSIDE_REHEAT_LAG_S, OUTSIDE_DIRECT_SHARE = 0.2, 8.0, 0.3
"""The grid outside answers like one large steam unit (Anderson and Mirheydar, 1990)."""
MACHINES_TRIP_LATER_HZ = 0.5
"""Above the frequency at which inverters disconnect, in a 50 Hz system."""
TRIP_DELAY_S = 0.2
GENERATION_REACH_S = 300.0
"""Generators meter as headroom what their ramp reaches in five minutes."""


@dataclass(frozen=True)
class Limits:
    """What each agent could give by mechanism, int64 (n,), watts."""

    containment_up: Int
    containment_down: Int
    restoration_up: Int
    restoration_down: Int
    storage_up: Int
    """Of batteries, beyond reserve."""
    storage_down: Int
    generation_up: Int
    """Of generators, beyond reserve; downwards also of solar and wind."""
    generation_down: Int
    gain_w_per_hz: Float

    @property
    def held_w(self) -> int:
        """Reserve there was, over all products."""
        parts = (
            self.containment_up,
            self.containment_down,
            self.restoration_up,
            self.restoration_down,
        )
        return sum(int(part.sum()) for part in parts)


class Capability:
    """Turns meters into what the frequency model asks for."""

    def __init__(
        self,
        devices: Devices,
        grid: Grid,
        nominal_hz: float,
        outside_va: float,
        outside_gain_w_per_hz: float,
    ) -> None:
        self._devices, self._grid, self._scale = devices, grid, nominal_hz / 50
        self._outside_va, self._outside_gain = outside_va, outside_gain_w_per_hz
        self.machines = devices.of(("generator",))
        self.batteries = devices.of(BATTERY_KINDS)
        self.plants = devices.of(("generator", "solar", "wind"))
        self._groups = len(devices.groups.delay_s)
        self._load_delay_s = _slowest(devices)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of droop groups, storage groups, blocks of load and blocks of generation."""
        return self._groups + 1, self._groups, PRIORITIES, 2

    def limits(self, meters: Meters, held_back_w: Int) -> Limits:
        """What there was in an interval; generation held back for voltage cannot come back."""
        up = np.where(held_back_w > 0, 0, meters.up_w)
        down = np.maximum(meters.down_w - held_back_w, 0)
        gain: Float
        if self._grid.reserves is None:
            governed = self.machines & (self._devices.gain_w_per_hz > 0)
            c_up, c_down = np.where(governed, up // 2, 0), np.where(governed, down // 2, 0)
            r_up = np.where(self.machines, up - c_up, 0)
            r_down = np.where(self.machines, down - c_down, 0)
            gain = np.where(meters.generation_w > 0, self._devices.gain_w_per_hz, 0.0)
        else:
            c_up = np.minimum(meters.containment_up_w, up)
            c_down = np.minimum(meters.containment_down_w, down)
            r_up = np.minimum(meters.restoration_up_w, up - c_up)
            r_down = np.minimum(meters.restoration_down_w, down - c_down)
            full = (self._grid.full_containment_at_hz - self._grid.deadband_hz) * self._scale
            gain = np.maximum(c_up, c_down) / full
        left_up, left_down = up - c_up - r_up, down - c_down - r_down
        return Limits(
            containment_up=c_up,
            containment_down=c_down,
            restoration_up=r_up,
            restoration_down=r_down,
            storage_up=np.where(self.batteries, left_up, 0),
            storage_down=np.where(self.batteries, left_down, 0),
            generation_up=np.where(self.machines, left_up, 0),
            generation_down=np.where(self.plants, left_down, 0),
            gain_w_per_hz=gain,
        )

    def responders(self, limits: Limits, connected: bool) -> Responders:
        """Droop responders by group, the grid outside last, (g + 1,)."""
        groups, deadband = self._devices.groups, self._grid.deadband_hz * self._scale
        up, down = self._sum(limits.containment_up), self._sum(limits.containment_down)
        most = np.maximum(up, down)
        limited = (groups.ramp_s > 0) & (most > 0)
        ramp = np.full(self._groups, np.inf)
        ramp[limited] = most[limited] / groups.ramp_s[limited]
        outside_w = self._outside_va / 2 if connected else 0.0
        outside = (
            *(self._outside_gain if connected else 0.0, 0.0, outside_w, outside_w, 0.0, np.inf),
            *(OUTSIDE_GOVERNOR_LAG_S, OUTSIDE_REHEAT_LAG_S, OUTSIDE_DIRECT_SHARE),
        )
        inside = (
            *(self._sum(limits.gain_w_per_hz), np.full(self._groups, deadband), up, down),
            *(groups.delay_s, ramp, groups.governor_lag_s, groups.reheat_lag_s),
            groups.direct_share,
        )
        return Responders(*(np.append(a, b) for a, b in zip(inside, outside, strict=True)))

    def emergency(self, limits: Limits, meters: Meters, shed_w: Int) -> EmergencyResources:
        """What the emergency protocol may use."""
        devices, groups = self._devices, self._devices.groups
        critical = np.ceil(devices.critical_share * meters.load_w)
        called = np.maximum(meters.load_w - critical - shed_w, 0.0) * float(self._grid.swarm)
        priority = np.minimum(devices.shed_priority, PRIORITIES - 1)
        up, down = float(limits.generation_up.sum()), float(limits.generation_down.sum())
        return EmergencyResources(
            storage_up_w=self._sum(limits.storage_up),
            storage_down_w=self._sum(limits.storage_down),
            storage_delay_s=groups.delay_s,
            storage_ramp_s=groups.ramp_s,
            load_w=np.bincount(priority, weights=called, minlength=PRIORITIES).astype(np.float64),
            load_delay_s=self._load_delay_s,
            generation_up_w=up,
            generation_down_w=down,
            generation_ramp_w_per_s=max(1.0, max(up, down) / GENERATION_REACH_S),
        )

    def trips(self, meters: Meters, held_back_w: Int) -> Trips:
        """Two blocks: machines, and inverters with their lower limit on over-frequency."""
        running_w = meters.generation_w - held_back_w
        machines = float(running_w[self.machines].sum())
        inverters = float(running_w[~self.machines].sum())
        running = 1e3 * float(meters.inertia_kws.sum())
        above = self._grid.trip_above_hz
        return Trips(
            power_w=np.array([machines, inverters]),
            kinetic_ws=np.array([running, 0.0]),
            under_hz=self._scale * np.full(2, self._grid.trip_below_hz),
            over_hz=self._scale * np.array([above + MACHINES_TRIP_LATER_HZ, above]),
            delay_s=np.full(2, TRIP_DELAY_S),
        )

    def _sum(self, values: Int | Float) -> Float:
        """Sums by group, float64 (g,)."""
        sums = np.bincount(self._devices.groups.of_agent, weights=values, minlength=self._groups)
        return sums.astype(np.float64)


def _slowest(devices: Devices) -> Float:
    """The slowest response to a call of the loads of each priority, seconds, (PRIORITIES,)."""
    delay = np.zeros(PRIORITIES)
    loads = devices.of(LOAD_KINDS)
    own = devices.groups.delay_s[devices.groups.of_agent]
    np.maximum.at(delay, np.minimum(devices.shed_priority[loads], PRIORITIES - 1), own[loads])
    return delay
