"""What is wrong with a scenario, in words: one problem per field, from pydantic's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from swarm.errors import nearest
from swarm.scenario.assets import Model
from swarm.scenario.events import AnyEvent
from swarm.scenario.yaml_reader import NodePath

_LIMITS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}
_EXPECTED = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text (in quotes)",
    "tuple_type": "a list",
}
_TIME = "an ISO 8601 date and time with its UTC offset, like '2025-06-18T00:00:00+01:00'"


@dataclass(frozen=True)
class Problem:
    """One thing wrong: the path of the field (keys and list indices) and what it is."""

    path: NodePath
    message: str

    def __str__(self) -> str:
        """`market.price_cap: message`; only the message for the scenario as a whole."""
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


def dotted(path: NodePath) -> str:
    """A path as text: `fleets[0].parameters.energy_mwh`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def shown(value: object) -> str:
    """A value as its file writes it, cut to 60 characters."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    elif isinstance(value, list | tuple):
        text = "[" + ", ".join(shown(item) for item in value) + "]"
    else:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def models_in(annotation: object) -> tuple[type[Model], ...]:
    """The scenario models an annotation mentions: `tuple[Fleet, ...]` gives `(Fleet,)`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return (annotation,)
    return tuple(model for part in get_args(annotation) for model in models_in(part))


EVENT_MODELS: dict[str, type[Model]] = {
    get_args(model.model_fields["type"].annotation)[0]: model for model in models_in(AnyEvent)
}


def member_models(model: type[Model], field: str, value: object) -> tuple[type[Model], ...]:
    """The models that may stand in `field` of `model`, or in its items; `value` is what does.

    Of several (the events) the one that `value` names by its `type`, where it does.
    """
    info = model.model_fields.get(field)
    models = models_in(info.annotation) if info else ()
    named = value.get("type") if isinstance(value, Mapping) else None
    if len(models) > 1 and isinstance(named, str) and named in EVENT_MODELS:
        return (EVENT_MODELS[named],)
    return models


def problems_of(error: ValidationError, root: type[Model], data: object) -> list[Problem]:
    """Each of pydantic's errors about `data`, read as a `root`, as one problem."""
    found: dict[NodePath, Problem] = {}
    for detail in error.errors(include_url=False):
        problem = _problem(detail, root, data)
        found.setdefault(problem.path, problem)  # a union reports each of its members
    return list(found.values())


def _problem(detail: ErrorDetails, root: type[Model], data: object) -> Problem:
    path, kind = _path_of(detail), detail["type"]
    if kind == "extra_forbidden":
        return Problem(path, f"unknown field{nearest(str(path[-1]), _fields(path, root, data))}")
    if kind == "missing":
        about = _description(path, root, data)
        return Problem(path, f"missing; add it{f' ({about})' if about else ''}")
    if kind == "union_tag_invalid":
        tag = detail["ctx"]["tag"]
        return Problem(
            (*path, "type"), f"unknown event type {tag!r}{nearest(str(tag), EVENT_MODELS)}"
        )
    if kind == "union_tag_not_found":
        return Problem(path, f"'type' is missing{nearest('', EVENT_MODELS)}")
    if kind == "value_error" and not path:
        return _whole(describe(detail), data)
    return Problem(path, describe(detail))


def _whole(message: str, data: object) -> Problem:
    """A broken rule over the whole scenario, put where the event or fleet it names stands."""
    event = re.match(r"events\[(\d+)\] \((\w+)\) ", message)
    if event:
        rest = message[event.end() :]
        return Problem(("events", int(event[1])), f"{event[2]} {rest}; move it, or run longer")
    fleet = re.fullmatch(r"duplicate fleet name '(.*)'", message)
    fleets = _item(data, "fleets")
    if fleet and isinstance(fleets, list | tuple):
        named = [i for i, item in enumerate(fleets) if _item(item, "name") == fleet[1]]
        return Problem(("fleets", *named[1:2], "name"), f"{message}; rename one")
    return Problem((), message)


def describe(detail: ErrorDetails) -> str:
    """One pydantic error in words: what it got, and what was expected."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        expected = f"{words} {context[key]:.12g}"
    elif kind == "literal_error":
        names = re.findall(r"'([^']*)'", context["expected"])
        hint = nearest(str(detail["input"]), names)
        expected = f"one of {context['expected']}" + (hint if "valid" not in hint else "")
    elif kind == "too_long":
        return f"has {context['actual_length']} items, expected at most {context['max_length']}"
    elif kind == "too_short":
        return f"has {context['actual_length']} items, expected at least {context['min_length']}"
    elif kind == "string_pattern_mismatch":
        expected = f"text that matches {context['pattern']}"
    elif kind.startswith(("datetime", "timezone")):
        expected = _TIME
    else:
        expected = _EXPECTED.get(kind) or detail["msg"].removeprefix("Input should be ")
    return f"got {shown(detail['input'])}, expected {expected}"


def converted(raw: object, value: object, path: NodePath = ()) -> Iterator[Problem]:
    """Values that pydantic turned into another type in silence: text or a boolean to a number,
    text to a boolean, a number to a time.

    `raw` is what the file has and `value` what validation made of it.
    """
    if isinstance(raw, Mapping):
        for key, item in raw.items():
            member = getattr(value, key) if isinstance(value, Model) else None
            if isinstance(value, Mapping):
                member = value[key]
            yield from converted(item, member, (*path, key))
    elif isinstance(raw, list | tuple) and isinstance(value, Sequence):
        for index, (item, member) in enumerate(zip(raw, value, strict=True)):
            yield from converted(item, member, (*path, index))
    elif isinstance(value, bool) or isinstance(raw, bool):
        if value is not raw:
            wanted = "true or false" if isinstance(value, bool) else "a number"
            yield Problem(path, f"got {shown(raw)}, expected {wanted}")
    elif isinstance(value, int | float) and isinstance(raw, str):
        yield Problem(path, f"got {shown(raw)}, expected a number, without quotes or separators")
    elif isinstance(value, datetime) and isinstance(raw, int | float):
        yield Problem(path, f"got {shown(raw)}, expected {_TIME}")


def _path_of(detail: ErrorDetails) -> NodePath:
    """Where the error is in the data: without the marks pydantic adds for unions and keys."""
    path = detail["loc"]
    if len(path) > 2 and path[0] == "events":
        path = path[:2] + path[3:]  # events, index, type of event, field
    marked = path[-1:] == ("[key]",) and detail["type"] != "extra_forbidden"
    return path[:-1] if marked else path


def _owner(path: NodePath, root: type[Model], data: object) -> tuple[type[Model], ...]:
    """The models that the mapping at `path` may be."""
    models: tuple[type[Model], ...] = (root,)
    owner, field = root, ""
    for part in path:
        data = _item(data, part)
        if isinstance(part, str):
            owner, field = models[0], part
        models = member_models(owner, field, data)
        if not models:
            break
    return models


def _item(data: object, part: str | int) -> object:
    """`data[part]`, None where there is none."""
    if isinstance(data, Mapping):
        return data.get(part)
    if isinstance(data, list | tuple) and isinstance(part, int) and part < len(data):
        return data[part]
    return None


def _fields(path: NodePath, root: type[Model], data: object) -> list[str]:
    """Names of the fields that may stand where `path` does."""
    owners = _owner(path[:-1], root, data)
    return sorted({name for owner in owners for name in owner.model_fields})


def _description(path: NodePath, root: type[Model], data: object) -> str:
    """What the field at `path` is, from the model."""
    for owner in _owner(path[:-1], root, data):
        info = owner.model_fields.get(str(path[-1]))
        if info is not None:
            return (info.description or "").rstrip(".")
    return ""
