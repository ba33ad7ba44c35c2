"""What the rules of policies need to know of the devices of a shard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from swarm.messages import Float


@dataclass(frozen=True)
class Device:
    """n devices before a tick, float64 (n,) each; NaN where there is no such thing.

    The last interval is as it is known now: with what the operator drew in it once the kind's
    `respond` was told, without it before.

    Attributes:
        previous_w: generation and battery in the last interval, injection positive; of a home its
            battery alone. 0 before the first.
        stored_mwh: energy in the battery at the end of the tick if it rests.
        capacity_mwh: size of the battery.
        charge_efficiency: of the way in.
        discharge_efficiency: of the way out.
        discharged_mwh: energy taken out of the battery in the last interval.
        emissions_g_per_mwh: the most a MWh of generation can emit.
        emitted_g: in the last interval.
    """

    previous_w: Float
    stored_mwh: Float
    capacity_mwh: Float
    charge_efficiency: Float
    discharge_efficiency: Float
    discharged_mwh: Float
    emissions_g_per_mwh: Float
    emitted_g: Float


def no_device(agents: int) -> dict[str, Float]:
    """Columns of `Device` for `agents` that have none of it; fill in and pass to `Device`."""
    return {name: np.full(agents, np.nan) for name in Device.__dataclass_fields__}
