"""What the schema alone cannot see: parameters of each kind, agent names, targets, prices."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from swarm.errors import nearest
from swarm.scenario.assets import ASSETS, Model
from swarm.scenario.draws import corners, parse_draw, reached
from swarm.scenario.events import Islanding, PolicyChange, PriceSpike, Targeted
from swarm.scenario.policies import NOTHING_TO_RULE, RULES_OF
from swarm.scenario.problems import Problem, converted, problems_of, shown
from swarm.scenario.schema import AgentName, Choice, Draw, Fleet, Scenario
from swarm.scenario.yaml_reader import NodePath

_AGENT_NAME: TypeAdapter[str] = TypeAdapter(AgentName)
_DRAWN_ID = re.compile(r"(.+)-(\d{4,})")


def check(scenario: Scenario) -> list[Problem]:
    """Everything wrong with a scenario that its schema accepted.

    Events of an `rts_gmlc` scenario may name agents and fleets that its data brings; those
    targets are not checked here.
    """
    problems: list[Problem] = []
    for index, fleet in enumerate(scenario.fleets):
        problems += _fleet_problems(fleet, ("fleets", index))
        problems += _policy_problems(scenario, fleet, ("fleets", index, "policies"))
    problems += _duplicate_names(scenario)
    if not fleets_from_data(scenario):
        problems += _unknown_targets(scenario)
    problems += _price_problems(scenario)
    problems += _islanding_problems(scenario)
    problems += _negotiation_problems(scenario)
    return problems


def fleets_from_data(scenario: Scenario) -> bool:
    """Whether fleets arrive with --data."""
    return scenario.data is not None and scenario.data.format == "rts_gmlc"


class AgentIds:
    """The ids of a scenario's agents, without making those of drawn fleets.

    A drawn fleet `homes` of 40 has the ids homes-0001 to homes-0040.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.explicit = {
            agent["name"]
            for fleet in scenario.fleets
            for agent in fleet.agents
            if isinstance(agent.get("name"), str)
        }
        self.drawn = {f.name: f.count for f in scenario.fleets if f.count is not None}

    def __contains__(self, name: str) -> bool:
        """Whether there is an agent with this id."""
        return name in self.explicit or self.is_drawn(name)

    def is_drawn(self, name: str) -> bool:
        """Whether a drawn fleet generates this id."""
        match = _DRAWN_ID.fullmatch(name)
        if match is None or match[1] not in self.drawn or len(match[2]) > 8:
            return False
        number = int(match[2])
        return 1 <= number <= self.drawn[match[1]] and name == drawn_id(match[1], number)

    def hint(self, name: str) -> str:
        """What a name that is not there may have meant; starts with a space."""
        match = _DRAWN_ID.fullmatch(name)
        count = self.drawn.get(match[1], 0) if match else 0
        if match and count:
            first, last = drawn_id(match[1], 1), drawn_id(match[1], count)
            return f" (fleet {match[1]!r} has {first} to {last})"
        firsts = {drawn_id(fleet, 1) for fleet, count in self.drawn.items() if count}
        return nearest(name, self.explicit | firsts)


def drawn_id(fleet: str, number: int) -> str:
    """The id of an agent of a drawn fleet, numbered from 1: `homes-0007`."""
    return f"{fleet}-{number:04d}"


def _fleet_problems(fleet: Fleet, path: NodePath) -> list[Problem]:
    """Problems of a fleet's parameters and explicit agents."""
    model = ASSETS[fleet.kind]
    values, problems = _parameters(model, fleet.parameters, (*path, "parameters"))
    if problems:
        return problems  # every agent would repeat them
    if fleet.count:
        problems += _rule_problems(model, values, (*path, "parameters"))
    for index, agent in enumerate(fleet.agents):
        at = (*path, "agents", index)
        own, found = _parameters(model, {k: v for k, v in agent.items() if k != "name"}, at)
        found += _name_problems(agent, at)
        problems += found or _rule_problems(model, values | own, at)
    return problems


def _policy_problems(scenario: Scenario, fleet: Fleet, path: NodePath) -> Iterator[Problem]:
    """Rules that a fleet's kind has no orders for, and prices that the market would not take."""
    rules = RULES_OF[fleet.kind]
    for name in fleet.policies.declared:
        if name not in rules:
            text = f"a {fleet.kind} fleet {NOTHING_TO_RULE[name]}"
            yield Problem((*path, name), f"{text}; rules for {fleet.kind}: {', '.join(rules)}")
    low, high = fleet.policies.min_price_per_mwh, fleet.policies.max_price_per_mwh
    caps = [event.price_cap for event in scenario.events if isinstance(event, PolicyChange)]
    cap, floor = min([scenario.market.price_cap, *caps]), scenario.market.price_floor
    if low is not None and low.limit > cap:
        text = f"{low.limit:g} is above the market's price_cap {cap:g}; no order could follow it"
        yield Problem((*path, "min_price_per_mwh"), text)
    if high is not None and high.limit < floor:
        text = f"{high.limit:g} is below market.price_floor {floor:g}; no order could follow it"
        yield Problem((*path, "max_price_per_mwh"), text)


def _name_problems(agent: Mapping[str, Any], path: NodePath) -> list[Problem]:
    if "name" not in agent:
        return [Problem(path, "an agent needs a 'name'")]
    try:
        _AGENT_NAME.validate_python(agent["name"])
    except ValidationError as error:
        return [Problem((*path, "name"), p.message) for p in problems_of(error, Model, None)]
    return []


def _parameters(
    model: type[Model], raw: Mapping[str, Any], path: NodePath
) -> tuple[dict[str, Any], list[Problem]]:
    """Parameters with their ranges read, and what is wrong with each one by itself."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, given in raw.items():
        at = (*path, name)
        if name not in model.model_fields:
            hint = nearest(str(name), model.model_fields)
            problems.append(Problem(at, f"unknown parameter of {model.__name__.lower()}{hint}"))
            continue
        try:
            values[name] = value = parse_draw(given)
        except ValueError as error:
            problems.append(Problem(at, str(error)))
            continue
        if not isinstance(value, Draw):
            problems += _field_problems(model, name, value, path)
        elif not isinstance(value, Choice) and not _takes_fractions(model, name):
            text = f"{shown(given)} draws fractions; give a value or {{choice: [..]}}"
            problems.append(Problem(at, text))
        else:
            each = (_field_problems(model, name, end, path) for end in reached(value))
            worst = next((found for found in each if found), [])
            problems += [
                Problem(problem.path, f"{shown(given)} can give a bad value: {problem.message}")
                for problem in worst
            ]
    return values, problems


def _takes_fractions(model: type[Model], name: str) -> bool:
    """Whether a field is a real number (not a whole one, text, or true/false)."""
    annotation = model.model_fields[name].annotation
    return float in (annotation, *get_args(annotation)) or any(
        float in get_args(part) for part in get_args(annotation)
    )


def _field_problems(model: type[Model], name: str, value: Any, path: NodePath) -> list[Problem]:
    """What is wrong with one field alone; rules between fields are left aside."""
    data = {name: value}
    try:
        found = list(converted(data, model.model_validate(data)))
    except ValidationError as error:
        found = [problem for problem in problems_of(error, model, data) if problem.path]
    return [Problem((*path, *problem.path), problem.message) for problem in found]


def _rule_problems(model: type[Model], values: Mapping[str, Any], path: NodePath) -> list[Problem]:
    """What is wrong between fields, at the ends of what is drawn.

    Every rule of an asset compares two fields at a time, so all pairs of drawn parameters at
    their ends, the others at one of theirs, reach every way to break it.
    """
    ends = {name: corners(value) for name, value in values.items() if isinstance(value, Draw)}
    plain = {name: value for name, value in values.items() if name not in ends}
    for case in _cases(ends):
        try:
            model.model_validate(plain | case)
        except ValidationError as error:
            words = "; drawn values can reach this" if ends else ""
            return [
                Problem((*path, *problem.path), problem.message + words)
                for problem in problems_of(error, model, plain | case)
            ]
    return []


def _cases(ends: Mapping[str, tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """The first end of all, and every pair at all of its ends."""
    first = {name: values[0] for name, values in ends.items()}
    yield first
    for name, values in ends.items():
        yield from (first | {name: value} for value in values[1:])
    for one, other in combinations(ends, 2):
        for pair in product(ends[one][1:], ends[other][1:]):
            yield first | dict(zip((one, other), pair, strict=True))


def _duplicate_names(scenario: Scenario) -> Iterator[Problem]:
    """Explicit agents whose name another agent has."""
    ids = AgentIds(scenario)
    seen: dict[str, str] = {}
    for index, fleet in enumerate(scenario.fleets):
        for position, agent in enumerate(fleet.agents):
            name = agent.get("name")
            if not isinstance(name, str):
                continue
            path = ("fleets", index, "agents", position, "name")
            if name in seen:
                text = f"duplicate agent name {name!r}, also in fleet {seen[name]!r}; rename one"
                yield Problem(path, text)
            elif ids.is_drawn(name):
                text = f"duplicate agent name {name!r}: a drawn fleet generates it; rename it"
                yield Problem(path, text)
            seen.setdefault(name, fleet.name)


def _unknown_targets(scenario: Scenario) -> Iterator[Problem]:
    """Agents and fleets that events name and nobody has."""
    ids = AgentIds(scenario)
    fleets = [fleet.name for fleet in scenario.fleets]
    for index, event in enumerate(scenario.events):
        if not isinstance(event, Targeted):
            continue
        for position, name in enumerate(event.agents):
            if name not in ids:
                path: NodePath = ("events", index, "agents", position)
                yield Problem(path, f"no agent {name!r}{ids.hint(name)}")
        for position, name in enumerate(event.fleets):
            if name not in fleets:
                path = ("events", index, "fleets", position)
                yield Problem(path, f"no fleet {name!r}{nearest(name, fleets)}")


def _islanding_problems(scenario: Scenario) -> Iterator[Problem]:
    """Connections outside that are lost where there is none."""
    for index, event in enumerate(scenario.events):
        if isinstance(event, Islanding) and scenario.outside is None:
            text = "islanding: the scenario has no 'outside', so there is no connection to lose"
            yield Problem(("events", index), text)


def _negotiation_problems(scenario: Scenario) -> Iterator[Problem]:
    """What a negotiated market cannot keep: another end of the interval, more time than a tick."""
    market, seconds = scenario.market, scenario.tick_minutes * 60
    if market.mechanism != "negotiated":
        return
    if market.vertical_step != "lower":
        text = "'negotiated' ends at the lower end of the interval of clearing prices; use 'lower'"
        yield Problem(("market", "vertical_step"), text)
    if market.negotiation.budget_seconds >= seconds:
        text = f"got {market.negotiation.budget_seconds:g}, expected less than a tick of {seconds}"
        yield Problem(("market", "negotiation", "budget_seconds"), f"{text} seconds")


def _price_problems(scenario: Scenario) -> Iterator[Problem]:
    """Outside prices and caps that the market's bounds do not hold."""
    market, outside = scenario.market, scenario.outside
    if outside is not None:
        yield from _outside_price(scenario, outside.price_per_mwh, ("outside", "price_per_mwh"))
    for index, event in enumerate(scenario.events):
        if isinstance(event, PriceSpike):
            yield from _outside_price(
                scenario, event.price_per_mwh, ("events", index, "price_per_mwh")
            )
        elif isinstance(event, PolicyChange):
            path = ("events", index, "price_cap")
            if event.price_cap > market.price_cap:
                yield Problem(
                    path,
                    f"{event.price_cap:g} is above market.price_cap {market.price_cap:g}; "
                    "set market.price_cap to the highest cap of the run",
                )
            elif event.price_cap <= market.price_floor:
                yield Problem(
                    path,
                    f"{event.price_cap:g} is not above market.price_floor {market.price_floor:g}",
                )


def _outside_price(scenario: Scenario, price: float, path: NodePath) -> Iterator[Problem]:
    """An outside price whose import or export offer the market would refuse."""
    market, outside = scenario.market, scenario.outside
    premium = outside.import_premium_per_mwh if outside else 0.0
    discount = outside.export_discount_per_mwh if outside else 0.0
    if price + premium > market.price_cap:
        more = f" plus import_premium_per_mwh {premium:g}" if premium else ""
        yield Problem(
            path,
            f"outside price {price:g}{more} is above market.price_cap {market.price_cap:g}; "
            "raise the cap or lower the price",
        )
    if price - discount < market.price_floor:
        less = f" less export_discount_per_mwh {discount:g}" if discount else ""
        yield Problem(
            path,
            f"outside price {price:g}{less} is below market.price_floor {market.price_floor:g}; "
            "lower the floor or raise the price",
        )
