"""What the agents of a run follow: the policies asked for, or those that are at hand and fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swarm.agents.policy import Learned
from swarm.errors import UsageError
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Scenario

if TYPE_CHECKING:
    from swarm.learning.files import Loaded

SHIPPED = Path(__file__).parents[1] / "learning" / "shipped"
"""The policies that come with the package."""


@dataclass(frozen=True)
class Minds:
    """What the agents of a run follow.

    Attributes:
        policy: name of it.
        learned: what agents act with that follow `trained`, by kind; kinds that are missing follow
            the heuristic.
        notes: what the user should know.
        source: where the weights come from, for the manifest; None: there are none.
    """

    policy: str
    learned: Mapping[str, Learned] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: Mapping[str, str] | None = None


def minds_of(
    policy: str | None, folder: Path | None, scenario: Scenario, agents: Sequence[Roster]
) -> Minds:
    """Settle what the agents of a scenario follow.

    Args:
        policy: asked for; None: `trained` for every kind that was trained on agents like those of
            the scenario, the heuristic for others.
        folder: of trained policies; None: those that come with the package.
        scenario: what is run.
        agents: of the scenario, by kind.

    Raises:
        UsageError: policies that cannot be read, or of another number of agents; a folder of
            policies that are not asked for; or `trained` where no kind was trained.
    """
    operated = scenario.grid is not None and scenario.grid.operator == "trained"
    if policy not in (None, "trained") and not operated:
        if folder is not None:
            raise UsageError(f"--policies-from is for --policy trained, not for {policy}")
        return Minds(policy)
    if policy is None and folder is None and not operated and not SHIPPED.exists():
        return Minds("heuristic")
    from swarm.learning.files import load_policies

    loaded = load_policies(folder or SHIPPED)
    source = {"policies": str(folder or "shipped"), "sha256": loaded.sha256}
    learned: dict[str, Learned] = {}
    notes: list[str] = []
    beyond_training: dict[str, list[str]] = {}
    if operated:
        if "operator" not in loaded.policies:
            raise UsageError("grid.operator is 'trained', and the policies have none for it")
        learned["operator"] = Learned(loaded.policies["operator"])
    if policy not in (None, "trained"):
        return Minds(policy, learned, (), source)
    for roster in agents:
        if roster.kind not in loaded.policies:
            if policy is not None or folder is not None:
                notes.append(f"no policy was trained for {roster.kind}: heuristic")
            continue
        beyond = _beyond(loaded, roster, scenario)
        if beyond and policy is None and folder is None:
            beyond_training.setdefault(beyond, []).append(roster.kind)
            continue
        if beyond:
            notes.append(f"{roster.kind} is trained, but not for this: {beyond}")
        learned[roster.kind] = Learned(_of(loaded, roster))
    for reason, those in beyond_training.items():
        verb = "follows" if len(those) == 1 else "follow"
        notes.append(f"{', '.join(those)} {verb} the heuristic: {reason}")
    if beyond_training:
        notes.append("`--policy trained` uses trained policies all the same")
    kinds = learned.keys() - {"operator"}
    if not kinds and (policy is not None or folder is not None):
        known = ", ".join(sorted(loaded.policies))
        raise UsageError(
            f"--policy trained: the scenario has no agents of a trained kind ({known})"
        )
    if not learned:
        return Minds("heuristic", notes=tuple(notes))
    return Minds("trained" if kinds else "heuristic", learned, tuple(notes), source)


def _of(loaded: Loaded, roster: Roster) -> dict[str, dict[str, Any]]:
    networks = loaded.policies[roster.kind]
    for network, weights in networks.items():
        stacks = len(weights["layer0.bias"])
        if stacks not in (1, len(roster)):
            raise UsageError(
                f"--policies-from: {roster.kind}/{network} is of {stacks} agents; the scenario has "
                f"{len(roster)}, expected as many or one policy for all"
            )
    return networks


def _beyond(loaded: Loaded, roster: Roster, scenario: Scenario) -> str:
    """In what the agents lie outside what their policy was trained on; empty: in nothing.

    The card of a kind says under "covers" the lowest and highest value of `tick_minutes` and of
    parameters of the agents, the market mechanisms, whether reserve was bought, and whether they
    were price takers: then all of them together must fit through the connection outside.
    """
    covers: Mapping[str, Any] = loaded.card.get("kinds", {}).get(roster.kind, {}).get("covers", {})
    for name, known in covers.items():
        if name == "mechanism":
            if scenario.market.mechanism not in known:
                return (
                    f"market.mechanism is {scenario.market.mechanism}, trained on "
                    f"{', '.join(known)}"
                )
            continue
        if name == "reserve":
            bought = scenario.grid is not None and scenario.grid.reserves is not None
            if bought and not known:
                return "reserve is bought, which was not in its training"
            continue
        if name == "price_taker":
            total_mw, limit_mw = _size_mw(roster), _connection_mw(scenario)
            if known and total_mw > limit_mw:
                return (
                    f"all {roster.kind} agents together have {total_mw:g} MW, more than the "
                    f"{limit_mw:g} MW of the connection outside; trained as price takers"
                )
            continue
        low, high = known
        values = (
            np.array([float(scenario.tick_minutes)])
            if name == "tick_minutes"
            else roster.column(name)
        )
        outside = values[(values < low) | (values > high)]
        if len(outside):
            return f"{name} is {outside[0]:g}, trained on {low:g} to {high:g}"
    return ""


def _size_mw(roster: Roster) -> float:
    """Power of all agents of a kind that the kind decides on."""
    name = "capacity_mw" if roster.kind in ("generator", "solar", "wind") else "power_mw"
    return float(np.nansum(roster.column(name)))


def _connection_mw(scenario: Scenario) -> float:
    """What can flow in and out; 0 where nothing is outside."""
    outside = scenario.outside
    return 0.0 if outside is None else min(outside.import_limit_mw, outside.export_limit_mw)


def policies_section(minds: Minds, followed: Mapping[str, str]) -> dict[str, Any]:
    """What the manifest says of policies: of each kind, and where trained ones come from."""
    return {"by_kind": dict(followed), "trained": minds.source and dict(minds.source)}
