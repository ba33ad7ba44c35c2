"""Hindsight learning: a battery's policy follows what each choice turns out to have been worth.

Prices come from outside: nothing that a battery, a price taker, does moves them. So once an episode
is over, the best that could have followed every choice is known, and the policy is moved towards
the choices that were worth most (Sinclair et al., Hindsight learning for MDPs with exogenous
inputs, ICML 2023). The choices are made where the policy itself leads, and what is lost by each is
weighed, not counted as right or wrong (AggreVaTe: Ross and Bagnell, Reinforcement and imitation
learning via interactive no-regret learning, arXiv:1406.5979, 2014; with a gradient: Sun et al.,
Deeply AggreVaTeD, ICML 2017). Experience of many episodes learns together, as in DAgger (Ross,
Gordon and Bagnell, AISTATS 2011).

Three steps: `worths`, the value of stored energy under perfect foresight, by dynamic programming
backwards from the end; `gains`, what full charging and full discharging in a tick are worth more
than rest; `Learner`, which climbs the mean gain of what the policy does,

    max(-a, 0) gain of charging + max(a, 0) gain of discharging,     a in [-1, 1].

What is learned is best where hindsight would choose alike whatever comes. It overrates waiting for
what cannot be foreseen, as hindsight would always have known when to stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, Field

from swarm.agents.act import opportunity
from swarm.agents.battery import Battery, after_loss
from swarm.agents.experience import Experience
from swarm.agents.memory import MEDIAN_HOURS
from swarm.agents.observation import BLOCKS
from swarm.errors import UsageError
from swarm.learning import networks, stacked
from swarm.learning.networks import Weights
from swarm.learning.replay import Replay
from swarm.learning.state import nested, part, restore
from swarm.messages import Float

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

LEVELS = 41
"""Stored energies, from floor to ceiling, that the value is known at; between them it is a line."""
LEAST_SPREAD = 10.0
"""Money per MWh that is a gain of 1 at full power, at least; above it the spread of the prices."""
GAIN_LIMIT = 10.0
"""Gains are cut here, so that one wild hour does not outweigh all others."""


class Settings(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Hyperparameters of hindsight learning."""

    learning_rate: float = Field(0.001, gt=0)
    """Of Adam."""
    batch: int = Field(4096, ge=1)
    """Choices in one gradient step."""
    steps: int = Field(200, ge=1)
    """Gradient steps in one update."""
    replay: int = Field(1_000_000, ge=1)
    """Choices kept, the newest: 200 MB."""
    every: int = Field(3, ge=1)
    """Of so many ticks one is kept: those next to each other are much alike."""
    average: float = Field(0.998, ge=0, lt=1)
    """Weight of the past in the mean of the weights, which acts: it is steadier than the last
    weights, at a rate that need not fall (Polyak and Juditsky, Acceleration of stochastic
    approximation by averaging, SIAM J. Control and Optimization 30, 1992)."""
    gradient_limit: float = Field(0.5, gt=0)
    """Norm to which the gradient is cut."""


def worths(
    p: Battery,
    price_per_mwh: ArrayLike,
    tick_hours: float,
    end_value_per_mwh: ArrayLike,
    buys: Bool,
    sells: Bool,
) -> Float:
    """Value of the energy stored before each tick, under perfect foresight.

    A battery charges or discharges with all its power, or rests. Between two levels the value is a
    line: somewhat below the true one where that bends.

    Args:
        p: n batteries.
        price_per_mwh: (ticks,).
        tick_hours: length of a tick.
        end_value_per_mwh: (n,), of a stored MWh at the end.
        buys: bool (ticks, n), charging is possible.
        sells: bool (ticks, n), discharging is.

    Returns:
        float64 (ticks + 1, n, `LEVELS`), currency, at even steps from the floor to the ceiling; the
        last row is that of the end.
    """
    price = np.asarray(price_per_mwh, dtype=np.float64)
    level = np.broadcast_to(np.linspace(0.0, 1.0, LEVELS), (len(p.power_mw), LEVELS))
    stored = p.floor_mwh[:, None] + level * _span(p)[:, None]
    value = np.asarray(end_value_per_mwh, dtype=np.float64)[:, None] * (stored - stored[:, :1])
    kept = _level(p, np.stack([after_loss(p, each, tick_hours) for each in stored.T], axis=1))
    moves = _moves(p, kept, tick_hours)
    found = np.empty((len(price) + 1, *level.shape))
    found[-1] = value
    for tick in range(len(price) - 1, -1, -1):
        gained = _gains(p, found[tick + 1], price[tick], moves, buys[tick], sells[tick])
        found[tick] = _at(found[tick + 1], kept) + np.maximum(gained.max(axis=0), 0.0)
    return found


def gains(
    p: Battery,
    after: Float,
    price_per_mwh: float,
    stored_mwh: Float,
    tick_hours: float,
    buys: Bool,
    sells: Bool,
) -> Float:
    """What a tick of full charging and of full discharging are worth more than rest.

    Args:
        p: n batteries.
        after: (n, `LEVELS`), value of the energy stored after the tick, of `worths`.
        price_per_mwh: of the tick.
        stored_mwh: (n,), before the tick.
        tick_hours: its length.
        buys: bool (n,); where charging is not possible it is worth as much as rest.
        sells: bool (n,); the same of discharging.

    Returns:
        float64 (2, n), currency: charging, discharging.
    """
    kept = _level(p, after_loss(p, stored_mwh, tick_hours))[:, None]
    found = _gains(p, after, price_per_mwh, _moves(p, kept, tick_hours), buys, sells)[..., 0]
    return np.where(np.isfinite(found), found, 0.0)


def _gains(
    p: Battery,
    after: Float,
    price: float,
    moves: tuple[Float, Float, Float, Float],
    buys: Bool,
    sells: Bool,
) -> Float:
    """Gains over rest at m levels each, (2, n, m); minus infinity where it is not possible."""
    kept, fuller, emptier, span = moves
    rest = _at(after, kept)
    bought = (fuller - kept) * (span / p.charge_efficiency[:, None])
    sold = (kept - emptier) * (span * p.discharge_efficiency[:, None])
    charging = _at(after, fuller) - rest - price * bought
    discharging = _at(after, emptier) - rest + (price - p.degradation_cost_per_mwh[:, None]) * sold
    return np.where(np.stack([buys, sells])[..., None], np.stack([charging, discharging]), -np.inf)


def _moves(p: Battery, kept: Float, hours: float) -> tuple[Float, Float, Float, Float]:
    """Levels after rest, charging and discharging at full power, (n, m) each; span, (n, 1)."""
    span = _span(p)
    charge = (p.power_mw * p.charge_efficiency * hours / span)[:, None]
    discharge = (p.power_mw / p.discharge_efficiency * hours / span)[:, None]
    return kept, np.minimum(kept + charge, 1.0), np.maximum(kept - discharge, 0.0), span[:, None]


def _span(p: Battery) -> Float:
    """Energy from the floor to the ceiling, MWh, (n,)."""
    return np.maximum(p.ceiling_mwh - p.floor_mwh, 1e-9)


def _level(p: Battery, stored_mwh: Float) -> Float:
    """Stored energy as a share of the way from the floor to the ceiling; agents first."""
    agents = (slice(None), *(None,) * (stored_mwh.ndim - 1))
    level: Float = np.clip((stored_mwh - p.floor_mwh[agents]) / _span(p)[agents], 0.0, 1.0)
    return level


def _at(value: Float, level: Float) -> Float:
    """`value`, (n, `LEVELS`), at levels from 0 to 1, (n, m)."""
    place = level * (LEVELS - 1)
    below = np.minimum(place.astype(np.int64), LEVELS - 2)
    part_above = place - below
    lower, upper = (np.take_along_axis(value, below + step, axis=1) for step in (0, 1))
    found: Float = lower * (1.0 - part_above) + upper * part_above
    return found


def lesson(
    lived: Experience, p: Battery, price_per_mwh: ArrayLike, tick_hours: float
) -> tuple[Float32, Float32]:
    """What batteries saw in an episode, and what their choices were worth.

    They trade within their limit prices (`swarm.agents.act.opportunity`), of the running median of
    the prices before. What is left at the end is worth what it brings at the median of all prices.

    Args:
        lived: by the network `storage`, an episode's ticks from the first to almost the last.
        p: their batteries, n.
        price_per_mwh: (all ticks,), clearing prices of the whole episode.
        tick_hours: length of a tick.

    Returns:
        float32 (ticks, n, 48), observations, and float32 (ticks, n, 2), the gains of charging and
        discharging, in units of full power over a tick at the 10 % to 90 % spread of the prices.

    Raises:
        UsageError: fewer prices than ticks, or other agents than batteries.
    """
    price = np.asarray(price_per_mwh, dtype=np.float64)
    ticks, n = lived.observation.shape[:2]
    if price.ndim != 1 or len(price) < ticks or len(p.power_mw) != n:
        raise UsageError(
            f"prices of shape {price.shape} and {len(p.power_mw)} batteries; expected {ticks} "
            f"prices or more and {n} batteries, as many as decided"
        )
    buys, sells = _possible(p, price, tick_hours)
    worth = np.maximum(p.discharge_efficiency * (np.median(price) - p.degradation_cost_per_mwh), 0)
    value = worths(p, price, tick_hours, worth, buys, sells)
    charge = lived.observation[..., _place("charge")].astype(np.float64)
    stored = p.floor_mwh + 0.5 * (charge + 1.0) * _span(p)
    low, high = np.quantile(price, (0.1, 0.9))
    scale = p.power_mw * (tick_hours * max(LEAST_SPREAD, float(high - low)))
    found = np.stack(
        [
            gains(p, value[at + 1], price[at], stored[at], tick_hours, buys[at], sells[at])
            for at in range(ticks)
        ]
    )
    cut = np.clip(found / scale, -GAIN_LIMIT, GAIN_LIMIT)
    return lived.observation, cut.transpose(0, 2, 1).astype(np.float32)


def _possible(p: Battery, price: Float, tick_hours: float) -> tuple[Bool, Bool]:
    """Ticks in which the limit prices let batteries charge, and discharge; bool (ticks, n) each.

    Not the first: before it no price is known that could be known here.
    """
    window = max(1, round(MEDIAN_HOURS / tick_hours))
    buys, sells = np.zeros((2, len(price), len(p.power_mw)), dtype=np.bool_)
    for tick in range(1, len(price)):
        highest, lowest = opportunity(p, float(np.median(price[max(0, tick - window) : tick])))
        buys[tick], sells[tick] = price[tick] <= highest, price[tick] >= lowest
    return buys, sells


def _place(name: str) -> int:
    """Index of a block in the observation of storages."""
    names = [block.name for block in BLOCKS["storage"] for _ in range(block.size)]
    return names.index(name)


class Learner:
    """Learns one policy of storages from lessons."""

    def __init__(self, settings: Settings, seed: int) -> None:
        """
        Args:
            settings: hyperparameters.
            seed: of the initial weights and of all draws.
        """
        stacked.deterministic()
        self.settings, self._updates = settings, 0
        spec = networks.STORAGE_ACTOR
        self._actor = stacked.to_torch(networks.init(spec, seed, 0, 1))
        self._mean = stacked.to_torch(stacked.to_numpy(self._actor), grad=False)
        self._adam = stacked.Adam(self._actor, settings.learning_rate)
        fields = {"observation": ((spec.inputs,), np.float32), "gain": ((2,), np.float32)}
        self._replay = Replay(1, settings.replay, fields, seed)

    def observe(self, observation: Float32, gain: Float32) -> None:
        """Take a lesson: what `lesson` gives, (ticks, n, 48) and (ticks, n, 2)."""
        every = self.settings.every
        rows = {"observation": observation[::every], "gain": gain[::every]}
        self._replay.add({name: rows[name].reshape(1, -1, rows[name].shape[2]) for name in rows})

    def update(self) -> float:
        """Several gradient steps on what was observed; the mean gain of the choices in them.

        Raises:
            UsageError: nothing was observed.
        """
        told = []
        for step in range(self.settings.steps):
            drawn = self._replay.sample(
                self._updates * self.settings.steps + step, self.settings.batch
            )
            x, gain = (torch.from_numpy(drawn[name]) for name in ("observation", "gain"))
            power = stacked.forward(networks.STORAGE_ACTOR, self._actor, x)[..., 0]
            reached = (torch.relu(-power) * gain[..., 0] + torch.relu(power) * gain[..., 1]).mean()
            grads = stacked.gradients(-reached, self._actor)
            stacked.clip(grads, self.settings.gradient_limit)
            self._adam.step(grads)
            self._follow()
            told.append(float(reached.detach()))
        self._updates += 1
        return float(np.mean(told))

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the mean of the weights follow them."""
        for name, mean in self._mean.items():
            mean.lerp_(self._actor[name], 1.0 - self.settings.average)

    def weights(self) -> Weights:
        """Of the policy, without a spread of exploration."""
        return stacked.to_numpy(self._mean)

    def adopt(self, weights: Weights) -> None:
        """Go on from these weights; UsageError names an array that does not fit."""
        restore(self._actor, weights)
        restore(self._mean, weights)

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything it takes to go on to the same bytes, copied."""
        return {
            "updates": np.array([self._updates], dtype=np.int64),
            **nested(
                actor=stacked.to_numpy(self._actor),
                mean=stacked.to_numpy(self._mean),
                adam=self._adam.state(),
                replay=self._replay.state(),
            ),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` gave; UsageError names an array that does not fit."""
        self._updates = int(state["updates"][0])
        restore(self._actor, part(state, "actor"))
        restore(self._mean, part(state, "mean"))
        self._adam.load(part(state, "adam"))
        self._replay.load(part(state, "replay"))
