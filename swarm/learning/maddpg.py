"""Multi-agent deterministic policy gradient with an attention critic: consumers of neighbourhoods.

Lowe et al., Multi-Agent Actor-Critic for Mixed Cooperative-Competitive Environments, NeurIPS 2017:
each consumer acts on its own observation, and a critic that sees the observations and actions of
the whole neighbourhood exists in training alone. The critic attends over the others as in Iqbal and
Sha, Actor-Attention-Critic for Multi-Agent Reinforcement Learning, ICML 2019 (section 3), and one
critic serves all members of a neighbourhood. Also after them, an actor's gradient takes the others'
actions from their policies of now, not from replay as Lowe et al. do: averaged over old actions, a
consumer would learn the best answer to how its neighbours used to explore. Acting is numpy:
`gaussian.share`.

All agents learn at once: actors have them on the first axis, critics the neighbourhoods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor

from swarm.errors import UsageError
from swarm.learning import networks, stacked
from swarm.learning.choice import linear_schedule
from swarm.learning.networks import Spec, Weights
from swarm.learning.replay import Replay
from swarm.learning.stacked import Tensors
from swarm.learning.state import nested, part, restore

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters of the multi-agent deterministic policy gradient."""

    learning_rate: float = Field(0.001, gt=0)
    """Of Adam, for the actors."""
    critic_learning_rate: float = Field(0.001, gt=0)
    """Of Adam, for the critics."""
    batch: int = Field(32, ge=1)
    """Joint transitions of a neighbourhood in each update."""
    replay: int = Field(10_000, ge=1)
    """Joint transitions that are kept of a neighbourhood."""
    warmup: int = Field(32, ge=1)
    """Joint transitions of a neighbourhood before the first update."""
    discount: float = Field(0.99, ge=0, le=1)
    """Weight of the value one step later; 0 learns the reward of the next interval alone."""
    target_rate: float = Field(0.01, gt=0, le=1)
    """Share of the way that the target networks move to the learned ones after each update."""
    gradient_limit: float = Field(0.5, gt=0)
    """Norm to which the gradients of one actor, and of one critic, are cut."""
    saturation: float = Field(0.001, ge=0)
    """Weight of the squared output of an actor before its tanh, as in the authors' code; it keeps
    actors from resting where tanh has no slope left."""
    noise_start: float = Field(0.3, ge=0)
    """Standard deviation of the exploration noise at tick 0, as a share of the flexible load."""
    noise_end: float = Field(0.05, ge=0)
    """Standard deviation of the noise from `noise_ticks` on."""
    noise_ticks: int = Field(10_000, ge=1)
    """Ticks over which the noise falls in a straight line."""

    def noise(self, tick: int) -> float:
        """Standard deviation of the exploration noise at `tick`."""
        return linear_schedule(self.noise_start, self.noise_end, self.noise_ticks, tick)


class Learner:
    """Learns the policies of the consumers of several neighbourhoods.

    With `shared` one actor and one critic learn from the transitions of all of them.
    """

    def __init__(
        self,
        settings: Settings,
        seed: int,
        neighbourhood: Int,
        first: int = 0,
        members: int | None = None,
        shared: bool = False,
        actor: Spec = networks.CONSUMER_ACTOR,
        critic: Callable[[int], Spec] = networks.consumer_critic,
    ) -> None:
        """
        Args:
            settings: hyperparameters.
            seed: of the initial weights and of the draws from replay.
            neighbourhood: int64 (agents,), absolute index of each agent's neighbourhood; it starts
                anywhere and grows by 0 or 1 from agent to agent.
            first: absolute index of the first agent, so that a split of the agents learns alike.
            members: places in a neighbourhood, at least 2; by default as many as the largest has.
            shared: one actor and one critic for all.
            actor: network of the action, one output, `tanh`.
            critic: network of the value, from the number of others it attends over; its input is
                the own observation and action, then those of each of the others.

        Raises:
            UsageError: neighbourhoods that do not grow so, or one of more than `members`.
        """
        stacked.deterministic()
        steps = np.diff(neighbourhood)
        if len(neighbourhood) == 0 or ((steps != 0) & (steps != 1)).any():
            raise UsageError(
                f"neighbourhood is {neighbourhood.tolist()}; expected indices that grow by 0 or 1"
            )
        group = neighbourhood - neighbourhood[0]
        sizes = np.bincount(group)
        places = max(2, int(sizes.max())) if members is None else members
        if places < max(2, sizes.max()):
            raise UsageError(
                f"members is {members}; expected at least 2 and the {sizes.max()} of the largest "
                f"neighbourhood"
            )
        self.settings = settings
        self._agents, self._groups, self._members = len(group), len(sizes), places
        # Agent i sits at place `seat[i]` of the neighbourhoods laid end to end.
        start = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._seat = group * places + np.arange(self._agents) - start[group]
        seated = np.zeros(self._groups * places, dtype=np.bool_)
        seated[self._seat] = True
        self._present = torch.from_numpy(seated.reshape(self._groups, places))
        self._others = torch.tensor([[j for j in range(places) if j != i] for i in range(places)])
        # A loss is a mean over the members that learn with the same weights.
        self._share = torch.from_numpy(
            seated.reshape(-1, places) / (self._agents if shared else sizes[:, None])
        ).float()
        self._actor_share = 1 / self._agents if shared else 1.0

        # The output before tanh: `_actions` squashes it, as `saturation` needs both.
        self._actor_spec = replace(actor, out="linear")
        self._critic_spec = critic(places - 1)
        at = int(neighbourhood[0])
        # Two networks need two seeds.
        policy = networks.init(actor, 2 * seed, *((0, 1) if shared else (first, self._agents)))
        value = networks.init(
            self._critic_spec, 2 * seed + 1, *((0, 1) if shared else (at, self._groups))
        )
        self._actor = stacked.to_torch(policy)
        self._critic = stacked.to_torch(value)
        self._target_actor = stacked.to_torch(policy, grad=False)
        self._target_critic = stacked.to_torch(value, grad=False)
        self._actor_adam = stacked.Adam(self._actor, settings.learning_rate)
        self._critic_adam = stacked.Adam(self._critic, settings.critic_learning_rate)
        seen = (places, actor.inputs)
        self._replay = Replay(
            self._groups,
            settings.replay,
            {
                "observation": (seen, np.float32),
                "action": ((places,), np.float32),
                "reward": ((places,), np.float32),
                "next_observation": (seen, np.float32),
                "terminated": ((places,), np.bool_),
            },
            seed,
            at,
        )

    @property
    def bytes(self) -> int:
        """Memory of the replay."""
        return self._replay.bytes

    @property
    def held(self) -> int:
        """Transitions held to learn from, per policy."""
        return len(self._replay)

    @property
    def ready(self) -> bool:
        """Whether enough transitions are there for `update`."""
        return len(self._replay) >= self.settings.warmup

    def observe(
        self,
        observation: Float32,
        action: Float32,
        reward: Float32,
        next_observation: Float32,
        terminated: Bool,
    ) -> None:
        """Keep one step of all agents in all worlds.

        Args:
            observation: (agents, worlds, in).
            action: (agents, worlds), in [0, 1], as it was done.
            reward: (agents, worlds); scale it to about 1 a step.
            next_observation: (agents, worlds, in), what followed, also at the end of an episode.
            terminated: bool (agents, worlds), no value follows.

        Raises:
            UsageError: an array has another shape or is not finite.
        """
        worlds = reward.shape[1:]
        seen = (self._agents, *worlds, self._actor_spec.inputs)
        given = {
            "observation": (observation, seen),
            "action": (action, seen[:2]),
            "reward": (reward, seen[:2]),
            "next_observation": (next_observation, seen),
            "terminated": (terminated, seen[:2]),
        }
        rows = {}
        for name, (array, expected) in given.items():
            if array.shape != expected:
                raise UsageError(f"{name} is {array.shape}; expected {expected}")
            if not np.isfinite(array).all():
                raise UsageError(f"{name} holds a number that is not finite")
            seats = np.zeros((self._groups * self._members, *array.shape[1:]), array.dtype)
            seats[self._seat] = array
            rows[name] = seats.reshape(self._groups, self._members, *array.shape[1:]).swapaxes(1, 2)
        self._replay.add(rows)

    def update(self, tick: int) -> dict[str, Float32]:
        """One gradient step of every critic, then of every actor, then of the target networks.

        Args:
            tick: of the update; the transitions are drawn by it.

        Returns:
            "critic" loss of each critic, (neighbourhoods,) or (1,) where shared, and "value", what
            the critic gives each agent's policy, (agents,).

        Raises:
            UsageError: there are not enough transitions yet.
        """
        if not self.ready:
            raise UsageError(f"tick {tick}: update needs {self.settings.warmup} transitions")
        settings = self.settings
        sampled = self._replay.sample(tick, settings.batch)
        rows = {name: torch.from_numpy(array) for name, array in sampled.items()}

        with torch.no_grad():
            action, _ = self._actions(self._target_actor, rows["next_observation"])
            following = together(rows["next_observation"], action)
            after = self._values(self._target_critic, following, following)
            target = rows["reward"] + settings.discount * after * ~rows["terminated"]
        done = together(rows["observation"], rows["action"])
        error = self._values(self._critic, done, done) - target
        loss = (error**2 * self._share[:, None]).mean(dim=1).sum(dim=1)
        grads = stacked.gradients(loss.sum(), self._critic)
        stacked.clip(grads, settings.gradient_limit)
        self._critic_adam.step(grads)

        action, output = self._actions(self._actor, rows["observation"])
        own = together(rows["observation"], action)
        value = self._values(self._critic, own, own.detach())
        merit = (value - settings.saturation * output**2) * self._present[:, None]
        grads = stacked.gradients(-merit.mean(dim=1).sum() * self._actor_share, self._actor)
        stacked.clip(grads, settings.gradient_limit)
        self._actor_adam.step(grads)

        with torch.no_grad():
            for target_net, online in (
                (self._target_actor, self._actor),
                (self._target_critic, self._critic),
            ):
                for name, tensor in target_net.items():
                    tensor.lerp_(online[name], settings.target_rate)
        shared = len(self._critic["layer0.bias"]) == 1
        return {
            "critic": (loss.sum(dim=0, keepdim=True) if shared else loss).detach().numpy(),
            "value": value.detach().mean(dim=1).flatten().numpy()[self._seat],
        }

    def _actions(self, actor: Tensors, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Actions in [0, 1] and outputs before tanh, each (groups, batch, members); 0 if absent."""
        batch, seat = observation.shape[1], torch.from_numpy(self._seat)
        seats = observation.transpose(1, 2).reshape(-1, batch, observation.shape[3])
        output = stacked.forward(self._actor_spec, actor, seats[seat])[..., 0]
        action, before = (
            torch.zeros(seats.shape[:2])
            .index_copy(0, seat, rows)
            .reshape(self._groups, self._members, batch)
            .transpose(1, 2)
            for rows in (0.5 + 0.5 * torch.tanh(output), output)
        )
        return action, before

    def _values(self, critic: Tensors, own: Tensor, tokens: Tensor) -> Tensor:
        """Value of each member, (groups, batch, members).

        Args:
            critic: of each group, or one.
            own: (groups, batch, members, in + 1), what a member sees and does: its query.
            tokens: the same numbers as the other members attend to them.
        """
        batch = own.shape[1]
        others = tokens[:, :, self._others].flatten(3)
        present = self._present[:, self._others][:, None].expand(-1, batch, -1, -1)
        x = torch.cat([own, others], dim=3).flatten(1, 2)
        value = stacked.forward(self._critic_spec, critic, x, present.flatten(1, 2))
        return value.reshape(own.shape[:3])

    def weights(self) -> Weights:
        """The policies to act with (`gaussian.share`), agents on the first axis."""
        return stacked.to_numpy(self._actor)

    def adopt(self, weights: Weights) -> None:
        """Go on from these weights; UsageError names an array that does not fit."""
        restore(self._actor, weights)
        restore(self._target_actor, weights)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it takes to go on to the same bytes, copied."""
        return nested(
            actor=stacked.to_numpy(self._actor),
            critic=stacked.to_numpy(self._critic),
            target_actor=stacked.to_numpy(self._target_actor),
            target_critic=stacked.to_numpy(self._target_critic),
            actor_adam=self._actor_adam.state(),
            critic_adam=self._critic_adam.state(),
            replay=self._replay.state(),
        )

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; UsageError names an array that does not fit."""
        restore(self._actor, part(state, "actor"))
        restore(self._critic, part(state, "critic"))
        restore(self._target_actor, part(state, "target_actor"))
        restore(self._target_critic, part(state, "target_critic"))
        self._actor_adam.load(part(state, "actor_adam"))
        self._critic_adam.load(part(state, "critic_adam"))
        self._replay.load(part(state, "replay"))


def together(observation: Tensor, action: Tensor) -> Tensor:
    """Observations (..., in) with the actions (...) as one more number, (..., in + 1)."""
    return torch.cat([observation, action[..., None]], dim=-1)
