"""The key figures of a run in tables, each with its unit and what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarm.results.kpis import DEFINITIONS

GROUPS = {
    "Prices and trade": (
        *("mean_price", "min_price", "max_price", "volume_weighted_price", "volume_mwh"),
        *("no_trade_ticks", "scarcity_ticks", "herfindahl_index", "price_cost_markup"),
    ),
    "Costs and accounts": (
        *("system_cost", "agents_cost", "outside_received", "operator_received"),
        *("reserve_cost", "reserve_availability_cost", "reserve_activation_cost"),
        *("reserve_fines", "ledger_residual_micro"),
    ),
    "Energy and emissions": (
        *("renewable_share", "emissions_tonnes", "imports_mwh", "exports_mwh", "curtailed_mwh"),
        *("spilled_mwh", "held_back_mwh", "shifted_mwh", "backlog_end_mwh", "missed_ev_mwh"),
        *("activated_up_mwh", "activated_down_mwh", "losses_mwh"),
    ),
    "Security of supply": (
        *("unserved_mwh", "shed_mwh", "loss_of_load_probability"),
        *("expected_energy_not_served_mwh", "balance_deviation_share"),
        *("seconds_in_band_share", "nadir_hz", "zenith_hz", "steepest_hz_per_s", "stabilise_s"),
        *("emergencies", "emergency_response_ms", "reserve_shortage_share"),
        *("bus_intervals_in_band_share", "voltage_min_pu", "voltage_max_pu", "line_loading_max"),
        "feeder_failures",
    ),
    "Trust and negotiation": (
        *("contracts", "dispatches", "unpermitted_dispatches", "negotiation_rounds"),
        *("consensus_share", "agreed_share"),
    ),
}
"""Entries of `metrics.json` that are one number, by what they are about."""
UNITS = {
    **dict.fromkeys(("mean_price", "min_price", "max_price", "volume_weighted_price"), "{}/MWh"),
    **dict.fromkeys(GROUPS["Costs and accounts"], "{}"),
    "ledger_residual_micro": "millionths of {}",
    "price_cost_markup": "%",
    "loss_of_load_probability": "%",
    "line_loading_max": "%",
}
"""Unit by name; `{}` is the currency. Other names end with theirs."""
ENDINGS = {
    "_mwh": "MWh",
    "_hz_per_s": "Hz/s",
    "_hz": "Hz",
    "_ms": "ms",
    "_s": "s",
    "_pu": "pu",
    "_tonnes": "t CO2",
    "_share": "%",
    "_ticks": "ticks",
}
"""Unit by the end of a name."""


def unit_of(name: str, currency: str) -> str:
    """Unit of a figure, empty for a count; shares are shown in percent."""
    if name in UNITS:
        return UNITS[name].format(currency)
    return next((unit for end, unit in ENDINGS.items() if name.endswith(end)), "")


def title_of(name: str) -> str:
    """Name of a figure in words."""
    for end in (*(end for end in ENDINGS if end not in ("_share", "_ticks")), "_micro"):
        name = name.removesuffix(end)
    return name.replace("_", " ")


def shown(name: str, value: Any, currency: str, *, signed: bool = False) -> str:
    """A figure with its unit, `-` where nobody measured it; `signed`: it is a change."""
    if value is None:
        return "-"
    unit = unit_of(name, currency)
    scaled = 100 * value if unit == "%" else value
    sign = "+" if signed and value else ""
    if signed and unit == "%":
        unit = "points"
    if isinstance(value, int):
        text = f"{scaled:{sign},}"
    elif not value:
        text = "0"
    elif unit in ("Hz", "pu"):
        text = f"{scaled:{sign}.3f}"
    else:
        text = f"{scaled:{sign},.2f}" if abs(scaled) >= 1 else f"{scaled:{sign}.3g}"
    return f"{text} {unit}".rstrip()


Rows = list[tuple[str, ...]]


def by_group(metrics: Mapping[str, Any]) -> list[tuple[str, Rows]]:
    """Title of each group, and its rows: figure, value, meaning. What was not measured is left out.

    Args:
        metrics: of a finished run.
    """
    currency = metrics["currency"]
    found = []
    for group, names in GROUPS.items():
        rows: Rows = [
            (title_of(name), shown(name, metrics[name], currency), meaning(name))
            for name in names
            if metrics.get(name) is not None
        ]
        if rows:
            found.append((group, rows))
    return found


def meaning(name: str) -> str:
    """What a figure is, without the marks of the code it is written in."""
    return DEFINITIONS.get(name, "").replace("`", "")


def side_by_side(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, Rows]]:
    """As `by_group` for several runs: figure, a value for each, of two runs the change, meaning.

    Args:
        runs: metrics of finished runs; a change is shown where both have the same currency.
    """
    same = len({metrics["currency"] for metrics in runs}) == 1
    found = []
    for group, names in GROUPS.items():
        rows: Rows = []
        for name in names:
            values = [metrics.get(name) for metrics in runs]
            if all(value is None for value in values):
                continue
            cells = [
                shown(name, value, metrics["currency"])
                for value, metrics in zip(values, runs, strict=True)
            ]
            if len(runs) == 2:
                known = same and None not in values
                change = values[1] - values[0] if known else None  # type: ignore[operator]
                cells.append(shown(name, change, runs[0]["currency"], signed=True))
            rows.append((title_of(name), *cells, meaning(name)))
        if rows:
            found.append((group, rows))
    return found


def kinds_table(metrics: Mapping[str, Any]) -> tuple[tuple[str, ...], Rows]:
    """Header and a row for each kind: agents, money, energy."""
    energies = ("generation", "load", "charge", "discharge", "stored_at_end")
    money = metrics["currency"]
    header = (
        "kind",
        "agents",
        *(f"{name}, {money}" for name in ("received", "cost", "profit")),
        *(f"{name.replace('_', ' ')}, MWh" for name in energies),
    )
    rows: Rows = []
    for kind, agents in sorted(metrics["agents_by_kind"].items()):
        paid = [
            metrics[f"{name}_by_kind"].get(kind, 0.0) for name in ("received", "cost", "profit")
        ]
        energy = metrics["energy_mwh_by_kind"].get(kind, {})
        rows.append(
            (
                kind,
                f"{agents:,}",
                *(f"{value:,.2f}" for value in paid),
                *(f"{energy.get(name, 0.0):,.2f}" for name in energies),
            )
        )
    return header, rows
