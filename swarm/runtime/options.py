"""How a scenario is run, and who is told how it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from swarm.grid.balance import Operated
from swarm.market.record import Cleared
from swarm.runtime.telemetry import Watched
from swarm.scenario.schema import Scenario

EngineName = Literal["ray", "inline"]


class Progress(Protocol):
    """Is told how a run goes on; all of it is for people and reaches no result."""

    def note(self, text: str) -> None:
        """Something the user should know."""

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """What is about to run is complete and valid; ids of its agents in global order."""

    def starting(self, ready: int, actors: int) -> None:
        """Actors come up."""

    def traced(self, trace_id: str) -> None:
        """The run is traced under this id."""

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """A tick went by."""


class Silent:
    """A progress that says nothing."""

    def note(self, text: str) -> None:
        """Says nothing."""

    def begin(self, scenario: Scenario, names: Sequence[str]) -> None:
        """Says nothing."""

    def starting(self, ready: int, actors: int) -> None:
        """Says nothing."""

    def traced(self, trace_id: str) -> None:
        """Says nothing."""

    def tick(self, cleared: Cleared, operated: Operated) -> None:
        """Says nothing."""


@dataclass(frozen=True)
class Options:
    """How a scenario is run; policies, learning, data and keys change its results, the rest not.

    Attributes:
        policy: what agents follow; None: see `minds_of`.
        policies_from: folder of trained policies.
        learn: agents go on learning during the run.
        share_policies: one policy for all agents of a kind learns, instead of one for each.
        checkpoint_every: ticks between two checkpoints; None: as many as keep their cost small, 0:
            none are made.
        watched: metrics, traces and pace.
    """

    engine: EngineName = "ray"
    address: str | None = None
    agents_per_actor: int | Literal["auto"] = "auto"
    policy: str | None = "heuristic"
    data: Path | None = None
    out: Path | None = Path("runs")
    keys: Path | None = None
    policies_from: Path | None = None
    learn: bool = False
    share_policies: bool = False
    checkpoint_every: int | None = None
    watched: Watched = field(default_factory=Watched)

    def told(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "engine": self.engine,
            "address": self.address,
            "agents_per_actor": self.agents_per_actor,
            "policy": self.policy,
            "policies_from": None if self.policies_from is None else str(self.policies_from),
            "learn": self.learn,
            "share_policies": self.share_policies,
            "data": None if self.data is None else str(self.data),
            "keys": None if self.keys is None else str(self.keys),
            "checkpoint_every": self.checkpoint_every,
        }
