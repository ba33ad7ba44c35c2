"""The figures of a run in words, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
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
    rows += grid_rows(m)
    rows += trust_rows(m, timings)
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


def grid_rows(m: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of the figures of the physical grid; none without a grid."""
    if m.get("nadir_hz") is None:
        return []
    rows = [
        ("frequency", f"{m['nadir_hz']:.3f} to {m['zenith_hz']:.3f} Hz"),
        ("within 0.1 Hz", f"{100 * m['seconds_in_band_share']:.2f} % of the time"),
        ("steepest change", f"{m['steepest_hz_per_s']:.3g} Hz/s"),
    ]
    if m["stabilise_s"] is not None:
        rows.append(("stabilised", _stabilised(m["stabilise_s"])))
    if m["emergencies"]:
        answer = m["emergency_response_ms"]
        after = "" if answer is None else f", storage answered after {answer:.0f} ms (simulated)"
        rows.append(("emergencies", f"{m['emergencies']}{after}"))
    rows += [
        ("loss of load", f"{100 * m['loss_of_load_probability']:.2f} % of ticks"),
        ("imbalance", f"{100 * m['balance_deviation_share']:.2f} % of load"),
        (
            "responded",
            f"{_number(m['activated_up_mwh'])} MWh up, {_number(m['activated_down_mwh'])} MWh down",
        ),
    ]
    if m["held_back_mwh"]:
        rows.append(("held back", _with("MWh", m["held_back_mwh"])))
    if m["reserve_shortage_share"] is not None:
        rows.append(("reserve cost", _with(m["currency"], m["reserve_cost"])))
        rows.append(("reserve not found", _percent(m["reserve_shortage_share"])))
    if m["bus_intervals_in_band_share"] is not None:
        rows += [
            ("voltage", f"{m['voltage_min_pu']:.3f} to {m['voltage_max_pu']:.3f} pu"),
            ("within 5 %", f"{100 * m['bus_intervals_in_band_share']:.2f} % of buses and ticks"),
            ("feeder losses", _with("MWh", m["losses_mwh"])),
        ]
        if m["feeder_failures"]:
            rows.append(("feeder unsolved", f"{m['feeder_failures']:,} ticks"))
    return rows


def trust_rows(m: Mapping[str, Any], timings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and value of the figures of negotiation, contracts and policies; maybe none."""
    rows = []
    if m.get("negotiation_rounds") is not None:
        rows.append(("consensus", f"{_percent(m['consensus_share'])} of ticks"))
        rows.append(("rounds to agree", f"{m['negotiation_rounds']:.1f} a tick"))
        wall = timings.get("negotiation")
        if wall:
            speed = f"{wall['answers_per_second']:,.0f} answers/s"
            rows.append(("negotiated", f"{speed}, {wall['p50_ms']:,.2f} ms a round"))
    if m.get("contracts") is not None:
        rows.append(("contracts", f"{m['contracts']:,} signed, {m['dispatches']:,} dispatched"))
        rows.append(("unpermitted", f"{m['unpermitted_dispatches']:,} dispatches"))
        refused = m["refusals_by_reason"].items()
        if refused:
            found = ", ".join(f"{n:,} {reason.replace('_', ' ')}" for reason, n in refused)
            rows.append(("refused", found))
        broken = m["violations_by_rule"].items()
        if broken:
            found = ", ".join(f"{n:,} {rule}" for rule, n in broken)
            rows.append(("beyond a policy", found))
    return rows


COMPARED = (
    "frequency",
    "within 0.1 Hz",
    "stabilised",
    "loss of load",
    "voltage",
    "within 5 %",
)
"""Rows of `grid_rows` that a comparison shows."""


def compared_rows(
    metrics: Mapping[str, Any], baseline: Mapping[str, Any]
) -> list[tuple[str, str, str]]:
    """Label, value of this run and of its baseline, of what a grid is judged by."""
    ours, theirs = dict(grid_rows(metrics)), dict(grid_rows(baseline))
    rows = [
        (label, ours.get(label, NOTHING), theirs.get(label, NOTHING))
        for label in COMPARED
        if label in ours or label in theirs
    ]
    for label, name in (
        ("load shed", "shed_mwh"),
        ("load not served", "unserved_mwh"),
        ("curtailed", "curtailed_mwh"),
    ):
        rows.append((label, _with("MWh", metrics[name]), _with("MWh", baseline[name])))
    charged = [
        sum(kind["charge"] for kind in m["energy_mwh_by_kind"].values())
        for m in (metrics, baseline)
    ]
    rows.append(("stored", _with("MWh", charged[0]), _with("MWh", charged[1])))
    money = metrics["currency"]
    rows.append(
        ("system cost", _with(money, metrics["system_cost"]), _with(money, baseline["system_cost"]))
    )
    return rows


def story(events: Sequence[Mapping[str, Any]], start: str, tick_minutes: int) -> list[str]:
    """What happened inside disturbed intervals, one line for each event, in order.

    Args:
        events: rows of the table of events.
        start: local time at which tick 0 starts, ISO 8601.
        tick_minutes: length of a tick.
    """
    begin = datetime.fromisoformat(start)
    lines = []
    for event in events:
        moment = begin + timedelta(minutes=event["tick"] * tick_minutes, seconds=event["second"])
        words = EVENT_WORDS.get(event["step"], event["step"].replace("_", " "))
        power = f" {_power(event['power_w'])}" if event["power_w"] else ""
        clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
        lines.append(f"{clock}  {event['frequency_hz']:7.3f} Hz  {words}{power}")
    return lines


EVENT_WORDS = {
    "sudden": "power lost or gained at once",
    "detection": "emergency detected",
    "alert": "alert to all agents; needed",
    "storage": "storage responds",
    "load_shedding": "non-critical load off",
    "generation": "generation adjusts",
    "recovery": "recovery begins, in stages",
    "load_restored": "non-critical load back",
    "recovered": "recovered",
    "under_frequency_shedding": "relays shed load",
    "restoration": "load restored",
    "trip": "protection trips generation",
    "blackout": "blackout",
}
"""Words for each step of an event."""


def _stabilised(seconds: float) -> str:
    return "not before the end" if seconds < 0 else f"after {seconds:,.1f} s"


def _kinds(agents_by_kind: Mapping[str, int]) -> str:
    listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(agents_by_kind.items()))
    return f" ({listed})" if listed else ""


def _number(value: float | None) -> str:
    """Two decimals with thousands separators; three significant digits below 1."""
    if value is None:
        return NOTHING
    return f"{value:.3g}" if 0 < abs(value) < 1 else f"{value:,.2f}"


def _power(watts: float) -> str:
    """In MW, kW or W, whichever keeps the number readable."""
    for unit, size in (("MW", 1e6), ("kW", 1e3)):
        if abs(watts) >= 0.1 * size:
            return f"{_signed(watts / size)} {unit}"
    return f"{_signed(watts)} W"


def _signed(value: float) -> str:
    """With its sign: three significant digits, whole numbers from 1,000 on."""
    return f"{value:+.3g}" if abs(value) < 999.5 else f"{value:+,.0f}"


def _with(unit: str, value: float | None) -> str:
    return NOTHING if value is None else f"{_number(value)} {unit}"


def _price(value: float | None, currency: str) -> str:
    return _with(f"{currency}/MWh", value)


def _range(low: float | None, high: float | None, currency: str) -> str:
    return NOTHING if low is None else f"{_number(low)} to {_price(high, currency)}"


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:,.1f} %"
