"""The energy books of an interval with physics: every watt once, exactly."""

from __future__ import annotations

import numpy as np

from swarm.grid.balance import Balance
from swarm.grid.devices import BATTERY_KINDS, Devices
from swarm.grid.physics import Happened
from swarm.messages import Meters

BAND_PU = 0.05 + 1e-9
"""Voltage within 5 % of nominal counts as in band, its edges too."""


def balance_of(
    tick: int, happened: Happened, meters: Meters, devices: Devices, condenser_kws: int
) -> Balance:
    """The balance of `tick` from what was metered and what responded.

    A battery's response is battery power, a consumer's is load not drawn, a plant's is generation.
    """
    response, frequency = happened.response, happened.frequency
    activated = response.activated_w
    batteries, consumers = devices.of(BATTERY_KINDS), devices.of(("consumer",))
    battery = meters.battery_w + np.where(batteries, activated, 0)
    put_off = int(activated[consumers].sum())
    of_plants = int(activated[~(batteries | consumers)].sum())
    held_back, shed = int(response.held_back_w.sum()), int(response.shed_w.sum())
    volts = np.zeros(0) if happened.voltages is None else happened.voltages.voltage_pu
    return Balance(
        tick=tick,
        generation_w=int(meters.generation_w.sum()) + of_plants - held_back + happened.inertial_w,
        discharge_w=int(np.maximum(battery, 0).sum()),
        load_w=int(meters.load_w.sum()) - put_off - happened.damping_w,
        charge_w=int(np.maximum(-battery, 0).sum()),
        import_w=max(0, happened.flow_w),
        export_w=max(0, -happened.flow_w),
        shed_w=shed + happened.unshed_w,
        spilled_w=happened.spilled_w,
        unserved_w=int(meters.unserved_w.sum()) + shed + happened.unshed_w,
        curtailed_w=int(meters.curtailed_w.sum()) + held_back,
        inertia_kws=int(meters.inertia_kws.sum()) + condenser_kws,
        losses_w=happened.losses_w,
        imbalance_w=happened.imbalance_w,
        activated_up_w=int(np.maximum(activated, 0).sum()),
        activated_down_w=int(np.maximum(-activated, 0).sum()),
        held_back_w=held_back,
        inertial_w=happened.inertial_w,
        damping_w=happened.damping_w,
        reserve_held_w=happened.held_w,
        connected=happened.connected,
        frequency_min_hz=frequency.minimum_hz,
        frequency_max_hz=frequency.maximum_hz,
        frequency_mean_hz=frequency.mean_hz,
        frequency_end_hz=frequency.end_hz,
        steepest_hz_per_s=frequency.steepest_hz_per_s,
        outside_100_mhz_s=float(frequency.seconds_outside[0]),
        outside_200_mhz_s=float(frequency.seconds_outside[1]),
        settled_s=frequency.settled_s,
        secondary_w=round(frequency.secondary_w),
        voltage_min_pu=float(volts.min(initial=np.inf)) if len(volts) else np.nan,
        voltage_max_pu=float(volts.max(initial=-np.inf)) if len(volts) else np.nan,
        buses=len(volts),
        buses_in_band=int((np.abs(volts - 1.0) <= BAND_PU).sum()),
        feeder_converged=happened.feeder_converged,
    )
