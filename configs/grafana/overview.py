"""What an operator looks at first."""

from __future__ import annotations

from common import price, steadiness, unserved
from panels import BAD, GOOD, WARNING, Json, row, series, stat
from promql import NONE, ONE_IS_BAD, PER_MWH, frequency


def overview() -> list[Json]:
    """What an operator looks at first."""
    return [
        stat(
            "Running",
            "Scenario, engine and version of what runs.",
            ("swarm_run_info", "{{scenario}} on {{engine}}, swarm {{version}}"),
            name=True,
            w=8,
        ),
        stat(
            "Progress",
            "Ticks cleared, as a share of the whole run.",
            ("swarm_ticks_total / swarm_ticks_planned", ""),
            "percentunit",
            decimals=0,
        ),
        stat(
            "Active agents",
            "Agents with a contract or power in the last settled tick.",
            ("sum(swarm_active_agents)", ""),
            decimals=0,
        ),
        stat(
            "Load",
            "Consumption of all agents at the meter, charging not included.",
            ("sum(swarm_load_watts)", ""),
            "watt",
        ),
        stat(
            "Generation",
            "Power of all generators at the meter, discharging not included.",
            ("sum(swarm_generation_watts)", ""),
            "watt",
        ),
        price(),
        *steadiness(),
        stat(
            "Negotiations",
            "Answers of agents to called prices, each second of wall-clock time.",
            ("rate(swarm_negotiations_total[1m])", ""),
            "cps",
        ),
        stat(
            "Consensus",
            "Share of ticks so far that ended in consensus.",
            ("swarm_consensus_ratio", ""),
            "percentunit",
            steps=((0.0, BAD), (0.9, WARNING), (0.99, GOOD)),
            decimals=1,
        ),
        stat(
            "Policy violations",
            "Orders and dispatches beyond a policy since the start.",
            ("swarm_policy_violations_total", ""),
            steps=ONE_IS_BAD,
            mapping=NONE,
        ),
        stat(
            "Unpermitted dispatches",
            "Agents that moved without a contract since the start.",
            ("swarm_unpermitted_dispatches_total", ""),
            steps=ONE_IS_BAD,
            mapping=NONE,
        ),
        unserved(),
        stat(
            "Renewable share",
            "Share of renewable energy so far in generation and imports.",
            ("swarm_renewable_ratio", ""),
            "percentunit",
            decimals=1,
        ),
        stat(
            "Frequency in band",
            "Share of simulated seconds so far within 0.1 Hz of nominal.",
            ("swarm_frequency_in_band_ratio", ""),
            "percentunit",
            decimals=2,
        ),
        stat(
            "Speed",
            "Simulated seconds in each second of wall-clock time.",
            ("rate(swarm_simulated_seconds_total[1m])", ""),
            "suffix: x",
            decimals=0,
        ),
        row("Now"),
        series(
            "Generation by kind",
            "Power of generators and discharging batteries at the meter.",
            [
                ("sum by (kind) (swarm_generation_watts) > 0", "{{kind}}"),
                ("sum by (kind) (swarm_discharge_watts) > 0", "{{kind}}, discharging"),
            ],
            "watt",
            stacked=True,
        ),
        frequency(12),
        series(
            "Load and charging",
            "Consumption at the meter and the charging of batteries.",
            [
                ("sum(swarm_load_watts)", "load"),
                ("sum(swarm_charge_watts)", "charging"),
            ],
            "watt",
            stacked=True,
        ),
        series(
            "Price",
            "Last price of each market, per MWh; of reserve per MW and hour.",
            ("swarm_price_per_mwh", "{{market}}"),
            PER_MWH,
        ),
    ]
