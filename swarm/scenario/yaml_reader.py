"""Reading YAML that cannot surprise: a strict subset, with the line of every value.

PyYAML's SafeLoader serves as the parser only; the tree is built here from its events, without
recursion. Plain scalars follow the core schema of YAML 1.2.2 (section 10.3.2): `true` and `false`
are the only booleans, `18:00`, `1_000` and dates are text. Refused, each with file, line, column
and a remedy: duplicate keys, keys that are not text, anchors and aliases, merge keys, tags, several
documents, nesting deeper than 32, files over 8 MiB, anything that is not UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import yaml

from swarm.errors import UsageError, nearest

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 32
MAX_INTEGER = 2**63

NodePath = tuple[str | int, ...]

_NULL = re.compile(r"(?:~|null|Null|NULL|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+")
BASED_INT = re.compile(r"(?:0o[0-7]+|0x[0-9a-fA-F]+)$")
FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_SURROGATE = re.compile("[\ud800-\udfff]")

# What to do about the usual slips, by a part of the parser's message.
_REMEDIES = (
    ("'\\t'", "indent with spaces, not tabs"),
    ("tab", "indent with spaces, not tabs"),
    ("mapping values are not allowed", "put a text that contains ': ' in quotes"),
    ("could not find expected ':'", "write 'name: value', with a colon and a space"),
    ("cannot start any token", "put a text that starts with this character in quotes"),
    ("found unexpected end of stream", "close the quote or bracket"),
    ("expected ',' or ", "close the bracket, or put a comma between items"),
    ("special characters", "remove the invisible character"),
)


@dataclass(frozen=True)
class Document:
    """A file's top-level mapping, and where each of its values stands.

    `positions` has (line, column), both from 1, by path of keys and list indices; a mapping's
    value stands where its key does.
    """

    data: dict[str, Any]
    positions: dict[NodePath, tuple[int, int]]


@dataclass
class _Open:
    """A list or mapping whose end has not been read; `key` waits for its value."""

    node: list[Any] | dict[str, Any]
    path: NodePath
    key: str | None = None
    key_at: tuple[int, int] = (1, 1)
    seen: dict[str, int] = field(default_factory=dict)


def read_document(path: Path) -> Document:
    """Read the YAML mapping in the file at `path`.

    Raises UsageError for everything the module refuses, and for a missing or unreadable file.
    """
    return parse_document(_read_bytes(path), str(path))


def parse_document(content: bytes, name: str) -> Document:
    """Read the YAML mapping in `content`; `name` is what messages call the file."""
    if len(content) > MAX_BYTES:
        raise UsageError(f"{name}: over {MAX_BYTES} bytes (8 MiB); this is not a scenario")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{name}:{line}: byte {error.start} (0x{content[error.start]:02x}) is not UTF-8; "
            "save the file as UTF-8"
        ) from None
    root, positions = _build(text.removeprefix("\ufeff"), name)
    if not isinstance(root, dict):
        raise UsageError(
            f"{name}: the top level is {_noun(root)}; a scenario is a mapping of "
            "'field: value' lines, like 'name: my_scenario'"
        )
    return Document(root, positions)


def parse_value(text: str, name: str) -> Any:
    """The one YAML value in `text` (None where it is empty); `name` is what messages call it."""
    if not text.strip():
        return None
    return _build(text, name)[0]


def _read_bytes(path: Path) -> bytes:
    """The file's bytes, at most one more than allowed."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        beside = path.parent.glob("*.y*ml") if path.parent.is_dir() else ()
        names = sorted(other.name for other in beside)
        hint = nearest(path.name, names) if names else ""
        raise UsageError(f"{path}: no such file{hint}") from None
    except IsADirectoryError:
        raise UsageError(f"{path}: a folder, not a file; name the .yaml file in it") from None
    except PermissionError:
        raise UsageError(f"{path}: not readable; check its permissions") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{str(path)!r}: cannot be read: {reason}") from None


def _build(text: str, name: str) -> tuple[Any, dict[NodePath, tuple[int, int]]]:
    """The tree of the single document in `text`, and the position of each node."""
    root: Any = None
    positions: dict[NodePath, tuple[int, int]] = {}
    stack: list[_Open] = []
    documents = 0
    for event in _events(text, name):
        assert event.start_mark is not None
        at = (event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                _refuse(name, at, "a second document starts here; keep one document per file")
        elif isinstance(event, yaml.CollectionEndEvent):
            stack.pop()
        elif isinstance(event, yaml.NodeEvent):
            _refuse_extras(event, name, at)
            parent = stack[-1] if stack else None
            if parent is not None and isinstance(parent.node, dict) and parent.key is None:
                _take_key(parent, event, name, at)
                continue
            value = _value(event, name, at)
            path: NodePath = ()
            if parent is None:
                root = value
            elif isinstance(parent.node, dict):
                assert parent.key is not None
                path, at = (*parent.path, parent.key), parent.key_at
                parent.node[parent.key] = value
                parent.key = None
            else:
                path = (*parent.path, len(parent.node))
                parent.node.append(value)
            positions[path] = at
            if isinstance(event, yaml.CollectionStartEvent):
                if len(stack) == MAX_DEPTH:
                    _refuse(name, at, f"nested deeper than {MAX_DEPTH} levels; flatten it")
                stack.append(_Open(value, path))
    if not documents:
        raise UsageError(f"{name}: empty; a scenario needs at least a 'name'")
    return root, positions


def _events(text: str, name: str) -> Iterator[yaml.Event]:
    """The parser's events; its errors become UsageError with line, column and a remedy."""
    try:
        yield from yaml.parse(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = (before.count("\n") + 1, error.position - before.rfind("\n"))
        what = f"character U+{error.character:04X} is not allowed in YAML"
        _refuse(name, at, f"{what}; remove the invisible character")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = error.problem or error.context or "not YAML"
        fitting = (remedy for part, remedy in _REMEDIES if part in problem)
        remedy = next(fitting, "check indentation, colons and quotes here and just above")
        _refuse(name, at, f"{problem}; {remedy}")
    except (ValueError, OverflowError) as error:
        # PyYAML lets these through for escapes beyond Unicode and absurd version numbers.
        raise UsageError(f"{name}: not YAML: {error}; check its \\U escapes") from None


def _refuse_extras(event: yaml.NodeEvent, name: str, at: tuple[int, int]) -> None:
    """Refuse aliases, anchors and tags."""
    if isinstance(event, yaml.AliasEvent):
        _refuse(name, at, f"alias *{event.anchor}: write the value out instead")
    if event.anchor is not None:
        _refuse(name, at, f"anchor &{event.anchor}: remove it; aliases are not allowed")
    tag = getattr(event, "tag", None)
    if tag is not None:
        _refuse(name, at, f"tag {tag!r}: remove it; types follow from the fields")


def _take_key(parent: _Open, event: yaml.NodeEvent, name: str, at: tuple[int, int]) -> None:
    """Make the scalar of `event` the key that waits for its value."""
    key = _value(event, name, at)
    if not isinstance(key, str):
        _refuse(name, at, f"a key must be text, not {_noun(key)}; put it in quotes")
    if key == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
        _refuse(name, at, "merge key '<<': write the fields out instead")
    if key in parent.seen:
        _refuse(name, at, f"duplicate key {key!r}, first on line {parent.seen[key]}; keep one")
    parent.seen[key] = at[0]
    parent.key, parent.key_at = key, at


def _value(event: yaml.NodeEvent, name: str, at: tuple[int, int]) -> Any:
    """The value of an event: an empty list or mapping to fill, or a scalar by the core schema."""
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    assert isinstance(event, yaml.ScalarEvent)
    text = str(event.value)
    if _SURROGATE.search(text):
        _refuse(name, at, "half of a surrogate pair; write the character itself")
    if not event.implicit[0]:  # quoted or block text
        return text
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text) or BASED_INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        # Over 24 characters cannot fit, and int() takes quadratic time on very long ones.
        number = int(text, base) if len(text) <= 24 else MAX_INTEGER
        if abs(number) >= MAX_INTEGER:
            _refuse(name, at, f"integer {text[:24]}... is outside -2^63..2^63; use fewer digits")
        return number
    if FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _noun(value: object) -> str:
    """A value in words."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return "null" if value is None else f"the single value {str(value)[:40]!r}"


def _refuse(name: str, at: tuple[int, int], message: str) -> NoReturn:
    """Raise the error for a place in the file."""
    raise UsageError(f"{name}:{at[0]}:{at[1]}: {message}")
