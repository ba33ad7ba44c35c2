"""From what a run does to its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from math import isfinite

import numpy as np

from swarm.grid.balance import Balance, Operated
from swarm.market.orders import SELL
from swarm.market.record import Cleared, TickRecord
from swarm.messages import RESERVE_PRODUCTS
from swarm.post import Lane
from swarm.results.by_kind import FLOAT_COLUMNS, INT_COLUMNS, KindSums, first_agents, sum_by_kind
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario
from swarm.telemetry.metrics import FATES, SUPPLY_PRICES, Outlet
from swarm.trust.dispatch import Reason

ENERGY = "energy"
UNSIGNED = (Reason.NON_CANONICAL, Reason.WRONG_SIGNER, Reason.SMALL_ORDER_KEY, Reason.TAMPERED)
_POWER_BY_KIND = {
    "swarm_generation_watts": "generation_w",
    "swarm_load_watts": "load_w",
    "swarm_charge_watts": "charge_w",
    "swarm_discharge_watts": "discharge_w",
}
_COUNTED = {
    "swarm_contracts_total": "contracts",
    "swarm_contracts_refused_total": "refused",
    "swarm_policy_violations_total": "violations",
    "swarm_unpermitted_dispatches_total": "unpermitted",
}
_NEGOTIATED = {
    "swarm_negotiations_total": "answers",
    "swarm_negotiation_rounds_total": "rounds",
}
_ENERGY_LOST = {
    "swarm_curtailed_energy_joules_total": "curtailed_w",
    "swarm_unserved_energy_joules_total": "unserved_w",
    "swarm_shed_energy_joules_total": "shed_w",
}


class Meter:
    """Measures one run."""

    def __init__(
        self,
        outlet: Outlet,
        scenario: Scenario,
        rosters: Sequence[Roster],
        engine: str,
        hosts: int,
        signs: bool,
    ) -> None:
        """
        Args:
            outlet: takes the figures.
            scenario: of the run.
            rosters: its agents by kind.
            engine: name of the engine.
            hosts: of agents.
            signs: contracts are signed and logged.
        """
        self._out, self._scenario = outlet, scenario
        self._kinds = [roster.kind for roster in rosters]
        self._first = first_agents(rosters)
        self._seconds = 60 * scenario.tick_minutes
        self._ticks = self._agreed = 0
        self._outside_band_s = self._operated_s = 0.0
        self._renewable_w = self._supply_w = 0.0
        self._money = np.zeros((2, len(rosters)), dtype=np.int64)
        self._messages: dict[tuple[str, str], int] = {}
        self._green = np.concatenate([_renewable(roster) for roster in rosters])
        outlet.set("swarm_run_info", 1, scenario.name, engine, version("grid-swarm"))
        outlet.set("swarm_ticks_planned", scenario.ticks)
        outlet.set("swarm_tick_interval_seconds", self._seconds)
        outlet.set("swarm_frequency_nominal_hertz", scenario.nominal_frequency_hz)
        outlet.set("swarm_hosts", hosts)
        for roster in rosters:
            outlet.set("swarm_agents", len(roster), roster.kind)
        # A counter that is zero is there from the start, so that its first step is seen.
        zero = [
            *_COUNTED,
            *_NEGOTIATED,
            *_ENERGY_LOST,
            "swarm_ticks_total",
            "swarm_emergencies_total",
        ]
        zero += ["swarm_shard_restarts_total", "swarm_no_trade_ticks_total"]
        if signs:
            zero += ["swarm_signature_failures_total", "swarm_audit_records_total"]
        for name in zero:
            outlet.add(name, 0)

    def cleared(self, cleared: Cleared, operated: Operated) -> None:
        """A tick was cleared, and the one before it operated; see `swarm.loop.Watcher`."""
        out = self._out
        if operated.balance is not None:
            self._operated(operated.balance, operated)
        for name, field in _COUNTED.items():
            out.add(name, getattr(cleared, field))
        if cleared.tick >= self._scenario.ticks:
            return
        for name, field in _NEGOTIATED.items():
            out.add(name, getattr(cleared, field))
        self._ticks += 1
        self._agreed += cleared.consensus
        out.add("swarm_ticks_total", 1)
        out.add("swarm_simulated_seconds_total", self._seconds)
        out.add("swarm_no_trade_ticks_total", cleared.price_milli is None)
        out.set("swarm_consensus_ratio", self._agreed / self._ticks)
        self._traded(ENERGY, cleared.price_milli, cleared.volume_w)
        if any(cleared.reserve_asked_w):
            for at, product in enumerate(RESERVE_PRODUCTS):
                bought = cleared.reserve_bought_w[at]
                self._traded(product, cleared.reserve_price_milli[at], bought)
                out.set("swarm_reserve_asked_watts", cleared.reserve_asked_w[at], product)
                out.set("swarm_reserve_bought_watts", bought, product)

    def _traded(self, market: str, price_milli: int | None, volume_w: int) -> None:
        if price_milli is not None:
            self._out.set("swarm_price_per_mwh", price_milli / 1000, market)
        self._out.set("swarm_volume_watts", volume_w, market)
        self._out.add("swarm_traded_energy_joules_total", volume_w * self._seconds, market)

    def _operated(self, balance: Balance, operated: Operated) -> None:
        out, seconds = self._out, self._seconds
        out.set("swarm_import_watts", balance.import_w)
        out.set("swarm_export_watts", balance.export_w)
        out.set("swarm_emergency_active", operated.signal.emergency)
        detected = sum(event.step == "detection" for event in operated.events)
        out.add("swarm_emergencies_total", detected)
        if isfinite(operated.response_s):
            out.observe("swarm_emergency_response_seconds", operated.response_s)
        for name, field in _ENERGY_LOST.items():
            out.add(name, getattr(balance, field) * seconds)
        if isfinite(balance.frequency_end_hz):
            out.set("swarm_frequency_hertz", balance.frequency_end_hz)
            out.set("swarm_frequency_min_hertz", balance.frequency_min_hz)
            out.set("swarm_frequency_max_hertz", balance.frequency_max_hz)
            self._outside_band_s += balance.outside_100_mhz_s
            self._operated_s += seconds
            share = 1 - self._outside_band_s / self._operated_s
            out.add("swarm_frequency_outside_band_seconds_total", balance.outside_100_mhz_s)
            out.set("swarm_frequency_in_band_ratio", share)
            out.set("swarm_reserve_held_watts", balance.reserve_held_w)
            out.set("swarm_activated_watts", balance.activated_up_w, "up")
            out.set("swarm_activated_watts", balance.activated_down_w, "down")
        if balance.buses:
            out.set("swarm_losses_watts", balance.losses_w)
            out.set("swarm_voltage_min_ratio", balance.voltage_min_pu)
            out.set("swarm_voltage_max_ratio", balance.voltage_max_pu)
            out.set("swarm_voltage_in_band_ratio", balance.buses_in_band / balance.buses)

    def write(self, record: TickRecord, operated: Operated) -> None:
        """A tick was settled; see `swarm.loop.Sink`."""
        balance = operated.balance
        assert balance is not None
        self._by_kind(record, sum_by_kind(record, self._first), balance)
        out = self._out
        out.set("swarm_supply_offered_watts", record.supply_offered_w)
        out.set("swarm_demand_bid_watts", record.demand_bid_w)
        out.set("swarm_orders", record.orders)
        sold = np.append(np.maximum(record.contract_w, 0), max(0, record.imported_w)).astype(float)
        if sold.any():
            out.set("swarm_market_concentration_ratio", (sold**2).sum() / sold.sum() ** 2)
        if record.book is not None:
            supply = record.book.side == SELL
            price = record.book.price[supply] / 1000
            step = np.searchsorted(SUPPLY_PRICES, price, side="left")
            offered = np.bincount(step, record.book.quantity[supply], len(SUPPLY_PRICES) + 1)
            for at_most, power_w in zip(SUPPLY_PRICES, offered.cumsum()[:-1], strict=True):
                out.set("swarm_supply_at_most_watts", power_w, str(at_most))
        if record.audit is not None:
            unsigned = np.isin(record.audit.refusals.reason, UNSIGNED).sum()
            out.add("swarm_signature_failures_total", int(unsigned))
            records = len(record.audit.records()) + bool(operated.events)
            out.add("swarm_audit_records_total", records)

    def _by_kind(self, record: TickRecord, sums: KindSums, balance: Balance) -> None:
        out, outside = self._out, self._scenario.outside
        rows = dict(zip(INT_COLUMNS, sums.ints, strict=True))
        stored_mwh = sums.floats[FLOAT_COLUMNS.index("stored_mwh")]
        self._money += np.array([rows["received_micro"], rows["cost_micro"]])
        moved = (record.contract_w != 0) | (record.meters.delivered_w != 0)
        active = np.add.reduceat(moved.astype(np.int64), self._first)
        for at, kind in enumerate(self._kinds):
            for name, field in _POWER_BY_KIND.items():
                out.set(name, int(rows[field][at]), kind)
            out.set("swarm_active_agents", int(active[at]), kind)
            out.set("swarm_stored_energy_joules", stored_mwh[at] * 3.6e9, kind)
            out.set("swarm_received_currency", self._money[0, at] / 1e6, kind)
            out.set("swarm_cost_currency", self._money[1, at] / 1e6, kind)
            out.add("swarm_emissions_grams_total", int(rows["emissions_g"][at]), kind)
        imported_w, renewable = balance.import_w, 0.0
        if outside is not None:
            mwh = imported_w * self._seconds / 3.6e9
            out.add(
                "swarm_emissions_grams_total", mwh * outside.emissions_kg_per_mwh * 1e3, "outside"
            )
            renewable = outside.renewable_share * imported_w
        self._renewable_w += float(record.meters.generation_w[self._green].sum()) + renewable
        self._supply_w += balance.generation_w + imported_w
        if self._supply_w:
            out.set("swarm_renewable_ratio", self._renewable_w / self._supply_w)

    def took(self, tick_seconds: float, phases: Mapping[str, float]) -> None:
        """Wall-clock time of a tick and of its phases."""
        self._out.observe("swarm_tick_seconds", tick_seconds)
        for phase, seconds in phases.items():
            self._out.observe("swarm_phase_seconds", seconds, phase)

    def called(self, rounds: Sequence[float], alerts: Sequence[float]) -> None:
        """Wall-clock time of negotiation rounds and of emergency calls since the last time."""
        for seconds in rounds:
            self._out.observe("swarm_negotiation_seconds", seconds)
        for seconds in alerts:
            self._out.observe("swarm_emergency_call_seconds", seconds)

    def posted(self, messages: Mapping[str, Mapping[str, int]]) -> None:
        """Messages so far, by lane and fate."""
        for lane in Lane:
            counts = messages[lane.name.lower()]
            for fate in FATES:
                key = (lane.name.lower(), fate)
                self._out.add(
                    "swarm_messages_total", counts[fate] - self._messages.get(key, 0), *key
                )
                self._messages[key] = counts[fate]
            self._out.set("swarm_messages_queued", counts["queued"], lane.name.lower())

    def learned(self, figures: Mapping[str, float]) -> None:
        """What came of a lesson: `reward/kind`, `loss/kind` and `replay/kind`."""
        for name, value in figures.items():
            what, kind = name.split("/")
            if what == "replay":
                self._out.set("swarm_replay_transitions", value, kind)
            else:
                self._out.set(f"swarm_{what}", value, kind)
            if what == "loss":
                self._out.add("swarm_lessons_total", 1, kind)

    def memory(self, by_role: Mapping[str, int]) -> None:
        """Resident memory of processes, bytes by role."""
        for role, size in by_role.items():
            self._out.set("swarm_process_memory_bytes", size, role)


def _renewable(roster: Roster) -> np.ndarray:
    """bool (n,): agents whose generation is renewable, as `renewable_share` counts it."""
    if roster.kind == "generator":
        return roster.column("renewable").astype(bool)
    return np.full(len(roster), roster.kind in ("home", "solar", "wind"))
