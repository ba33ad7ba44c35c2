"""State of objects as plain data: what a checkpoint is made of. Never pickle.

A class names in `STATE` the attributes that change after it was made; all else is made again from
its spec. `capture` turns an object into a tree, `restore` puts a tree into a fresh object, `pack`
and `unpack` are the tree as bytes: the arrays as safetensors, the rest as JSON in their header.

Values are None, booleans, numbers, text, bytes, arrays, enums, tuples, lists, dicts, sets, deques,
and the frozen records (dataclasses, msgspec structs) of this package. Nothing else is read back, so
a file can make no object but these.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import msgspec
import numpy as np
from safetensors.numpy import load, save

from swarm.errors import SwarmError

TREE = "tree"
_STATEFUL, _ENUM, _RECORD = "object with state", "enum", "record"
_CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


class SnapshotError(SwarmError):
    """A state that cannot be captured, or a snapshot that does not fit."""


def stateful(value: Any) -> bool:
    """Whether `value` is an object with state of its own, which is restored in place."""
    return hasattr(value, "STATE") and not isinstance(value, type)


def capture(value: Any) -> Any:
    """The state of an object, or a value, as a tree of JSON values and arrays.

    Raises:
        SnapshotError: there is something in it that cannot be read back.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if np.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, np.generic):
        return {"$scalar": value.dtype.str, "value": np.asarray(value).reshape(1)}
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return {"$objects": [capture(each) for each in value.ravel()], "shape": value.shape}
        return value
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if stateful(value):
        state = {name: capture(getattr(value, name)) for name in value.STATE}
        return {"$state": state, "of": _name(type(value))}
    if isinstance(value, Enum):
        return {"$enum": _name(type(value)), "value": value.value}
    if isinstance(value, Mapping):
        kind = "Counter" if isinstance(value, Counter) else "dict"
        return {"$dict": kind, "items": [[capture(k), capture(v)] for k, v in value.items()]}
    if isinstance(value, deque):
        return {"$deque": [capture(each) for each in value], "most": value.maxlen}
    if isinstance(value, (set, frozenset)):
        return {f"${type(value).__name__}": [capture(each) for each in sorted(value)]}
    if isinstance(value, (list, tuple)):
        return {f"${type(value).__name__}": [capture(each) for each in value]}
    if isinstance(value, msgspec.Struct):
        return {
            "$record": _name(type(value)),
            "fields": {name: capture(getattr(value, name)) for name in value.__struct_fields__},
        }
    if is_dataclass(value) and not isinstance(value, type):
        return {
            "$record": _name(type(value)),
            "fields": {each.name: capture(getattr(value, each.name)) for each in fields(value)},
        }
    raise SnapshotError(
        f"a {type(value).__qualname__} cannot be kept in a checkpoint: {value!r:.80}"
    )


def restore(target: Any, tree: Any) -> Any:
    """Put a tree into `target`, an object as it was made from the same spec; what it then is.

    Raises:
        SnapshotError: the tree is of something else.
    """
    try:
        return _restored(target, tree)
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise SnapshotError(f"a checkpoint that is not well formed: {error!r}") from error


def _restored(target: Any, tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    if "$state" in tree:
        state = tree["$state"]
        if target is None:
            target = object.__new__(_class(tree["of"], _STATEFUL))
        if tree["of"] != _name(type(target)) or set(state) != set(target.STATE):
            raise SnapshotError(f"a checkpoint of {tree['of']} does not fit {_name(type(target))}")
        for name, part in state.items():
            setattr(target, name, _restored(getattr(target, name, None), part))
        return target
    if "$dict" in tree:
        held = target if isinstance(target, Mapping) else {}
        pairs = [(_restored(None, key), part) for key, part in tree["items"]]
        found = {key: _restored(held.get(key), part) for key, part in pairs}
        return Counter(found) if tree["$dict"] == "Counter" else found
    for name, make in _CONTAINERS.items():
        if f"${name}" in tree:
            parts = tree[f"${name}"]
            same = isinstance(target, (list, tuple)) and len(target) == len(parts)
            targets = list(target) if same else [None] * len(parts)
            return make(_restored(old, part) for old, part in zip(targets, parts, strict=True))
    return _value(tree)


def _value(tree: dict[str, Any]) -> Any:
    if "$float" in tree:
        return float(tree["$float"])
    if "$bytes" in tree:
        return base64.b64decode(tree["$bytes"])
    if "$scalar" in tree:
        return tree["value"][0]
    if "$objects" in tree:
        flat = np.empty(len(tree["$objects"]), dtype=object)
        flat[:] = [_restored(None, each) for each in tree["$objects"]]
        return flat.reshape(tree["shape"])
    if "$deque" in tree:
        return deque((_restored(None, each) for each in tree["$deque"]), tree["most"])
    if "$enum" in tree:
        return _class(tree["$enum"], _ENUM)(tree["value"])
    if "$record" in tree:
        kind = _class(tree["$record"], _RECORD)
        record = is_dataclass(kind)
        names = {each.name for each in fields(kind)} if record else set(kind.__struct_fields__)
        if set(tree["fields"]) != names:
            raise SnapshotError(f"a checkpoint of another version: {tree['$record']}")
        values = {name: _restored(None, part) for name, part in tree["fields"].items()}
        if not record:
            return kind(**values)
        made = object.__new__(kind)
        for name, found in values.items():
            # Records may be frozen, and have fields that their constructor does not take.
            object.__setattr__(made, name, found)
        return made
    raise SnapshotError(f"a checkpoint with an unknown entry: {sorted(tree)}")


def _name(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _class(name: str, sort: str) -> Any:
    """A record, an enum or an object with state; nothing else has a name here."""
    module, _, attribute = name.partition(":")
    if module.split(".")[0] != "swarm":
        raise SnapshotError(f"a checkpoint names {name!r}, which is no {sort} of swarm")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise SnapshotError(f"a checkpoint of another version: there is no {name}") from None
    fits = isinstance(kind, type) and (
        hasattr(kind, "STATE")
        if sort == _STATEFUL
        else issubclass(kind, Enum)
        if sort == _ENUM
        else is_dataclass(kind) or issubclass(kind, msgspec.Struct)
    )
    if not fits:
        raise SnapshotError(f"a checkpoint names {name!r}, which is no {sort} of swarm")
    return kind


def pack(tree: Any) -> bytes:
    """A tree as the bytes of one safetensors file; the same tree gives the same bytes."""
    arrays: dict[str, np.ndarray] = {}

    def plain(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            name = str(len(arrays))
            # A file of safetensors knows neither empty arrays of any shape nor numbers of text.
            arrays[name] = np.ascontiguousarray(part)
            return {"$array": name, "shape": list(part.shape)}
        if isinstance(part, dict):
            return {key: plain(value) for key, value in part.items()}
        if isinstance(part, (list, tuple)):
            return [plain(each) for each in part]
        return part

    text = json.dumps(plain(tree), allow_nan=False, separators=(",", ":"))
    data: bytes = save(arrays, {TREE: text})
    return data


def unpack(data: bytes) -> Any:
    """The tree in `data`.

    Raises:
        SnapshotError: it is none.
    """
    try:
        arrays = load(data)
        length = int.from_bytes(data[:8], "little")
        told = json.loads(data[8 : 8 + length])["__metadata__"][TREE]
        tree = json.loads(told)
    except Exception as error:
        # safetensors raises an exception of its own without a public name.
        raise SnapshotError(f"not a snapshot: {error}") from None

    def whole(part: Any) -> Any:
        if isinstance(part, dict):
            if "$array" in part:
                return np.array(arrays[part["$array"]]).reshape(part["shape"])
            return {key: whole(value) for key, value in part.items()}
        if isinstance(part, list):
            return [whole(each) for each in part]
        return part

    try:
        return whole(tree)
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise SnapshotError(f"not a snapshot: {error!r}") from None
