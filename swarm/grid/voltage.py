"""Agents on a feeder: voltages of an interval, and what inverters hold back to keep them.

Power flows are of the mean injections of the interval, as scheduled and metered; what frequency
control adds inside the interval is not seen by the feeder. Where there are several equal feeders,
one is solved with the mean of all. Loads draw reactive power at one power
factor; inverters follow volt-var and volt-watt (IEEE 1547-2018) from where the last interval left
them.
"""

from __future__ import annotations

from math import acos, tan
from typing import TYPE_CHECKING

import numpy as np

from swarm.grid.balance import Voltages
from swarm.grid.feeder import Feeder
from swarm.grid.inverter import Inverters
from swarm.messages import Float, Int, Meters

if TYPE_CHECKING:
    from swarm.grid.physics import PhysicsSpec


class FeederVoltage:
    """The feeder with its agents; remembers where the last interval left each inverter."""

    STATE = ("_reactive_var", "_curtailed_w")
    """See `swarm.snapshot`."""

    def __init__(self, spec: PhysicsSpec) -> None:
        assert spec.feeder is not None
        self._feeder, self._bus = Feeder(spec.feeder), spec.bus
        self._share = 1.0 / spec.grid.feeder_count
        self._buses = len(spec.feeder.buses)
        self._var_per_w = tan(acos(spec.grid.load_power_factor))
        self._rows = np.flatnonzero(spec.devices.rated_va > 0) if spec.grid.volt_var else None
        self._rated_va = spec.devices.rated_va * self._share
        self._reactive_var = np.zeros(0 if self._rows is None else len(self._rows))
        self._curtailed_w = np.zeros_like(self._reactive_var)

    def run(self, meters: Meters) -> tuple[Int, int, Voltages | None, bool]:
        """One interval.

        Returns:
            Generation each agent holds back, int64 (n,); losses in watts; the feeder's state, None
            where it has none; whether the power flow converged.
        """
        power = self._by_bus(meters.delivered_w)
        reactive = self._by_bus(-self._var_per_w * meters.load_w)
        held_back = np.zeros_like(meters.delivered_w)
        converged = True
        if self._rows is None:
            flow = self._feeder.solve(power, reactive)
        else:
            rows = self._rows
            inverters = Inverters(
                bus=self._bus[rows],
                rated_va=self._rated_va[rows],
                power_w=self._of_one((meters.generation_w + meters.battery_w)[rows]),
                generation_w=self._of_one(meters.generation_w[rows]),
            )
            settled = self._feeder.regulate(
                power, reactive, inverters, self._reactive_var, self._curtailed_w
            )
            flow, converged = settled.flow, settled.converged
            if flow.converged[0]:
                self._reactive_var, self._curtailed_w = settled.reactive_var, settled.curtailed_w
                curtailed = np.rint(settled.curtailed_w / self._share).astype(np.int64)
                held_back[rows] = np.minimum(curtailed, meters.generation_w[rows])
                power = power - self._by_bus(held_back)
                reactive = reactive + np.bincount(
                    self._bus[rows], weights=settled.reactive_var, minlength=self._buses
                )
        if not flow.converged[0]:
            return np.zeros_like(held_back), 0, None, False
        state = Voltages(
            voltage_pu=flow.voltage_pu[0],
            power_w=power,
            reactive_var=reactive,
            line_loading=flow.line_loading[0],
            line_losses_w=flow.line_losses_w[0],
        )
        return held_back, round(float(flow.losses_w[0]) / self._share), state, converged

    def _of_one(self, watts: Int) -> Float:
        """Power on one of the equal feeders, float64."""
        return watts.astype(np.float64) * self._share

    def _by_bus(self, values: np.ndarray) -> np.ndarray:
        """Sums over the agents of each bus of one feeder, float64 (buses,)."""
        return np.bincount(self._bus, weights=values * self._share, minlength=self._buses)
