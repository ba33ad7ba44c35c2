"""How policies are composed with a trader and its dispatch."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest

from swarm.errors import UsageError
from swarm.trust.pipeline import Checks, Dispatch, Shadow, Trader, policy_check
from swarm.trust.records import to_bytes
from swarm.trust.rules import Proposal, ShardView, Use, declare
from tests.trust.shards import HOME, assert_same, decide, limit, proposal, view_of


def test_the_composition_reads_as_it_is_written() -> None:
    view = view_of(1, HOME, limits={"max_discharge": limit(5)})
    asked = proposal([[1, 2, 3, 9]])
    trader = Trader("trader", lambda seen: asked)
    moved: list[Proposal] = []

    def act(allowed: Proposal) -> int:
        moved.append(allowed)
        return int(allowed.quantity_w.sum())

    dispatch = Dispatch("dispatch", act)
    pipeline = trader | policy_check("max_discharge") | dispatch
    assert str(pipeline) == 'trader | policy_check("max_discharge") | dispatch'
    outcome = pipeline.run(view)
    assert outcome.moved == 11
    assert [one.quantity_w.tolist() for one in moved] == [[[1, 2, 3, 5]]]
    assert outcome.asked is asked
    assert outcome.violations.count() == {"max_discharge": 1}

    shadow = trader | policy_check("max_discharge") | Shadow(dispatch)
    assert str(shadow) == 'trader | policy_check("max_discharge") | Shadow(dispatch)'
    watched = shadow.run(view)
    assert len(moved) == 1
    assert watched.moved is None
    assert_same(watched.allowed, outcome.allowed)
    assert to_bytes(watched.violations) == to_bytes(outcome.violations)


def test_a_composition_keeps_its_order() -> None:
    for names in permutations(("max_charge", "min_price", "protected_load")):
        checks = Checks(())
        for name in names:
            checks = checks | policy_check(name)
        composed = Trader("t", lambda seen: proposal([[0]])) | Checks(()) | checks
        assert str(composed) == "t | " + " | ".join(f'policy_check("{n}")' for n in names)


def test_a_trader_is_not_dispatched_unchecked() -> None:
    trader: Any = Trader("t", lambda seen: proposal([[0]]))
    dispatch: Any = Dispatch("d", lambda allowed: None)
    with pytest.raises(TypeError):
        trader | dispatch
    with pytest.raises(TypeError):
        (trader | Checks(()) | dispatch) | policy_check("max_charge")
    with pytest.raises(TypeError):
        policy_check("max_charge") | dispatch
    assert str(trader | Checks(()) | dispatch) == "t | d"


def test_a_rule_of_ones_own() -> None:
    class Curfew:
        name, unit, range = "curfew", "tick", (0.0, math.inf)

        def check(self, asked: Proposal, view: ShardView, bound: np.ndarray) -> Proposal:
            late = (view.tick >= bound)[:, None]
            return replace(asked, quantity_w=np.where(late, 0, asked.quantity_w))

    rule = Curfew()
    bounds = declare(rule, np.array([3.0, 4.0]), np.zeros(2, np.int8))
    found = policy_check(rule).decide(
        proposal([[5], [5]]), view_of(2, (Use.LOAD,), limits={"curfew": bounds})
    )
    assert found.allowed.quantity_w.tolist() == [[0], [5]]


def test_shapes_must_agree() -> None:
    view = view_of(2, HOME)
    with pytest.raises(ValueError, match=r"expected shape \(2, 4\) .* got \(1, 4\)"):
        Checks(()).decide(proposal([[1, 2, 3, 4]]), view)
    with pytest.raises(ValueError, match=r"quantity_w: expected zero or more, got -1"):
        proposal([[-1]])
    with pytest.raises(ValueError, match="price_milli: expected int64"):
        Proposal(np.zeros((1, 1)), np.zeros((1, 1), np.int64))
    with pytest.raises(ValueError, match=r"expected value and mode of shape \(agents,\)"):
        declare("max_charge", np.zeros(2), np.zeros(3, np.int8))
    with pytest.raises(UsageError, match="limits of 1 agents, expected 2"):
        decide("max_charge", proposal([[0] * 4] * 2), view, limit(1))
