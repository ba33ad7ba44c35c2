"""A shard that lives through ticks by hand: prices, what is accepted and what is paid are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from swarm.agents.effects import Clock
from swarm.agents.policy import Exploration, Learned
from swarm.agents.shard import Shard
from swarm.learning.networks import Weights
from swarm.messages import NOTHING, Orders, StepReply
from tests.agents.helpers import shard_spec, signal

GREEDY = Exploration(0.0, 0.0, stochastic=False)
NAN = float("nan")


@dataclass(frozen=True)
class Tick:
    """What becomes of the offers of one tick.

    Attributes:
        price: at which it clears.
        paid: money that each agent receives for it.
        accept: from the orders to the watts accepted; None: all.
        policy: weights by network that agents act with from this tick on; None: as before.
        frequency_hz: at its end.
    """

    price: float
    paid: Sequence[float]
    accept: Callable[[Orders], Any] | None = None
    policy: Mapping[str, Weights] | None = None
    frequency_hz: float = NAN


def learner(
    kind: str,
    assets: Sequence[dict[str, Any]],
    policy: Mapping[str, Weights],
    exploration: Exploration | None = GREEDY,
    first: int = 0,
) -> Shard:
    """A shard of agents that act on `policy`, in ticks of an hour."""
    spec = shard_spec(kind, assets, policy="trained", clock=Clock(60, 0.0), first=first)
    return Shard(replace(spec, learned=Learned(policy, exploration)))


def live(shard: Shard, ticks: Sequence[Tick], **of_signal: Any) -> list[StepReply]:
    """Step `shard` until the last of `ticks` is settled; what is offered after them is refused.

    As in a run, clearing and price of a tick are told one step later, money and frequency two.
    """
    replies: list[StepReply] = []
    for at in range(len(ticks) + 2):
        before, earlier = at - 1, at - 2
        accepted, received = NOTHING, NOTHING
        if before >= 0:
            orders = replies[before].orders
            accepted = np.zeros_like(orders.quantity)
            if before < len(ticks):
                accept = ticks[before].accept
                accepted = orders.quantity if accept is None else np.asarray(accept(orders))
        if earlier >= 0:
            received = np.rint(np.array(ticks[earlier].paid) * 1e6).astype(np.int64)
        policy = ticks[at].policy if at < len(ticks) else None
        if policy is not None:
            shard.take(Learned(policy, GREEDY))
        told = {
            "price_per_mwh": ticks[before].price if 0 <= before < len(ticks) else NAN,
            "frequency_hz": ticks[earlier].frequency_hz if earlier >= 0 else NAN,
            **of_signal,
        }
        replies.append(shard.step(signal(at, **told), accepted, received))
    return replies
