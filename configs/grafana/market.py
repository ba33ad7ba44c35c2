"""Price, volume, merit order, concentration, negotiation."""

from __future__ import annotations

from common import price
from panels import BAD, WARNING, Json, bars, row, series, stat
from promql import NONE, PER_MWH, quantile


def market() -> list[Json]:
    """Price, volume, merit order, concentration, negotiation."""
    return [
        price(),
        stat(
            "Volume",
            "Energy market: traded in the last cleared tick.",
            ('swarm_volume_watts{market="energy"}', ""),
            "watt",
        ),
        stat("Orders", "Orders in the book of the last settled tick.", ("swarm_orders", "")),
        stat(
            "Concentration",
            "Herfindahl index of the energy sold; above 0.18 a market counts as highly "
            "concentrated (US merger guidelines of 2023).",
            ("swarm_market_concentration_ratio", ""),
            "none",
            steps=((0.10, WARNING), (0.18, BAD)),
            decimals=3,
        ),
        stat(
            "Ticks without trade",
            "Ticks since the start in which no energy traded.",
            ("swarm_no_trade_ticks_total", ""),
            steps=((1, WARNING),),
            mapping=NONE,
        ),
        stat(
            "Consensus",
            "Share of ticks so far that ended in consensus.",
            ("swarm_consensus_ratio", ""),
            "percentunit",
            decimals=1,
        ),
        row("Energy and reserve"),
        series(
            "Price",
            "Last price of each market, per MWh; of reserve per MW and hour.",
            ("swarm_price_per_mwh", "{{market}}"),
            PER_MWH,
        ),
        bars(
            "Merit order",
            "Supply offered at each price or less in the last settled tick.",
            "sum by (price_per_mwh) (swarm_supply_at_most_watts)",
            "price_per_mwh",
            "price per MWh, at most",
            "supply",
            "watt",
        ),
        series(
            "Supply, demand and volume",
            "What was offered, bid and traded of energy in the last tick.",
            [
                ("swarm_supply_offered_watts", "supply offered"),
                ("swarm_demand_bid_watts", "demand bid"),
                ('swarm_volume_watts{market="energy"}', "traded"),
            ],
            "watt",
        ),
        series(
            "Concentration",
            "Herfindahl index of the energy sold, with the lines of a moderate and a high one.",
            ("swarm_market_concentration_ratio", "Herfindahl index"),
            "none",
            steps=((0.10, WARNING), (0.18, BAD)),
        ),
        series(
            "Volume by market",
            "Traded in the last cleared tick; of reserve, power held.",
            ("swarm_volume_watts", "{{market}}"),
            "watt",
        ),
        series(
            "Traded so far",
            "Energy traded since the start; of reserve, power held times time.",
            ("swarm_traded_energy_joules_total", "{{market}}"),
            "joule",
        ),
        row("Negotiation"),
        series(
            "Prices called per tick",
            "Called prices in each tick over the last minute; an auction is one.",
            ("rate(swarm_negotiation_rounds_total[1m]) / rate(swarm_ticks_total[1m])", "rounds"),
            w=8,
        ),
        series(
            "Answers per second",
            "Answers of agents to called prices, each second of wall-clock time.",
            ("rate(swarm_negotiations_total[1m])", "answers"),
            "cps",
            w=8,
        ),
        series(
            "Round trip of a called price",
            "Wall-clock time from a called price until all answers are in.",
            [
                (quantile(0.5, "swarm_negotiation_seconds"), "median"),
                (quantile(0.95, "swarm_negotiation_seconds"), "95th percentile"),
            ],
            "s",
            w=8,
        ),
    ]
