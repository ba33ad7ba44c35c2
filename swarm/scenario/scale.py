"""`--agents N` and `--ticks N`: the same scenario, larger, smaller or shorter."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from swarm.errors import UsageError
from swarm.scenario.check import AgentIds, fleets_from_data
from swarm.scenario.events import AnyEvent, Targeted
from swarm.scenario.problems import problems_of
from swarm.scenario.schema import Fleet, Scenario

MAX_AGENTS = 10_000_000
OUTSIDE_SIZES = ("import_limit_mw", "export_limit_mw", "balancing_margin_mw", "rated_mva")


def agents_in(fleet: Fleet) -> int:
    """Number of agents of a fleet."""
    return len(fleet.agents) if fleet.count is None else fleet.count


def changed(scenario: Scenario, origin: str, **fields: Any) -> Scenario:
    """The scenario with some fields replaced, validated again (UsageError naming `origin`)."""
    data = {**dict(scenario), **fields}
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{origin}: {problems_of(error, Scenario, data)[0]}") from None


def cut(scenario: Scenario, ticks: int) -> tuple[Scenario, list[str]]:
    """The scenario with `ticks` ticks, and a note for each event that starts after its end."""
    if ticks < 1:
        raise UsageError(f"--ticks {ticks}: a run has at least 1 tick")
    kept, notes = [], []
    for index, event in enumerate(scenario.events):
        first, _ = scenario.event_ticks(event)
        if first < ticks:
            kept.append(event)
        else:
            notes.append(
                f"events[{index}] ({event.type}) is left out: it starts at tick {first}, after "
                f"the last of --ticks {ticks}"
            )
    return changed(scenario, f"--ticks {ticks}", ticks=ticks, events=tuple(kept)), notes


def scale(scenario: Scenario, agents: int, replicate: bool) -> tuple[Scenario, list[str]]:
    """The scenario with `agents` agents in the same mix, and what that changed.

    Counts follow by largest remainder, ties by fleet order; the outside connection, condensers,
    reserves and the number of feeders scale alike.
    Explicit lists are refused unless `replicate`: then they are repeated in turn, the copies
    named `.2`, `.3` and so on, or cut short. Events lose the agents that are not there any more.
    Raises UsageError for what cannot be scaled.
    """
    origin = f"--agents {agents}"
    if not 0 <= agents <= MAX_AGENTS:
        raise UsageError(f"{origin}: expected 0 to {MAX_AGENTS}")
    if fleets_from_data(scenario):
        raise UsageError(f"{origin}: the agents of an rts_gmlc scenario come from its --data")
    listed = [fleet.name for fleet in scenario.fleets if fleet.agents]
    if listed and not replicate:
        raise UsageError(
            f"{origin}: fleet {listed[0]!r} is an explicit list; add --replicate to repeat it"
        )
    before = [agents_in(fleet) for fleet in scenario.fleets]
    total = sum(before)
    if total == 0:
        if agents:
            raise UsageError(f"{origin}: the scenario has no agents to scale")
        return scenario, []
    after = largest_remainder(before, agents)
    fleets = tuple(
        _resized(fleet, count) for fleet, count in zip(scenario.fleets, after, strict=True)
    )
    mix = ", ".join(
        f"{fleet.name} {old} -> {new}"
        for fleet, old, new in zip(scenario.fleets, before, after, strict=True)
    )
    if after == before:
        return scenario, []
    notes = [f"{origin}: {mix}"]
    outside = scenario.outside
    if outside is not None:
        # Nobody at all still hangs on a grid with inertia.
        sizes = OUTSIDE_SIZES if agents else tuple(n for n in OUTSIDE_SIZES if n != "rated_mva")
        limits = {name: getattr(outside, name) * agents / total for name in sizes}
        told = ", ".join(
            f"{k} {getattr(outside, k):g} -> {v:g}"
            for k, v in limits.items()
            if getattr(outside, k)
        )
        notes.append(f"{origin}: outside {told}")
        outside = outside.model_copy(update=limits)
    ids = AgentIds(scenario.model_copy(update={"fleets": fleets}))
    events: list[AnyEvent] = []
    for index, event in enumerate(scenario.events):
        kept, note = _present(event, ids, f"events[{index}] ({event.type})")
        if kept is not None:
            events.append(kept)
        if note:
            notes.append(f"{origin}: {note}")
    sized = _grid_resized(scenario, agents / total) if agents else {}
    if sized:
        notes.append(f"{origin}: the grid's {', '.join(sized)} scale alike")
    fields = {"fleets": fleets, "outside": outside, "events": tuple(events), **sized}
    return changed(scenario, origin, **fields), notes


def _grid_resized(scenario: Scenario, factor: float) -> dict[str, Any]:
    """The sections of the physical grid that scale with its agents."""
    grid, found = scenario.grid, dict[str, Any]()
    if scenario.condensers:
        found["condensers"] = tuple(
            condenser.model_copy(update={"rated_mva": condenser.rated_mva * factor})
            for condenser in scenario.condensers
        )
    if grid is None:
        return found
    update: dict[str, Any] = {}
    if grid.reserves is not None:
        sizes = {
            name: getattr(grid.reserves, name) * factor
            for name in ("containment_mw", "restoration_mw")
        }
        update["reserves"] = grid.reserves.model_copy(update=sizes)
    if grid.feeder is not None:
        update["feeder_count"] = grid.feeder_count * factor
    if update:
        found["grid"] = grid.model_copy(update=update)
    return found


def largest_remainder(counts: list[int], total: int) -> list[int]:
    """`counts` (not all zero) scaled to sum to `total`, in exact integers (Hamilton's method)."""
    old = sum(counts)
    scaled = [count * total // old for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda i: (-(counts[i] * total % old), i))
    for index in by_remainder[: total - sum(scaled)]:
        scaled[index] += 1
    return scaled


def _resized(fleet: Fleet, count: int) -> Fleet:
    """The fleet with `count` agents."""
    if fleet.count is not None or count == 0:
        return fleet.model_copy(update={"count": count, "agents": ()})
    size = len(fleet.agents)
    repeated = []
    for index in range(count):
        copy, original = index // size + 1, fleet.agents[index % size]
        suffix = f".{copy}" if copy > 1 else ""
        repeated.append({**original, "name": f"{original['name']}{suffix}"})
    return fleet.model_copy(update={"agents": tuple(repeated)})


def _present(event: AnyEvent, ids: AgentIds, label: str) -> tuple[AnyEvent | None, str]:
    """The event without the agents that are not there (None where it names no others)."""
    if not isinstance(event, Targeted):
        return event, ""
    gone = [name for name in event.agents if name not in ids]
    if not gone:
        return event, ""
    kept = tuple(name for name in event.agents if name in ids)
    if kept or event.fleets:
        return event.model_copy(update={"agents": kept}), f"{label} loses {', '.join(gone)}"
    return None, f"{label} is left out: {', '.join(gone)} is not there"
