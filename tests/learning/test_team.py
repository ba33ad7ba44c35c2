"""The team: experience of every kind to the right learner, and weights back."""

from __future__ import annotations

import numpy as np
import pytest

from swarm.agents.experience import Experience
from swarm.agents.observation import SIZES, VECTORS
from swarm.errors import UsageError
from swarm.learning import actor_critic, ppo
from swarm.learning.team import Member, Settings, Team, TeamSpec, at_work
from tests.learning.same import assert_identical, assert_stacked
from tests.learning.sets import drawn

MEMBERS = (Member("consumer", 0, 7), Member("home", 7, 3), Member("storage", 10, 4))
ALL = tuple(Member(kind, 2 * at, 2) for at, kind in enumerate(sorted(VECTORS)))
AT_WORK = at_work(0.05, 0.02)
SHORT = Settings(storage=actor_critic.Settings(steps=4))


def lived(
    members: tuple[Member, ...], ticks: int, world: int = 0, start: int = 0
) -> dict[str, dict[str, Experience]]:
    """Made-up experience of agents, each its own, whoever is asked for beside it."""
    found: dict[str, dict[str, Experience]] = {}
    for member in members:
        agents = np.arange(member.first, member.first + member.agents)
        for network in VECTORS[member.kind]:
            rows = [_of(network, agent, world, start + ticks) for agent in agents]
            columns = [np.stack(column, axis=1)[start:] for column in zip(*rows, strict=True)]
            seen, action, reward = columns
            found.setdefault(member.kind, {})[network] = Experience(
                tick=np.arange(start, start + ticks),
                agent=agents,
                observation=seen[:, :, 0],
                action=action,
                log_prob=np.zeros_like(reward),
                reward=reward,
                next_observation=seen[:, :, 1],
            )
    return found


def _of(network: str, agent: int, world: int, ticks: int) -> tuple[np.ndarray, ...]:
    r = np.random.default_rng([len(network), agent, world])
    seen = r.uniform(-1, 1, (ticks + 1, SIZES[network])).astype(np.float32)
    action = {
        "generator": r.integers(0, 20, ticks),
        "storage": r.normal(size=(ticks, 1)).astype(np.float32),
        "consumer": r.random(ticks, dtype=np.float32),
    }[network]
    reward = r.normal(size=ticks).astype(np.float32)
    return np.stack([seen[:-1], seen[1:]], axis=1), action, reward


@pytest.mark.parametrize("shared", [False, True])
def test_every_network_of_every_kind_learns(shared: bool) -> None:
    team = Team(TeamSpec(AT_WORK, 1, ALL, shared=shared))
    before = team.policies()
    assert {kind: tuple(networks) for kind, networks in before.items()} == VECTORS
    figures = team.learn([lived(ALL, 40)], last=False)
    assert {name for name in figures if name.startswith("reward")} == {
        f"reward/{kind}" for kind in VECTORS
    }
    losses = {name for name in figures if name.startswith("loss")}
    others = {f"loss/{kind}" for kind in VECTORS if kind != "home"}
    assert losses == others | {"loss/home-storage", "loss/home-consumer"}
    assert team.ticks == 40
    for kind, networks in team.policies().items():
        for network, weights in networks.items():
            for name, array in weights.items():
                assert len(array) == (1 if shared else 2), (kind, network, name)
            changed = weights["layer0.weight"] != before[kind][network]["layer0.weight"]
            assert changed.any(axis=(1, 2)).all(), (kind, network)


def test_no_two_networks_start_alike() -> None:
    policies = Team(TeamSpec(Settings(), 1, ALL)).policies()
    first = [
        weights["layer1.weight"][row, :32, :32].tobytes()
        for networks in policies.values()
        for weights in networks.values()
        for row in range(2)
    ]
    assert len(set(first)) == len(first)
    other = Team(TeamSpec(Settings(), 2, ALL)).policies()
    assert (
        other["ev"]["storage"]["layer0.weight"] != policies["ev"]["storage"]["layer0.weight"]
    ).any()


def test_worlds_lie_side_by_side_and_end_where_they_end() -> None:
    member = (Member("storage", 10, 3),)
    team = Team(TeamSpec(SHORT, 1, member, worlds=2))
    worlds = [lived(member, 2, world) for world in range(2)]
    figures = team.learn(worlds, last=True)
    held = team.state()
    rewards = np.stack([world["storage"]["storage"].reward.T for world in worlds], axis=2)
    # (agents, steps, worlds), of four steps two are there.
    np.testing.assert_array_equal(held["storage/storage.rollout.reward"][:, :2], rewards)
    np.testing.assert_array_equal(
        held["storage/storage.rollout.cut"][:, :2].all(axis=(0, 2)), [False, True]
    )
    assert not held["storage/storage.rollout.terminated"].any()
    assert figures["reward/storage"] == pytest.approx(rewards.mean(), rel=1e-6)
    assert not any(name.startswith("loss") for name in figures)
    team.learn([lived(member, 1, world) for world in range(2)], last=False)
    assert not team.state()["storage/storage.rollout.cut"][:, 2].any()


def test_whoever_lived_through_nothing_learns_nothing() -> None:
    team = Team(TeamSpec(Settings(), 1, MEMBERS))
    before = team.state()
    assert team.learn([{}], last=False) == {}
    assert_identical(before, team.state())
    assert team.learn([lived(MEMBERS[:1], 3)], last=False).keys() == {
        "reward/consumer",
        "replay/consumer",
    }
    assert team.ticks == 3


@pytest.mark.parametrize(
    "settings", [AT_WORK, Settings(storage=ppo.Settings(steps=24, epochs=2, batch=16))]
)
def test_stopped_and_loaded_it_goes_on_to_the_same_bytes(settings: Settings) -> None:
    spec = TeamSpec(settings, 1, MEMBERS, worlds=2)

    def lesson(team: Team, start: int) -> None:
        team.learn([lived(MEMBERS, 12, world, start) for world in range(2)], last=start == 48)

    whole, stopped = Team(spec), Team(spec)
    for start in range(0, 60, 12):
        lesson(whole, start)
    for start in range(0, 36, 12):
        lesson(stopped, start)
    other = Team(TeamSpec(settings, 9, MEMBERS, worlds=2))
    held = stopped.state()
    other.load(held)
    assert_identical(other.state(), held)
    resumed = Team(spec)
    resumed.load(held)
    for start in (36, 48):
        lesson(resumed, start)
    assert_identical(resumed.state(), whole.state())
    assert resumed.exploration() == whole.exploration()


@pytest.mark.parametrize("kind", ["storage", "wind"])
def test_a_part_of_the_agents_learns_as_it_does_among_all(kind: str) -> None:
    """And a kind as beside others."""
    parts = (Member(kind, 10, 1), Member(kind, 11, 3))
    whole = (Member("solar", 3, 2), Member(kind, 10, 4))
    states = []
    for members in (whole, *((part,) for part in parts)):
        team = Team(TeamSpec(AT_WORK, 1, members))
        team.learn([lived(members, 40)], last=False)
        prefix = f"{kind}/"
        states.append({k: v for k, v in team.state().items() if k.startswith(prefix)})
    assert_stacked(states[0], states[1:], 2e-6)


def test_it_goes_on_from_one_policy_or_from_as_many_as_there_are() -> None:
    kinds = {"home": 1, "storage": 4}
    given = drawn(kinds, seed=5)
    del given["home"]["storage"]["log_std"]
    given["storage"]["storage"]["log_std"] += np.arange(-4, 0, dtype=np.float32)[:, None]
    fresh = Team(TeamSpec(Settings(), 1, MEMBERS)).policies()
    team = Team(TeamSpec(Settings(), 1, MEMBERS, policies=given))
    found = team.policies()
    for name, array in given["storage"]["storage"].items():
        np.testing.assert_array_equal(found["storage"]["storage"][name], array)
    for network, weights in given["home"].items():
        for name, array in weights.items():
            for row in found["home"][network][name]:
                np.testing.assert_array_equal(row, array[0])
    # Who has no spread of exploration keeps that of a new learner; who is not there stays new.
    for kind, network, name in (
        ("home", "storage", "log_std"),
        ("consumer", "consumer", "layer0.weight"),
    ):
        np.testing.assert_array_equal(found[kind][network][name], fresh[kind][network][name])
    given["storage"]["storage"]["layer0.bias"][:] = 7
    assert not (team.policies()["storage"]["storage"]["layer0.bias"] == 7).any()


@pytest.mark.parametrize(("shared", "count", "expected"), [(False, 3, 4), (True, 4, 1)])
def test_policies_of_another_number_are_refused(shared: bool, count: int, expected: int) -> None:
    given = drawn({"storage": count})
    with pytest.raises(UsageError, match=f"of {count} agents; expected 1 or {expected}"):
        Team(TeamSpec(Settings(), 1, MEMBERS, shared=shared, policies=given))


def test_exploration_falls_with_the_ticks_but_not_at_work() -> None:
    member = (Member("wind", 0, 1),)
    team, worker = (Team(TeamSpec(settings, 1, member)) for settings in (Settings(), AT_WORK))
    assert team.exploration().epsilon == 1.0
    for each in (team, worker):
        each.learn([lived(member, 100)], last=False)
    assert team.exploration().epsilon == pytest.approx(1 - 100 / 6_000)
    assert team.exploration().noise == pytest.approx(0.3 + (0.05 - 0.3) * 100 / 10_000)
    assert team.exploration().stochastic
    assert (worker.exploration().epsilon, worker.exploration().noise) == (0.05, 0.02)
