"""The learned policy of agents: observe, run the networks, turn what they give into an action.

Numpy alone: this runs in every process that hosts agents. `swarm.learning.team` learns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarm.agents import act as actions
from swarm.agents.battery import Battery
from swarm.agents.experience import Experience
from swarm.agents.kinds import KINDS
from swarm.agents.memory import Memory, empty
from swarm.agents.observation import VECTORS
from swarm.agents.observe import observe
from swarm.agents.policy import Exploration, Learned, Settled, Traits
from swarm.agents.view import View, price_points
from swarm.errors import RunError
from swarm.learning import gaussian, networks
from swarm.learning.choice import best_or_any
from swarm.learning.diary import Decision, Diary
from swarm.learning.networks import SPECS, Weights
from swarm.messages import Float

Float32 = NDArray[np.float32]

PRICE_SCALE = 50.0
"""Money per MWh that is a reward of 1 for a MW over an hour."""
LEAST_SPREAD = 10.0
"""The same of storages and consumers at least; above it the spread of the known prices, so that a
day of dear hours does not outweigh all others."""

_COST_WEIGHT = {"consumer": 0.0}
"""Share of its true cost that a kind's reward counts; 1 for all others. A consumer's true cost is
discomfort at its comfort price, and it never puts off load for less than that price. Counted once
more, it would learn to shift load only between hours that differ by more than the comfort price."""


class Trained:
    """Acts on learned weights; see `swarm.agents.policy.Learning`."""

    traits = Traits(stochastic=False, needs_training=True, has_memory=True)

    @property
    def STATE(self) -> tuple[str, ...]:
        """See `swarm.snapshot`; what it acts with changes only where it learns."""
        learns = ("_diary", "_weights") if self._explores is not None else ()
        return ("_memory", "_settled", *learns)

    def __init__(self, kind: Any, parameters: Any) -> None:
        self._kind = next(name for name, module in KINDS.items() if module is kind)
        self._slots = len(kind.SIDES)
        self._parameters = parameters
        self._weights: dict[str, Weights] = {}
        self._explores: Exploration | None = None
        self._memory: Memory | None = None
        self._diary: Diary | None = None
        self._settled: Settled | None = None

    def take(self, learned: Learned) -> None:
        """Act with this from now on.

        Raises:
            RunError: weights of a network that the kind has are missing.
        """
        for network in VECTORS[self._kind]:
            if network not in learned.weights:
                raise RunError(f"policy 'trained' of {self._kind} has no weights {network!r}")
            self._weights[network] = dict(learned.weights[network])
        self._explores = learned.exploration
        if self._explores is not None and self._diary is None:
            self._diary = Diary()

    def act(self, state: Any, view: View) -> Float:
        """See `Policy`.

        Raises:
            RunError: it was given no weights.
        """
        if not self._weights:
            raise RunError(f"policy 'trained' of {self._kind} was given no weights")
        memory = self._remember(view)
        seen = observe(self._kind, self._parameters, state, view, memory)
        told = self._explores
        explores = told if told is not None and told.stochastic else None
        chosen = {
            network: _choose(network, self._weights[network], x, view, explores)
            for network, x in seen.items()
        }
        median = memory.median_per_mwh(view.signal)
        given = {network: action for network, (action, _, _) in chosen.items()}
        action: Float = _ACTION[self._kind](self._parameters, state, view, given, median)
        memory.price_per_mwh = _PRICE[self._kind](action)
        if self._diary is not None and told is not None:
            kept = {network: (raw, density) for network, (_, raw, density) in chosen.items()}
            decision = Decision(
                tick=view.signal.tick,
                seen=seen,
                chosen=kept,
                scale=_scales(self._kind, self._parameters, view),
                reference_mwh=_reference_mwh(self._kind, self._parameters, view),
                held_mwh=_held_mwh(self._kind, self._parameters, state, view.tick_hours),
                cost_weight=_COST_WEIGHT.get(self._kind, 1.0),
                median_per_mwh=median,
            )
            self._diary.decided(decision, view.signal.price_per_mwh)
        return action

    def settle(self, settled: Settled) -> None:
        """Keep what the interval paid: it is observed, and learned from."""
        self._settled = settled
        if self._diary is not None:
            self._diary.settled(settled)

    def experience(self) -> dict[str, Experience]:
        """See `Learning`."""
        return {} if self._diary is None else self._diary.experience()

    def _remember(self, view: View) -> Memory:
        """What it knows of its own market, up to date."""
        if self._memory is None:
            self._memory = empty(len(view.standing), self._slots, view.tick_hours)
        memory = self._memory
        if len(view.accepted_w):
            memory.accepted_w = view.accepted_w
        if self._settled is not None:
            memory.received_micro = self._settled.received_micro
        memory.see(view.signal)
        return memory


def _choose(
    network: str, weights: Weights, x: Float32, view: View, explores: Exploration | None
) -> tuple[NDArray[Any], NDArray[Any], Float32]:
    """What is done, what learning takes for it, and its log density (0 where nobody asks)."""
    spec, nothing = SPECS[network], np.zeros(len(x), dtype=np.float32)
    if network == "generator":
        epsilon = 0.0 if explores is None else explores.epsilon
        level = best_or_any(networks.forward(spec, weights, x), epsilon, view.uniforms)
        return level, level, nothing
    if network == "storage":
        noise = None if explores is None else gaussian.of_uniforms(view.uniforms[:, 2:3])
        done = gaussian.act(spec, weights, x, noise)
        return done.action[:, 0], done.raw, done.log_prob
    noise = None if explores is None else gaussian.of_uniforms(view.uniforms[:, 3:4])
    std = 0.0 if explores is None else explores.noise
    share = gaussian.share(spec, weights, x, std, noise)
    return share, share, nothing


_HAS_CELLS = ("storage", "ev", "home")


def _held_mwh(kind: str, p: Any, s: Any, tick_hours: float) -> Float:
    """Energy above the floor that could be sold, (n,); of consumers what is owed, below zero."""
    if kind == "consumer":
        owed: Float = s.backlog_w * (-tick_hours / 1e6)
        return owed
    if kind not in _HAS_CELLS:
        return np.zeros(len(_size_mw(kind, p)))
    cells: Battery = p.battery
    held: Float = (s.stored_mwh - cells.floor_mwh) * cells.discharge_efficiency
    return held


def _size_mw(kind: str, p: Any) -> Float:
    """Power of what the agents decide on, (n,)."""
    size: Float
    if kind in _HAS_CELLS:
        size = p.battery.power_mw
    else:
        size = p.flexible_mw if kind == "consumer" else p.capacity_mw
    return size


def _scales(kind: str, p: Any, view: View) -> dict[str, Float]:
    """Money that is a reward of 1, by network, (n,)."""
    per_mwh = PRICE_SCALE
    if kind in (*_HAS_CELLS, "consumer"):
        points = price_points(view.signal)
        spread = np.diff(np.quantile(points, (0.1, 0.9)))[0] if len(points) else 0.0
        per_mwh = max(LEAST_SPREAD, float(spread))
    size = np.maximum(_size_mw(kind, p), 1e-6) * (view.tick_hours * per_mwh)
    return dict.fromkeys(VECTORS[kind], size)


def _reference_mwh(kind: str, p: Any, view: View) -> Float:
    """Energy that is bought whatever is decided, as expected, (n,)."""
    if "load" not in view.forecast:
        return np.zeros(len(view.standing))
    load: Float = p.load_mw * np.maximum(view.forecast["load"], 0.0) * view.tick_hours
    return load


_ACTION: dict[str, Any] = {
    "generator": lambda p, s, view, given, median: actions.of_generator(
        p, s, view, given["generator"]
    ),
    "solar": lambda p, s, view, given, median: actions.of_plant(given["generator"]),
    "wind": lambda p, s, view, given, median: actions.of_plant(given["generator"]),
    "storage": lambda p, s, view, given, median: actions.of_storage(
        p.battery, given["storage"], median
    ),
    "ev": lambda p, s, view, given, median: actions.of_vehicle(
        p, s, view, given["storage"], median
    ),
    "consumer": lambda p, s, view, given, median: actions.of_consumer(
        p, s, view, given["consumer"]
    ),
    "home": lambda p, s, view, given, median: actions.of_home(
        p, given["storage"], given["consumer"], median
    ),
}
"""What the networks give as an action of the kind."""


def _traded(action: Float) -> Float:
    """Price of the side that a battery takes part on."""
    price: Float = np.where(action[:, 0] > 0, action[:, 1], action[:, 3])
    return price


_PRICE: dict[str, Any] = {
    "generator": lambda action: action[:, 1],
    "solar": lambda action: action[:, 0],
    "wind": lambda action: action[:, 0],
    "storage": _traded,
    "ev": _traded,
    "consumer": lambda action: action[:, 1],
    "home": _traded,
}
"""Price per MWh that an action offers at, as the agent remembers it."""
