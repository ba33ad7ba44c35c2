"""The metrics of a run, one table: the names are the interface that dashboards and alerts hold to.

Names follow the conventions of Prometheus (https://prometheus.io/docs/practices/naming): base
units, `_total` for counters, `_ratio` for shares of one. Power is in watts, energy in joules. No
label grows with the number of agents.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

TICK_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
ROUND_SECONDS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
RESPONSE_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 30.0)
SUPPLY_PRICES = (0, 20, 40, 60, 80, 100, 150, 200, 300, 500, 1000, 5000)
"""Prices per MWh at which the supply curve is told."""
PHASES = ("step", "clear", "alert", "write", "learn", "checkpoint")
"""Of a tick, as the driver waits for them; market and operator work within `clear`."""


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: as exported.
        type: of Prometheus.
        help: what it is.
        labels: their names.
        buckets: upper bounds of a histogram, seconds.
    """

    name: str
    type: Literal["gauge", "counter", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Outlet(Protocol):
    """Where the figures go. `name` is one of `METRICS`, `labels` are its labels' values."""

    def set(self, name: str, value: float, *labels: str) -> None:
        """Set a gauge."""

    def add(self, name: str, amount: float, *labels: str) -> None:
        """Add to a counter, 0 or more."""

    def observe(self, name: str, seconds: float, *labels: str) -> None:
        """Count one more observation in a histogram."""


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"swarm_{name}", "gauge", help, labels)


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"swarm_{name}_total", "counter", help, labels)


def _histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(f"swarm_{name}_seconds", "histogram", help, labels, buckets)


METRICS: tuple[Metric, ...] = (
    # The run.
    _gauge("run_info", "Always 1; says what runs.", "scenario", "engine", "version"),
    _gauge("ticks_planned", "Ticks of the whole run."),
    _counter("ticks", "Ticks cleared."),
    _gauge("tick_interval_seconds", "Simulated length of a tick."),
    _counter("simulated_seconds", "Simulated time that was cleared."),
    # Agents.
    _gauge("agents", "Agents of the scenario.", "kind"),
    _gauge("active_agents", "Agents with a contract or power in the last settled tick.", "kind"),
    _gauge("generation_watts", "Generation at the meter.", "kind"),
    _gauge("load_watts", "Consumption at the meter, charging not included.", "kind"),
    _gauge("charge_watts", "Charging of batteries.", "kind"),
    _gauge("discharge_watts", "Discharging of batteries.", "kind"),
    _gauge("stored_energy_joules", "Energy in batteries.", "kind"),
    _gauge("received_currency", "Paid to agents so far; negative where they pay.", "kind"),
    _gauge("cost_currency", "True cost of agents so far.", "kind"),
    # The market.
    _gauge("price_per_mwh", "Last price, per MWh; of reserve per MW and hour.", "market"),
    _gauge("volume_watts", "Traded in the last cleared tick.", "market"),
    _counter("traded_energy_joules", "Energy traded; of reserve, power held times time.", "market"),
    _counter("no_trade_ticks", "Ticks in which no energy traded."),
    _gauge("supply_offered_watts", "Supply offered in the last settled tick."),
    _gauge("demand_bid_watts", "Demand bid in the last settled tick."),
    _gauge(
        "supply_at_most_watts",
        "Supply offered at this price per MWh or less in the last settled tick: the merit order.",
        "price_per_mwh",
    ),
    _gauge(
        "market_concentration_ratio",
        "Herfindahl index of the energy sold in the last settled tick, 0 to 1.",
    ),
    _gauge("orders", "Orders in the book of the last settled tick."),
    # The grid.
    _gauge("import_watts", "Flow in from outside."),
    _gauge("export_watts", "Flow out."),
    _gauge("losses_watts", "Lost on the feeder."),
    _gauge("frequency_hertz", "Frequency at the end of the last operated tick."),
    _gauge("frequency_min_hertz", "Lowest frequency within that tick."),
    _gauge("frequency_max_hertz", "Highest frequency within that tick."),
    _gauge("frequency_nominal_hertz", "Nominal frequency."),
    _gauge("frequency_in_band_ratio", "Share of simulated seconds so far within 0.1 Hz."),
    _counter("frequency_outside_band_seconds", "Simulated seconds outside 0.1 Hz of nominal."),
    _gauge("voltage_min_ratio", "Lowest voltage of the last tick, share of nominal."),
    _gauge("voltage_max_ratio", "Highest voltage of the last tick, share of nominal."),
    _gauge("voltage_in_band_ratio", "Share of buses within 5 % of nominal in the last tick."),
    _gauge("reserve_asked_watts", "Reserve asked for.", "market"),
    _gauge("reserve_bought_watts", "Reserve bought.", "market"),
    _gauge("reserve_held_watts", "Reserve that was there in the last tick, over all products."),
    _gauge("activated_watts", "Response of agents in the last tick.", "direction"),
    _gauge("renewable_ratio", "Share of renewable energy so far in generation and imports."),
    _counter("curtailed_energy_joules", "Weather-driven energy not used."),
    _counter("unserved_energy_joules", "Load that got no energy."),
    _counter("shed_energy_joules", "Load cut off."),
    _counter("emissions_grams", "CO2; of imports under the kind `outside`.", "kind"),
    _counter("emergencies", "Emergencies detected."),
    _gauge("emergency_active", "1 while an emergency lasts."),
    Metric(
        "swarm_emergency_response_seconds",
        "histogram",
        "Simulated time from detection to the first response of storage.",
        (),
        RESPONSE_SECONDS,
    ),
    _histogram(
        "emergency_call",
        "Wall-clock time of an emergency call until all agents have acknowledged.",
        ROUND_SECONDS,
    ),
    # Agreement and trust.
    _counter("negotiations", "Answers of agents to called prices."),
    _counter("negotiation_rounds", "Prices called; an auction is one."),
    _gauge("consensus_ratio", "Share of ticks so far that ended in consensus."),
    _histogram("negotiation", "Wall-clock round trip of one called price.", ROUND_SECONDS),
    _counter("messages", "Messages between market and agents; sent = the others.", "lane", "fate"),
    _gauge("messages_queued", "Messages on the way or in an inbox.", "lane"),
    _counter("contracts", "Contracts sealed."),
    _counter("contracts_refused", "Contracts that were not acted on."),
    _counter("signature_failures", "Contracts refused for form, signature or key."),
    _counter("policy_violations", "Orders and dispatches beyond a policy."),
    _counter("unpermitted_dispatches", "Agents that moved without a contract."),
    _counter("audit_records", "Records written to the audit log."),
    # The machine.
    _gauge("hosts", "Hosts of agents: Ray actors, or parts of this process."),
    _counter("shard_restarts", "Hosts of agents that were started again."),
    _histogram("tick", "Wall-clock time of a tick.", TICK_SECONDS),
    _histogram("phase", "Wall-clock time of a phase of a tick.", TICK_SECONDS, "phase"),
    _gauge("process_memory_bytes", "Resident memory; of actors on this machine only.", "role"),
    # Learning.
    _counter("lessons", "Times that agents learned.", "kind"),
    _gauge("reward", "Mean reward of the last lesson.", "kind"),
    _gauge("loss", "Mean loss of the last lesson.", "kind"),
    _gauge("replay_transitions", "Transitions held to learn from.", "kind"),
)
"""All of them. Those of a grid, a feeder, reserve or learning are there where the run has these."""
BY_NAME = {metric.name: metric for metric in METRICS}
FATES = ("sent", "delivered", "refused")
