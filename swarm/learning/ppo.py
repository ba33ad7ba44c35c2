"""Proximal policy optimisation: a neighbourhood node's transfers and its exchange with the grid.

Schulman et al., Proximal Policy Optimization Algorithms, arXiv:1707.06347, 2017: collect steps,
then several epochs of minibatches on the clipped objective (equation 7). Advantages are generalised
advantage estimates (Schulman et al., ICLR 2016), standardised for each agent on its own. An action
is several numbers in [-1, 1], one per neighbour and one for the grid, from a clipped Gaussian; see
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
from torch import Tensor

from swarm.errors import UsageError
from swarm.learning import networks, stacked
from swarm.learning.draws import wide_uniforms
from swarm.learning.gaussian import HALF_LOG_2PI
from swarm.learning.networks import Spec, Weights
from swarm.learning.rollout import Bool, Float32, Rollout, advantages, standardised
from swarm.learning.state import nested, part, restore


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters of proximal policy optimisation."""

    learning_rate: float = Field(0.001, gt=0)
    """Of Adam, for the actor."""
    critic_learning_rate: float = Field(0.001, gt=0)
    """Of Adam, for the critic."""
    steps: int = Field(128, ge=1)
    """Transitions of an agent in each world between two updates."""
    epochs: int = Field(4, ge=1)
    """Passes over those transitions in one update."""
    batch: int = Field(32, ge=1)
    """Transitions in one gradient step; the last of a pass takes what is left. With a shared policy
    all agents' transitions count, so a multiple of the number of agents keeps updates quick."""
    discount: float = Field(0.99, ge=0, le=1)
    """Weight of a reward one step later."""
    trace: float = Field(0.95, ge=0, le=1)
    """Lambda of the advantage estimate: 0 trusts the critic, 1 the rewards alone."""
    ratio_limit: float = Field(0.2, gt=0, lt=1)
    """Epsilon of the clipped objective: a transition no longer pulls once the policy gives its
    action a density that differs by more than this share."""
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
    """Learns the policies of `agents` agents, each from its own transitions.

    With `shared` one policy and one critic learn from the transitions of all agents.
    """

    def __init__(
        self,
        settings: Settings,
        seed: int,
        agents: int,
        actor: Spec,
        critic: Spec,
        first: int = 0,
        worlds: int = 1,
        shared: bool = False,
    ) -> None:
        """
        Args:
            settings: hyperparameters.
            seed: of the initial weights and of the order of the minibatches.
            agents: how many learn here.
            actor: network of the mean, its output `tanh`, one number per neighbour and one more.
            critic: network of the value of an observation, one output.
            first: absolute index of the first agent, so that a split of the agents learns alike.
            worlds: simulations that run side by side and whose transitions learn together.
            shared: one policy for all agents.
        """
        stacked.deterministic()
        self.settings = settings
        self._actor_spec, self._critic_spec = actor, critic
        self._rollout = Rollout(
            agents, settings.steps, worlds, actor.inputs, actor.sizes[-1], shared, log_prob=True
        )
        stacks, self._first, self._seed = self._rollout.stacks, 0 if shared else first, seed
        # Two networks need two seeds.
        policy = networks.init(actor, 2 * seed, self._first, stacks)
        policy["log_std"] = np.full((stacks, actor.sizes[-1]), log(settings.std_first), np.float32)
        self._actor = stacked.to_torch(policy)
        self._critic = stacked.to_torch(networks.init(critic, 2 * seed + 1, self._first, stacks))
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
        log_prob: Float32,
        reward: Float32,
        next_observation: Float32,
        terminated: Bool,
        cut: Bool,
    ) -> None:
        """Take one step of all agents in all worlds.

        Args:
            observation: (agents, worlds, in).
            raw: (agents, worlds, actions), the actions before the clip.
            log_prob: (agents, worlds), log density of `raw` under the policy that acted.
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
            log_prob=log_prob,
            reward=reward,
            next_observation=next_observation,
            terminated=terminated,
            cut=cut,
        )

    def update(self, tick: int) -> dict[str, Float32]:
        """Several passes over the steps observed, which are then gone.

        Args:
            tick: of the update; the order of the minibatches is drawn by it.

        Returns:
            Means over the gradient steps of "policy" and "value" loss, "entropy", "clipped" (the
            share of transitions beyond the ratio limit) and "divergence" (estimated KL divergence
            from the policy that acted), each (stacks,).

        Raises:
            UsageError: there are not enough steps yet.
        """
        if not self.ready:
            raise UsageError(f"tick {tick}: update needs {self.settings.steps} observed steps")
        settings, held = self.settings, self._rollout
        observation = torch.from_numpy(held.flat("observation"))
        advantage, target = self._estimates()
        data = {
            "observation": observation,
            "raw": torch.from_numpy(held.flat("raw")),
            "log_prob": torch.from_numpy(held.flat("log_prob")),
            "advantage": torch.from_numpy(standardised(advantage)),
            "target": torch.from_numpy(target),
        }
        total = advantage.shape[1]
        stacks = torch.arange(held.stacks)[:, None]
        steps: list[dict[str, Tensor]] = []
        for epoch in range(settings.epochs):
            stream = f"learning/ppo/{epoch}"
            drawn = wide_uniforms(self._seed, stream, tick, self._first, held.stacks, total)
            order = torch.from_numpy(drawn.argsort(axis=1, kind="stable"))
            for start in range(0, total, settings.batch):
                chosen = order[:, start : start + settings.batch]
                rows = {name: array[stacks, chosen] for name, array in data.items()}
                steps.append(self._step_actor(rows) | self._step_critic(rows))
        held.filled = 0
        return {
            name: torch.stack([step[name] for step in steps]).mean(0).numpy() for name in steps[0]
        }

    def _estimates(self) -> tuple[Float32, Float32]:
        """Advantages and targets of the values, each (stacks, batch), by the critic as it is."""
        held = self._rollout
        with torch.no_grad():
            value, next_value = (
                stacked.forward(self._critic_spec, self._critic, torch.from_numpy(held.flat(name)))
                .numpy()
                .reshape(held.shape)
                for name in ("observation", "next_observation")
            )
        advantage = advantages(
            held.arrays["reward"],
            value,
            next_value,
            held.arrays["terminated"],
            held.arrays["cut"],
            self.settings.discount,
            self.settings.trace,
        )
        return advantage.reshape(held.stacks, -1), (advantage + value).reshape(held.stacks, -1)

    def _step_actor(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """One gradient step of every actor on its minibatch; what there is to report, (stacks,)."""
        settings = self.settings
        log_std = self._actor["log_std"]
        mean = stacked.forward(self._actor_spec, self._actor, rows["observation"])
        score = (rows["raw"] - mean) / log_std[:, None].exp()
        log_prob = (-0.5 * score**2 - log_std[:, None] - HALF_LOG_2PI).sum(dim=2)
        change = log_prob - rows["log_prob"]
        ratio = change.exp()
        limited = ratio.clamp(1 - settings.ratio_limit, 1 + settings.ratio_limit)
        gain = torch.minimum(ratio * rows["advantage"], limited * rows["advantage"]).mean(dim=1)
        entropy = (log_std + HALF_LOG_2PI + 0.5).sum(dim=1)
        grads = stacked.gradients(-(gain + settings.entropy * entropy).sum(), self._actor)
        stacked.clip(grads, settings.gradient_limit)
        self._actor_adam.step(grads)
        with torch.no_grad():
            log_std.clamp_(log(settings.std_least), log(settings.std_most))
            return {
                "policy": -gain.detach(),
                "entropy": entropy.detach(),
                "clipped": ((ratio - 1).abs() > settings.ratio_limit).float().mean(dim=1),
                # Never negative: Schulman, Approximating KL divergence, 2020, estimator k3.
                "divergence": (ratio - 1 - change).mean(dim=1),
            }

    def _step_critic(self, rows: dict[str, Tensor]) -> dict[str, Tensor]:
        """One gradient step of every critic on its minibatch; its loss, (stacks,)."""
        value = stacked.forward(self._critic_spec, self._critic, rows["observation"])[..., 0]
        loss = 0.5 * ((value - rows["target"]) ** 2).mean(dim=1)
        grads = stacked.gradients(loss.sum(), self._critic)
        stacked.clip(grads, self.settings.gradient_limit)
        self._critic_adam.step(grads)
        return {"value": loss.detach()}

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
