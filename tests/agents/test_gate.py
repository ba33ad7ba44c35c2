"""The gate of a shard: declared policies against batteries, plants and loads run by hand."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from swarm.agents.gate import CHECKS, Gate, gate_of
from swarm.agents.kinds import KINDS
from swarm.agents.reserve import ReserveShape
from swarm.messages import Response
from swarm.scenario.policies import Policies
from swarm.trust.records import POWER, PRICE, Violations
from swarm.trust.rules import RULES
from tests.agents.helpers import Bench, roster

FIRST = 70
LOSSLESS = {"energy_mwh": 10, "power_mw": 60, "round_trip_efficiency": 1.0}
MW = 1_000_000


class Gated(Bench):
    """A bench with a gate; every agent is of its own fleet, `f0`, `f1`, and so on."""

    def __init__(
        self, kind: str, assets: list[dict[str, Any]], *policies: dict[str, Any], **given: Any
    ) -> None:
        super().__init__(kind, assets, **given)
        made = replace(roster(kind, assets, FIRST), fleets=tuple(f"f{i}" for i in range(self.n)))
        by_fleet = {f"f{i}": Policies.model_validate(p) for i, p in enumerate(policies)}
        gate = gate_of(self.kind, self.p, made, by_fleet, self.tick_minutes)
        assert gate is not None
        self.gate: Gate = gate

    def sent(self, quantity: Any, price: Any = 0) -> tuple[list[Any], Violations | None]:
        """Quantities let through of orders; they stay as offered."""
        shape = (self.n, len(self.kind.SIDES))
        self.quantity = np.broadcast_to(np.int64(quantity), shape).copy()
        milli = np.broadcast_to(np.int64(price), shape).copy()
        args = self.s, self.tick, self.hour_of_day, milli, self.quantity
        _, allowed, violations = self.gate.offers(*args)
        return allowed.tolist(), violations

    def run(self, accepted: Any) -> tuple[list[Any], Violations | None]:
        """What is dispatched of what was accepted; the interval is run on it."""
        given = np.broadcast_to(np.int64(accepted), self.quantity.shape).copy()
        allowed, found = self.gate.dispatch(self.s, self.tick, self.hour_of_day, given)
        self.deliver(allowed)
        return allowed.tolist(), found


def test_no_policy_is_no_gate() -> None:
    storages = roster("storage", [{}, {}])
    kind = KINDS["storage"]
    for policies in ({}, {"storage": Policies()}, {"others": Policies(max_charge_mw=1)}):
        assert gate_of(kind, kind.build(storages), storages, policies, 5) is None


def test_each_fleet_has_its_own_limits_in_its_own_mode() -> None:
    """Discharge of 9 MW under 2.5 MW: clipped, refused, counted and free."""
    of = Gated(
        "storage",
        [LOSSLESS] * 4,
        {"max_discharge_mw": 2.5},
        {"max_discharge_mw": {"limit": 2.5, "on_violation": "refuse"}},
        {"max_discharge_mw": {"limit": 2.5, "on_violation": "count"}},
    )
    allowed, found = of.sent([1 * MW, 9 * MW])
    assert allowed == [[MW, 2_500_000], [MW, 0], [MW, 9 * MW], [MW, 9 * MW]]
    assert found is not None
    assert (found.tick, found.stage, found.rules) == (0, "offer", tuple(RULES))
    assert found.agent.tolist() == [FIRST, FIRST + 1, FIRST + 2]
    assert found.allowed.tolist() == [2_500_000, 0, 9 * MW]
    assert of.sent([1 * MW, 2 * MW])[1] is None


def test_units_of_every_rule() -> None:
    """Limits that bind alone, on the grid of watts and milli-currency."""
    half = {**LOSSLESS, "initial_state_of_charge": 0.5}  # 5 of 10 MWh; 12 MW for 5 minutes is 1
    cases = [
        ("max_discharge_mw", [0, 3 * MW]),
        ("max_charge_mw", [3 * MW, 0]),
        ("max_ramp_up_mw_per_minute", [0, 15 * MW]),
        ("max_ramp_down_mw_per_minute", [15 * MW, 0]),
        ("max_quantity_mw", [3 * MW, 3 * MW]),
    ]
    for name, expected in cases:
        of = Gated("storage", [half], {name: 3})
        asked = [59 * MW if one else 0 for one in expected]
        assert of.sent(asked)[0] == [expected], name
    floor = Gated("storage", [half], {"min_state_of_charge": 0.4})
    assert floor.sent([0, 59 * MW])[0] == [[0, pytest.approx(12 * MW, abs=1)]]
    ceiling = Gated("storage", [half], {"max_state_of_charge": 0.7})
    assert ceiling.sent([59 * MW, 0])[0] == [[pytest.approx(24 * MW, abs=1), 0]]
    cycles = Gated("storage", [half], {"max_cycles_per_day": 0.3})
    assert cycles.sent([0, 59 * MW])[0] == [[0, pytest.approx(36 * MW, abs=1)]]
    small = Gated("storage", [half], {"min_quantity_mw": 3})
    assert small.sent([2 * MW, 3 * MW])[0] == [[0, 3 * MW]]


def test_prices_are_bound_in_currency_per_mwh() -> None:
    of = Gated("storage", [{}], {"min_price_per_mwh": 19.99, "max_price_per_mwh": 80})
    price = np.array([[10_000, 90_000]])
    quantity = np.array([[MW, MW]])
    bound, allowed, found = of.gate.offers(of.s, 0, 0.0, price, quantity)
    assert (bound.tolist(), allowed.tolist()) == ([[19_990, 80_000]], [[MW, MW]])
    assert found is not None
    assert found.field.tolist() == [PRICE, PRICE]


def test_what_the_operator_drew_counts_before_dispatch() -> None:
    """5 MWh, floor at 4: 12 MW for a tick leave 4; drawn 6 MW before, only 6 MW may run."""
    of = Gated("storage", [LOSSLESS] * 2, {"min_state_of_charge": 0.4})
    of.run([0, 0])
    allowed, _ = of.sent([0, 12 * MW])
    assert allowed[0][1] == pytest.approx(12 * MW, abs=1)
    of.respond(activated_w=6 * MW)
    ran, found = of.run(allowed)
    assert ran == [[0, pytest.approx(6 * MW, abs=1)], [0, 12 * MW]]
    assert found is not None
    assert (found.tick, found.stage, found.rules) == (1, "dispatch", tuple(RULES))
    assert (found.agent.tolist(), found.field.tolist()) == ([FIRST], [POWER])
    assert of.s.stored_mwh[0] == pytest.approx(4.0)
    assert of.sent([0, MW])[0][0] == [0, 0]


def test_a_day_of_cycles_ends_at_local_midnight() -> None:
    """One cycle a day is 10 MWh out, whatever is charged between; half a day, a night, a day."""
    of = Gated("storage", [LOSSLESS], {"max_cycles_per_day": 1}, tick_minutes=60, start_hour=20)
    out: dict[int, float] = {}
    for hour in range(20, 20 + 30):
        allowed, _ = of.sent([3 * MW, 0] if hour % 2 else [0, 3 * MW])
        before = float(of.s.stored_mwh[0])
        of.run(allowed)
        fallen = before - float(of.s.stored_mwh[0])
        out[hour // 24] = out.get(hour // 24, 0.0) + max(fallen, 0.0)
    # Two evening hours sell 3 MWh each; the next day sells 3, 3, 3 and 1; then again.
    assert out == {0: pytest.approx(6.0), 1: pytest.approx(10.0), 2: pytest.approx(3.0)}


def test_discharge_that_the_operator_drew_is_part_of_the_day() -> None:
    of = Gated("storage", [LOSSLESS], {"max_cycles_per_day": 0.5}, tick_minutes=60, start_hour=1)
    of.run([0, MW])
    of.respond(activated_w=2 * MW)  # 3 MWh are out
    assert of.run([0, 9 * MW])[0] == [[0, 2 * MW]]
    assert of.sent([0, MW])[0] == [[0, 0]]


def test_what_a_trip_took_is_not_there_to_sell() -> None:
    """A vehicle that comes back at 18:00 has used 2 of its 5 MWh; the floor is at 2.5."""
    car = {**LOSSLESS, "trip_energy_mwh": 2, "vehicle_to_grid": True, "required_state_of_charge": 0}
    of = Gated("ev", [car], {"min_state_of_charge": 0.25}, tick_minutes=60, start_hour=16)
    for _ in range(2):
        of.run([0, 0, 0])
    assert of.hour_of_day == 18
    assert of.sent([0, 0, 9 * MW])[0] == [[0, 0, 500_000]]


def test_protected_load_is_a_share_of_the_load_that_is_bought() -> None:
    of = Gated("consumer", [{}], {"protected_load_share": 0.75})
    assert of.sent([8 * MW, 0, 5 * MW])[0] == [[8 * MW, 0, 2 * MW]]


def test_the_sun_of_a_home_is_not_its_battery() -> None:
    of = Gated("home", [LOSSLESS], {"max_ramp_up_mw_per_minute": 0.1, "max_discharge_mw": 2})
    assert of.sent([0, 9 * MW, 0, 9 * MW])[0] == [[0, 9 * MW, 0, 500_000]]


def test_a_plant_ramps_from_what_it_really_gave() -> None:
    of = Gated("wind", [{"capacity_mw": 10}], {"max_ramp_up_mw_per_minute": 0.2})
    assert of.sent([10 * MW])[0] == [[MW]]
    of.run([MW])
    assert of.sent([10 * MW])[0] == [[2 * MW]]
    of.respond(held_back_w=400_000)
    assert of.run([2 * MW])[0] == [[1_600_000]]


def test_a_unit_stops_at_its_emissions_of_the_day() -> None:
    """800 kg/MWh, 2 t a day: 2.5 MWh; the second unit emits nothing and runs on."""
    plant = {"capacity_mw": 12, "emissions_kg_per_mwh": 800}
    clean = {"capacity_mw": 12, "emissions_kg_per_mwh": 0}
    cap = {"max_emissions_tonnes_per_day": 2}
    of = Gated("generator", [plant, clean], cap, cap)
    emitted = np.zeros(2)
    runs = [1.0, *[50.0] * 5]
    for _ in range(6):
        of.offer(runs)
        asked = of.quantity
        allowed, _ = of.sent(asked)
        of.quantity = asked
        now, _ = of.gate.dispatch(of.s, of.tick, of.hour_of_day, np.array(allowed))
        emitted = emitted + of.deliver(now).emissions_g
    assert emitted.tolist() == [pytest.approx(2e6, abs=1), 0]
    assert emitted[0] <= 2e6
    assert of.s.output_mw.tolist() == [0, 12]


def test_reserve_keeps_the_limits_of_orders() -> None:
    """Up at most 4 MW, down at most 6, with 1 MW sold and 2 bought: what is left is reserve."""
    of = Gated("storage", [LOSSLESS] * 2, {"max_discharge_mw": 4, "max_charge_mw": 6})
    shape = ReserveShape(
        quantity=np.full((2, 4), 10 * MW),
        price=np.zeros((2, 4)),
        energy_price=np.zeros((2, 4)),
        spare=np.array([[19 * MW, 18 * MW]] * 2),
    )
    orders = np.array([[2 * MW, MW]] * 2)
    found = of.gate.reserve(of.s, 0, 0.0, orders, shape)
    assert found.quantity.tolist() == [[4 * MW, 6 * MW, 0, 0], [10 * MW] * 4]
    assert found.spare.tolist() == [[3 * MW, 4 * MW], [19 * MW, 18 * MW]]
    assert shape.quantity.tolist() == [[10 * MW] * 4] * 2


def test_reserve_is_free_under_rules_that_count_and_cut_under_those_that_refuse() -> None:
    of = Gated(
        "storage",
        [LOSSLESS] * 2,
        {"max_discharge_mw": {"limit": 4, "on_violation": "count"}},
        {"max_discharge_mw": {"limit": 4, "on_violation": "refuse"}, "max_quantity_mw": 1},
    )
    shape = ReserveShape(
        quantity=np.array([[2, 0, 6, 0]] * 2) * MW,
        price=np.zeros((2, 4)),
        energy_price=np.zeros((2, 4)),
        spare=np.array([[8, 0]] * 2) * MW,
    )
    found = of.gate.reserve(of.s, 0, 0.0, np.zeros((2, 2), np.int64), shape)
    assert found.quantity[:, [0, 2]].tolist() == [[2 * MW, 6 * MW], [2 * MW, 2 * MW]]


def test_what_it_remembers_can_be_carried() -> None:
    def made() -> Gated:
        return Gated("storage", [LOSSLESS], {"max_cycles_per_day": 0.5}, start_hour=1)

    of, other = made(), made()
    for _ in range(3):
        of.run(of.sent([0, 12 * MW])[0])
    other.s, other.tick = pickle.loads(pickle.dumps((of.s, of.tick)))
    other.gate.day = pickle.loads(pickle.dumps(of.gate.day))
    for _ in range(3):
        assert of.sent([0, 24 * MW])[0] == other.sent([0, 24 * MW])[0]
        assert of.run([0, 24 * MW])[0] == other.run([0, 24 * MW])[0]
    assert of.gate.day.cycled_mwh[0] == pytest.approx(5.0)


def test_every_rule_is_asked_once() -> None:
    assert [rule.name for rule in CHECKS.rules] == list(RULES)


def test_devices_know_their_last_interval_after_a_response() -> None:
    """The books of cycles and ramps are those of what really flowed."""
    of = Bench("home", [{**LOSSLESS, "charge_efficiency": 0.8, "discharge_efficiency": 0.5}])
    of.deliver([0, 0, 0, 2 * MW])
    before = of.kind.device(of.p, of.s, of.hours, of.hour_of_day)
    of.kind.respond(of.p, of.s, Response(*(np.array([w]) for w in (MW, 0, 0))), of.hours, 0.0)
    after = of.kind.device(of.p, of.s, of.hours, of.hour_of_day)
    assert (before.previous_w[0], after.previous_w[0]) == (2 * MW, 3 * MW)
    assert before.discharged_mwh[0] == pytest.approx(2 / 12 / 0.5)
    assert after.discharged_mwh[0] == pytest.approx(3 / 12 / 0.5)
    assert after.stored_mwh[0] == pytest.approx(5 - 3 / 12 / 0.5)
