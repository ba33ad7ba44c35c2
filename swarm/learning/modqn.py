"""Multi-objective double DQN: the grid operator's choice between stability, cost and emissions.

A conditioned network (Abels, Roijers, Lenaerts, Nowe and Steckelmacher, Dynamic weights in
multi-objective deep reinforcement learning, ICML 2019): it values each action in every objective
given the preference, a weight vector that is part of the observation, and the policy takes the
action of the highest weighted sum. Each transition is learned under the preference it was made
with and, as in that paper, under another one, so that one run covers the whole simplex of
preferences. Targets are those of double DQN; see `swarm.learning.dqn`.

Each objective has a network of its own, of the size that the operator's `Spec` states: an agent
is `objectives` neighbouring rows of the stack. Acting is numpy, in `choice`:
`vector_values`, `scalarised`, `epsilon_greedy`. Weighted sums find the convex part of the Pareto
front alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from torch import Tensor

from swarm.errors import UsageError
from swarm.learning import networks, stacked
from swarm.learning.choice import check_transitions, linear_schedule, preferences
from swarm.learning.draws import wide_uniforms
from swarm.learning.networks import Spec, Weights
from swarm.learning.replay import Replay
from swarm.learning.state import nested, part, restore

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters of multi-objective double DQN."""

    objectives: int = Field(3, ge=1)
    """Numbers in a reward: stability, cost, emissions. More is better in each."""
    preference_at: int = Field(21, ge=0)
    """Place in the observation of the first of `objectives` weights; they sum to 1."""
    other_preferences: bool = True
    """Learn each transition under a second preference too, drawn evenly from the simplex. Off
    halves the work where the preference never changes."""
    learning_rate: float = Field(0.001, gt=0)
    """Of Adam."""
    batch: int = Field(32, ge=1)
    """Transitions of an agent in each update."""
    replay: int = Field(10_000, ge=1)
    """Transitions that are kept of an agent."""
    warmup: int = Field(32, ge=1)
    """Transitions of an agent before the first update."""
    discount: float = Field(0.99, ge=0, le=1)
    """Weight of the values one step later; 0 learns the reward of the next interval alone."""
    target_every: int = Field(200, ge=1)
    """Updates between two copies of the weights to the target networks."""
    gradient_limit: float = Field(10.0, gt=0)
    """Norm to which the gradients of one agent's network of one objective are cut."""
    epsilon_start: float = Field(1.0, ge=0, le=1)
    """Probability of a random action at tick 0."""
    epsilon_end: float = Field(0.05, ge=0, le=1)
    """Probability of a random action from `epsilon_ticks` on."""
    epsilon_ticks: int = Field(10_000, ge=1)
    """Ticks of decisions over which that probability falls in a straight line."""

    def epsilon(self, tick: int) -> float:
        """Probability of a random action at `tick`."""
        return linear_schedule(self.epsilon_start, self.epsilon_end, self.epsilon_ticks, tick)


class Learner:
    """Learns the vector action values of `agents` agents, each from its own transitions."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        agents: int = 1,
        first: int = 0,
        spec: Spec = networks.OPERATOR,
    ) -> None:
        """
        Args:
            settings: hyperparameters.
            seed: of the initial weights and of all draws.
            agents: how many learn here.
            first: absolute index of the first of them, so that a split of the agents learns alike.
            spec: network from observation to the value of each action in one objective.

        Raises:
            UsageError: the preference does not fit into the observation.
        """
        objectives, at = settings.objectives, settings.preference_at
        if at + objectives > spec.inputs:
            raise UsageError(
                f"preference_at is {at}; expected at most {spec.inputs - objectives}, as "
                f"{objectives} weights follow in an observation of {spec.inputs}"
            )
        stacked.deterministic()
        self.settings = settings
        self._seed, self._first, self._agents = seed, first, agents
        self._spec = spec
        weights = networks.init(spec, seed, first * objectives, agents * objectives)
        self._online = stacked.to_torch(weights)
        self._target = stacked.to_torch(weights, grad=False)
        self._adam = stacked.Adam(self._online, settings.learning_rate)
        self._replay = Replay(
            agents,
            settings.replay,
            {
                "observation": ((spec.inputs,), np.float32),
                "action": ((), np.int64),
                "reward": ((objectives,), np.float32),
                "next_observation": ((spec.inputs,), np.float32),
                "terminated": ((), np.bool_),
            },
            seed,
            first,
        )
        self._updates = 0

    @property
    def held(self) -> int:
        """Transitions held to learn from, per policy."""
        return len(self._replay)

    @property
    def ready(self) -> bool:
        """Whether there are enough transitions for `update`."""
        return len(self._replay) >= self.settings.warmup

    @property
    def replay_bytes(self) -> int:
        """Memory of the full replay, which never grows beyond it."""
        return self._replay.bytes

    def observe(
        self,
        observation: Float32,
        action: Int,
        reward: Float32,
        next_observation: Float32,
        terminated: Bool,
    ) -> None:
        """Keep the transitions of one step of all agents in all worlds.

        Args:
            observation: (agents, worlds, in), the preference in its place.
            action: int64 (agents, worlds), from 0.
            reward: (agents, worlds, objectives); scale each to about 1 a step.
            next_observation: (agents, worlds, in), what followed, also at the end of an episode.
            terminated: bool (agents, worlds), no value follows. An episode that only runs out of
                time has not terminated.

        Raises:
            UsageError: an array has another shape, an action is not one, a number is not finite.
        """
        rows: dict[str, NDArray[Any]] = {
            "observation": observation,
            "action": action,
            "reward": reward,
            "next_observation": next_observation,
            "terminated": terminated,
        }
        check_transitions(rows, self._spec.sizes[-1])
        self._replay.add(rows)

    def update(self, tick: int) -> dict[str, Float32]:
        """One gradient step of every network on a batch from its agent's replay.

        Args:
            tick: position in the streams of draws: another one for each update.

        Returns:
            "loss", the mean squared error, and "gradient", the norm of the gradient before the
            cut; each (agents, objectives).

        Raises:
            UsageError: there are not enough transitions yet.
        """
        settings = self.settings
        if not self.ready:
            raise UsageError(f"tick {tick}: update needs {settings.warmup} observed transitions")
        drawn = {
            name: torch.from_numpy(array)
            for name, array in self._replay.sample(tick, settings.batch).items()
        }
        if settings.other_preferences:
            drawn = self._under_two_preferences(drawn, tick)
        reward = drawn["reward"].transpose(1, 2)
        target = reward
        if settings.discount > 0:
            weight = self._preference(drawn["next_observation"]).transpose(1, 2)[..., None]
            with torch.no_grad():
                online = self._values(self._online, drawn["next_observation"])
                picked = (weight * online).sum(dim=1).argmax(dim=2)
                value = _of(self._values(self._target, drawn["next_observation"]), picked)
                over = drawn["terminated"][:, None]
                target = reward + settings.discount * value.masked_fill(over, 0.0)

        value = _of(self._values(self._online, drawn["observation"]), drawn["action"])
        loss = ((value - target) ** 2).mean(dim=2)
        grads = stacked.gradients(loss.sum(), self._online)
        norm = stacked.clip(grads, settings.gradient_limit)
        self._adam.step(grads)

        self._updates += 1
        if self._updates % settings.target_every == 0:
            with torch.no_grad():
                for name, tensor in self._target.items():
                    tensor.copy_(self._online[name])
        return {"loss": loss.detach().numpy(), "gradient": norm.numpy().reshape(loss.shape)}

    def weights(self) -> Weights:
        """The networks to act with (`choice.vector_values`), copied: (agents * objectives, ...)."""
        return stacked.to_numpy(self._online)

    def adopt(self, weights: Weights) -> None:
        """Go on from these weights; UsageError names an array that does not fit."""
        restore(self._online, weights)
        restore(self._target, weights)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it takes to go on to the same bytes, copied."""
        return nested(
            online=stacked.to_numpy(self._online),
            target=stacked.to_numpy(self._target),
            adam=self._adam.state(),
            replay=self._replay.state(),
            learner={"updates": np.array([self._updates], dtype=np.int64)},
        )

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; UsageError names an array that does not fit."""
        restore(self._online, part(state, "online"))
        restore(self._target, part(state, "target"))
        self._adam.load(part(state, "adam"))
        self._replay.load(part(state, "replay"))
        self._updates = int(state["learner.updates"][0])

    def _preference(self, observation: Tensor) -> Tensor:
        """The weights in an observation: a view of (agents, batch, objectives)."""
        at = self.settings.preference_at
        return observation[:, :, at : at + self.settings.objectives]

    def _values(self, tensors: stacked.Tensors, observation: Tensor) -> Tensor:
        """Values (agents, objectives, batch, actions) of observations (agents, batch, in)."""
        objectives = self.settings.objectives
        values = stacked.forward(
            self._spec, tensors, observation.repeat_interleave(objectives, dim=0)
        )
        return values.reshape(self._agents, objectives, *values.shape[1:])

    def _under_two_preferences(self, drawn: dict[str, Tensor], tick: int) -> dict[str, Tensor]:
        """The batch twice: as it was, then each transition under another preference."""
        batch, objectives = self.settings.batch, self.settings.objectives
        other = preferences(
            wide_uniforms(
                self._seed,
                "learning/preferences",
                tick,
                self._first,
                self._agents,
                batch * objectives,
            ).reshape(self._agents, batch, objectives)
        )
        twice = {name: torch.cat([tensor, tensor], dim=1) for name, tensor in drawn.items()}
        for name in ("observation", "next_observation"):
            self._preference(twice[name])[:, batch:] = torch.from_numpy(other)
        return twice


def _of(values: Tensor, actions: Tensor) -> Tensor:
    """The value of one action in each row, (agents, objectives, batch).

    Args:
        values: (agents, objectives, batch, actions).
        actions: (agents, batch).
    """
    index = actions[:, None, :, None].expand(-1, values.shape[1], -1, 1)
    return values.gather(3, index)[..., 0]
