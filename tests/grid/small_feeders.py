"""A feeder small enough for closed forms."""

from __future__ import annotations

import numpy as np

from swarm.grid.feeders import FeederTable


def two_bus(r: float = 0.4, x: float = 0.3, kv: float = 0.4) -> FeederTable:
    """One line of 0.4 kV from the source `s` to the end `e`."""
    return FeederTable(
        name="two",
        nominal_kv=kv,
        source_bus="s",
        buses=("s", "e"),
        line_from=("s",),
        line_to=("e",),
        resistance_ohm=np.array([r]),
        reactance_ohm=np.array([x]),
        capacitance_f=np.zeros(1),
        rating_a=np.array([100.0]),
        load_w=np.zeros(2),
        load_var=np.zeros(2),
    )
