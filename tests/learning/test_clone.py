"""Hindsight learning against answers by hand, the optimum of the program, and small choices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swarm.agents import battery
from swarm.agents.experience import Experience
from swarm.agents.observation import BLOCKS
from swarm.errors import UsageError
from swarm.learning import clone, gaussian, networks
from swarm.learning.optimum import optimum
from tests.agents.helpers import roster

PLAIN: dict[str, Any] = {
    "energy_mwh": 2,
    "power_mw": 1,
    "charge_efficiency": 1,
    "discharge_efficiency": 1,
    "self_discharge_per_hour": 0,
    "degradation_cost_per_mwh": 0,
    "min_state_of_charge": 0,
    "max_state_of_charge": 1,
    "initial_state_of_charge": 0.5,
}
LOSSY = {"charge_efficiency": 0.8, "discharge_efficiency": 0.9, "degradation_cost_per_mwh": 5}


def cells(*given: dict[str, Any]) -> battery.Battery:
    """A battery for each dict."""
    return battery.build(roster("storage", [{**PLAIN, **each} for each in given]))


def everywhere(ticks: int, n: int) -> np.ndarray:
    """Always possible."""
    return np.ones((ticks, n), dtype=np.bool_)


def worths(p: battery.Battery, price: np.ndarray, end: np.ndarray, hours: float) -> np.ndarray:
    """Without limit prices."""
    free = everywhere(len(price), len(p.power_mw))
    return clone.worths(p, price, hours, end, free, free)


@pytest.mark.parametrize("seed", range(4))
def test_value_at_the_start_is_the_optimum(seed: int) -> None:
    # Half of the range in a tick, without loss: the best plan is on the levels.
    price = np.random.default_rng(seed).normal(50, 40, 30)
    p = cells({})
    found = worths(p, price, np.array([20.0]), 1.0)
    best = optimum(p, 0, price, 1.0, end_value_per_mwh=20.0).profit
    assert found[0, 0, 20] - 20.0 * 1.0 == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_value_is_close_below_the_optimum_with_losses(seed: int) -> None:
    price = np.random.default_rng(seed).normal(50, 40, 96)
    p = cells(LOSSY)
    found = worths(p, price, np.array([0.0]), 0.25)[0, 0, 20]
    best = optimum(p, 0, price, 0.25).profit
    assert 0.97 * best <= found <= best + 1e-6


def test_gains_by_hand() -> None:
    p = cells(LOSSY, LOSSY)
    # A stored MWh is worth 100 after the tick.
    after = 100.0 * np.linspace(0, 2, clone.LEVELS)[None].repeat(2, axis=0)
    yes, mixed = np.array([True, True]), np.array([True, False])
    stored = np.array([1.0, 1.0])
    found = clone.gains(p, after, 30.0, stored, 0.5, yes, mixed)
    # Half a MWh bought for 15 stores 0.4 worth 40; sold it takes 0.5556 worth 55.56 and brings
    # 12.50 after wear; the second may not sell.
    assert found == pytest.approx(np.array([[25.0, 25.0], [12.5 - 50 / 0.9, 0.0]]))
    full = clone.gains(p, after, 30.0, np.array([2.0, 1.9]), 0.5, yes, yes)
    # The second has room for 0.1 MWh, which takes 0.125 at the meter.
    assert full[0] == pytest.approx([0.0, 10.0 - 30 * 0.125])


def test_what_is_lost_by_each_choice_adds_up_to_the_distance_from_the_optimum() -> None:
    # The performance difference of any plan (Kakade, Langford, ICML 2002).
    draw = np.random.default_rng(3)
    price, p = draw.normal(50, 40, 40), cells({}, {"power_mw": 0.5})
    value = worths(p, price, np.array([10.0, 10.0]), 1.0)
    yes, stored, money, lost = everywhere(1, 2)[0], p.initial_mwh.copy(), 0.0, 0.0
    for tick, now in enumerate(price):
        gain = clone.gains(p, value[tick + 1], now, stored, 1.0, yes, yes)
        chosen = draw.integers(-1, 2, 2)
        reached = np.where(chosen < 0, gain[0], np.where(chosen > 0, gain[1], 0.0))
        lost += float((np.maximum(gain.max(axis=0), 0.0) - reached).sum())
        ran, stored = battery.run(p, stored, (chosen * p.power_mw * 1e6).astype(np.int64), 1.0)
        money += float((ran / 1e6 * now).sum())
    assert money + 10.0 * stored.sum() + lost == pytest.approx(value[0, :, 20].sum(), abs=1e-3)


def lived(charge: list[float]) -> Experience:
    """Of one battery whose charge, -1 to 1, was this."""
    at = [block.name for block in BLOCKS["storage"] for _ in range(block.size)].index("charge")
    seen = np.zeros((len(charge), 1, 48), dtype=np.float32)
    seen[:, 0, at] = charge
    nothing = np.zeros((len(charge), 1), dtype=np.float32)
    return Experience(
        np.arange(len(charge)), np.arange(1), seen, nothing[..., None], nothing, nothing, seen
    )


def test_a_lesson_buys_before_the_dear_hour_within_the_limit_prices() -> None:
    price = [40.0, 40.0, 10.0, 90.0, 40.0]
    _, gain = clone.lesson(lived([-1, -1, -1, 0, -1]), cells({}), price, 1.0)
    spread = np.quantile(price, 0.9) - np.quantile(price, 0.1)
    # No price is known before the first tick.
    assert gain[0].tolist() == [[0.0, 0.0]]
    # A MWh bought at 10 is sold at 90.
    assert gain[2, 0] * spread == pytest.approx([80.0, 0.0], rel=1e-5)
    # Above its limit price, the median of 40, it may not buy. Sold, a MWh brings 90 and not the 40,
    # the median of all prices, that it would be worth at the end.
    assert gain[3, 0] * spread == pytest.approx([0.0, 50.0], rel=1e-5)


def test_a_lesson_refuses_other_batteries_and_fewer_prices() -> None:
    with pytest.raises(UsageError, match="2 batteries; expected 3 prices or more and 1 batteries"):
        clone.lesson(lived([0, 0, 0]), cells({}, {}), [1.0, 2.0, 3.0], 1.0)
    with pytest.raises(UsageError, match=r"shape \(2,\)"):
        clone.lesson(lived([0, 0, 0]), cells({}), [1.0, 2.0], 1.0)


QUICK = clone.Settings(batch=64, steps=50, every=1, average=0.8, learning_rate=0.005)


def power(learner: clone.Learner, x: np.ndarray) -> np.ndarray:
    """What the policy does."""
    return gaussian.act(networks.STORAGE_ACTOR, learner.weights(), x).action[:, 0]


def choices(gain: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two situations, -1 and 1 in the first input, 256 times each with gains (2, 2)."""
    x = np.zeros((256, 2, 48), dtype=np.float32)
    x[:, 0, 0], x[:, 1, 0] = -1, 1
    return x, np.broadcast_to(gain, (256, 2, 2)).astype(np.float32)


def test_learns_to_charge_and_to_discharge_where_that_pays() -> None:
    learner = clone.Learner(QUICK, seed=1)
    x, gain = choices(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    learner.observe(x, gain)
    assert learner.update() < learner.update()
    cheap, dear = power(learner, x[0])
    assert cheap < -0.95
    assert dear > 0.95


def test_weighs_what_cannot_be_foreseen_by_its_worth() -> None:
    learner = clone.Learner(QUICK, seed=2)
    x, gain = choices(np.array([[-1.0, -1.0], [-1.0, -1.0]]))
    gain = gain.copy()
    # Charging pays in one of four cases: 2 there is too little, 5 is enough.
    gain[::4, 0, 0], gain[::4, 1, 0] = 2.0, 5.0
    learner.observe(x, gain)
    for _ in range(3):
        learner.update()
    too_little, enough = power(learner, x[0])
    assert abs(too_little) < 0.1
    assert enough < -0.95


def test_goes_on_from_its_state_to_the_same_bytes() -> None:
    one, other = (clone.Learner(QUICK, seed=3) for _ in range(2))
    x, gain = choices(np.array([[1.0, -1.0], [-1.0, 1.0]]))
    one.observe(x, gain)
    one.update()
    other.load(one.state())
    assert one.update() == other.update()
    for name, array in one.weights().items():
        assert array.tobytes() == other.weights()[name].tobytes()


def test_adopts_weights_and_refuses_others() -> None:
    one, other = clone.Learner(QUICK, seed=4), clone.Learner(QUICK, seed=5)
    other.adopt(one.weights())
    x = np.random.default_rng(0).uniform(-1, 1, (5, 48)).astype(np.float32)
    assert power(other, x).tobytes() == power(one, x).tobytes()
    with pytest.raises(UsageError, match="layer0"):
        other.adopt({"bias": np.zeros(3, dtype=np.float32)})


def test_update_needs_a_lesson() -> None:
    with pytest.raises(UsageError, match="empty"):
        clone.Learner(QUICK, seed=6).update()
