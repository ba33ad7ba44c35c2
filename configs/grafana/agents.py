"""Agents by kind, and how they learn."""

from __future__ import annotations

from panels import Json, row, series


def agents() -> list[Json]:
    """Every figure that agents have, by kind."""

    def by_kind(
        title: str, description: str, name: str, unit: str = "short", *, stacked: bool = True
    ) -> Json:
        query = f'sum by (kind) ({name}{{kind=~"$kind"}})'
        return series(title, description, (query, "{{kind}}"), unit, stacked=stacked)

    return [
        row("Who is there"),
        by_kind("Agents", "Agents of the scenario.", "swarm_agents"),
        by_kind(
            "Active agents",
            "Agents with a contract or power in the last settled tick.",
            "swarm_active_agents",
        ),
        row("Power and energy"),
        by_kind("Generation", "Generation at the meter.", "swarm_generation_watts", "watt"),
        by_kind("Load", "Consumption without charging.", "swarm_load_watts", "watt"),
        by_kind("Charging", "Charging of batteries.", "swarm_charge_watts", "watt"),
        by_kind("Discharging", "Discharging of batteries.", "swarm_discharge_watts", "watt"),
        by_kind("Stored energy", "Energy in batteries.", "swarm_stored_energy_joules", "joule"),
        by_kind(
            "Emissions so far",
            "Carbon dioxide; of imports under the kind `outside`.",
            "swarm_emissions_grams_total",
            "massg",
        ),
        row("Money"),
        by_kind(
            "Received so far",
            "Paid to agents since the start in the scenario's currency; negative where they pay.",
            "swarm_received_currency",
            stacked=False,
        ),
        by_kind(
            "Cost so far",
            "True cost of agents since the start in the scenario's currency.",
            "swarm_cost_currency",
            stacked=False,
        ),
    ]


def learning() -> list[Json]:
    """What a run with --learn tells."""

    def by_kind(title: str, description: str, query: str, unit: str = "short") -> Json:
        return series(title, description, (query, "{{kind}}"), unit)

    return [
        by_kind(
            "Lessons per minute",
            "Times that agents learned in a minute of wall-clock time.",
            "60 * sum by (kind) (rate(swarm_lessons_total[1m]))",
        ),
        by_kind("Reward", "Mean reward of the last lesson.", "swarm_reward"),
        by_kind("Loss", "Mean loss of the last lesson.", "swarm_loss"),
        by_kind("Replay", "Transitions held to learn from.", "swarm_replay_transitions"),
        by_kind("Lessons so far", "Times that agents learned.", "swarm_lessons_total"),
        series(
            "Time to learn",
            "Mean wall-clock time of the learning phase of a tick.",
            (
                'rate(swarm_phase_seconds_sum{phase="learn"}[1m])'
                ' / rate(swarm_phase_seconds_count{phase="learn"}[1m])',
                "learn",
            ),
            "s",
        ),
    ]
