"""Frequency, voltage, reserve, emergencies, energy not served."""

from __future__ import annotations

from common import steadiness, unserved
from panels import BAD, GOOD, WARNING, Json, row, series, stat
from promql import NONE, frequency, quantile

VOLTAGE_BAND = ((0.95, "transparent"), (1.05, WARNING))
"""5 % around nominal, as `swarm_voltage_in_band_ratio` counts it."""


def stats() -> list[Json]:
    """The figures at the top."""
    return [
        *steadiness(),
        stat(
            "Emergencies",
            "Emergencies detected since the start.",
            ("swarm_emergencies_total", ""),
            steps=((1, WARNING),),
            mapping=NONE,
        ),
        unserved(),
        stat(
            "Lowest voltage",
            "Lowest voltage of the last tick, as a share of nominal; 95 % is the end of the band.",
            ("swarm_voltage_min_ratio", ""),
            "percentunit",
            steps=((0.0, BAD), (0.95, GOOD)),
            decimals=1,
        ),
    ]


def physics() -> list[Json]:
    """Frequency and voltage over time."""
    return [
        row("Frequency"),
        frequency(16),
        series(
            "Outside the band",
            "Simulated seconds outside 0.1 Hz of nominal since the start.",
            ("swarm_frequency_outside_band_seconds_total", "outside"),
            "s",
            w=8,
        ),
        row("Feeder"),
        series(
            "Voltage",
            "Extremes of the last tick as a share of nominal, with the lines of 5 % around it.",
            [("swarm_voltage_min_ratio", "lowest"), ("swarm_voltage_max_ratio", "highest")],
            "percentunit",
            base=WARNING,
            steps=VOLTAGE_BAND,
        ),
        series(
            "Buses within 5 %",
            "Share of buses within 5 % of nominal voltage in the last tick.",
            ("swarm_voltage_in_band_ratio", "in band"),
            "percentunit",
        ),
        series(
            "Exchange with outside",
            "Flow in from outside and out to it.",
            [("swarm_import_watts", "in"), ("swarm_export_watts", "out")],
            "watt",
        ),
        series("Losses", "Lost on the feeder.", ("swarm_losses_watts", "losses"), "watt"),
    ]


def answers() -> list[Json]:
    """Reserve and emergencies over time."""
    return [
        row("Reserve and emergencies"),
        series(
            "Reserve",
            "What was asked for and bought by product, and what was there.",
            [
                ("swarm_reserve_asked_watts", "{{market}}, asked"),
                ("swarm_reserve_bought_watts", "{{market}}, bought"),
                ("swarm_reserve_held_watts", "held, all products"),
            ],
            "watt",
        ),
        series(
            "Response of agents",
            "Power that agents gave or took to hold frequency in the last tick.",
            ("swarm_activated_watts", "{{direction}}"),
            "watt",
        ),
        series(
            "Response in an emergency, simulated",
            "Simulated time from detection to the first response of storage, since the start.",
            [
                (quantile(0.5, "swarm_emergency_response_seconds", so_far=True), "median"),
                (
                    quantile(0.95, "swarm_emergency_response_seconds", so_far=True),
                    "95th percentile",
                ),
            ],
            "s",
        ),
        series(
            "Emergency call, wall clock",
            "Wall-clock time until all agents acknowledged an emergency call, since the start.",
            [
                (quantile(0.5, "swarm_emergency_call_seconds", so_far=True), "median"),
                (quantile(0.95, "swarm_emergency_call_seconds", so_far=True), "95th percentile"),
            ],
            "s",
        ),
    ]


def energy() -> list[Json]:
    """Energy since the start."""
    return [
        row("Energy since the start"),
        series(
            "Not served and cut off",
            "Load that got no energy, and the part of it that was cut off.",
            [
                ("swarm_unserved_energy_joules_total", "not served"),
                ("swarm_shed_energy_joules_total", "cut off"),
            ],
            "joule",
            w=8,
        ),
        series(
            "Curtailed",
            "Weather-driven energy that was not used.",
            ("swarm_curtailed_energy_joules_total", "curtailed"),
            "joule",
            w=8,
        ),
        series(
            "Renewable share",
            "Share of renewable energy in generation and imports.",
            ("swarm_renewable_ratio", "renewable"),
            "percentunit",
            w=8,
        ),
    ]


def grid() -> list[Json]:
    """All of it."""
    return [*stats(), *physics(), *answers(), *energy()]
