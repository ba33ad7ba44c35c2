"""One contract for every agent kind under every policy, built in and from outside."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import pytest

from swarm.agents.kinds import KINDS, Kind
from swarm.agents.policy import BUILT_IN, Settled, Traits, load_policy
from swarm.agents.shard import Shard
from swarm.errors import RunError, UsageError
from swarm.market.orders import BUY, SELL
from swarm.messages import ORDER_COLUMNS
from tests.agents.helpers import CAP, FLOOR, check_meters, shard, shard_spec, signal
from tests.contract.rough import (
    ASSETS,
    BUILT,
    EXPLORES,
    NONE,
    PACKED,
    POLICIES,
    TICKS,
    run,
    same,
    spec_of,
    steps,
    view_of,
    weights_of,
    whole_run,
    with_weights,
)

every_kind = pytest.mark.parametrize("kind", KINDS)
every_policy = pytest.mark.parametrize("policy", POLICIES)


@every_kind
@every_policy
def test_orders_and_meters_are_sound_over_many_rough_ticks(kind: str, policy: str) -> None:
    spec = spec_of(kind, policy)
    n = len(spec.roster)
    replies, hosts = whole_run(kind, policy)
    agents, traded = np.arange(100, 100 + n), 0
    assert replies[0].meters is None
    for reply in replies:
        o = reply.orders
        assert [getattr(o, c).dtype for c in ORDER_COLUMNS] == [np.int8, *[np.int64] * 3]
        assert (o.quantity > 0).all()
        assert ((o.price >= FLOOR * 1000) & (o.price <= CAP * 1000)).all()
        assert np.isin(o.side, [BUY, SELL]).all()
        assert np.isin(o.agent, agents).all()
        traded += len(o.side)
        if reply.meters is not None:
            check_meters(reply.meters, n)
        assert reply.tick < TICKS or len(o.side) == 0
    assert all(reply.meters is not None for reply in replies[1 : TICKS + 1])
    assert replies[TICKS + 1].meters is None
    if kind in ("consumer", "home", "solar", "wind") or policy in BUILT:
        assert traded > 0
    shard_ = hosts[0].shards[0]
    if hasattr(shard_.state, "stored_mwh"):
        cells = shard_.parameters.battery
        for reply in replies[1 : TICKS + 1]:
            assert reply.meters is not None
            stored = reply.meters.stored_mwh
            assert (stored <= cells.ceiling_mwh).all()
            # A trip may take a vehicle below the floor it keeps for the grid.
            assert (stored >= (0 if kind == "ev" else cells.floor_mwh)).all()
            assert (np.abs(reply.meters.battery_w) <= cells.power_mw * 1e6 + 1e-6).all()


@every_kind
@pytest.mark.parametrize("policy", [policy for policy in POLICIES if policy != "trained"])
def test_any_packing_gives_the_same_bytes(kind: str, policy: str) -> None:
    spec = spec_of(kind, policy)
    whole, _ = whole_run(kind, policy)
    for cuts in ((1, 2, 3, 4, 5, 6), (3,)):
        assert same(whole[:PACKED], run(spec, cuts, PACKED)[0]), cuts


@every_kind
@every_policy
def test_repeats_by_seed_and_is_as_stochastic_as_it_says(kind: str, policy: str) -> None:
    again, _ = run(spec_of(kind, policy), (), PACKED)
    assert same(whole_run(kind, policy)[0][:PACKED], again)
    one, other = (Shard(spec_of(kind, policy, seed)) for seed in (1, 2))
    actions = [shard_.policy.act(shard_.state, view_of(shard_, 1)) for shard_ in (one, other)]
    changed = not np.array_equal(*actions)
    assert changed == load_policy(policy).traits.stochastic


@every_kind
def test_memoryless_policies_have_no_memory(kind: str) -> None:
    for policy in POLICIES:
        acts = load_policy(policy)
        if acts.traits.has_memory:
            continue
        a, b = Shard(spec_of(kind, policy)), Shard(spec_of(kind, policy))
        for tick in range(20):
            a.policy.act(a.state, view_of(a, tick))
            paid = np.arange(len(a.agents))
            a.policy.settle(Settled(tick, paid, paid, 50.0))
        view = view_of(a, 20)
        np.testing.assert_array_equal(a.policy.act(a.state, view), b.policy.act(b.state, view))


@every_kind
@every_policy
def test_actions_have_one_finite_row_per_agent(kind: str, policy: str) -> None:
    of = Shard(spec_of(kind, policy))
    for tick in range(40):
        action = of.policy.act(of.state, view_of(of, tick))
        assert action.shape == (7, len(of.kind.ACTION))
        assert np.isfinite(action).all()
        for column, name in enumerate(of.kind.ACTION):
            if name.endswith("_share") and policy in BUILT:
                assert ((action[:, column] >= 0) & (action[:, column] <= 1)).all()


@every_kind
def test_every_module_has_the_shape_of_a_kind(kind: str) -> None:
    module = KINDS[kind]
    for name, member in vars(Kind).items():
        if name.startswith("_"):
            continue
        assert hasattr(module, name), name
        assert name in getattr(module, "__all__", [name])
        if inspect.isfunction(member):
            wanted = list(inspect.signature(member).parameters)[1:]
            assert list(inspect.signature(getattr(module, name)).parameters) == wanted, name
            assert getattr(module, name).__doc__
    assert module.__doc__
    assert all(side in (BUY, SELL) for side in module.SIDES)
    assert len(set(module.ACTION)) == len(module.ACTION)
    made = shard_spec(kind, ASSETS[kind])
    assert set(module.series(made.roster)) <= {"load", "availability"}
    assert all(len(names) == 3 for names in module.series(made.roster).values())


@every_kind
def test_rewards_arrive_two_ticks_after_their_offers(kind: str) -> None:
    replies, hosts = whole_run(kind, "tests.contract.outside_policies:Erratic")
    policy: Any = hosts[0].shards[0].policy
    # Told in the notice of tick t+1 with the awards of t+1, read at step t+2: interval t.
    assert [told.tick for told in policy.settled] == list(range(TICKS))
    agents = np.arange(100, 107)
    for told in policy.settled:
        np.testing.assert_array_equal(told.received_micro, agents * 1000 + told.tick + 1)
        meters = replies[told.tick + 1].meters
        assert meters is not None
        np.testing.assert_array_equal(told.cost_micro, meters.cost_micro)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_policies_declare_their_traits(name: str) -> None:
    learns = name == "trained"
    assert load_policy(name).traits == Traits(name == "random", learns, learns)


@every_kind
@every_policy
def test_a_copy_acts_on_alike(kind: str, policy: str) -> None:
    """Everything a policy remembers is its own: the copy lives on while the first one rests."""
    spec = spec_of(kind, policy)
    if policy == "trained":
        spec = with_weights(spec, weights_of(kind, 7), EXPLORES)
    one, module = Shard(spec), KINDS[kind]
    lived = steps(one, range(20))
    # A kind is a module, which nothing copies.
    other = copy.deepcopy(one, {id(module): module})
    after = steps(other, range(20, 40), lived[-1])
    assert same(after, steps(one, range(20, 40), lived[-1]))


def test_ticks_must_come_in_order() -> None:
    of = shard("storage", [{}])
    of.step(signal(0), NONE, NONE)
    for tick in (0, 2):
        with pytest.raises(RunError, match=f"expected tick 1, got {tick}"):
            of.step(signal(tick), NONE, NONE)


@every_kind
@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ("NotANumber", ["= nan for agent '{kind}-0001' at tick 0", "finite"]),
        ("TooDear", ["{kind}-0000", "at tick 0"]),
        ("WrongShape", ["shape", "expected shape (3, ", "{kind}"]),
        ("Words", ["{kind}", "tick 0"]),
    ],
)
def test_bad_actions_end_the_run_naming_policy_and_agent(
    kind: str, policy: str, told: list[str]
) -> None:
    of = shard(kind, ASSETS[kind], policy=f"tests.contract.outside_policies:{policy}")
    with pytest.raises(RunError) as caught:
        of.step(signal(0), NONE, NONE)
    for part in [policy, *told]:
        assert part.format(kind=kind) in str(caught.value)


def test_rows_may_come_as_lists() -> None:
    listed = shard("storage", ASSETS["storage"], policy="tests.contract.outside_policies:Listed")
    still = shard("storage", ASSETS["storage"], policy="tests.contract.outside_policies:Still")
    assert same([listed.step(signal(0), NONE, NONE)], [still.step(signal(0), NONE, NONE)])


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("heuristc", ["'heuristc'", "did you mean 'heuristic'?", "package.module:Class"]),
        ("no_such_module:Class", ["cannot import 'no_such_module'"]),
        ("tests.contract.outside_policies:Errratic", ["no 'Errratic'", "did you mean 'Erratic'?"]),
        ("tests.contract.outside_policies:NoSettle", ["NoSettle lacks traits, settle"]),
        ("tests.contract.outside_policies:np", ["np"]),
        (":Class", ["Class"]),
        ("tests.contract.outside_policies:", ["tests.contract.outside_policies"]),
    ],
)
def test_unknown_and_unfit_policies_are_usage_errors(name: str, told: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        load_policy(name)
    for part in told:
        assert part in str(caught.value)
