"""Volt-var and volt-watt curves at the points of IEEE Std 1547-2018, and the inverter's limits."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.grid.inverter import Inverters, operating_point, volt_var, volt_watt

NO_BOUND = np.array([np.inf])


def one(rated: float = 10.0, power: float = 0.0, generation: float | None = None) -> Inverters:
    given = power if generation is None else generation
    return Inverters(np.array([0]), np.array([rated]), np.array([power]), np.array([given]))


def at(voltage: float, inverter: Inverters) -> tuple[float, float]:
    active, reactive = operating_point(inverter, np.array([voltage]), NO_BOUND)
    return float(active[0]), float(reactive[0])


@pytest.mark.parametrize(
    ("voltage", "share"),
    [
        *[(0.8, 0.44), (0.92, 0.44), (0.95, 0.22), (0.98, 0)],
        *[(1, 0), (1.02, 0), (1.05, -0.22), (1.08, -0.44), (1.2, -0.44)],
    ],
)
def test_volt_var_of_category_b(voltage: float, share: float) -> None:
    assert volt_var(np.array([voltage]))[0] == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(
    ("voltage", "share"), [(0.9, 1), (1.06, 1), (1.08, 0.6), (1.10, 0.2), (1.2, 0.2)]
)
def test_volt_watt_of_category_b(voltage: float, share: float) -> None:
    assert volt_watt(np.array([voltage]))[0] == pytest.approx(share, abs=1e-12)


def test_generation_makes_room_for_reactive_power() -> None:
    # 0.44^2 + 0.898^2 = 1: IEEE 1547 sizes inverters by this triangle.
    active, reactive = at(0.9, one(10.0, 10.0))
    assert reactive == pytest.approx(4.4)
    assert active == pytest.approx(8.97997, abs=1e-5)
    assert np.hypot(active, reactive) == pytest.approx(10.0)


def test_what_cannot_be_curtailed_keeps_its_power() -> None:
    active, reactive = at(0.9, one(10.0, 9.9, generation=0.0))
    assert active == 9.9
    assert np.hypot(active, reactive) == pytest.approx(10.0)
    # Charging at full power leaves no room either.
    assert at(0.9, one(10.0, -10.0, generation=0.0)) == (-10.0, 0.0)


def test_no_more_than_the_generation_is_curtailed() -> None:
    assert at(1.2, one(10.0, 9.0, generation=3.0))[0] == 6.0
    assert at(1.2, one(10.0, 9.0, generation=9.0))[0] == 2.0
    assert at(1.2, one(10.0, 1.5))[0] == 1.5


def test_a_bound_counts_where_it_is_tighter() -> None:
    inverter = one(10.0, 8.0)
    assert operating_point(inverter, np.array([1.0]), np.array([3.0]))[0] == 3.0
    assert operating_point(inverter, np.array([1.1]), np.array([3.0]))[0] == 2.0


@pytest.mark.parametrize("field", ["rated_va", "power_w", "generation_w"])
@pytest.mark.parametrize("bad", [np.array([np.nan]), np.array([1.0, 2.0])])
def test_bad_input_is_named(field: str, bad: np.ndarray) -> None:
    values = {"rated_va": np.ones(1), "power_w": np.ones(1), "generation_w": np.ones(1), field: bad}
    with pytest.raises(ValueError, match=f"{field}: expected"):
        Inverters(bus=np.array([0]), **values)


def test_bad_ranges_are_named() -> None:
    with pytest.raises(ValueError, match=r"rated_va: expected more than 0, got 0\.0"):
        one(rated=0.0)
    with pytest.raises(ValueError, match=r"generation_w: expected 0 or more, got -1\.0"):
        one(generation=-1.0)
    with pytest.raises(ValueError, match="bus: expected one row of integers"):
        Inverters(np.array([0.0]), np.ones(1), np.ones(1), np.ones(1))
