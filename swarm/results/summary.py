"""The figures of a run in words, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTHING = "-"


def summary_rows(metrics: Mapping[str, Any], timings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of each figure worth a look, with units; `-` where there is none.

    Args:
        metrics: of a finished run.
        timings: may be empty.
    """
    m = metrics
    currency = m["currency"]
    rows = [
        ("ticks", f"{m['ticks']:,} of {m['tick_minutes']} min from {m['start']}"),
        ("agents", f"{m['agents']:,}{_kinds(m['agents_by_kind'])}"),
        ("mean price", _price(m["mean_price"], currency)),
        ("lowest to highest", _range(m["min_price"], m["max_price"], currency)),
        ("weighted by volume", _price(m["volume_weighted_price"], currency)),
        ("traded", _with("MWh", m["volume_mwh"])),
        ("system cost", _with(currency, m["system_cost"])),
        ("unserved energy", _with("MWh", m["unserved_mwh"])),
        ("renewable share", _percent(m["renewable_share"])),
        ("curtailed", _with("MWh", m["curtailed_mwh"])),
        ("emissions", _with("t CO2", m["emissions_tonnes"])),
        ("imports", _with("MWh", m["imports_mwh"])),
        ("exports", _with("MWh", m["exports_mwh"])),
    ]
    if m["no_trade_ticks"]:
        rows.append(("ticks without trade", f"{m['no_trade_ticks']:,}"))
    if m["scarcity_ticks"]:
        rows.append(("ticks of scarcity", f"{m['scarcity_ticks']:,}"))
    if m["spilled_mwh"]:
        rows.append(("spilled", _with("MWh", m["spilled_mwh"])))
    if m["shifted_mwh"]:
        rows.append(("load shifted", _with("MWh", m["shifted_mwh"])))
    if "ev" in m["agents_by_kind"]:
        rows.append(("vehicles lacked", _with("MWh", m["missed_ev_mwh"])))
    for kind, profit in sorted(m["profit_by_kind"].items()):
        rows.append((f"profit, {kind}", _with(currency, profit)))
    rows.append(("Herfindahl index", _number(m["herfindahl_index"])))
    rows.append(("price-cost markup", _percent(m["price_cost_markup"])))
    if m["agents_table"] == "sample":
        rows.append(("table of agents", f"a sample of {m['agents_in_table']:,}"))
    if timings:
        rate = timings.get("ticks_per_second")
        speed = "" if rate is None else f", {rate:,.1f} ticks/s"
        rows.append(("took", f"{timings['wall_seconds']:,.1f} s{speed}"))
    return rows


def _kinds(agents_by_kind: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(agents_by_kind.items()))
    return f" ({listed})" if listed else ""


def _number(value: float | None) -> str:
    """Two decimals with thousands separators; three significant digits below 1."""
    if value is None:
        return NOTHING
    return f"{value:.3g}" if 0 < abs(value) < 1 else f"{value:,.2f}"


def _with(unit: str, value: float | None) -> str:
    return NOTHING if value is None else f"{_number(value)} {unit}"


def _price(value: float | None, currency: str) -> str:
    return _with(f"{currency}/MWh", value)


def _range(low: float | None, high: float | None, currency: str) -> str:
    return NOTHING if low is None else f"{_number(low)} to {_price(high, currency)}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:,.1f} %"
