"""Figures that more than one dashboard begins with."""

from __future__ import annotations

from panels import BAD, GOOD, Json, stat
from promql import IN_BAND, NONE, ONE_IS_BAD, PER_MWH


def price() -> Json:
    """The last price of energy."""
    return stat(
        "Price",
        "Last price of energy.",
        ('swarm_price_per_mwh{market="energy"}', ""),
        PER_MWH,
        decimals=2,
    )


def steadiness() -> list[Json]:
    """Frequency, its band, and whether an emergency lasts."""
    return [
        stat(
            "Frequency",
            "Frequency at the end of the last tick.",
            ("swarm_frequency_hertz", ""),
            "hertz",
            decimals=3,
        ),
        stat(
            "Frequency band",
            "Whether all of the last tick was within 0.1 Hz of nominal.",
            (IN_BAND, ""),
            mapping={0: ("OUT OF BAND", BAD), 1: ("in band", GOOD)},
        ),
        stat(
            "Emergency",
            "Whether an emergency lasts.",
            ("swarm_emergency_active", ""),
            mapping={0: ("none", GOOD), 1: ("EMERGENCY", BAD)},
        ),
    ]


def unserved() -> Json:
    """Energy that was not served."""
    return stat(
        "Unserved energy",
        "Load that got no energy since the start.",
        ("swarm_unserved_energy_joules_total", ""),
        "joule",
        steps=ONE_IS_BAD,
        mapping=NONE,
    )
