"""One contract for every agent kind under every policy, built in and from outside."""

from __future__ import annotations

import copy
import functools
import inspect
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.agents.effects import Clock, Effect
from swarm.agents.experience import together
from swarm.agents.host import Host
from swarm.agents.kinds import KINDS, Kind
from swarm.agents.policy import BUILT_IN, Exploration, Learned, Settled, Traits, load_policy
from swarm.agents.shard import Shard, ShardSpec, cut
from swarm.agents.view import View
from swarm.errors import RunError, UsageError
from swarm.learning.files import load_policies, save_policies
from swarm.market.orders import BUY, SELL
from swarm.messages import ORDER_COLUMNS, Notice, Orders, StepReply, concatenate, encode
from tests.agents.helpers import CAP, FLOOR, check_meters, shard, shard_spec, signal
from tests.learning.sets import drawn

BATTERY = {"self_discharge_per_hour": 0.01, "round_trip_efficiency": 0.8}
ASSETS: dict[str, list[dict[str, Any]]] = {
    "consumer": [
        {"load_noise": 0.1},
        {"load_mw": 5, "flexible_mw": 5, "shift_window_hours": 0.5},
        {"flexible_mw": 0, "response_price_per_mwh": 400},
    ],
    "ev": [
        {**BATTERY, "vehicle_to_grid": True},
        {"arrival_hour": 2, "departure_hour": 9, "power_mw": 0.003},
        {"arrival_hour": 22, "departure_hour": 1, "trip_energy_mwh": 1, "vehicle_to_grid": True},
    ],
    "generator": [
        {"min_output_mw": 60, "ramp_mw_per_minute": 1, "start_cost": 9, "min_up_hours": 1},
        {"marginal_cost_slope_per_mw": 0.1, "mean_time_to_failure_hours": 2, "min_down_hours": 2},
        {"profile": "hydro", "offer_price_per_mwh": 5, "mean_time_to_repair_hours": 0.5},
    ],
    "home": [{**BATTERY, "load_noise": 0.2}, {"energy_mwh": 0}, {"solar_mw": 0, "load_mw": 0.01}],
    "solar": [{}, {"offer_price_per_mwh": -40}, {"capacity_mw": 0}],
    "storage": [
        BATTERY,
        {"min_state_of_charge": 0.5, "max_state_of_charge": 0.5},
        {"degradation_cost_per_mwh": 0, "round_trip_efficiency": 1},
    ],
    "wind": [{}, {"offer_price_per_mwh": -40}, {"capacity_mw": 0.001}],
}
BUILT = ("heuristic", "random", "trained")
POLICIES = (
    *BUILT,
    "tests.contract.outside_policies:Erratic",
    "tests.contract.outside_policies:Still",
)
TICKS = 300
PACKED = 125
"""Ticks over which packings are compared: past every event."""
NONE = np.zeros(0, dtype=np.int64)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_policy = pytest.mark.parametrize("policy", POLICIES)


@functools.cache
def weights_of(kind: str, policies: int) -> Any:
    """Of `policies` agents, by network."""
    return drawn({kind: policies})[kind]


def spec_of(kind: str, policy: str, seed: int = 1) -> ShardSpec:
    """Seven agents; those that are trained share their weights."""
    assets = [*ASSETS[kind], *ASSETS[kind], *ASSETS[kind][:1]]
    r = np.random.default_rng(9)
    series = {role: r.random((TICKS, 3)) * 1.1 for role in ("load", "availability")}
    effects = (
        Effect("outage", 40, 60, (101, 104)),
        Effect("maintenance", 70, 90, (100, 103, 104)),
        Effect("load", 30, 80, (102, 105), 1.5),
        Effect("sun", 100, 120, None, 0.2),
    )
    spec = shard_spec(
        kind,
        assets,
        series=series,
        policy=policy,
        seed=seed,
        first=100,
        ticks=TICKS,
        clock=Clock(7, 20.25),
        effects=effects,
    )
    return with_weights(spec, weights_of(kind, 1)) if policy == "trained" else spec


def with_weights(
    spec: ShardSpec, weights: Any, exploration: Exploration | None = None
) -> ShardSpec:
    return replace(spec, learned=Learned(weights, exploration))


@functools.cache
def rough_signal(tick: int) -> Any:
    """Prices that leap between floor and cap, with gaps, as nobody would wish them."""
    r = np.random.default_rng(tick)
    forecast = np.clip(r.normal(60, 10.0 ** r.integers(0, 4), 24), FLOOR, CAP)
    history = np.where(r.random(24) < 0.2, np.nan, forecast[::-1])
    if tick % 17 == 0:
        forecast, history = np.full(24, np.nan), np.full(24, np.nan)
    carbon = float(r.choice([0.0, 80.0]))
    return signal(
        tick,
        price_per_mwh=float("nan"),
        price_forecast=forecast,
        price_history=history,
        carbon_price_per_tonne=carbon,
        accepting=tick < TICKS,
    )


def acceptance(tick: int, orders: Any) -> np.ndarray:
    """All, nothing or a part of each order, from its owner alone, whatever the packing."""
    luck = (orders.agent * 7919 + tick * 104729 + orders.side * 31) % 5
    part = orders.quantity * ((orders.agent + tick) % 11) // 10
    accepted = np.where(luck < 2, orders.quantity, np.where(luck == 2, 0, part))
    # No market accepts both sides of an agent whose buy is below its sell; take the purchase.
    return np.where((orders.side == SELL) & (tick % 3 == 0), 0, accepted)


def run(
    spec: ShardSpec, cuts: tuple[int, ...] = (), steps: int = TICKS + 2
) -> tuple[list[StepReply], list[Host]]:
    """Step the agents of `spec`, cut into hosts, and join their replies in order."""
    edges = [0, *cuts, len(spec.roster)]
    hosts = [Host([cut(spec, a, b)]) for a, b in itertools.pairwise(edges)]
    told: list[Notice | None] = [None] * len(hosts)
    replies = []
    for tick in range(steps):
        parts = [h.step(rough_signal(tick), n) for h, n in zip(hosts, told, strict=True)]
        told = []
        for part, host in zip(parts, hosts, strict=True):
            agents = host.shards[0].agents
            profit = agents * 1000 + tick if tick > 0 else NONE
            told.append(Notice(tick, acceptance(tick, part.orders), profit))
        replies.append(joined(parts))
    return replies, hosts


@functools.cache
def whole_run(kind: str, policy: str) -> tuple[list[StepReply], list[Host]]:
    """All ticks, all agents in one host."""
    return run(spec_of(kind, policy))


def joined(parts: list[StepReply]) -> StepReply:
    """One reply of several, orders and meters one after the other."""
    orders = Orders(*(np.concatenate([getattr(p.orders, c) for p in parts]) for c in ORDER_COLUMNS))
    meters = [p.meters for p in parts if p.meters is not None]
    return StepReply(parts[0].tick, orders, concatenate(meters) if meters else None)


def same(a: list[StepReply], b: list[StepReply]) -> bool:
    return [encode(x) for x in a] == [encode(x) for x in b]


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
@every_policy
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


def view_of(of: Shard, tick: int) -> Any:
    return View(
        signal=rough_signal(tick),
        tick_hours=of.spec.clock.tick_hours,
        hour_of_day=of.spec.clock.hour_of_day(tick),
        forecast=of.nature.values(tick),
        standing=np.zeros(len(of.agents), dtype=bool),
        uniforms=of._uniforms("policy", tick),
    )


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


EXPLORES = Exploration(0.3, 0.2)


@every_kind
@pytest.mark.parametrize("exploration", [None, EXPLORES])
def test_agents_with_weights_of_their_own_act_alike_in_any_packing(
    kind: str, exploration: Exploration | None
) -> None:
    spec = with_weights(spec_of(kind, "trained"), weights_of(kind, 7), exploration)
    ticks = 30
    whole, hosts = run(spec, (), ticks)
    assert not same(whole, whole_run(kind, "trained")[0][:ticks]), "as if all had one policy"
    lived = hosts[0].experience()
    assert (kind in lived) == (exploration is not None)
    for cuts in ((1, 2, 3, 4, 5, 6), (3,), (2, 5)):
        replies, parts = run(spec, cuts, ticks)
        assert same(whole, replies), cuts
        found = together([host.experience() for host in parts])
        assert found.keys() == lived.keys()
        for network, part in lived.get(kind, {}).items():
            for name, array in vars(part).items():
                assert getattr(found[kind][network], name).tobytes() == array.tobytes(), name


@every_kind
def test_weights_that_were_saved_act_to_the_same_bytes(kind: str, tmp_path: Path) -> None:
    spec = spec_of(kind, "trained")
    save_policies(tmp_path, {kind: weights_of(kind, 1)}, {})
    read = with_weights(spec, load_policies(tmp_path).policies[kind])
    assert same(run(spec, (), 30)[0], run(read, (), 30)[0])


@every_kind
@every_policy
def test_a_copy_acts_on_alike(kind: str, policy: str) -> None:
    """Everything a policy remembers is its own: the copy is fed while the first one rests."""
    spec = spec_of(kind, policy)
    if policy == "trained":
        spec = with_weights(spec, weights_of(kind, 7), EXPLORES)
    one, module = Shard(spec), KINDS[kind]
    lived = steps(one, range(20))
    # A kind is a module, which nothing copies.
    other = copy.deepcopy(one, {id(module): module})
    after = steps(other, range(20, 40), lived[-1])
    assert same(after, steps(one, range(20, 40), lived[-1]))


def steps(of: Shard, ticks: range, last: StepReply | None = None) -> list[StepReply]:
    replies = []
    for tick in ticks:
        accepted = NONE if last is None else acceptance(tick - 1, last.orders)
        last = of.step(rough_signal(tick), accepted, of.agents * 1000 if tick > 1 else NONE)
        replies.append(last)
    return replies


@every_kind
def test_trained_agents_act_on_what_they_remember(kind: str) -> None:
    """And only with weights."""
    old, new = (Shard(spec_of(kind, "trained")) for _ in range(2))
    steps(old, range(20))
    views = [view_of(old, tick) for tick in range(20, 40)]
    changed = [
        not np.array_equal(old.policy.act(old.state, view), new.policy.act(old.state, view))
        for view in views
    ]
    assert any(changed)
    bare = Shard(replace(spec_of(kind, "trained"), learned=None))
    with pytest.raises(RunError, match=f"'trained' of {kind} was given no weights"):
        bare.policy.act(bare.state, views[0])


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
