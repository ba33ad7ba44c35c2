"""Double deep Q-learning for one of a few actions: a generator's price level.

Q-learning with a network, replay and a target network: Mnih et al., Human-level control through
deep reinforcement learning, Nature 518, 2015. The target network values the action that the
learning network picks: van Hasselt, Guez and Silver, Deep reinforcement learning with double
Q-learning, AAAI 2016. Acting is numpy: `networks.forward`, then `choice.epsilon_greedy`.

All agents learn at once: every array has them on the first axis and nothing mixes them.
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
from swarm.learning.choice import check_transitions, linear_schedule
from swarm.learning.networks import Spec, Weights
from swarm.learning.replay import Replay
from swarm.learning.state import nested, part, restore

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Int = NDArray[np.int64]


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters of double DQN."""

    learning_rate: float = Field(0.001, gt=0)
    """Of Adam."""
    batch: int = Field(32, ge=1)
    """Transitions of an agent in each update."""
    replay: int = Field(10_000, ge=1)
    """Transitions that are kept of an agent. Where other agents learn too, old transitions tell of
    rivals that have since changed: keep fewer."""
    warmup: int = Field(32, ge=1)
    """Transitions of an agent before the first update."""
    discount: float = Field(0.99, ge=0, le=1)
    """Weight of the value one step later; 0 learns the reward of the next interval alone."""
    target_every: int = Field(200, ge=1)
    """Updates between two copies of the weights to the target network."""
    gradient_limit: float = Field(10.0, gt=0)
    """Norm to which the gradients of one agent are cut."""
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
    """Learns the action values of `agents` agents, each from its own transitions.

    With `shared` one policy learns from the transitions of all agents.
    """

    def __init__(
        self,
        settings: Settings,
        seed: int,
        agents: int,
        first: int = 0,
        shared: bool = False,
        spec: Spec = networks.GENERATOR,
    ) -> None:
        """
        Args:
            settings: hyperparameters.
            seed: of the initial weights and of the draws from replay.
            agents: how many learn here.
            first: absolute index of the first of them, so that a split of the agents learns alike.
            shared: one policy for all agents.
            spec: network from observation to one value per action.
        """
        stacked.deterministic()
        self.settings = settings
        self._spec = spec
        self._shared = shared
        self._stacks = 1 if shared else agents
        at = 0 if shared else first
        weights = networks.init(spec, seed, at, self._stacks)
        self._online = stacked.to_torch(weights)
        self._target = stacked.to_torch(weights, grad=False)
        self._adam = stacked.Adam(self._online, settings.learning_rate)
        self._replay = Replay(
            self._stacks,
            settings.replay,
            {
                "observation": ((spec.inputs,), np.float32),
                "action": ((), np.int64),
                "reward": ((), np.float32),
                "next_observation": ((spec.inputs,), np.float32),
                "terminated": ((), np.bool_),
            },
            seed,
            at,
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
            observation: (agents, worlds, in).
            action: int64 (agents, worlds), from 0.
            reward: (agents, worlds); scale it to about 1 a step.
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
        if self._shared:
            # One ring for all: agent by agent, the worlds of each in order.
            rows = {name: row.reshape(1, -1, *row.shape[2:]) for name, row in rows.items()}
        self._replay.add(rows)

    def update(self, tick: int) -> dict[str, Float32]:
        """One gradient step of every policy on a batch from its own replay.

        Args:
            tick: position in the stream of draws: another one for each update.

        Returns:
            "loss", the mean squared error; "value", the mean value of the actions taken; and
            "gradient", the norm of the gradient before the cut; each (stacks,).

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
        target = drawn["reward"]
        if settings.discount > 0:
            following = drawn["next_observation"]
            with torch.no_grad():
                picked = stacked.forward(self._spec, self._online, following).argmax(dim=2)
                value = _of(stacked.forward(self._spec, self._target, following), picked)
                target = target + settings.discount * value.masked_fill(drawn["terminated"], 0.0)

        value = _of(
            stacked.forward(self._spec, self._online, drawn["observation"]), drawn["action"]
        )
        loss = ((value - target) ** 2).mean(dim=1)
        grads = stacked.gradients(loss.sum(), self._online)
        norm = stacked.clip(grads, settings.gradient_limit)
        self._adam.step(grads)

        self._updates += 1
        if self._updates % settings.target_every == 0:
            with torch.no_grad():
                for name, tensor in self._target.items():
                    tensor.copy_(self._online[name])
        return {
            "loss": loss.detach().numpy(),
            "value": value.detach().mean(dim=1).numpy(),
            "gradient": norm.numpy(),
        }

    def weights(self) -> Weights:
        """The networks to act with, copied."""
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


def _of(values: Tensor, actions: Tensor) -> Tensor:
    """The value of one action in each row: (n, batch, actions) and (n, batch) to (n, batch)."""
    return values.gather(2, actions[:, :, None])[:, :, 0]
