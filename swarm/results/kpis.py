"""Key figures of a run, from exact integer sums over its ticks.

`Totals` takes tick after tick; `metrics` turns the sums into figures, each defined in
`DEFINITIONS`. Sums are Python integers of the market's own units, so they are exact and cannot
depend on how agents were packed; the few float sums run in order of agents and ticks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from swarm.grid.balance import Operated
from swarm.market.record import TickRecord
from swarm.results.by_kind import FLOAT_COLUMNS, INT_COLUMNS, KindSums
from swarm.results.grid_kpis import GRID_DEFINITIONS, GridTotals
from swarm.results.trust_kpis import TRUST_DEFINITIONS, TrustTotals
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

DEFINITIONS: dict[str, str] = {
    "scenario": "Name of the scenario.",
    "seed": "Seed of the run.",
    "start": "Local time at which tick 0 starts.",
    "tick_minutes": "Length of a tick.",
    "currency": "Currency of all money below.",
    "ticks": "Ticks settled.",
    "agents": "Number of agents.",
    "agents_by_kind": "Number of agents of each kind.",
    "agents_table": "`full`, or `sample`: the table of agents holds a seeded sample of them.",
    "agents_in_table": "Number of agents in the table of agents.",
    "mean_price": "Mean clearing price per MWh over the ticks with trade; null without trade.",
    "min_price": "Least clearing price per MWh.",
    "max_price": "Highest clearing price per MWh.",
    "volume_weighted_price": "Clearing price per MWh, each tick weighted with its volume.",
    "no_trade_ticks": "Ticks in which nothing traded.",
    "scarcity_ticks": "Ticks in which all supply was sold and an unserved bid set the price.",
    "volume_mwh": "Energy bought in the auction, which equals the energy sold.",
    "agents_cost": "True cost of all agents: fuel, CO2, starts, battery wear and discomfort.",
    "outside_received": "Paid for imports less received for exports, imbalance included.",
    "operator_received": "What the grid operator earns with imbalance, penalties included, less "
    "what it pays for reserve and response.",
    "system_cost": "agents_cost + outside_received: what meeting the load cost the system, as in a "
    "production cost model (e.g. NREL, RTS-GMLC, IEEE Trans. Power Systems 35, 2020). Energy not "
    "served has no price here; it stands in unserved_mwh.",
    "ledger_residual_micro": "Sum of all accounts (agents, outside, operator, rounding), in "
    "millionths of the currency; double entry makes it 0 exactly.",
    "unserved_mwh": "Load that wanted energy and got none: without contract, or shed.",
    "shed_mwh": "Load cut off: by relay, by the emergency call, or beyond the import limit.",
    "spilled_mwh": "Surplus that neither flowed out nor was held back.",
    "curtailed_mwh": "Weather-driven energy that was available and not used, and generation "
    "held back.",
    "renewable_share": "Renewable energy over generation + imports. Renewable: solar, wind, homes, "
    "generators marked `renewable`, and `outside.renewable_share` of imports. Null without supply.",
    "emissions_tonnes": "CO2 of the agents, and imports at `outside.emissions_kg_per_mwh`.",
    "imports_mwh": "Energy that flowed in from outside.",
    "exports_mwh": "Energy that flowed out.",
    "shifted_mwh": "Flexible load that was put off (its later catch-up is not subtracted).",
    "backlog_end_mwh": "Load put off and not yet caught up at the end.",
    "missed_ev_mwh": "Energy that vehicles lacked of what they required when they left.",
    "received_by_kind": "Paid to the agents of a kind, imbalance and reserve included; below 0 "
    "where they pay.",
    "cost_by_kind": "True cost of the agents of a kind.",
    "profit_by_kind": "received_by_kind - cost_by_kind. A load's profit is negative: the value of "
    "its consumption is not counted.",
    "energy_mwh_by_kind": "Generation, load, charge and discharge at the meter as scheduled, "
    "energy stored at the end, and what the operator drew: activated (net, up positive), shed, "
    "held back.",
    **GRID_DEFINITIONS,
    **TRUST_DEFINITIONS,
    "herfindahl_index": "Sum of squared market shares in percent, 0 to 10,000, of the energy sold: "
    "net contracts to inject, each agent and the connection outside a supplier of its own; null "
    "where nothing was sold (U.S. DoJ and FTC, Merger Guidelines, 2023, section 2.1).",
    "price_cost_markup": "Lerner index (price - marginal cost) / price, volume-weighted over ticks "
    "with trade at a price above 0 (A. Lerner, Review of Economic Studies 1, 1934). Marginal cost: "
    "the highest true marginal cost of a generator that delivered, or the outside price with "
    "premium where energy was imported by contract, whichever is more, of those at or below the "
    "price: what runs above the price is held by its least output or its ramp and sets no price. "
    "Null where no tick has such a cost.",
}
"""What each entry of `metrics.json` is. Energy is power times the length of a tick."""

_RECORD_SUMS = (
    *("volume_w", "outside_micro", "operator_micro", "rounding_micro"),
    *("availability_micro", "activation_micro", "reserve_penalty_micro"),
)
_BALANCE_SUMS = (
    "generation_w",
    "import_w",
    "export_w",
    "shed_w",
    "spilled_w",
    "unserved_w",
    "curtailed_w",
)


class Totals:
    """Sums over the ticks of a run so far."""

    STATE = (
        *("ticks", "grid", "trust", "sums", "prices_milli", "markup_weighted", "by_kind"),
        *("floats", "floats_at_end", "sold_w"),
    )
    """See `swarm.snapshot`."""

    def __init__(self, scenario: Scenario, rosters: Sequence[Roster]) -> None:
        self.agents = sum(len(roster) for roster in rosters)
        self.ticks = 0
        self.grid = GridTotals(scenario)
        self.trust = TrustTotals(scenario)
        self.sums: Counter[str] = Counter()
        """Python ints: `_RECORD_SUMS`, `_BALANCE_SUMS` and what `add` names."""
        self.prices_milli: tuple[int, int] | None = None
        """Least and highest price."""
        self.markup_weighted = 0.0
        # dtype object holds Python ints: a long run cannot overflow them.
        self.by_kind = np.zeros((len(INT_COLUMNS), len(rosters)), dtype=object)
        self.floats = np.zeros((len(FLOAT_COLUMNS), len(rosters)))
        self.floats_at_end = self.floats
        self.sold_w = np.zeros(self.agents + 1, dtype=np.int64)
        """Sum over ticks of net sales of each agent, the connection outside last, watts."""
        outside = scenario.outside
        self._premium_milli = 0 if outside is None else round(outside.import_premium_per_mwh * 1000)
        self._generators = slice(0, 0)
        self._renewable = np.zeros(0, dtype=bool)
        for roster in rosters:
            if roster.kind == "generator":
                self._generators = slice(roster.first, roster.first + len(roster))
                self._renewable = roster.column("renewable").astype(bool)

    def add(self, record: TickRecord, operated: Operated, kinds: KindSums) -> None:
        """Take one tick."""
        balance = operated.balance
        assert balance is not None
        self.ticks += 1
        self.grid.add(record, operated)
        self.trust.add(record)
        for name in _RECORD_SUMS:
            self.sums[name] += getattr(record, name)
        for name in _BALANCE_SUMS:
            self.sums[name] += getattr(balance, name)
        self.by_kind += kinds.ints
        self.floats = self.floats + kinds.floats
        self.floats_at_end = kinds.floats
        self.sold_w[:-1] += np.maximum(record.contract_w, 0)
        self.sold_w[-1] += max(0, record.imported_w)
        generation = record.meters.generation_w[self._generators]
        self.sums["renewable_generator_w"] += int(generation[self._renewable].sum())
        self.sums["scarcity_ticks"] += record.status == "scarcity"
        if record.price_milli is not None:
            self._add_price(record, record.price_milli, generation)

    def _add_price(self, record: TickRecord, price: int, generation_w: np.ndarray) -> None:
        self.sums["priced_ticks"] += 1
        self.sums["price_milli"] += price
        self.sums["price_milli_w"] += price * record.volume_w
        low, high = self.prices_milli or (price, price)
        self.prices_milli = min(low, price), max(high, price)
        cost = self._marginal_cost_milli(record, price, generation_w)
        if cost is not None and price > 0:
            self.sums["markup_volume_w"] += record.volume_w
            self.markup_weighted += record.volume_w * (price - cost) / price

    def _marginal_cost_milli(
        self, record: TickRecord, price: int, generation_w: np.ndarray
    ) -> int | None:
        """Marginal cost of the system in one tick, as `price_cost_markup` defines it."""
        costs = record.meters.marginal_cost_milli[self._generators][generation_w > 0]
        found: list[int] = costs.tolist()
        if record.imported_w > 0 and record.outside_price_milli is not None:
            found.append(record.outside_price_milli + self._premium_milli)
        return max((cost for cost in found if cost <= price), default=None)


def metrics(totals: Totals, scenario: Scenario, rosters: Sequence[Roster]) -> dict[str, Any]:
    """The figures of `DEFINITIONS`, but for those of the table of agents; null is None."""
    sums, minutes = totals.sums, scenario.tick_minutes
    kinds = [roster.kind for roster in rosters]
    rows = dict(zip(INT_COLUMNS, totals.by_kind.tolist(), strict=True))
    end = dict(zip(FLOAT_COLUMNS, totals.floats_at_end.tolist(), strict=True))
    whole = dict(zip(FLOAT_COLUMNS, totals.floats.tolist(), strict=True))
    low, high = totals.prices_milli or (None, None)
    agents_cost = sum(rows["cost_micro"])
    accounts = ("outside_micro", "operator_micro", "rounding_micro")

    def mwh(name: str) -> float:
        return _mwh(sums[name], minutes)

    return {
        "scenario": scenario.name,
        "seed": scenario.seed,
        "start": scenario.start.isoformat(),
        "tick_minutes": minutes,
        "currency": scenario.currency,
        "ticks": totals.ticks,
        "agents": totals.agents,
        "agents_by_kind": {roster.kind: len(roster) for roster in rosters},
        "mean_price": _ratio(sums["price_milli"], sums["priced_ticks"] * 1000),
        "min_price": _ratio(low, 1000),
        "max_price": _ratio(high, 1000),
        "volume_weighted_price": _ratio(sums["price_milli_w"], sums["volume_w"] * 1000),
        "no_trade_ticks": totals.ticks - sums["priced_ticks"],
        "scarcity_ticks": sums["scarcity_ticks"],
        "volume_mwh": mwh("volume_w"),
        "agents_cost": agents_cost / 10**6,
        "outside_received": sums["outside_micro"] / 10**6,
        "operator_received": sums["operator_micro"] / 10**6,
        "system_cost": (agents_cost + sums["outside_micro"]) / 10**6,
        "ledger_residual_micro": sum(rows["received_micro"]) + sum(sums[name] for name in accounts),
        "unserved_mwh": mwh("unserved_w"),
        "shed_mwh": mwh("shed_w"),
        "spilled_mwh": mwh("spilled_w"),
        "curtailed_mwh": mwh("curtailed_w"),
        "renewable_share": _renewable_share(
            totals,
            scenario,
            {
                kind: rows["generation_w"][index] - rows["held_back_w"][index]
                for index, kind in enumerate(kinds)
            },
        ),
        "emissions_tonnes": _emissions_tonnes(sum(rows["emissions_g"]), mwh("import_w"), scenario),
        "imports_mwh": mwh("import_w"),
        "exports_mwh": mwh("export_w"),
        "shifted_mwh": _mwh(sum(rows["reduced_w"]), minutes),
        "backlog_end_mwh": sum(end["backlog_mwh"], 0.0),
        "missed_ev_mwh": sum(whole["missed_mwh"], 0.0),
        "received_by_kind": _money(kinds, rows["received_micro"]),
        "cost_by_kind": _money(kinds, rows["cost_micro"]),
        "profit_by_kind": _money(
            kinds,
            [
                got - cost
                for got, cost in zip(rows["received_micro"], rows["cost_micro"], strict=True)
            ],
        ),
        "energy_mwh_by_kind": {
            kind: {
                "generation": _mwh(rows["generation_w"][index], minutes),
                "load": _mwh(rows["load_w"][index], minutes),
                "charge": _mwh(rows["charge_w"][index], minutes),
                "discharge": _mwh(rows["discharge_w"][index], minutes),
                "stored_at_end": end["stored_mwh"][index],
                "activated": _mwh(rows["activated_w"][index], minutes),
                "shed": _mwh(rows["shed_w"][index], minutes),
                "held_back": _mwh(rows["held_back_w"][index], minutes),
            }
            for index, kind in enumerate(kinds)
        },
        **totals.grid.metrics(),
        **totals.trust.metrics(),
        "herfindahl_index": herfindahl_index(totals.sold_w.tolist()),
        "price_cost_markup": _ratio(totals.markup_weighted, sums["markup_volume_w"]),
    }


def herfindahl_index(sold: Sequence[int]) -> float | None:
    """Sum of squared shares in percent, 0..10,000; None where nothing was sold."""
    return _ratio(10_000 * sum(amount**2 for amount in sold), sum(sold) ** 2)


def _renewable_share(
    totals: Totals, scenario: Scenario, generation_w: dict[str, int]
) -> float | None:
    sums = totals.sums
    renewable = sums["renewable_generator_w"]
    renewable += sum(generation_w.get(kind, 0) for kind in ("home", "solar", "wind"))
    imported = 0.0
    if scenario.outside is not None:
        imported = scenario.outside.renewable_share * sums["import_w"]
    return _ratio(renewable + imported, sums["generation_w"] + sums["import_w"])


def _emissions_tonnes(grams: int, imports_mwh: float, scenario: Scenario) -> float:
    outside = scenario.outside
    imported = 0.0 if outside is None else imports_mwh * outside.emissions_kg_per_mwh / 1000
    return grams / 10**6 + imported


def _mwh(watts: int, tick_minutes: int) -> float:
    """Energy of a sum of watts over ticks, MWh; rounded once."""
    return watts * tick_minutes / 60_000_000


def _money(kinds: Sequence[str], micro: Sequence[int]) -> dict[str, float]:
    return {kind: value / 10**6 for kind, value in zip(kinds, micro, strict=True)}


def _ratio(part: float | None, whole: int) -> float | None:
    """`part / whole`, None where either is missing."""
    return None if part is None or whole == 0 else part / whole
