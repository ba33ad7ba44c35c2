"""Homes: sun, load and battery add up behind one meter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents.effects import Effect

from .helpers import CAP, Bench, shard, signal

shares = st.floats(0, 1)
homes = st.fixed_dictionaries(
    {
        "load_mw": st.sampled_from([0.0, 0.003, 2.0]),
        "solar_mw": st.sampled_from([0.0, 0.005, 2.0]),
        "energy_mwh": st.sampled_from([0.0, 0.01, 3.0]),
        "self_discharge_per_hour": st.sampled_from([0.0, 0.02]),
        "degradation_cost_per_mwh": st.just(40.0),
    }
)
tick = st.tuples(shares, shares, shares, shares, st.tuples(shares, shares, shares, shares))


@settings(max_examples=100)
@given(asset=homes, ticks=st.lists(tick, min_size=1, max_size=15), failed=st.booleans())
def test_the_meter_is_the_sum_of_its_parts(
    asset: dict[str, Any], ticks: list[Any], failed: bool
) -> None:
    bench = Bench("home", [asset])
    for load_seen, sun_seen, load, sun, taken in ticks:
        view = bench.view({"load": load_seen, "availability": sun_seen})
        price, quantity = bench.offer([1, 20, 1, 60], view)
        net = asset["load_mw"] * load_seen - asset["solar_mw"] * sun_seen
        assert quantity[0, 0] == pytest.approx(max(net, 0) * 1e6, abs=1)
        assert quantity[0, 1] == pytest.approx(max(-net, 0) * 1e6, abs=1)
        assert price[0].tolist() == [CAP, 0, 20, 60]

        whole = np.array([t > 0.3 for t in taken])
        accepted = np.where(whole, quantity, np.floor(quantity * taken)).astype(np.int64)
        accepted[0, 2 if taken[2] < taken[3] else 3] = 0
        before = float(bench.s.stored_mwh[0])
        m = bench.deliver(accepted, {"load": load, "availability": sun}, failed=failed)

        wanted = int(asset["load_mw"] * load * 1e6 + 1e-6)
        available = 0 if failed else int(asset["solar_mw"] * sun * 1e6 + 1e-6)
        bought, sold = int(accepted[0, 0]), int(accepted[0, 1])
        served = min(wanted, available + bought) if bought < quantity[0, 0] else wanted
        used = min(available, served + sold) if sold < quantity[0, 1] else available
        battery = 0 if failed else int(accepted[0, 3] - accepted[0, 2])
        assert (m.load_w[0], m.generation_w[0], m.battery_w[0]) == (served, used, battery)
        assert m.delivered_w[0] == used - served + battery
        assert m.unserved_w[0] == wanted - served
        assert m.curtailed_w[0] + m.generation_w[0] == m.available_w[0] == available
        energy = battery / 1e6 * bench.hours
        eta = 0.9**0.5
        kept = before * (1 - asset["self_discharge_per_hour"]) ** bench.hours
        expected = kept - (energy * eta if energy < 0 else energy / eta)
        assert m.stored_mwh[0] == pytest.approx(expected, abs=1e-9)
        assert m.cost_micro[0] == pytest.approx(max(energy, 0) * 40e6, abs=0.51)


def test_maintenance_rests_sun_and_battery_but_not_the_load() -> None:
    event = Effect("maintenance", 0, 1, (0,))
    house = shard("home", [{"load_mw": 0.003, "solar_mw": 0.005}], effects=(event,))
    none = np.zeros(0, dtype=np.int64)
    first = house.step(signal(0), none, none)
    assert list(zip(first.orders.side, first.orders.quantity, strict=True)) == [(-1, 3000)]
    meters = house.step(signal(1), first.orders.quantity, none).meters
    assert meters is not None
    assert meters.delivered_w.tolist() == [-3000]
    assert meters.generation_w.tolist() == meters.available_w.tolist() == [0]


def test_a_load_step_multiplies_the_load() -> None:
    event = Effect("load", 1, 2, (0,), 3.0)
    house = shard("home", [{"solar_mw": 0}] * 2, effects=(event,), forecast="perfect")
    none = np.zeros(0, dtype=np.int64)
    first = house.step(signal(0), none, none)
    second = house.step(signal(1), first.orders.quantity, none)
    assert first.orders.quantity[first.orders.price == 3_000_000].tolist() == [3000, 3000]
    assert second.orders.quantity[second.orders.price == 3_000_000].tolist() == [9000, 3000]
