"""A simulation that agents learn in, run a few ticks at a time by the ordinary engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from swarm.agents.experience import Experience
from swarm.agents.policy import Learned
from swarm.grid.balance import Operated
from swarm.loop import steps
from swarm.market.record import Cleared, TickRecord
from swarm.runtime.inline import InlineEngine
from swarm.runtime.packing import even, pack
from swarm.runtime.setup import plan
from swarm.scenario.schema import Scenario
from swarm.world.world import build_world


class _Nothing:
    """Results of training are what was learned."""

    def write(self, record: TickRecord, operated: Operated) -> None:
        """Keeps nothing."""


class LearningWorld:
    """One run of a scenario in this process, without results."""

    def __init__(
        self,
        scenario: Scenario,
        data: Path | None,
        learned: Mapping[str, Learned],
        preference: tuple[float, ...] | None = None,
    ) -> None:
        """
        Args:
            scenario: what is run; nothing is signed.
            data: real data, as the scenario says.
            learned: by kind, what agents act with at first; other kinds follow the heuristic, and
                the operator what the scenario says.
            preference: of an operator that learns; None: the scenario's.

        Raises:
            UsageError: the scenario cannot be run.
        """
        unsigned = scenario.trust.model_copy(update={"signatures": "none"})
        scenario = scenario.model_copy(update={"trust": unsigned, "baseline": None})
        if "operator" in learned and scenario.grid is not None:
            grid = scenario.grid.model_copy(update={"operator": "trained"})
            scenario = scenario.model_copy(update={"grid": grid})
        self._preference = preference
        ready = plan(build_world(scenario, data), "trained", learned=learned)
        hosts = even(ready, 1)
        market, operator = pack(ready, hosts)
        self._engine = InlineEngine(replace(market, keep_orders=False), operator, hosts)
        self._prices: list[float] = []
        self._steps = steps(self._engine, scenario.ticks, _Nothing(), self._watch)

    def advance(
        self, learned: Mapping[str, Learned], ticks: int
    ) -> tuple[dict[str, dict[str, Experience]], list[float]]:
        """Let the agents act with `learned` for some ticks.

        Returns:
            What they lived through, by kind and network, and the clearing prices.
        """
        self._engine.take(learned, self._preference)
        for _ in islice(self._steps, ticks):
            pass
        prices, self._prices = self._prices, []
        return self._engine.experience(), prices

    def _watch(self, cleared: Cleared, operated: Operated) -> None:
        if cleared.price_milli is not None:
            self._prices.append(cleared.price_milli / 1000)
