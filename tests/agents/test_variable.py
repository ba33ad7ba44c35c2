"""Solar and wind: the weather gives, the semi-dispatch cap takes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.agents.effects import Effect

from .helpers import FLOOR, Bench, shard, signal

shares = st.floats(0, 1)
KINDS = ("solar", "wind")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100)
@given(
    capacity=st.sampled_from([0.0, 0.05, 10.0, 700.0]),
    forecast=st.floats(-0.1, 1.2),
    actual=st.floats(-0.1, 1.2),
    accepted_share=st.one_of(st.just(1.0), shares),
    failed=st.booleans(),
)
def test_runs_with_the_weather_or_under_its_cap(
    kind: str, capacity: float, forecast: float, actual: float, accepted_share: float, failed: bool
) -> None:
    bench = Bench(kind, [{"capacity_mw": capacity}])
    _, quantity = bench.offer([-1.0], bench.view({"availability": forecast}))
    offered = int(quantity[0, 0])
    assert offered == pytest.approx(capacity * min(max(forecast, 0), 1) * 1e6, abs=1)
    accepted = int(offered * accepted_share)
    m = bench.deliver(accepted, {"availability": actual}, failed=failed)
    available = 0 if failed else int(capacity * min(max(actual, 0), 1) * 1e6 + 1e-6)
    whole = accepted == offered and offered > 0
    expected = available if whole else min(available, accepted)
    assert m.available_w[0] == available
    assert m.generation_w[0] == m.delivered_w[0] == expected
    assert m.generation_w[0] + m.curtailed_w[0] == available
    assert m.cost_micro[0] == m.emissions_g[0] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_offers_at_or_below_zero(kind: str) -> None:
    bench = Bench(kind, [{"offer_price_per_mwh": -30}, {}])
    view = bench.view(uniforms=np.array([[0.25, 0, 0, 0], [0.75, 0, 0, 0]]))
    assert bench.kind.heuristic(bench.p, bench.s, view).tolist() == [[-30], [0]]
    drawn = bench.kind.random(bench.p, bench.s, view)
    assert drawn.tolist() == [[FLOOR * 0.25], [FLOOR * 0.75]]
    price, _ = bench.offer([[500.0], [-7.0]])
    assert price.tolist() == [[0.0], [-7.0]]


@pytest.mark.parametrize("kind", KINDS)
def test_maintenance_offers_nothing_and_stands_still_without_counting_as_curtailed(
    kind: str,
) -> None:
    event = Effect("maintenance", 1, 2, (0,))
    plants = shard(kind, [{"capacity_mw": 10}] * 2, effects=(event,), forecast="perfect")
    none = np.zeros(0, dtype=np.int64)
    first = plants.step(signal(0), none, none)
    assert first.orders.agent.tolist() == [0, 1]
    second = plants.step(signal(1), first.orders.quantity, none)
    assert second.orders.agent.tolist() == [1]
    third = plants.step(signal(2), second.orders.quantity, none)
    assert third.meters is not None
    assert third.meters.generation_w.tolist() == [0, 10_000_000]
    assert third.meters.curtailed_w.tolist() == [0, 0]


def test_a_cloud_front_dims_the_sun_and_not_the_wind() -> None:
    event = Effect("sun", 0, 1, None, 0.25)
    for kind, expected in (("solar", 2_500_000), ("wind", 10_000_000)):
        plant = shard(kind, [{"capacity_mw": 10}], effects=(event,), forecast="perfect")
        none = np.zeros(0, dtype=np.int64)
        assert plant.step(signal(0), none, none).orders.quantity.tolist() == [expected]
