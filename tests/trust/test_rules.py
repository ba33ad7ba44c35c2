"""What each policy lets through between trader and dispatch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.trust.pipeline import Checks, policy_check
from swarm.trust.records import POWER, PRICE, to_bytes
from swarm.trust.rules import (
    CLIP,
    COUNT,
    MODES,
    REFUSE,
    RULES,
    Limit,
    Proposal,
    ShardView,
    Use,
    declare,
)
from tests.trust.shards import FIRST, HOME, NAN, assert_same, decide, limit, proposal, view_of

SAMPLES: dict[str, tuple[float, ...]] = {
    "max_discharge": (0, 3.5, 10, 40),
    "max_charge": (0, 3.5, 10, 40),
    "min_state_of_charge": (0, 0.3, 1),
    "max_state_of_charge": (0, 0.3, 1),
    "max_ramp_up": (0, 0.5, 2, 9),
    "max_ramp_down": (0, 0.5, 2, 9),
    "max_cycles_per_day": (0, 0.5, 2),
    "max_emissions_per_day": (0, 1, 5, 30),
    "protected_load": (0, 0.25, 1),
    "min_price": (-20, 0, 10.5),
    "max_price": (-20, 0, 10.5),
    "min_quantity": (0, 4.5, 10),
    "max_quantity": (0, 4.5, 10),
}
SUMS = tuple(name for name in SAMPLES if "price" not in name and "quantity" not in name)
INDEPENDENT = tuple(name for name in SUMS if name != "max_ramp_up")
"""These cover the same orders as each other or none of them; a ramp up covers those of others."""


@st.composite
def cases(draw: st.DrawFn) -> tuple[Proposal, ShardView]:
    """Orders of a few agents with small numbers, so that limits bite; limits of every rule.

    Numbers come from a drawn seed: drawing each of them is fifty times slower.
    """
    n, k = draw(st.integers(1, 8)), draw(st.integers(1, 5))
    uses = tuple(draw(st.lists(st.sampled_from(list(Use)), min_size=k, max_size=k)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))

    def each(*values: float) -> np.ndarray:
        return rng.choice(values, n)

    stored = {
        "previous_w": each(-9.0, 0.0, 12.0, NAN),
        # One watt for five minutes is 1/12 of 1e-6 MWh.
        "stored_mwh": each(0.0, 1e-6, 3e-6) / 12,
        "capacity_mwh": each(3e-6, 9e-6, NAN) / 12,
        "cycled_mwh": each(0.0, 4e-6) / 12,
        "load_w": each(0.0, 7.0, 20.0),
        "emissions_g_per_mwh": each(0.0, 1e7, 5e7),
        "emitted_g": each(0.0, 3.0),
    }
    limits = {
        name: declare(name, each(*values, NAN, NAN), rng.integers(0, len(MODES), n))
        for name, values in SAMPLES.items()
    }
    asked = Proposal(rng.integers(-10, 11, (n, k)), rng.integers(0, 21, (n, k)))
    return asked, view_of(n, uses, **stored, limits=limits)


NAMES = st.sampled_from(list(RULES))


def clipping(view: ShardView) -> ShardView:
    limits = {n: Limit(b.value, np.zeros_like(b.mode)) for n, b in view.limits.items()}
    return replace(view, limits=limits)


def most_w(name: str, view: ShardView, row: int) -> float:
    """The power a sum rule permits agent `row`, in plain numbers; NaN: not known."""
    bound, hours = float(view.limits[name].value[row]), 1 / 12
    stored, size = float(view.stored_mwh[row]), float(view.capacity_mwh[row])
    if name in ("max_discharge", "max_charge"):
        return bound
    if name == "min_state_of_charge":
        return (stored - bound * size) * 0.8 / hours * 1e6
    if name == "max_state_of_charge":
        return (bound * size - stored) / 0.8 / hours * 1e6
    if name == "max_cycles_per_day":
        return (bound * size - float(view.cycled_mwh[row])) * 0.8 / hours * 1e6
    if name == "max_ramp_up":
        return float(view.previous_w[row]) + 5 * bound
    if name == "max_ramp_down":
        return 5 * bound - float(view.previous_w[row])
    if name == "protected_load":
        return (1 - bound) * float(view.load_w[row])
    assert name == "max_emissions_per_day"
    rate = float(view.emissions_g_per_mwh[row])
    left = bound - float(view.emitted_g[row])
    return math.inf if rate == 0 else left / rate / hours * 1e6


COVERED = {
    "max_discharge": {"discharge"},
    "min_state_of_charge": {"discharge"},
    "max_cycles_per_day": {"discharge"},
    "max_charge": {"charge", "urgent_charge"},
    "max_state_of_charge": {"charge", "urgent_charge"},
    "max_ramp_up": {"generation", "discharge"},
    "max_ramp_down": {"charge", "urgent_charge"},
    "max_emissions_per_day": {"generation"},
    "protected_load": {"reduction"},
}


def clipped_by_hand(name: str, asked: Proposal, view: ShardView) -> Proposal:
    """What a rule allows, order by order, whatever happens to the rest."""
    price, quantity = asked.price_milli.copy(), asked.quantity_w.copy()
    for row in range(len(quantity)):
        value = float(view.limits[name].value[row])
        if math.isnan(value):
            continue
        if name in SUMS:
            slots = [s for s, use in enumerate(view.uses) if use.value[0] in COVERED[name]]
            slots.sort(key=lambda s, r=row: (view.uses[s].side * price[r, s], s))
            left = most_w(name, view, row)
            left = 0 if math.isnan(left) else max(left, 0)
            for slot in slots:
                quantity[row, slot] = min(int(quantity[row, slot]), math.floor(min(left, 1e9)))
                left -= quantity[row, slot]
            continue
        for slot, use in enumerate(view.uses):
            size, needed = quantity[row, slot], use.value[0] in ("load", "urgent_charge")
            if needed or size == 0:
                continue
            if name == "min_quantity" and size < value:
                quantity[row, slot] = 0
            if name == "max_quantity" and size > value:
                quantity[row, slot] = math.floor(value)
            if name == "min_price" and price[row, slot] < value:
                price[row, slot] = math.ceil(value)
            if name == "max_price" and price[row, slot] > value:
                price[row, slot] = math.floor(value)
    return Proposal(price, quantity)


Row = tuple[int, int, int, int, int]


def by_hand(name: str, asked: Proposal, view: ShardView) -> tuple[Proposal, list[Row]]:
    """What a rule lets through, and its violations: agent, slot, field, asked and allowed."""
    clipped = clipped_by_hand(name, asked, view)
    price, quantity = asked.price_milli.copy(), asked.quantity_w.copy()
    powers: list[Row] = []
    prices: list[Row] = []
    for row, slot in np.ndindex(quantity.shape):
        mode = MODES[view.limits[name].mode[row]]
        before = int(price[row, slot]), int(quantity[row, slot])
        now = int(clipped.price_milli[row, slot]), int(clipped.quantity_w[row, slot])
        if now == before:
            continue
        after = {"clip": now, "refuse": (before[0], 0), "count": before}[mode]
        price[row, slot], quantity[row, slot] = after
        for rows, field, at in ((prices, PRICE, 0), (powers, POWER, 1)):
            if after[at] != before[at] or (mode == "count" and now[at] != before[at]):
                rows.append((FIRST + row, slot, field, before[at], after[at]))
    return Proposal(price, quantity), powers + prices


def test_every_rule_is_tested() -> None:
    assert set(SAMPLES) == set(RULES)


@given(cases(), NAMES)
def test_a_rule_is_what_it_is_by_hand(case: tuple[Proposal, ShardView], name: str) -> None:
    asked, view = case
    found = policy_check(name).decide(asked, view, "dispatch")
    allowed, violations = by_hand(name, asked, view)
    assert_same(found.allowed, allowed)
    assert found.violations.stage == "dispatch"
    rows = found.violations
    columns = (rows.agent, rows.slot, rows.field, rows.asked, rows.allowed)
    assert [tuple(map(int, row)) for row in zip(*columns, strict=True)] == violations
    assert rows.count() == {name: len(violations)}


@given(cases(), NAMES)
def test_a_rule_only_takes_away_and_once(case: tuple[Proposal, ShardView], name: str) -> None:
    asked, view = case
    once = policy_check(name).decide(asked, view).allowed
    assert (once.quantity_w <= asked.quantity_w).all()
    again = policy_check(name).decide(once, view)
    assert_same(again.allowed, once)
    counted = view.limits[name].mode[again.violations.agent - FIRST] == COUNT
    assert counted.all()


@given(cases())
def test_nothing_declared_changes_nothing(case: tuple[Proposal, ShardView]) -> None:
    asked, view = case
    every = Checks(tuple(RULES.values()))
    none = {name: limit(*[NAN] * len(view.agent)) for name in RULES}
    for limits in ({}, none):
        found = every.decide(asked, replace(view, limits=limits))
        assert_same(found.allowed, asked)
        assert len(found.violations.agent) == 0


@given(cases(), st.permutations(INDEPENDENT))
def test_the_order_of_independent_rules_does_not_matter(
    case: tuple[Proposal, ShardView], order: list[str]
) -> None:
    asked, view = case
    view = clipping(view)
    one = Checks(tuple(RULES[name] for name in INDEPENDENT)).decide(asked, view).allowed
    other = Checks(tuple(RULES[name] for name in order)).decide(asked, view).allowed
    assert_same(one, other)


@given(cases(), st.permutations(list(RULES)))
def test_a_chain_counts_what_each_rule_saw(
    case: tuple[Proposal, ShardView], order: list[str]
) -> None:
    asked, view = case
    found = Checks(tuple(RULES[name] for name in order)).decide(asked, view)
    counts: Counter[str] = Counter(dict.fromkeys(order, 0))
    state = asked
    for name in order:
        state, violations = by_hand(name, state, view)
        counts[name] += len(violations)
    assert_same(found.allowed, state)
    assert found.violations.count() == counts
    assert list(found.violations.count()) == order
    assert to_bytes(found.violations)


def test_discharge_is_clipped_refused_or_counted_as_declared() -> None:
    view = view_of(4, HOME)
    asked = proposal([[1, 2, 3, 9]] * 4)
    modes = np.array([CLIP, REFUSE, COUNT, CLIP], np.int8)
    bound = declare("max_discharge", np.array([5.9, 5.9, 5.9, NAN]), modes)
    found = decide("max_discharge", asked, view, bound)
    assert found.allowed.quantity_w[:, 3].tolist() == [5, 0, 9, 9]
    assert (found.allowed.quantity_w[:, :3] == [1, 2, 3]).all()
    rows = found.violations
    assert (rows.tick, rows.stage, rows.rules) == (3, "offer", ("max_discharge",))
    assert rows.agent.tolist() == [40, 41, 42]
    assert (rows.asked.tolist(), rows.allowed.tolist()) == ([9, 9, 9], [5, 0, 9])


def test_a_price_beyond_its_bound_is_moved_refused_or_counted() -> None:
    view = view_of(3, (Use.LOAD, Use.CHARGE))
    asked = proposal([[4, 5]] * 3, [[900, 80]] * 3)
    bound = declare("max_price", np.full(3, 60.0), np.array([CLIP, REFUSE, COUNT]))
    found = decide("max_price", asked, view, bound)
    assert found.allowed.price_milli.tolist() == [[900, 60], [900, 80], [900, 80]]
    assert found.allowed.quantity_w.tolist() == [[4, 5], [4, 0], [4, 5]]
    rows = found.violations
    assert (rows.agent.tolist(), rows.field.tolist()) == ([41, 40, 42], [POWER, PRICE, PRICE])
    assert (rows.asked.tolist(), rows.allowed.tolist()) == ([5, 80, 80], [0, 60, 80])


def test_load_and_need_are_not_for_choice() -> None:
    view = view_of(1, (Use.LOAD, Use.URGENT_CHARGE, Use.CHARGE))
    asked = proposal([[3, 3, 3]], [[90, 90, 90]])
    small = decide("min_quantity", asked, view, limit(4)).allowed
    assert small.quantity_w.tolist() == [[3, 3, 0]]
    large = decide("max_quantity", asked, view, limit(2)).allowed
    assert large.quantity_w.tolist() == [[3, 3, 2]]
    dear = decide("max_price", asked, view, limit(50)).allowed
    assert dear.price_milli.tolist() == [[90, 90, 50]]


def test_a_shared_limit_goes_to_the_best_orders() -> None:
    plant = view_of(1, (Use.GENERATION,) * 3)
    asked = proposal([[4, 4, 4]], [[30, 10, 20]])
    found = decide("max_ramp_up", asked, plant, limit(6 / 5))
    assert found.allowed.quantity_w.tolist() == [[0, 4, 2]]
    many = view_of(1, (Use.GENERATION,) * 40)
    found = decide("max_ramp_up", proposal([[4] * 40]), many, limit(30 / 5))
    assert found.allowed.quantity_w.tolist() == [[4] * 7 + [2] + [0] * 32]
    car = view_of(1, (Use.URGENT_CHARGE, Use.CHARGE))
    found = decide("max_charge", proposal([[4, 4]], [[90, 20]]), car, limit(6))
    assert found.allowed.quantity_w.tolist() == [[4, 2]]


def test_a_battery_stays_between_floor_and_ceiling() -> None:
    """The energy book of five minutes at the allowed power, with the efficiencies of the view."""
    rng = np.random.default_rng(5)
    n = 1000
    stored, size = rng.uniform(0, 2, n), np.full(n, 2.0)
    view = view_of(n, (Use.CHARGE, Use.DISCHARGE), stored_mwh=stored, capacity_mwh=size)
    asked = Proposal(np.zeros((n, 2), np.int64), rng.integers(0, 40_000_000, (n, 2)))
    low = decide("min_state_of_charge", asked, view, limit(*np.full(n, 0.25))).allowed.quantity_w
    after = stored - low[:, 1] / 1e6 / 12 / 0.8
    assert (after >= np.minimum(stored, 0.5) - 1e-12).all()
    cut = (low[:, 1] < asked.quantity_w[:, 1]) & (stored > 0.5)
    assert cut.sum() > 100
    # What was clipped ends within a watt of the floor: the rule takes no more than it must.
    np.testing.assert_allclose(after[cut], 0.5, atol=1.01e-6 / 12 / 0.8)
    high = decide("max_state_of_charge", asked, view, limit(*np.full(n, 0.75))).allowed.quantity_w
    after = stored + high[:, 0] / 1e6 / 12 * 0.8
    assert (after <= np.maximum(stored, 1.5) + 1e-12).all()
    cut = (high[:, 0] < asked.quantity_w[:, 0]) & (stored < 1.5)
    np.testing.assert_allclose(after[cut], 1.5, atol=1.01e-6 / 12)


def test_a_day_keeps_its_cycles_and_its_emissions() -> None:
    """Tick after tick at full power, with the books kept here."""
    cycled, emitted = np.zeros(1), np.zeros(1)
    uses = (Use.DISCHARGE, Use.GENERATION)
    limits = {"max_cycles_per_day": limit(1.5), "max_emissions_per_day": limit(2e6)}
    checks = policy_check("max_cycles_per_day") | policy_check("max_emissions_per_day")
    for _ in range(288):
        view = view_of(
            1, uses, cycled_mwh=cycled, emitted_g=emitted, limits=limits, capacity_mwh=np.ones(1)
        )
        power = checks.decide(proposal([[1_000_000, 1_000_000]]), view).allowed.quantity_w[0]
        cycled = cycled + power[0] / 12e6 / 0.8
        emitted = emitted + power[1] / 12e6 * 500_000
    # A tick rounds down by less than one watt; a few of them are clipped.
    assert 1.5 - 1e-6 < cycled[0] <= 1.5 + 1e-12
    assert 2e6 - 1 < emitted[0] <= 2e6 + 1e-6


def test_what_cannot_be_judged_is_not_allowed() -> None:
    view = view_of(2, (Use.DISCHARGE,), stored_mwh=np.array([NAN, 50.0]))
    found = decide("min_state_of_charge", proposal([[7], [7]]), view, limit(0.1, 0.1))
    assert found.allowed.quantity_w.tolist() == [[0], [7]]


def test_a_generator_without_emissions_has_no_cap() -> None:
    view = view_of(1, (Use.GENERATION,), emissions_g_per_mwh=np.zeros(1))
    found = decide("max_emissions_per_day", proposal([[7]]), view, limit(0))
    assert found.allowed.quantity_w.tolist() == [[7]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_dischage", 1.0, r"did you mean 'max_discharge'\?"),
        ("max_discharge", -1.0, "max_discharge: limit -1 W, expected 0 to"),
        ("min_state_of_charge", 1.5, "limit 1.5 share, expected 0 to 1"),
        ("max_price", math.inf, "max_price: limit inf"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(name: str, value: float, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        declare(name, np.array([value]), np.zeros(1, np.int8))


@pytest.mark.parametrize("mode", [-1, 3])
def test_a_mode_that_is_none_is_refused(mode: int) -> None:
    with pytest.raises(UsageError, match=rf"mode {mode}, expected 0 to 2 \(clip, refuse, count\)"):
        declare("max_charge", np.zeros(2), np.array([0, mode], np.int8))
