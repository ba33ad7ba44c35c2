"""What policies are compared by: figures of one run, from its `metrics.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

LOADS = ("consumer", "ev", "home")
"""Kinds that buy energy to use it."""
PLANTS = ("generator", "solar", "wind")
"""Kinds whose response to the operator is generation."""


@dataclass(frozen=True)
class Worth:
    """What energy is worth that no market prices, per MWh.

    Attributes:
        lost_load: of load that is not served.
        stored: of energy left in batteries; 0 where nobody says.
    """

    lost_load: float
    stored: float = 0.0


@dataclass(frozen=True)
class Metric:
    """One figure that policies are compared by.

    Attributes:
        name: its column in the runs' table.
        title: for people.
        unit: `share`, or a unit; `currency` stands for the scenario's.
        better: which way is better; None where neither is.
        meaning: its definition, with the source fields of `metrics.json`.
        value: from a run's `metrics.json` and what energy is worth; None: not measured.
        transfer: says who pays whom how much, which costs the system nothing; shown apart.
    """

    name: str
    title: str
    unit: str
    better: Literal["higher", "lower"] | None
    meaning: str
    value: Callable[[Mapping[str, Any], Worth], float | None]
    transfer: bool = False


def _field(name: str) -> Callable[[Mapping[str, Any], Worth], float | None]:
    return lambda metrics, _: metrics[name]


def _total_cost(metrics: Mapping[str, Any], worth: Worth) -> float:
    found: float = metrics["system_cost"] + worth.lost_load * metrics["unserved_mwh"]
    return found


def _over_kinds(metrics: Mapping[str, Any], figure: str) -> float:
    """Sum of an entry of `energy_mwh_by_kind` over the kinds."""
    return sum((kind[figure] for kind in metrics["energy_mwh_by_kind"].values()), 0.0)


def _called_mwh(metrics: Mapping[str, Any]) -> float:
    """Load of consumers that was put off because the operator called for it, net."""
    found: float = metrics["energy_mwh_by_kind"].get("consumer", {}).get("activated", 0.0)
    return found


def demand_mwh(metrics: Mapping[str, Any]) -> float:
    """Energy that loads wanted, from a run's `metrics.json`, see `demand_satisfied`.

    No policy decides on it but for rounding: with the same seed and day it is the same.
    """
    without_contract: float = metrics["unserved_mwh"] - metrics["shed_mwh"]
    drawn = _over_kinds(metrics, "load") - _called_mwh(metrics)
    put_off: float = metrics["backlog_end_mwh"]
    return drawn + put_off + without_contract


def _demand_satisfied(metrics: Mapping[str, Any], _: Worth) -> float | None:
    demand = demand_mwh(metrics)
    return 1.0 - metrics["unserved_mwh"] / demand if demand > 0 else None


def _comfort(metrics: Mapping[str, Any], _: Worth) -> float | None:
    missed = metrics["missed_ev_mwh"]
    wanted = demand_mwh(metrics) + missed
    put_off = metrics["shifted_mwh"] + max(0.0, _called_mwh(metrics))
    return 1.0 - (put_off + missed) / wanted if wanted > 0 else None


def _renewable_ceiling(metrics: Mapping[str, Any], _: Worth) -> float | None:
    share = metrics["renewable_share"]
    if share is None:
        return None
    kinds = metrics["energy_mwh_by_kind"]
    supply = metrics["imports_mwh"] + _over_kinds(metrics, "generation")
    supply -= _over_kinds(metrics, "held_back")
    supply += sum(kinds[kind]["activated"] for kind in PLANTS if kind in kinds)
    # What generators were held back is in the curtailment; those that are renewable are counted
    # with it in the share already, and fuel that others saved is no renewable energy.
    of_generators = kinds.get("generator", {}).get("held_back", 0.0)
    unused = max(0.0, metrics["curtailed_mwh"] - of_generators)
    return min(1.0, share + unused / supply) if supply > 0 else None


def _payments(metrics: Mapping[str, Any], _: Worth) -> float | None:
    received = metrics["received_by_kind"]
    paid = [-received[kind] for kind in LOADS if kind in received]
    return sum(paid, 0.0) if paid else None


METRICS = (
    Metric(
        "reward",
        "reward",
        "currency",
        "higher",
        "What all agents earned: the sum of `profit_by_kind`, payments received less true cost. "
        "Loads pay and the value of their consumption is not counted, so it is often below 0, and "
        "load that is not served saves its payment: read it with demand satisfied.",
        lambda metrics, _: sum(metrics["profit_by_kind"].values(), 0.0),
    ),
    Metric(
        "total_cost",
        "system cost",
        "currency",
        "lower",
        "True production and discomfort cost with energy from outside (`system_cost`), plus "
        "`unserved_mwh` at the value of lost load. No payment between agents and no markup is in "
        "it; these are shown apart.",
        lambda metrics, worth: _total_cost(metrics, worth),
    ),
    Metric(
        "cost_less_stored",
        "cost, stored energy valued",
        "currency",
        "lower",
        "The system cost less `stored_at_end_mwh` at the outside connection's `price_per_mwh`: all "
        "policies start from the same energy, and one that empties the batteries into the last "
        "evening is not cheaper for it. The same as the system cost where nothing is outside.",
        lambda metrics, worth: (
            _total_cost(metrics, worth) - worth.stored * _over_kinds(metrics, "stored_at_end")
        ),
    ),
    Metric(
        "seconds_in_band_share",
        "stability",
        "share",
        "higher",
        "Share of seconds with frequency within 0.1 Hz of nominal (`seconds_in_band_share`); not "
        "measured without a grid.",
        _field("seconds_in_band_share"),
    ),
    Metric(
        "renewable_share",
        "renewable share",
        "share",
        "higher",
        "Renewable energy over generation and imports (`renewable_share`).",
        _field("renewable_share"),
    ),
    Metric(
        "renewable_ceiling",
        "renewable ceiling",
        "share",
        None,
        "What the renewable share could be at most: with all weather-driven energy that was "
        "curtailed used in place of other supply (`curtailed_mwh` but for what generators were "
        "held back, over generation and imports). Who exports or stores more has more supply, and "
        "so a lower ceiling.",
        _renewable_ceiling,
    ),
    Metric(
        "curtailed_mwh",
        "curtailment",
        "MWh",
        "lower",
        "Weather-driven energy available and not used, and generation held back (`curtailed_mwh`).",
        _field("curtailed_mwh"),
    ),
    Metric(
        "imports_mwh",
        "imports",
        "MWh",
        "lower",
        "Energy that flowed in from outside (`imports_mwh`).",
        _field("imports_mwh"),
    ),
    Metric(
        "demand_satisfied",
        "demand satisfied",
        "share",
        "higher",
        "1 - `unserved_mwh` / demand. Demand is what loads wanted: `energy_mwh_by_kind` load less "
        "what consumers were called to put off, plus `backlog_end_mwh` and energy that found no "
        "contract (`unserved_mwh` - `shed_mwh`); it is the same for every policy.",
        _demand_satisfied,
    ),
    Metric(
        "comfort",
        "comfort",
        "share",
        "higher",
        "1 - (load put off + `missed_ev_mwh`) / (demand + `missed_ev_mwh`). Put off: `shifted_mwh` "
        "and what consumers were called to, net; caught up later or not.",
        _comfort,
    ),
    Metric(
        "emissions_tonnes",
        "emissions",
        "t CO2",
        "lower",
        "CO2 of the agents and of imports (`emissions_tonnes`).",
        _field("emissions_tonnes"),
    ),
    Metric(
        "unserved_mwh",
        "unserved energy",
        "MWh",
        "lower",
        "Load that wanted energy and got none (`unserved_mwh`).",
        _field("unserved_mwh"),
    ),
    Metric(
        "stored_at_end_mwh",
        "left in batteries",
        "MWh",
        None,
        "Energy stored at the end (`energy_mwh_by_kind` stored_at_end). System cost and reward "
        "give it no value: a policy that empties batteries looks cheaper by it.",
        lambda metrics, _: _over_kinds(metrics, "stored_at_end"),
    ),
    Metric(
        "payments",
        "payments of load",
        "currency",
        None,
        "What consumers, vehicles and homes paid, net (`received_by_kind`): cost to one and income "
        "to another, so no part of the system cost.",
        _payments,
        transfer=True,
    ),
    Metric(
        "price_cost_markup",
        "markup",
        "share",
        "lower",
        "Price above marginal cost as a share of price (`price_cost_markup`); no part of the "
        "system cost either.",
        _field("price_cost_markup"),
        transfer=True,
    ),
)
"""What policies are compared by, in the order shown."""


def figures(metrics: Mapping[str, Any], worth: Worth) -> dict[str, float | None]:
    """All figures of one run: `METRICS`, then every number of `metrics.json`, by name.

    Entries by kind get dotted names, such as `profit_by_kind.storage`.

    Args:
        metrics: of a finished run.
        worth: what energy is worth that was not served, or is left.
    """
    found = {metric.name: metric.value(metrics, worth) for metric in METRICS}
    numbers = _numbers({name: value for name, value in metrics.items() if name != "seed"})
    return {**found, **{name: numbers[name] for name in sorted(numbers) if name not in found}}


def _numbers(entries: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name, value in entries.items():
        if isinstance(value, Mapping):
            found |= _numbers(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, int | float):
            found[prefix + name] = None if value is None else float(value)
    return found
