"""A radial feeder: its power flow, and the settled state of its inverters.

`Feeder.regulate` finds the voltages at which every inverter is on its volt-var and volt-watt
curves. Each step linearises the feeder (LinDistFlow: Baran and Wu, "Network reconfiguration in
distribution systems for loss reduction and load balancing", IEEE Transactions on Power Delivery 4,
1989) and the curves, solves both together and checks the answer by a full power flow, so the speed
and never the result depends on the linearisation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.grid.feeder_table import FeederTable, check
from swarm.grid.inverter import Inverters, first_bad, operating_point
from swarm.grid.power_flow import PowerFlow, PowerFlowModel

__all__ = ["Feeder", "PowerFlow", "Regulated"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MAX_VOLTAGE_PU = 1.10
"""Above it generation is curtailed beyond volt-watt."""
CURVE_TOLERANCE = 1e-4
"""Of the rating: how far off its curves an inverter may be."""
MAX_FLOWS = 60
"""Power flows one search for the settled state may take."""
_MAX_CUTS = 30
# Aim a little below the limit, so that a step that falls short of its aim is still inside.
_AIM_PU = 2e-5
_SLOPE_PU = 1e-7
_LEAST_STEP = 1 / 64
_MAX_NEWTON = 30
_HALVINGS = 12
_FALLBACKS_PU = (0.9, 1.1)


@dataclass(frozen=True, eq=False)
class Regulated:
    """The settled state of m inverters.

    Attributes:
        flow: the one power flow of that state.
        reactive_var: float64 (m,), injected.
        curtailed_w: float64 (m,), generation taken back.
        iterations: power flows it took.
        converged: every inverter is on its curves; where False the flow is the last one, or NaN.
    """

    flow: PowerFlow
    reactive_var: FloatArray
    curtailed_w: FloatArray
    iterations: int
    converged: bool


class Feeder:
    """A radial feeder, ready for many power flows; not to be shared between threads."""

    def __init__(self, table: FeederTable) -> None:
        """Raises `UsageError` where `swarm.grid.feeder_table.check` refuses the table."""
        check(table)
        self.table = table
        self._order, self._parent, line = self._tree()
        base = (table.nominal_kv * 1e3) ** 2
        # Rise in pu per W and per var of each bus over its parent; the source has neither.
        self._rise_per_w = (np.append(table.resistance_ohm, 0.0)[line] / base).tolist()
        self._rise_per_var = (np.append(table.reactance_ohm, 0.0)[line] / base).tolist()
        # What a W and a var anywhere do to the voltage, in proportion.
        self.weight = np.array([table.resistance_ohm.sum(), table.reactance_ohm.sum()])
        self._model = PowerFlowModel(table)

    def _tree(self) -> tuple[list[int], list[int], IntArray]:
        """Buses from the source outwards; parent and line towards it of each bus, -1 at it."""
        table = self.table
        index = {bus: at for at, bus in enumerate(table.buses)}
        linked: list[list[tuple[int, int]]] = [[] for _ in index]
        for at, (start, end) in enumerate(zip(table.line_from, table.line_to, strict=True)):
            linked[index[start]].append((index[end], at))
            linked[index[end]].append((index[start], at))
        parent, line = [-1] * len(index), np.full(len(index), -1)
        order = [index[table.source_bus]]
        for bus in order:
            for other, at in linked[bus]:
                if other != parent[bus]:
                    parent[other], line[other] = bus, at
                    order.append(other)
        return order, parent, line

    def solve(self, power_w: FloatArray, reactive_var: FloatArray) -> PowerFlow:
        """Power flows (b, n), or (n,) for one, in W and var; see `PowerFlowModel.solve`."""
        return self._model.solve(power_w, reactive_var)

    def regulate(
        self,
        power_w: FloatArray,
        reactive_var: FloatArray,
        inverters: Inverters,
        start_var: FloatArray,
        start_curtailed_w: FloatArray | None = None,
    ) -> Regulated:
        """The state in which every inverter is on its curves.

        After volt-var and volt-watt, generation is curtailed further while a bus is above
        `MAX_VOLTAGE_PU` and generation that would lower it is left: of each inverter in proportion
        to what it generates and to the resistance its power shares with that of the bus.

        Args:
            power_w: float64 (n,), injection of each bus with that of its inverters, before
                curtailment.
            reactive_var: float64 (n,), injection of each bus without that of its inverters.
            inverters: m of them.
            start_var: float64 (m,), where to start: reactive power of the last interval, or 0.
            start_curtailed_w: float64 (m,), likewise; at most the generation counts.

        Raises ValueError for wrong shapes, values that are not finite and unknown buses.
        """
        if start_curtailed_w is None:
            start_curtailed_w = np.zeros(len(inverters.bus))
        start = {"start_var": start_var, "start_curtailed_w": start_curtailed_w}
        self._check_inverters(inverters, start)
        search = _Search(self, power_w, reactive_var, inverters, start_var, start_curtailed_w)
        converged = search.settle()
        for _ in range(_MAX_CUTS):
            if not (converged and search.cut()):
                break
            converged = search.settle()
        return Regulated(
            flow=search.flow,
            reactive_var=search.reactive,
            curtailed_w=inverters.power_w - search.active,
            iterations=search.flows,
            converged=converged,
        )

    def _check_inverters(self, inverters: Inverters, start: dict[str, FloatArray]) -> None:
        bus, buses = inverters.bus, len(self.table.buses)
        if len(bus) and not (bus.min() >= 0 and bus.max() < buses):
            bad = bus[(bus < 0) | (bus >= buses)][0]
            raise ValueError(f"inverters.bus: expected 0 to {buses - 1}, got {bad}")
        for name, value in start.items():
            if np.shape(value) != bus.shape:
                raise ValueError(f"{name}: expected shape {bus.shape}, got {np.shape(value)}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name}: expected finite values, got {first_bad(value)}")

    def linear_rise(
        self, voltage_pu: FloatArray, more: FloatArray, slope: FloatArray
    ) -> FloatArray:
        """Voltage rise (n,) in pu for more injection that itself follows the voltage.

        The injection of each bus grows by `more + slope * rise`, both (2, n): W and var, W and var
        per pu; no slope is over 0. Exact for the feeder linearised at `voltage_pu` (n,), losses
        left out: a pass from the leaves to the source and one back.
        """
        p, q = more.tolist()
        dp, dq = slope.tolist()
        at = voltage_pu.tolist()
        gain, shift = [0.0] * len(p), [0.0] * len(p)
        for bus in reversed(self._order[1:]):
            up, scale = self._parent[bus], 1.0 / at[bus] ** 2
            r, x = self._rise_per_w[bus] * scale, self._rise_per_var[bus] * scale
            # The rise of this bus is `shift + gain * rise of its parent`.
            gain[bus] = 1.0 / (1.0 - r * dp[bus] - x * dq[bus])
            shift[bus] = gain[bus] * (r * p[bus] + x * q[bus])
            p[up] += p[bus] + dp[bus] * shift[bus]
            q[up] += q[bus] + dq[bus] * shift[bus]
            dp[up] += dp[bus] * gain[bus]
            dq[up] += dq[bus] * gain[bus]
        rise = [0.0] * len(p)
        for bus in self._order[1:]:
            rise[bus] = shift[bus] + gain[bus] * rise[self._parent[bus]]
        return np.array(rise)

    def rise_per_w(self, bus: int) -> FloatArray:
        """Linearised rise (n,) in pu at `bus` per W at each bus: resistance of the common path."""
        on_path = [False] * len(self._parent)
        at = bus
        while at >= 0:
            on_path[at] = True
            at = self._parent[at]
        rise = [0.0] * len(self._parent)
        for at in self._order[1:]:
            own = self._rise_per_w[at] if on_path[at] else 0.0
            rise[at] = rise[self._parent[at]] + own
        return np.array(rise)


class _Search:
    """The search for the settled state of one interval."""

    def __init__(
        self,
        feeder: Feeder,
        power_w: FloatArray,
        reactive_var: FloatArray,
        inverters: Inverters,
        start_var: FloatArray,
        start_curtailed_w: FloatArray,
    ) -> None:
        self.feeder, self.inverters = feeder, inverters
        self.power_w, self.reactive_var = power_w, reactive_var
        curtailed = np.minimum(np.maximum(start_curtailed_w, 0.0), inverters.generation_w)
        self.active, self.reactive = inverters.power_w - curtailed, start_var
        self._near = 0.1 * CURVE_TOLERANCE * self._by_bus(inverters.rated_va)
        self.most_w = np.full(len(inverters.bus), np.inf)
        self.flows = 0
        self.flow = self._flow()
        for voltage in _FALLBACKS_PU:
            # A feeder near collapse may stand only with the support of its inverters, or with
            # their generation curtailed.
            if not self.flow.converged[0]:
                self.active, self.reactive = self._wanted(np.full(len(feeder.table.buses), voltage))
                self.flow = self._flow()

    def _flow(self) -> PowerFlow:
        self.flows += 1
        return self.feeder.solve(
            self.power_w + self._by_bus(self.active - self.inverters.power_w),
            self.reactive_var + self._by_bus(self.reactive),
        )

    def _by_bus(self, values: FloatArray) -> FloatArray:
        """Sums (n,) of values (m,), in the order of the inverters."""
        buses = len(self.feeder.table.buses)
        sums = np.bincount(self.inverters.bus, weights=values, minlength=buses)
        return sums.astype(np.float64, copy=False)

    def _wanted(self, voltage_pu: FloatArray) -> tuple[FloatArray, FloatArray]:
        return operating_point(self.inverters, voltage_pu[self.inverters.bus], self.most_w)

    def settle(self) -> bool:
        """Bring every inverter on its curves; whether that was reached."""
        step, last = 1.0, np.inf
        good = self.active, self.reactive
        while True:
            if self.flow.converged[0]:
                active, reactive = self._wanted(self.flow.voltage_pu[0])
                distance = np.maximum(abs(active - self.active), abs(reactive - self.reactive))
                off = float((distance / self.inverters.rated_va).max(initial=0.0))
                if off <= CURVE_TOLERANCE:
                    return True
                step = max(step / 2, _LEAST_STEP) if off >= last else min(1.0, 2 * step)
                last = off
                good = self.active, self.reactive
                active, reactive = self._wanted(self._settled_voltage())
                self.active = self.active + step * (active - self.active)
                self.reactive = self.reactive + step * (reactive - self.reactive)
            elif last < np.inf and step > _LEAST_STEP:
                step /= 2
                self.active = (self.active + good[0]) / 2
                self.reactive = (self.reactive + good[1]) / 2
            else:
                return False
            if self.flows >= MAX_FLOWS:
                return False
            self.flow = self._flow()

    def _settled_voltage(self) -> FloatArray:
        """Voltage (n,) at which the inverters of the linearised feeder are on their curves.

        Newton's method on piecewise linear curves. Where reactance is in proportion to resistance
        a solution is the minimum of a convex function, because injection falls with the voltage; a
        step that passes the minimum along its direction is shortened to it.
        """
        at: FloatArray = self.flow.voltage_pu[0]
        voltage = at
        # Injection of the inverters that the linearised feeder has at `voltage`: (2, n).
        injected = self._by_bus_both(self.active, self.reactive)
        for _ in range(_MAX_NEWTON):
            wanted = self._wanted_by_bus(voltage)
            missing = wanted - injected
            if (np.abs(missing) <= self._near).all():
                break
            slope = (self._wanted_by_bus(voltage + _SLOPE_PU) - wanted) / _SLOPE_PU
            # Reactive power priority can make active power rise with the voltage; that part is
            # left to the next step.
            slope = np.minimum(slope, 0.0)
            rise = self.feeder.linear_rise(at, missing, slope)
            change = missing + slope * rise
            share = self._share(voltage, injected, rise, change)
            voltage = voltage + share * rise
            injected = injected + share * change
        return voltage

    def _share(
        self, voltage: FloatArray, injected: FloatArray, rise: FloatArray, change: FloatArray
    ) -> float:
        """Share of a step after which the convex function stops falling, 1 at most."""
        weight = self.feeder.weight[:, np.newaxis]

        def rising(share: float) -> bool:
            here = injected + share * change - self._wanted_by_bus(voltage + share * rise)
            return float(np.add.reduce((weight * here).sum(axis=0) * rise)) > 0.0

        if not rising(1.0):
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if rising(middle) else (middle, high)
        return high

    def _wanted_by_bus(self, voltage_pu: FloatArray) -> FloatArray:
        return self._by_bus_both(*self._wanted(voltage_pu))

    def _by_bus_both(self, active: FloatArray, reactive: FloatArray) -> FloatArray:
        return np.stack((self._by_bus(active), self._by_bus(reactive)))

    def cut(self) -> bool:
        """Bound generation for the highest bus above the limit; whether there was any to bound."""
        inverters = self.inverters
        voltage = self.flow.voltage_pu[0]
        left = inverters.generation_w - (inverters.power_w - self.active)
        left[left < CURVE_TOLERANCE * inverters.rated_va] = 0.0
        if not left.any():
            return False
        above = np.flatnonzero(voltage > MAX_VOLTAGE_PU)
        for bus in above[np.argsort(-voltage[above], kind="stable")]:
            rise = self.feeder.rise_per_w(int(bus))[inverters.bus]
            # Sequential sums: their bits do not follow the number of threads.
            helps = float(np.add.reduce(rise**2 * left))
            if helps > 0.0:
                excess = voltage[bus] - MAX_VOLTAGE_PU + _AIM_PU
                share = np.minimum(excess * rise / helps, 1.0)
                cut = share * left
                self.most_w = np.where(cut > 0.0, self.active - cut, self.most_w)
                return True
        return False
