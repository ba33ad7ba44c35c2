"""AC power flow of a radial feeder, batched, by power-grid-model.

Newton-Raphson on balanced, constant-power injections. The library's source has an internal
impedance; a short-circuit power of 1e17 VA makes it ideal but for 1e-10 pu at 10 MVA. Power at the
source is summed from the lines there: from the source itself it would be the difference of two
voltages that agree in all but the last digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from swarm.grid.feeder_table import FeederTable
from swarm.grid.inverter import first_bad

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

SHORT_CIRCUIT_VA = 1e17
TOLERANCE_PU = 1e-10
"""Of the voltage, between the last two iterations of Newton-Raphson."""


@dataclass(frozen=True, eq=False)
class PowerFlow:
    """b power flows of a feeder with n buses and l lines; all NaN where one did not converge.

    Attributes:
        voltage_pu: float64 (b, n).
        angle_rad: float64 (b, n), against the source.
        line_loading: float64 (b, l), most current of its two ends as a share of the rating, NaN
            where the rating is unknown.
        line_losses_w: float64 (b, l).
        losses_w: float64 (b,), sum over the lines in their order.
        slack_w: float64 (b,), what the source feeds in; negative where it takes.
        slack_var: float64 (b,).
        converged: bool (b,).
    """

    voltage_pu: FloatArray
    angle_rad: FloatArray
    line_loading: FloatArray
    line_losses_w: FloatArray
    losses_w: FloatArray
    slack_w: FloatArray
    slack_var: FloatArray
    converged: BoolArray


class PowerFlowModel:
    """A feeder as power-grid-model has it; not to be shared between threads."""

    def __init__(self, table: FeederTable) -> None:
        """Takes a table that `swarm.grid.feeder_table.check` accepts."""
        # Imported here: it takes 0.05 s that only runs with a feeder need.
        import power_grid_model as pgm

        kinds = pgm.ComponentType
        index = {bus: at for at, bus in enumerate(table.buses)}
        self._source = index[table.source_bus]
        buses, lines = len(table.buses), len(table.line_from)
        # One load per bus; identities run 0, 1, 2 ... over buses, lines, loads and the source.
        node = pgm.initialize_array(pgm.DatasetType.input, kinds.node, buses)
        node["id"] = np.arange(buses)
        node["u_rated"] = table.nominal_kv * 1e3
        line = pgm.initialize_array(pgm.DatasetType.input, kinds.line, lines)
        line["id"] = buses + np.arange(lines)
        line["from_node"] = [index[bus] for bus in table.line_from]
        line["to_node"] = [index[bus] for bus in table.line_to]
        line["from_status"] = line["to_status"] = 1
        line["r1"], line["x1"] = table.resistance_ohm, table.reactance_ohm
        line["c1"], line["tan1"] = table.capacitance_f, 0.0
        load = pgm.initialize_array(pgm.DatasetType.input, kinds.sym_load, buses)
        load["id"] = buses + lines + np.arange(buses)
        load["node"] = node["id"]
        load["status"] = 1
        load["type"] = pgm.LoadGenType.const_power
        load["p_specified"] = load["q_specified"] = 0.0
        source = pgm.initialize_array(pgm.DatasetType.input, kinds.source, 1)
        source["id"] = 2 * buses + lines
        source["node"] = self._source
        source["status"] = 1
        source["u_ref"], source["sk"] = table.source_voltage_pu, SHORT_CIRCUIT_VA
        self._kinds = kinds
        self._rating_a = np.where(np.isinf(table.rating_a), np.nan, table.rating_a)
        self._leave = np.flatnonzero(line["from_node"] == self._source)
        self._arrive = np.flatnonzero(line["to_node"] == self._source)
        self._model = pgm.PowerGridModel(
            {kinds.node: node, kinds.line: line, kinds.sym_load: load, kinds.source: source},
            system_frequency=table.frequency_hz,
        )
        update = pgm.initialize_array(pgm.DatasetType.update, kinds.sym_load, (1, buses))
        update["id"] = load["id"]
        self._update = update

    def solve(self, power_w: FloatArray, reactive_var: FloatArray) -> PowerFlow:
        """Power flows of b entries, each as if alone; injection is positive.

        Args:
            power_w: float64 (b, n), or (n,) for one entry.
            reactive_var: float64, likewise.

        Raises ValueError for another shape and for values that are not finite. An entry without a
        solution is told by `converged` and leaves the others as they are.
        """
        power, reactive = np.atleast_2d(power_w), np.atleast_2d(reactive_var)
        buses = self._update.shape[1]
        for name, value in (("power_w", power), ("reactive_var", reactive)):
            if value.shape != (len(power), buses) or value.ndim != 2:
                raise ValueError(
                    f"{name}: expected shape ({buses},) or (batch, {buses}), the same for power_w "
                    f"and reactive_var, got {np.shape(value)}"
                )
            if not np.isfinite(value).all():
                raise ValueError(f"{name}: expected finite values, got {first_bad(value)}")
        update = self._update if len(power) == 1 else np.repeat(self._update, len(power), axis=0)
        update["p_specified"] = -power
        update["q_specified"] = -reactive
        result = self._model.calculate_power_flow(
            update_data={self._kinds.sym_load: update},
            error_tolerance=TOLERANCE_PU,
            continue_on_batch_error=True,
        )
        node, line = result[self._kinds.node], result[self._kinds.line]
        voltage, angle = node["u_pu"].copy(), node["u_angle"].copy()
        losses = line["p_from"] + line["p_to"]
        loading = np.maximum(line["i_from"], line["i_to"]) / self._rating_a
        slack_w, slack_var = -power[:, self._source], -reactive[:, self._source]
        for end, lines in (("from", self._leave), ("to", self._arrive)):
            slack_w = slack_w + line[f"p_{end}"][:, lines].sum(axis=1)
            slack_var = slack_var + line[f"q_{end}"][:, lines].sum(axis=1)
        total = losses.sum(axis=1)
        converged = np.isfinite(voltage).all(axis=1)
        error = self._model.batch_error
        if error is not None:
            converged[error.failed_scenarios] = False
        for value in (voltage, angle, loading, losses, total, slack_w, slack_var):
            value[~converged] = np.nan
        return PowerFlow(voltage, angle, loading, losses, total, slack_w, slack_var, converged)
