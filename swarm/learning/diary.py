"""What a learning policy writes down until it is known what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from swarm.agents.experience import Experience
from swarm.agents.policy import Settled
from swarm.agents.view import nominal_hz
from swarm.messages import Float

Float32 = NDArray[np.float32]
REWARD_LIMIT = 10.0
"""Rewards are cut to this on both sides: about ten hours of the usual profit in one hour."""
STABILITY_WEIGHT = 0.1
"""Penalty of a reward where frequency ends an interval 1 % off nominal or more; in proportion."""


@dataclass(frozen=True)
class Decision:
    """What n agents saw and chose in one tick.

    Attributes:
        tick: which.
        seen: network -> float32 (n, in).
        chosen: network -> its actions, and their log density, float32 (n,).
        scale: network -> (n,), money of a reward of 1 in this tick.
        reference_mwh: (n,), energy bought in the tick by an agent that does nothing of its own
            will; what it costs at the clearing price is none of the policy's doing.
        held_mwh: (n,), energy held before the tick that could be sold; below zero: what was put off
            and must be caught up.
        median_per_mwh: running median price.
        cost_weight: share of the true cost that counts.
    """

    tick: int
    seen: Mapping[str, Float32]
    chosen: Mapping[str, tuple[NDArray[np.generic], Float32]]
    scale: Mapping[str, Float]
    reference_mwh: Float
    held_mwh: Float
    median_per_mwh: float
    cost_weight: float


@dataclass
class _Page:
    decision: Decision
    after: Decision | None = None
    price_per_mwh: float = float("nan")
    reward: dict[str, Float32] = field(default_factory=dict)


class Diary:
    """Of the n agents of a shard. Decisions come in order of ticks, and so do settlements."""

    STATE = ("_value_per_mwh", "_pages")
    """See `swarm.snapshot`."""

    def __init__(self) -> None:
        self._value_per_mwh = float("nan")
        self._pages: list[_Page] = []

    def decided(self, decision: Decision, last_price_per_mwh: float) -> None:
        """Write down what was decided; the last price is that of the decision before."""
        if np.isnan(self._value_per_mwh):
            self._value_per_mwh = decision.median_per_mwh
        if self._pages:
            self._pages[-1].after = decision
            self._pages[-1].price_per_mwh = last_price_per_mwh
        self._pages.append(_Page(decision))

    def settled(self, settled: Settled) -> None:
        """Write down what came of the decision for an interval."""
        for page in self._pages:
            if page.decision.tick == settled.tick and page.after is not None:
                page.reward = self._rewards(page, page.after, settled)

    def _rewards(self, page: _Page, after: Decision, settled: Settled) -> dict[str, Float32]:
        decision = page.decision
        money = reward_money(decision, after, page.price_per_mwh, settled, self._value_per_mwh)
        # The first decision is made before any frequency is known.
        deviation = abs(settled.frequency_hz / nominal_hz(settled.frequency_hz) - 1) / 0.01
        penalty = STABILITY_WEIGHT * min(1.0, float(np.nan_to_num(deviation)))
        return {
            network: np.clip(money / scale - penalty, -REWARD_LIMIT, REWARD_LIMIT).astype(
                np.float32
            )
            for network, scale in decision.scale.items()
        }

    def experience(self) -> dict[str, Experience]:
        """Decisions whose reward is known, by network; they leave the diary."""
        done = 0
        while done < len(self._pages) and self._pages[done].reward:
            done += 1
        pages, self._pages = self._pages[:done], self._pages[done:]
        return {network: _experience(network, pages) for network in pages[0].reward} if done else {}


def reward_money(
    decision: Decision,
    after: Decision,
    price_per_mwh: float,
    settled: Settled,
    value_per_mwh: float,
) -> Float:
    """Money that came of a decision, (n,): what was earned less what it truly cost.

    Added are what the load that was not chosen cost, and the value of the energy held after less
    that before, at one price from the first decision on: a potential, which moves reward from the
    hour in which energy is sold to the hours in which it was bought; over a whole run it adds
    nothing but the value of what is left (Ng, Harada and Russell, Policy invariance under reward
    transformations, ICML 1999).
    """
    profit = (settled.received_micro - decision.cost_weight * settled.cost_micro) / 1e6
    bound = np.nan_to_num(price_per_mwh) * decision.reference_mwh
    gained = np.nan_to_num(value_per_mwh) * (after.held_mwh - decision.held_mwh)
    money: Float = profit + bound + gained
    return money


def _experience(network: str, pages: list[_Page]) -> Experience:
    """Of pages whose reward is known; whose agents they are the caller knows."""
    after = [page.after for page in pages]
    action, log_prob = (
        np.stack([page.decision.chosen[network][part] for page in pages]) for part in (0, 1)
    )
    return Experience(
        tick=np.array([page.decision.tick for page in pages]),
        agent=np.arange(action.shape[1]),
        observation=np.stack([page.decision.seen[network] for page in pages]),
        action=action,
        log_prob=log_prob.astype(np.float32),
        reward=np.stack([page.reward[network] for page in pages]),
        next_observation=np.stack([each.seen[network] for each in after if each is not None]),
    )
