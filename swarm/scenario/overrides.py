"""`--set path=value`: one field of a scenario given on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_origin

from swarm.errors import UsageError, nearest
from swarm.scenario.assets import Model
from swarm.scenario.problems import member_models, shown
from swarm.scenario.schema import Scenario
from swarm.scenario.yaml_reader import NodePath, parse_value


def apply_sets(data: dict[str, Any], sets: Sequence[str]) -> dict[NodePath, str]:
    """Write each `path=value` into `data` (changed in place), later ones over earlier ones.

    A path is dotted; list items go by index, fleets, condensers and agents also by name
    (`fleets.homes.count`). Values are YAML. Returns the path of each set and its text as given.
    Raises UsageError for a set without '=', a path that leads nowhere and a value that is not
    YAML; whether the value fits its field is for validation to say.
    """
    origins: dict[NodePath, str] = {}
    for text in sets:
        origin = f"--set {text}"
        target, equals, value = text.partition("=")
        segments = target.strip().split(".")
        if not equals or not all(segments):
            raise UsageError(f"{origin}: expected path=value, like market.price_cap=20000")
        path = _write(data, segments, parse_value(value, f"{origin}: value"), origin)
        origins.pop(path, None)
        origins[path] = origin
    return origins


def _write(data: dict[str, Any], segments: list[str], value: Any, origin: str) -> NodePath:
    """Put `value` where `segments` lead, making optional mappings on the way."""
    node: Any = data
    models: tuple[type[Model], ...] = (Scenario,)
    path: NodePath = ()
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        so_far = ".".join(segments[:position])
        if isinstance(node, list):
            key: str | int = _index(node, segment, so_far, origin)
        elif isinstance(node, dict):
            key = segment
            fields = sorted({name for model in models for name in model.model_fields})
            if fields and key not in fields:
                where = f" of {so_far!r}" if so_far else ""
                raise UsageError(f"{origin}: no field {key!r}{where}{nearest(key, fields)}")
            if not fields and so_far in ("data.columns", "data.scale"):
                key, last = ".".join(segments[position:]), True  # names of series may have dots
        else:
            raise UsageError(f"{origin}: {so_far!r} is {shown(node)}; it has no fields")
        path = (*path, key)
        if last:
            node[key] = value
            return path
        if isinstance(key, str) and node.get(key) is None:
            _make(node, key, models, so_far, origin)
        node = node[key]
        if isinstance(key, str):
            field, owners = key, models
        models = tuple(m for owner in owners for m in member_models(owner, field, node))
    raise AssertionError("a set has at least one segment")


def _make(
    node: dict[str, Any], key: str, models: tuple[type[Model], ...], so_far: str, origin: str
) -> None:
    """Make the mapping that is not in the file, where the field is one."""
    for model in models:
        info = model.model_fields.get(key)
        if info is None:
            continue  # one of several event types, another of which has the field
        made = member_models(model, key, None)
        if get_origin(info.annotation) is tuple:
            raise UsageError(f"{origin}: {key!r} has no items in the file")
        if not made and get_origin(info.annotation) is not dict:
            raise UsageError(f"{origin}: {key!r} is a single value; it has no fields")
    node[key] = {}


def _index(items: list[Any], segment: str, so_far: str, origin: str) -> int:
    """The index that a segment names: a number, or the name of an item."""
    names = [item.get("name") for item in items if isinstance(item, dict)]
    if segment in names:
        return next(
            index
            for index, item in enumerate(items)
            if isinstance(item, dict) and item.get("name") == segment
        )
    if segment.isascii() and segment.isdigit() and len(segment) < 10:
        if int(segment) < len(items):
            return int(segment)
        raise UsageError(f"{origin}: {so_far!r} has {len(items)} items, numbered from 0")
    known = [name for name in names if isinstance(name, str)]
    raise UsageError(f"{origin}: no {segment!r} in {so_far!r}{nearest(segment, known)}")
