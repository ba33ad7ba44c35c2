"""Key figures of the physical grid: frequency, voltage, reserve, energy not served."""

from __future__ import annotations

from math import inf, isfinite, isnan, nan
from typing import Any

import numpy as np

from swarm.grid.balance import Balance, Operated, Voltages
from swarm.market.record import TickRecord
from swarm.scenario.schema import Scenario

GRID_DEFINITIONS: dict[str, str] = {
    "loss_of_load_probability": "Share of ticks in which some load was not served (LOLP of this "
    "run; the mean over seeds estimates the probability).",
    "expected_energy_not_served_mwh": "Energy not served in this run, as unserved_mwh (EENS; the "
    "mean over seeds estimates the expectation).",
    "balance_deviation_share": "Sum over ticks of the absolute imbalance before any response, "
    "over the sum of the load. Null without a grid section, as all down to feeder_failures.",
    "seconds_in_band_share": "Share of seconds with frequency within 0.1 Hz of nominal (scaled "
    "with nominal / 50, as all limits of frequency).",
    "nadir_hz": "Lowest frequency.",
    "zenith_hz": "Highest frequency.",
    "steepest_hz_per_s": "Largest rate of change of frequency, over half a second.",
    "stabilise_s": "Longest time from a disturbance until frequency was back within 0.1 Hz to stay "
    "for the rest of its interval; null where it never left, -1 where the run ended outside.",
    "emergencies": "Times the emergency protocol detected an emergency.",
    "emergency_response_ms": "Simulated time from detection to the first response of storage, the "
    "longest; null without one.",
    "reserve_cost": "Paid for reserve: availability and activation, less fines.",
    "reserve_availability_cost": "Paid for holding reserve.",
    "reserve_activation_cost": "Paid, net, for energy that the operator drew; energy agents took "
    "or did not deliver on its call is received back.",
    "reserve_fines": "Received for reserve that was sold and not there.",
    "reserve_shortage_share": "Share of the reserve asked for that nobody sold; null where none "
    "was asked for.",
    "activated_up_mwh": "Response of agents upwards.",
    "activated_down_mwh": "Response of agents downwards.",
    "held_back_mwh": "Generation cut back by voltage, a limit or protection.",
    "losses_mwh": "Lost on the feeder.",
    "bus_intervals_in_band_share": "Share of buses and ticks with voltage within 5 % of nominal; "
    "null without a feeder, as all down to feeder_failures.",
    "voltage_min_pu": "Lowest voltage.",
    "voltage_max_pu": "Highest voltage.",
    "line_loading_max": "Highest loading of a line as a share of its rating; null without ratings.",
    "feeder_failures": "Ticks in which the power flow had no solution or inverters did not settle.",
}
"""What each of these entries of `metrics.json` is."""
_SUMS = ("activated_up_w", "activated_down_w", "held_back_w", "losses_w", "load_w", "unserved_w")
NEVER = -1.0


class GridTotals:
    """Sums and extremes over the ticks of a run so far."""

    STATE = (
        *("sums", "money", "_ticks", "_outside_s", "_low_hz", "_high_hz", "_steepest", "_settle_s"),
        *("_pending_s", "_response_s", "_buses", "_in_band", "_failures", "_low_pu", "_high_pu"),
        "_loading",
    )
    """See `swarm.snapshot`."""

    def __init__(self, scenario: Scenario) -> None:
        self._grid = scenario.grid
        self._feeder = self._grid is not None and self._grid.feeder is not None
        self._minutes = scenario.tick_minutes
        self.sums: dict[str, int] = dict.fromkeys(
            (*_SUMS, "imbalance_w", "loss_ticks", "emergencies", "asked_w", "bought_w"), 0
        )
        self.money: dict[str, int] = dict.fromkeys(
            ("availability_micro", "activation_micro", "reserve_penalty_micro"), 0
        )
        self._ticks = 0
        self._outside_s = 0.0
        self._low_hz, self._high_hz, self._steepest = inf, -inf, 0.0
        self._settle_s, self._pending_s = nan, nan
        self._response_s = nan
        self._buses = self._in_band = self._failures = 0
        self._low_pu, self._high_pu, self._loading = inf, -inf, -inf

    def add(self, record: TickRecord, operated: Operated) -> None:
        """Take one tick."""
        balance = operated.balance
        assert balance is not None
        self._ticks += 1
        for name in _SUMS:
            self.sums[name] += getattr(balance, name)
        for name in self.money:
            self.money[name] += getattr(record, name)
        self.sums["imbalance_w"] += abs(balance.imbalance_w)
        self.sums["loss_ticks"] += balance.unserved_w > 0
        self.sums["asked_w"] += sum(record.reserve_asked_w)
        self.sums["bought_w"] += sum(record.reserve_bought_w)
        if self._grid is None:
            return
        self.sums["emergencies"] += sum(event.step == "detection" for event in operated.events)
        self._response_s = np.fmax(self._response_s, operated.response_s)
        self._add_frequency(balance)
        if self._feeder:
            self._failures += not balance.feeder_converged
            if operated.voltages is not None:
                self._add_voltage(balance, operated.voltages)

    def _add_frequency(self, balance: Balance) -> None:
        self._outside_s += balance.outside_100_mhz_s
        self._low_hz = min(self._low_hz, balance.frequency_min_hz)
        self._high_hz = max(self._high_hz, balance.frequency_max_hz)
        self._steepest = max(self._steepest, balance.steepest_hz_per_s)
        settled = balance.settled_s
        if isnan(settled):
            # Back inside from the first moment of this interval on.
            self._settle_s = float(np.fmax(self._settle_s, self._pending_s))
            self._pending_s = nan
        elif isfinite(settled):
            before = 0.0 if isnan(self._pending_s) else self._pending_s
            self._settle_s = float(np.fmax(self._settle_s, before + settled))
            self._pending_s = nan
        else:
            before = 0.0 if isnan(self._pending_s) else self._pending_s
            self._pending_s = before + self._minutes * 60.0

    def _add_voltage(self, balance: Balance, state: Voltages) -> None:
        self._buses += balance.buses
        self._in_band += balance.buses_in_band
        self._low_pu = min(self._low_pu, balance.voltage_min_pu)
        self._high_pu = max(self._high_pu, balance.voltage_max_pu)
        rated = state.line_loading[np.isfinite(state.line_loading)]
        self._loading = max(self._loading, float(rated.max(initial=-inf)))

    def metrics(self) -> dict[str, Any]:
        """The figures of `GRID_DEFINITIONS`; null is None."""
        sums, ticks = self.sums, max(1, self._ticks)
        paid = {name: value / 10**6 for name, value in self.money.items()}
        found: dict[str, Any] = dict.fromkeys(GRID_DEFINITIONS)
        found["loss_of_load_probability"] = sums["loss_ticks"] / ticks
        found["expected_energy_not_served_mwh"] = self._mwh("unserved_w")
        if self._grid is None:
            return found
        seconds = ticks * self._minutes * 60.0
        settle = NEVER if not isnan(self._pending_s) else self._settle_s
        found |= {
            "balance_deviation_share": sums["imbalance_w"] / max(1, sums["load_w"]),
            "seconds_in_band_share": 1.0 - self._outside_s / seconds,
            "nadir_hz": _known(self._low_hz),
            "zenith_hz": _known(self._high_hz),
            "steepest_hz_per_s": self._steepest,
            "stabilise_s": _known(settle),
            "emergencies": sums["emergencies"],
            "emergency_response_ms": _known(1000 * self._response_s),
            "reserve_cost": paid["availability_micro"]
            + paid["activation_micro"]
            - paid["reserve_penalty_micro"],
            "reserve_availability_cost": paid["availability_micro"],
            "reserve_activation_cost": paid["activation_micro"],
            "reserve_fines": paid["reserve_penalty_micro"],
            "activated_up_mwh": self._mwh("activated_up_w"),
            "activated_down_mwh": self._mwh("activated_down_w"),
            "held_back_mwh": self._mwh("held_back_w"),
            "losses_mwh": self._mwh("losses_w"),
        }
        if sums["asked_w"]:
            found["reserve_shortage_share"] = 1.0 - sums["bought_w"] / sums["asked_w"]
        if self._feeder:
            found |= {
                "bus_intervals_in_band_share": self._in_band / self._buses if self._buses else None,
                "voltage_min_pu": _known(self._low_pu),
                "voltage_max_pu": _known(self._high_pu),
                "line_loading_max": _known(self._loading),
                "feeder_failures": self._failures,
            }
        return found

    def _mwh(self, name: str) -> float:
        return self.sums[name] * self._minutes / 60_000_000


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None
