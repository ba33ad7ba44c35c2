"""The learners of all agents that learn together: experience in, weights out.

A learner for each network of each kind, in torch; what acts is `swarm.learning.policy`. Worlds that
are run side by side feed the same learners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

from swarm.agents.experience import Experience
from swarm.agents.policy import Exploration, Learned
from swarm.errors import UsageError, nearest
from swarm.learning import actor_critic, dqn, maddpg, modqn, networks, ppo
from swarm.learning.files import NETWORKS, PolicySet
from swarm.learning.networks import Weights
from swarm.learning.state import part

PUPILS = tuple((kind, network) for kind in sorted(NETWORKS) for network in NETWORKS[kind])
"""Every network that agents act with, in the order that gives each its own seed."""

Arrays = Mapping[str, NDArray[np.float32]]
"""Weights of one network, to be read."""
Lived = Mapping[str, Mapping[str, Experience]]
"""Experience by kind and network."""


class Settings(BaseModel, frozen=True, extra="forbid"):
    """How a team learns."""

    generator: dqn.Settings = dqn.Settings(
        discount=0.0, batch=256, warmup=256, replay=100_000, epsilon_end=0.0, epsilon_ticks=6000
    )
    """Of generators, solar and wind. An interval's offer hardly binds the next one: the reward of
    the interval alone is learned."""
    storage: actor_critic.Settings | ppo.Settings = ppo.Settings(
        steps=96,
        batch=2048,
        discount=0.997,
        trace=0.97,
        learning_rate=0.0005,
        entropy=0.001,
        std_least=0.15,
    )
    """Of batteries, vehicles and homes. Both are actor-critics with the same networks. One step on
    each hour suits agents at work; several passes over whole days learn much more from each of
    them, and do not follow the hour of the day."""
    consumer: maddpg.Settings = maddpg.Settings(discount=0.9)
    """Of consumers and homes."""
    operator: modqn.Settings = modqn.Settings(discount=0.9)
    """Of the grid operator. An action set too low costs only intervals later."""
    consumer_every: int = Field(4, ge=1)
    """Ticks between two updates of them: attention over a neighbourhood is dear, and what a tick
    adds to the replay is little."""
    neighbourhood: int = Field(5, ge=2)
    """Consumers next to each other that share a critic."""


AT_WORK_REPLAY = 2_000
"""Transitions kept of an agent, or of a neighbourhood, that learns at work: a week of five-minute
ticks, about 1 MB of a generator and 3 MB of five consumers."""


def changed(settings: Settings, changes: Sequence[str]) -> Settings:
    """Settings with some fields replaced, each as `network.field=value`, like `storage.batch=256`.

    Raises:
        UsageError: a field that does not exist, or a value that it does not take.
    """
    for change in changes:
        path, equals, text = change.partition("=")
        network, _, name = path.strip().partition(".")
        owner = getattr(settings, network, None)
        known = [
            f"{part}.{each}"
            for part in type(settings).model_fields
            for each in getattr(type(getattr(settings, part)), "model_fields", ())
        ]
        if not equals or not isinstance(owner, BaseModel) or name not in type(owner).model_fields:
            raise UsageError(
                f"--learning {change!r}: expected network.field=value{nearest(path, known)}"
            )
        try:
            fields = {**owner.model_dump(), name: text.strip()}
            settings = settings.model_copy(update={network: type(owner).model_validate(fields)})
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise UsageError(f"--learning {change}: {said}") from None
    return settings


def at_work(epsilon: float, noise: float) -> Settings:
    """For agents that learn on while they are at work: they explore as little at all times."""
    found = Settings()
    return found.model_copy(
        update={
            "storage": actor_critic.Settings(steps=12, learning_rate=0.0003, std_first=0.1),
            "generator": dqn.Settings(
                discount=found.generator.discount,
                replay=AT_WORK_REPLAY,
                epsilon_start=epsilon,
                epsilon_end=epsilon,
            ),
            "operator": found.operator.model_copy(
                update={"epsilon_start": epsilon, "epsilon_end": epsilon}
            ),
            "consumer": found.consumer.model_copy(
                update={"replay": AT_WORK_REPLAY, "noise_start": noise, "noise_end": noise}
            ),
        }
    )


@dataclass(frozen=True)
class Member:
    """Agents of a kind that learn."""

    kind: str
    first: int
    """Global index of the first of them."""
    agents: int


@dataclass(frozen=True)
class TeamSpec:
    """All a team is made from; it travels to where the team will learn.

    Attributes:
        settings: hyperparameters.
        seed: of the initial weights and of all draws.
        members: one entry for each kind that learns.
        worlds: simulations that run side by side.
        shared: one policy for all agents of a kind, instead of one for each.
        policies: to go on from; kinds that are missing start from new ones.
    """

    settings: Settings
    seed: int
    members: tuple[Member, ...]
    worlds: int = 1
    shared: bool = False
    policies: Mapping[str, Mapping[str, Arrays]] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One step of n agents in w worlds, agents first: (n, w, ...)."""

    observation: NDArray[np.float32]
    action: NDArray[Any]
    log_prob: NDArray[np.float32]
    reward: NDArray[np.float32]
    next_observation: NDArray[np.float32]
    cut: NDArray[np.bool_]


class _Learner(Protocol):
    @property
    def held(self) -> int: ...
    @property
    def ready(self) -> bool: ...
    def update(self, tick: int) -> dict[str, NDArray[np.float32]]: ...
    def weights(self) -> Weights: ...
    def adopt(self, weights: Weights) -> None: ...
    def state(self) -> dict[str, NDArray[Any]]: ...
    def load(self, state: Mapping[str, NDArray[Any]]) -> None: ...


class Team:
    """Learns for all agents at once, each kind with the algorithm of its networks."""

    def __init__(self, spec: TeamSpec) -> None:
        """Start from the policies of `spec`; UsageError where they do not fit."""
        self.spec, self.settings, self.members = spec, spec.settings, spec.members
        self.ticks = 0
        """Ticks learned from so far."""
        self._learners: dict[tuple[str, str], _Learner] = {}
        for member in spec.members:
            for network in NETWORKS[member.kind]:
                seed = spec.seed * len(PUPILS) + PUPILS.index((member.kind, network))
                self._learners[member.kind, network] = _learner(network, spec, seed, member)
        self.adopt(spec.policies)

    def learn(self, worlds: Sequence[Lived], last: bool) -> dict[str, float]:
        """Learn from what was lived through side by side.

        Args:
            worlds: of each world, all of the same ticks.
            last: the worlds end here.

        Returns:
            "reward/kind" and "loss/kind", means over agents, worlds and ticks, and "replay/kind",
            transitions held per policy; "kind-network" where a kind has several networks.
        """
        figures: dict[str, float] = {}
        longest = 0
        for (kind, network), learner in self._learners.items():
            parts = [world[kind][network] for world in worlds if kind in world]
            parts = [part for part in parts if len(part)]
            if not parts:
                continue
            longest = max(longest, len(parts[0]))
            losses = self._feed(network, learner, parts, last)
            figures[f"reward/{kind}"] = float(np.mean([part.reward.mean() for part in parts]))
            name = kind if len(NETWORKS[kind]) == 1 else f"{kind}-{network}"
            figures[f"replay/{name}"] = float(learner.held)
            if losses:
                figures[f"loss/{name}"] = float(np.mean(losses))
        self.ticks += longest
        return figures

    def _feed(
        self, network: str, learner: _Learner, parts: Sequence[Experience], last: bool
    ) -> list[float]:
        losses = []
        for at in range(len(parts[0])):
            _OBSERVE[network](learner, _step(parts, at, last and at == len(parts[0]) - 1))
            every = self.settings.consumer_every if network == "consumer" else 1
            if learner.ready and (self.ticks + at) % every == 0:
                told = learner.update(self.ticks + at)
                losses.append(float(told[_LOSS[network]].mean()))
        return losses

    def exploration(self) -> Exploration:
        """How agents explore by now."""
        return Exploration(
            epsilon=self.settings.generator.epsilon(self.ticks),
            noise=self.settings.consumer.noise(self.ticks),
            operator=self.settings.operator.epsilon(self.ticks),
        )

    def policies(self) -> PolicySet:
        """Weights by kind and network."""
        found: PolicySet = {member.kind: {} for member in self.members}
        for (kind, network), learner in self._learners.items():
            found[kind][network] = learner.weights()
        return found

    def learned(self, exploration: Exploration | None) -> dict[str, Learned]:
        """What agents of each kind act with."""
        return {kind: Learned(nets, exploration) for kind, nets in self.policies().items()}

    def adopt(self, policies: Mapping[str, Mapping[str, Arrays]]) -> None:
        """Go on from these policies; kinds that are missing there stay as they are.

        Raises:
            UsageError: weights that are neither of one policy nor of as many as learn here.
        """
        for (kind, network), learner in self._learners.items():
            if kind in policies:
                learner.adopt(_spread(policies[kind][network], learner.weights()))

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it takes to go on to the same bytes."""
        held = {"ticks": np.array([self.ticks], dtype=np.int64)}
        for (kind, network), learner in self._learners.items():
            for name, array in learner.state().items():
                held[f"{kind}/{network}.{name}"] = array
        return held

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; UsageError names an array that does not fit."""
        self.ticks = int(state["ticks"][0])
        for (kind, network), learner in self._learners.items():
            learner.load(part(state, f"{kind}/{network}"))


def _learner(network: str, spec: TeamSpec, seed: int, member: Member) -> _Learner:
    settings, worlds, shared = spec.settings, spec.worlds, spec.shared
    n, first = member.agents, member.first
    if network == "operator":
        return modqn.Learner(settings.operator, seed)
    if network == "generator":
        return dqn.Learner(settings.generator, seed, n, first, shared)
    if network == "storage":
        if isinstance(settings.storage, actor_critic.Settings):
            return actor_critic.Learner(settings.storage, seed, n, first, worlds, shared)
        nets = networks.STORAGE_ACTOR, networks.STORAGE_CRITIC
        return ppo.Learner(settings.storage, seed, n, *nets, first, worlds, shared)
    neighbourhood = np.arange(n) // settings.neighbourhood
    return maddpg.Learner(settings.consumer, seed, neighbourhood, first, shared=shared)


def _spread(weights: Arrays, like: Weights) -> Weights:
    """One policy for as many agents as `like` has; weights of as many stay as they are."""
    found = {}
    for name, array in like.items():
        given = weights.get(name)
        if given is None:
            # A policy made elsewhere has no spread of exploration.
            found[name] = array
        elif len(given) in (1, len(array)):
            found[name] = np.broadcast_to(given, (len(array), *given.shape[1:])).copy()
        else:
            raise UsageError(
                f"weights {name} are of {len(given)} agents; expected 1 or {len(array)}"
            )
    return found


def _step(parts: Sequence[Experience], at: int, cut: bool) -> Step:
    def side_by_side(name: str) -> NDArray[Any]:
        return np.stack([getattr(part, name)[at] for part in parts], axis=1)

    reward = side_by_side("reward")
    return Step(
        side_by_side("observation"),
        side_by_side("action"),
        side_by_side("log_prob"),
        reward,
        side_by_side("next_observation"),
        np.full(reward.shape[:2], cut),
    )


def _of_dqn(learner: dqn.Learner | modqn.Learner, step: Step) -> None:
    ended = np.zeros_like(step.cut)
    learner.observe(step.observation, step.action, step.reward, step.next_observation, ended)


def _of_actor_critic(learner: actor_critic.Learner | ppo.Learner, step: Step) -> None:
    rest = step.reward, step.next_observation, np.zeros_like(step.cut), step.cut
    if isinstance(learner, ppo.Learner):
        learner.observe(step.observation, step.action, step.log_prob, *rest)
    else:
        learner.observe(step.observation, step.action, *rest)


def _of_maddpg(learner: maddpg.Learner, step: Step) -> None:
    ended = np.zeros_like(step.cut)
    learner.observe(step.observation, step.action, step.reward, step.next_observation, ended)


_OBSERVE: dict[str, Any] = {
    "generator": _of_dqn,
    "operator": _of_dqn,
    "storage": _of_actor_critic,
    "consumer": _of_maddpg,
}
_LOSS = {"generator": "loss", "storage": "value", "consumer": "critic", "operator": "loss"}
