"""Advantage actor-critic for one continuous action in [-1, 1]: a storage's power.

The synchronous form of Mnih et al., Asynchronous Methods for Deep Reinforcement Learning, ICML
2016 (section 4, with the entropy bonus of Williams and Peng 1991): collect a few steps with the
policy, then one gradient step on them. Advantages are generalised advantage estimates (Schulman et
al., ICLR 2016), standardised for each agent on its own. The policy is a clipped Gaussian; see
`swarm.learning.gaussian`, which acts in numpy.

All agents learn at once: every array has them on the first axis and nothing mixes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field, model_validator

from swarm.errors import UsageError
from swarm.learning import networks, stacked
from swarm.learning.gaussian import HALF_LOG_2PI
from swarm.learning.networks import Spec, Weights
from swarm.learning.rollout import Bool, Float32, Rollout, advantages, standardised
from swarm.learning.state import nested, part, restore


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters of the advantage actor-critic."""

    learning_rate: float = Field(0.001, gt=0)
    """Of Adam, for the actor."""
    critic_learning_rate: float = Field(0.001, gt=0)
    """Of Adam, for the critic. A critic that learns faster than the actor follows the policy it
    values (Konda and Tsitsiklis, Actor-critic algorithms, NeurIPS 1999)."""
    steps: int = Field(32, ge=1)
    """Transitions of an agent in each world between two updates: the batch."""
    discount: float = Field(0.99, ge=0, le=1)
    """Weight of a reward one step later."""
    trace: float = Field(0.95, ge=0, le=1)
    """Lambda of the advantage estimate: 0 trusts the critic, 1 the rewards alone."""
    entropy: float = Field(0.01, ge=0)
    """Weight of the policy's entropy in the objective; more keeps it exploring for longer."""
    std_first: float = Field(0.5, gt=0)
    """Standard deviation of the actions before the first update."""
    std_least: float = Field(0.05, gt=0)
    """Smallest standard deviation. Standardised advantages grow as the spread of rewards shrinks,
    so the entropy bonus alone would not keep exploration alive."""
    std_most: float = Field(1.0, gt=0)
    """Largest standard deviation: half of the range of actions."""
    gradient_limit: float = Field(0.5, gt=0)
    """Norm to which the gradients of one agent's actor, and of its critic, are cut."""

    @model_validator(mode="after")
    def _spread(self) -> Settings:
        if not self.std_least <= self.std_first <= self.std_most:
            raise ValueError(
                f"std_first is {self.std_first}; expected std_least ({self.std_least}) or more, "
                f"and at most std_most ({self.std_most})"
            )
        return self


class Learner:
    """Learns the storage policies of `agents` agents, each from its own transitions.

    With `shared` one policy and one critic learn from the transitions of all agents.
    """

    def __init__(
        self,
        settings: Settings,
        seed: int,
        agents: int,
        first: int = 0,
        worlds: int = 1,
        shared: bool = False,
        actor: Spec = networks.STORAGE_ACTOR,
        critic: Spec = networks.STORAGE_CRITIC,
    ) -> None:
        """
        Args:
            settings: hyperparameters.
            seed: of the initial weights.
            agents: how many learn here.
            first: absolute index of the first of them, so that a split of the agents learns alike.
            worlds: simulations that run side by side and whose transitions learn together.
            shared: one policy for all agents.
            actor: network of the mean, its output `tanh`.
            critic: network of the value of an observation, one output.
        """
        stacked.deterministic()
        self.settings = settings
        self._actor_spec, self._critic_spec = actor, critic
        self._rollout = Rollout(
            agents, settings.steps, worlds, actor.inputs, actor.sizes[-1], shared
        )
        stacks, at = self._rollout.stacks, 0 if shared else first
        # Two networks need two seeds.
        policy = networks.init(actor, 2 * seed, at, stacks)
        policy["log_std"] = np.full((stacks, actor.sizes[-1]), log(settings.std_first), np.float32)
        self._actor = stacked.to_torch(policy)
        self._critic = stacked.to_torch(networks.init(critic, 2 * seed + 1, at, stacks))
        self._actor_adam = stacked.Adam(self._actor, settings.learning_rate)
        self._critic_adam = stacked.Adam(self._critic, settings.critic_learning_rate)

    @property
    def held(self) -> int:
        """Steps of each agent and world observed since the last update."""
        return self._rollout.filled

    @property
    def ready(self) -> bool:
        """Whether enough steps are there for `update`."""
        return self._rollout.full

    def observe(
        self,
        observation: Float32,
        raw: Float32,
        reward: Float32,
        next_observation: Float32,
        terminated: Bool,
        cut: Bool,
    ) -> None:
        """Take one step of all agents in all worlds.

        Args:
            observation: (agents, worlds, in).
            raw: (agents, worlds, actions), the action before the clip.
            reward: (agents, worlds); scale it to about 1 a step.
            next_observation: (agents, worlds, in), what followed, also at the end of an episode.
            terminated: bool (agents, worlds), no value follows.
            cut: bool (agents, worlds), the episode stops here by time and another starts.

        Raises:
            UsageError: the rollout is full, an array has another shape or is not finite.
        """
        self._rollout.add(
            observation=observation,
            raw=raw,
            reward=reward,
            next_observation=next_observation,
            terminated=terminated,
            cut=cut,
        )

    def update(self, tick: int) -> dict[str, Float32]:
        """One gradient step of every actor and critic on the steps observed, which are then gone.

        Args:
            tick: of the update; nothing is drawn here, so it changes nothing.

        Returns:
            "policy" and "value" loss, "entropy" of the policy and "gradient", the norm of the
            actor's gradient before the cut, each (stacks,).

        Raises:
            UsageError: there are not enough steps yet.
        """
        if not self.ready:
            raise UsageError(f"tick {tick}: update needs {self.settings.steps} observed steps")
        settings, held = self.settings, self._rollout
        observation = torch.from_numpy(held.flat("observation"))
        following = torch.from_numpy(held.flat("next_observation"))
        raw = torch.from_numpy(held.flat("raw"))

        value = stacked.forward(self._critic_spec, self._critic, observation)[..., 0]
        with torch.no_grad():
            next_value = stacked.forward(self._critic_spec, self._critic, following)[..., 0]
        advantage = advantages(
            held.arrays["reward"],
            value.detach().numpy().reshape(held.shape),
            next_value.numpy().reshape(held.shape),
            held.arrays["terminated"],
            held.arrays["cut"],
            settings.discount,
            settings.trace,
        ).reshape(held.stacks, -1)
        target = value.detach() + torch.from_numpy(advantage)

        mean = stacked.forward(self._actor_spec, self._actor, observation)
        log_std = self._actor["log_std"]
        density = log_density(raw, mean, log_std[:, None])
        policy_loss = -(density * torch.from_numpy(standardised(advantage))).mean(dim=1)
        entropy = (log_std + HALF_LOG_2PI + 0.5).sum(dim=1)
        grads = stacked.gradients((policy_loss - settings.entropy * entropy).sum(), self._actor)
        norm = stacked.clip(grads, settings.gradient_limit)
        self._actor_adam.step(grads)
        with torch.no_grad():
            log_std.clamp_(log(settings.std_least), log(settings.std_most))

        value_loss = 0.5 * ((value - target) ** 2).mean(dim=1)
        grads = stacked.gradients(value_loss.sum(), self._critic)
        stacked.clip(grads, settings.gradient_limit)
        self._critic_adam.step(grads)

        held.filled = 0
        return {
            "policy": policy_loss.detach().numpy(),
            "value": value_loss.detach().numpy(),
            "entropy": entropy.detach().numpy(),
            "gradient": norm.numpy(),
        }

    def weights(self) -> Weights:
        """The policies to act with (`gaussian.act`): the network's arrays and "log_std"."""
        return stacked.to_numpy(self._actor)

    def adopt(self, weights: Weights) -> None:
        """Go on from these weights; UsageError names an array that does not fit."""
        restore(self._actor, weights)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it takes to go on to the same bytes, copied."""
        return nested(
            actor=stacked.to_numpy(self._actor),
            critic=stacked.to_numpy(self._critic),
            actor_adam=self._actor_adam.state(),
            critic_adam=self._critic_adam.state(),
            rollout=self._rollout.state(),
        )

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; UsageError names an array that does not fit."""
        restore(self._actor, part(state, "actor"))
        restore(self._critic, part(state, "critic"))
        self._actor_adam.load(part(state, "actor_adam"))
        self._critic_adam.load(part(state, "critic_adam"))
        self._rollout.load(part(state, "rollout"))


def log_density(raw: torch.Tensor, mean: torch.Tensor, log_std: torch.Tensor) -> torch.Tensor:
    """Log density of actions before the clip, (n, batch), summed over actions.

    Args:
        raw: (n, batch, actions).
        mean: (n, batch, actions).
        log_std: (n, 1, actions).
    """
    score = (raw - mean) / log_std.exp()
    return (-0.5 * score**2 - log_std - HALF_LOG_2PI).sum(dim=2)
