"""One interval of the real grid: from what was metered to voltage, frequency and who responded.

The feeder comes first (mean injections of the interval), then the limits of the connection
outside, then frequency over the interval. What responded is shared out to agents in whole watts,
and what is left over to the last watt is what flowed over the connection; on an island it is what
rotating masses gave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from swarm.grid import frequency
from swarm.grid.attribution import share_by_group, share_out, share_signed, shed_in_order
from swarm.grid.balance import Voltages
from swarm.grid.capability import Capability, Limits
from swarm.grid.devices import Devices
from swarm.grid.feeder_table import FeederTable
from swarm.grid.frequency_types import AreaSpec, FrequencyResult, Interval
from swarm.grid.voltage import FeederVoltage
from swarm.messages import Int, Meters, Response

if TYPE_CHECKING:
    from swarm.scenario.grid import Grid

LEAST_INERTIA_S = 0.1
"""On an island where no machine runs, grid-forming inverters stand for this inertia of the load."""
SMOOTH_SHARE = 0.2
"""Share of an interval over which what did not come suddenly ramps from the last one."""


@dataclass(frozen=True)
class PhysicsSpec:
    """All the physics are made from.

    Attributes:
        grid: the scenario's section.
        nominal_hz: nominal frequency.
        tick_seconds: length of an interval.
        devices: of all agents.
        condenser_kws: kinetic energy of synchronous condensers.
        outside_va: equivalent rating of the grid outside; 0 on an island.
        outside_kws: its kinetic energy.
        outside_gain_w_per_hz: its droop.
        import_limit_w: of the connection.
        export_limit_w: of the connection.
        lost: ticks (first, stop) in which the connection is lost.
        feeder: None: no voltages.
        bus: int64 (n,), bus of each agent, index into the feeder's buses.
    """

    grid: Grid
    nominal_hz: float
    tick_seconds: float
    devices: Devices
    condenser_kws: int
    outside_va: float
    outside_kws: float
    outside_gain_w_per_hz: float
    import_limit_w: int
    export_limit_w: int
    lost: tuple[tuple[int, int], ...]
    feeder: FeederTable | None
    bus: Int

    def connected(self, tick: int) -> bool:
        """Whether the connection outside holds in `tick`."""
        return self.outside_va > 0 and not any(a <= tick < b for a, b in self.lost)

    @property
    def reserve_sizes_w(self) -> tuple[float, float]:
        """Containment and restoration reserve at level 1, each direction."""
        reserves = self.grid.reserves
        if reserves is None:
            return 0.0, 0.0
        return reserves.containment_mw * 1e6, reserves.restoration_mw * 1e6


@dataclass(frozen=True)
class Happened:
    """One interval.

    Attributes:
        response: what each agent did beyond its schedule, in global order.
        imbalance_w: before any response.
        flow_w: in from outside.
        losses_w: of the feeder.
        inertial_w: given by rotating masses inside.
        damping_w: taken off the load by low frequency.
        spilled_w: surplus that nobody could hold back.
        unshed_w: deficit that no load was left for.
        held_w: reserve that was there.
        connected: the connection held.
        frequency: of the interval.
        voltages: None without a feeder.
        feeder_converged: the power flow has a solution.
    """

    response: Response
    imbalance_w: int
    flow_w: int
    losses_w: int
    inertial_w: int
    damping_w: int
    spilled_w: int
    unshed_w: int
    held_w: int
    connected: bool
    frequency: FrequencyResult
    voltages: Voltages | None
    feeder_converged: bool

    @property
    def drawn(self) -> Response | None:
        """The response, None where nobody responded."""
        r = self.response
        return r if r.activated_w.any() or r.shed_w.any() or r.held_back_w.any() else None


class Physics:
    """Runs interval after interval; remembers frequency, reactive power and the last flow."""

    STATE = ("_state", "_voltage", "_last_flow_w", "_last_sudden_w")
    """See `swarm.snapshot`."""

    def __init__(self, spec: PhysicsSpec) -> None:
        self.spec = spec
        self._capability = Capability(
            spec.devices, spec.grid, spec.nominal_hz, spec.outside_va, spec.outside_gain_w_per_hz
        )
        self._area = area(spec)
        self._state = frequency.start(self._area, *self._capability.shape)
        self._voltage = None if spec.feeder is None else FeederVoltage(spec)
        self._last_flow_w = self._last_sudden_w = 0

    @property
    def emergency(self) -> bool:
        """The emergency protocol is active, or load is shed, at the end of the last interval."""
        state = self._state
        return bool(state.emergency.phase) or bool(state.shed.any()) or state.blackout

    def run(self, tick: int, meters: Meters, scheduled_flow_w: int, gain: float) -> Happened:
        """What really happened in `tick`.

        Args:
            tick: the interval.
            meters: of all agents, in global order.
            scheduled_flow_w: import by contract, negative for export.
            gain: times the gains of secondary control.
        """
        spec, none = self.spec, np.zeros_like(meters.load_w)
        held_back, losses, voltages, converged = none, 0, None, True
        if self._voltage is not None:
            held_back, losses, voltages, converged = self._voltage.run(meters)
        connected, shed = spec.connected(tick), none
        net = int((meters.delivered_w - held_back).sum()) - losses
        sudden = int(meters.sudden_w.sum())
        if connected:
            shed = self._cut(-net - spec.import_limit_w, meters, none)
            held_back = held_back + share_out(
                net - spec.export_limit_w, meters.generation_w - held_back
            )
            net = int((meters.delivered_w - held_back + shed).sum()) - losses
        elif spec.connected(tick - 1):
            sudden -= self._last_flow_w
        imbalance = net + (scheduled_flow_w if connected else 0)
        limits = self._capability.limits(meters, held_back)
        own_kws = int(meters.inertia_kws.sum()) + spec.condenser_kws
        result = self._frequency(
            meters, limits, held_back, shed, own_kws, connected, imbalance, sudden, gain
        )

        activated = self._activated(result, limits, connected)
        shed = shed + self._cut(float(result.noncritical_w.sum()) + result.shed_w, meters, shed)
        lost = self._lost(result, meters, held_back, activated)
        held_back = held_back + lost
        activated = activated - self._silenced(result, meters, activated, lost)
        response = Response(activated, shed, held_back)
        net = int((meters.delivered_w + activated + shed - held_back).sum()) - losses
        damping = round(result.damping_w)
        flow = spilled = unshed = 0
        if connected:
            share = own_kws / (own_kws + spec.outside_kws)
            inertial = round(result.inertial_w * share)
            left = net + damping + inertial
            flow = max(-spec.export_limit_w, min(spec.import_limit_w, -left))
            spilled, unshed = max(0, left + flow), max(0, -left - flow)
        else:
            inertial = -(net + damping)
        self._last_flow_w = flow
        return Happened(
            response=response,
            imbalance_w=imbalance,
            flow_w=flow,
            losses_w=losses,
            inertial_w=inertial,
            damping_w=damping,
            spilled_w=spilled,
            unshed_w=unshed,
            held_w=limits.held_w,
            connected=connected,
            frequency=result,
            voltages=voltages,
            feeder_converged=converged,
        )

    def _frequency(
        self,
        meters: Meters,
        limits: Limits,
        held_back: Int,
        shed: Int,
        own_kws: int,
        connected: bool,
        imbalance_w: int,
        sudden_w: int,
        gain: float,
    ) -> FrequencyResult:
        spec, capability = self.spec, self._capability
        load = max(0, int((meters.load_w - shed).sum()))
        kinetic = max(1e3 * own_kws, 0.0 if connected else LEAST_INERTIA_S * load, 1.0)
        if connected:
            kinetic += 1e3 * spec.outside_kws
        state = self._state
        if state.tripped.any() and not state.blackout and not self.emergency:
            # Protection lets plants back once the grid is calm.
            state = replace(state, tripped=np.zeros_like(state.tripped))
        outside_up = spec.outside_va / 2 if connected else 0.0
        interval = Interval(
            seconds=spec.tick_seconds,
            kinetic_ws=kinetic,
            load_w=float(load),
            sudden_w=float(sudden_w),
            imbalance_w=float(imbalance_w),
            ramp_s=SMOOTH_SHARE * spec.tick_seconds,
            responders=capability.responders(limits, connected),
            secondary_up_w=float(limits.restoration_up.sum()) + outside_up,
            secondary_down_w=float(limits.restoration_down.sum()) + outside_up,
            secondary_gain=gain,
            replaced_w=-float(self._last_sudden_w),
            emergency=capability.emergency(limits, meters, shed),
            trips=capability.trips(meters, held_back),
        )
        result = frequency.simulate(self._area, state, interval)
        self._state, self._last_sudden_w = result.state, sudden_w
        return result

    def _activated(self, result: FrequencyResult, limits: Limits, connected: bool) -> Int:
        """What each agent gave beyond its schedule, int64 (n,)."""
        group = self.spec.devices.groups.of_agent
        agents_up, agents_down = limits.restoration_up, limits.restoration_down
        secondary = result.secondary_w
        if connected:
            # The grid outside takes its part of secondary control.
            own = float((agents_up if secondary >= 0 else agents_down).sum())
            secondary *= own / (own + self.spec.outside_va / 2)
        return (
            share_by_group(
                result.containment_w[:-1], group, limits.containment_up, limits.containment_down
            )
            + share_signed(secondary, agents_up, agents_down)
            + share_by_group(result.storage_w, group, limits.storage_up, limits.storage_down)
            + share_signed(result.generation_w, limits.generation_up, limits.generation_down)
        )

    def _cut(self, amount_w: float, meters: Meters, shed: Int) -> Int:
        """Load cut in the declared order beyond what is cut already, int64 (n,)."""
        if amount_w <= 0:
            return np.zeros_like(shed)
        left = np.maximum(meters.load_w - shed, 0)
        critical = np.minimum(
            left, np.ceil(self.spec.devices.critical_share * meters.load_w).astype(np.int64)
        )
        return shed_in_order(amount_w, left, critical, self.spec.devices.shed_priority)

    def _lost(self, result: FrequencyResult, meters: Meters, held_back: Int, activated: Int) -> Int:
        """Generation lost to protection, int64 (n,); not what a plant had taken back before."""
        taken_back = np.where(self._capability.plants, np.minimum(activated, 0), 0)
        left = np.maximum(meters.generation_w - held_back + taken_back, 0)
        machine = self._capability.machines
        found: Int = np.zeros_like(left)
        for amount, mask in zip(-result.tripped_w, (machine, ~machine), strict=True):
            found += share_out(float(amount), np.where(mask, left, 0))
        found += share_out(-result.blackout_w, left - found)
        return found

    def _silenced(self, result: FrequencyResult, meters: Meters, activated: Int, lost: Int) -> Int:
        """Discharge (above zero) and charging (below) that a blackout ends, int64 (n,)."""
        if result.blackout_w == 0.0:
            return np.zeros_like(lost)
        left_w = float(-result.blackout_w - result.tripped_w.sum()) - int(lost.sum())
        power = np.where(self._capability.batteries, meters.battery_w + activated, 0)
        return share_signed(left_w, np.maximum(power, 0), np.maximum(-power, 0))


def area(spec: PhysicsSpec) -> AreaSpec:
    """The constants of the control area."""
    grid, nominal = spec.grid, 50.0
    shedding = grid.shedding
    return AreaSpec(
        nominal_hz=spec.nominal_hz,
        damping=grid.damping,
        step_s=grid.step_ms / 1000,
        full_activation_s=grid.full_restoration_minutes * 60,
        shed_at_pu=tuple(hz / nominal for hz in shedding.at_hz),
        shed_share=shedding.share,
        shed_delay_s=shedding.delay_s,
        restore_at_pu=shedding.restore_above_hz / nominal,
        restore_wait_s=shedding.restore_wait_s,
        detect_pu=grid.emergency.detect_at_hz / nominal,
        alert_latency_s=grid.emergency.alert_latency_s,
    )
