"""The agents of a scenario: fleets drawn by seed into columns of parameters, ordered by id."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from swarm.errors import UsageError
from swarm.rng import uniforms
from swarm.scenario.assets import ASSETS
from swarm.scenario.check import drawn_id
from swarm.scenario.draws import parse_draw
from swarm.scenario.roster import Roster
from swarm.scenario.schema import Choice, Fleet, Normal, Scenario, Uniform


def rosters(scenario: Scenario) -> tuple[Roster, ...]:
    """The agents of `scenario` by kind, empty kinds left out.

    Raises:
        UsageError: where a drawn agent breaks a rule of its kind, or two agents share an id.
    """
    by_kind: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for fleet in scenario.fleets:
        by_kind.setdefault(fleet.kind, []).extend(_members(fleet, scenario.seed))
    found, first = [], 0
    seen: set[str] = set()
    for kind in sorted(by_kind):
        members = sorted(by_kind[kind], key=lambda member: member[0])
        for name, _, _ in members:
            if name in seen:
                raise UsageError(f"fleets: duplicate agent name {name!r}; names must be unique")
            seen.add(name)
        if members:
            ids, fleets, assets = zip(*members, strict=True)
            found.append(Roster(kind, first, ids, fleets, assets))
            first += len(members)
    return tuple(found)


def _members(fleet: Fleet, seed: int) -> list[tuple[str, str, dict[str, Any]]]:
    count = len(fleet.agents) if fleet.count is None else fleet.count
    drawn = {
        name: _draw(parse_draw(value), seed, f"fleet/{fleet.name}/{name}", count)
        for name, value in fleet.parameters.items()
    }
    model = ASSETS[fleet.kind]
    members = []
    for index in range(count):
        given = {name: values[index] for name, values in drawn.items()}
        name = drawn_id(fleet.name, index + 1)
        if fleet.agents:
            own = dict(fleet.agents[index])
            name = own.pop("name")
            for field, value in own.items():
                stream = f"fleet/{fleet.name}/{field}"
                given[field] = _draw(parse_draw(value), seed, stream, count)[index]
        try:
            asset = model.model_validate(given).model_dump()
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise UsageError(
                f"fleets.{fleet.name}: agent {name!r}: {field}{': ' if field else ''}"
                f"{first['msg'].removeprefix('Value error, ')}; "
                "change the fleet's parameters so that every agent drawn from them is valid"
            ) from None
        members.append((name, fleet.name, asset))
    return members


def _draw(value: Any, seed: int, stream: str, count: int) -> list[Any]:
    """`count` values; a pure function of seed, stream and position in the fleet."""
    if not isinstance(value, Uniform | Normal | Choice):
        return [value] * count
    u = uniforms(seed, stream, 0, 0, count)[:, 0]
    if isinstance(value, Uniform):
        low, high = value.uniform
        return (low + (high - low) * u).tolist()  # type: ignore[no-any-return]
    if isinstance(value, Normal):
        from scipy.special import ndtri

        mean, deviation = value.normal
        low = float(_PHI_MINUS_3)
        z = ndtri(low + (1 - 2 * low) * u)
        return (mean + deviation * z).tolist()  # type: ignore[no-any-return]
    return [value.choice[int(x * len(value.choice))] for x in u]


_PHI_MINUS_3 = 0.0013498980316300933
"""Probability of a standard normal below -3: where a normal draw is cut."""
