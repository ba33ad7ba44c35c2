"""Games of bidders with known equilibria, as arrays, and learners that play many of them at once.

Each game maps levels, int (games, firms), to profits, float64 (games, firms), and prices (games,).
The oracles below find every equilibrium of the same grid by trying each firm's every deviation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations_with_replacement, product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from swarm.learning import dqn, networks
from swarm.learning.choice import epsilon_greedy, price_levels
from swarm.learning.networks import Spec

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class Game(Protocol):
    """A one-shot game in which every firm picks one of `levels`."""

    levels: Float

    @property
    def firms(self) -> int:
        """Number of firms."""
        ...

    def play(self, level: Int) -> tuple[Float, Float]:
        """Profits (games, firms) and prices (games,) of the picks (games, firms)."""
        ...


@dataclass(frozen=True)
class Auction:
    """Offers of whole capacities at one price each into a uniform-price auction of fixed demand.

    The dearest offer that sells sets the price, equal offers share pro rata. Two firms of 100 MW at
    10 and 20 $/MWh under a cap of 100: at a demand of 80 the cheap firm undercuts the other's cost
    (Bertrand); at 150 one of them is needed and asks for the cap (von der Fehr and Harbord, Spot
    market competition in the UK electricity industry, Economic Journal 103, 1993).
    """

    cost_per_mwh: tuple[float, ...]
    demand_mw: float
    capacity_mw: float = 100.0
    levels: Float = field(default_factory=lambda: price_levels(5.0, 100.0))
    """20 prices; the last is the cap."""

    @property
    def firms(self) -> int:
        """See `Game`."""
        return len(self.cost_per_mwh)

    def play(self, level: Int) -> tuple[Float, Float]:
        """See `Game`."""
        offer = self.levels[level]
        cheaper = (offer[:, None, :] < offer[:, :, None]).sum(axis=2) * self.capacity_mw
        equal = (offer[:, None, :] == offer[:, :, None]).sum(axis=2) * self.capacity_mw
        sold = self.capacity_mw * np.clip((self.demand_mw - cheaper) / equal, 0.0, 1.0)
        price = np.where(sold > 0, offer, 0.0).max(axis=1)
        return (price[:, None] - np.array(self.cost_per_mwh)) * sold, price


@dataclass(frozen=True)
class Cournot:
    """Quantities into an inverse demand of price 100 - Q at a cost of 10.

    With n firms the equilibrium quantity of each is 90 / (n + 1): prices 40, 32.5 and 25 for 2, 3
    and 5 firms (Cournot 1838). The levels contain those quantities.
    """

    firms: int
    levels: Float = field(default_factory=lambda: np.linspace(2.5, 50.0, 20))
    """20 quantities."""

    def play(self, level: Int) -> tuple[Float, Float]:
        """See `Game`."""
        quantity = self.levels[level]
        price = np.maximum(0.0, 100.0 - quantity.sum(axis=1))
        return (price[:, None] - 10.0) * quantity, price


def stable(game: Game, profiles: Int) -> NDArray[np.bool_]:
    """Whether each profile (k, firms) is a pure Nash equilibrium: no firm gains alone; (k,)."""
    profit, _ = game.play(profiles)
    holds = np.ones(len(profiles), dtype=np.bool_)
    for firm, level in product(range(game.firms), range(len(game.levels))):
        other = profiles.copy()
        other[:, firm] = level
        holds &= game.play(other)[0][:, firm] <= profit[:, firm] + 1e-9
    return holds


def equilibrium_prices(game: Game, profiles: Int | None = None) -> Float:
    """The prices, ascending, of the pure equilibria among `profiles` (all of them unless given)."""
    if profiles is None:
        profiles = np.array(list(product(range(len(game.levels)), repeat=game.firms)))
    _, prices = game.play(profiles[stable(game, profiles)])
    return np.unique(prices)


def multisets(game: Game) -> Int:
    """All profiles up to the order of the firms, for firms that are alike."""
    return np.array(list(combinations_with_replacement(range(len(game.levels)), game.firms)))


def at_two_levels(game: Game) -> Int:
    """All profiles of like firms in which some are at one level and the others at one other."""
    levels = range(len(game.levels))
    chosen = [
        [low] * count + [high] * (game.firms - count)
        for low, high in combinations_with_replacement(levels, 2)
        for count in range(1, game.firms)
    ]
    return np.array(chosen)


def learned_prices(
    game: Game,
    games: int,
    settings: dqn.Settings,
    reward_unit: float,
    rounds: int = 3000,
    worlds: int = 16,
    seed: int = 0,
) -> Float:
    """The price of `games` independent games after their firms learned, each by a DQN; (games,).

    A game is a seed: all firms of all games are one stack. Each round is played in `worlds` copies
    that explore apart, then everybody learns once. The price is the mean over the last tenth of
    the rounds of what the firms' greedy levels clear at. A firm sees nothing but a constant.

    Args:
        game: the game.
        games: how many, each from other weights and draws.
        settings: of the DQN.
        reward_unit: profits are divided by it.
        rounds: of play, one update each.
        worlds: copies in a round.
        seed: of everything.
    """
    spec = Spec((1, 32, len(game.levels)))
    n = games * game.firms
    learner = dqn.Learner(settings, seed, n, spec=spec)
    seen = np.ones((n, worlds, 1), dtype=np.float32)
    never = np.zeros((n, worlds), dtype=np.bool_)
    prices = []
    for tick in range(rounds):
        values = networks.forward(spec, learner.weights(), seen[:, 0])
        if 10 * tick >= 9 * rounds:
            prices.append(game.play(values.argmax(axis=1).reshape(games, -1))[1])
        rows = values.repeat(worlds, axis=0)
        level = epsilon_greedy(rows, settings.epsilon(tick), seed, "toys/explore", tick, 0)
        by_world = level.reshape(games, game.firms, worlds).transpose(0, 2, 1)
        profit, _ = game.play(by_world.reshape(-1, game.firms))
        by_firm = profit.reshape(games, worlds, game.firms).transpose(0, 2, 1)
        reward = (by_firm.reshape(n, worlds) / reward_unit).astype(np.float32)
        learner.observe(seen, level.reshape(n, worlds), reward, seen, never)
        if learner.ready:
            learner.update(tick)
    return np.mean(prices, axis=0)
