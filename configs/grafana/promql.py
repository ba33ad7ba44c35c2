"""Queries that more than one dashboard asks."""

from __future__ import annotations

from panels import BAD, GOOD, Json, series

BAND_HERTZ = 0.1
"""Half the normal band around nominal frequency, as `swarm_frequency_in_band_ratio` counts it."""
IN_BAND = (
    f"(swarm_frequency_min_hertz >= bool swarm_frequency_nominal_hertz - {BAND_HERTZ})"
    f" * (swarm_frequency_max_hertz <= bool swarm_frequency_nominal_hertz + {BAND_HERTZ})"
)
EMERGENCY = "swarm_emergency_active > 0"
PER_MWH = "suffix: /MWh"
NONE = {0: ("none", GOOD)}
ONE_IS_BAD = ((1, BAD),)


def mean(name: str, by: str = "") -> str:
    """PromQL of the mean of a histogram over the last minute."""
    group = f"sum by ({by}) " if by else "sum"
    return f"{group}(rate({name}_sum[1m])) / {group}(rate({name}_count[1m]))"


def quantile(share: float, name: str, *, so_far: bool = False) -> str:
    """PromQL of a quantile of a histogram, over the last minute or the whole run."""
    counts = f"{name}_bucket" if so_far else f"rate({name}_bucket[1m])"
    return f"histogram_quantile({share}, sum by (le) ({counts}))"


def frequency(w: int, h: int = 8) -> Json:
    """Frequency with its band."""
    nominal = "swarm_frequency_nominal_hertz"
    return series(
        "Frequency and its band",
        "Frequency at the end of each tick and the extremes within it, against nominal and 0.1 Hz "
        "around it.",
        [
            ("swarm_frequency_hertz", "end of tick"),
            ("swarm_frequency_min_hertz", "lowest"),
            ("swarm_frequency_max_hertz", "highest"),
            (nominal, "nominal"),
            (f"{nominal} - {BAND_HERTZ}", "band, low end"),
            (f"{nominal} + {BAND_HERTZ}", "band, high end"),
        ],
        "hertz",
        w=w,
        h=h,
    )
