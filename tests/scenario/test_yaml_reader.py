"""The YAML reader: a strict subset, every refusal a UsageError that says where and what to do."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.scenario.yaml_reader import (
    MAX_BYTES,
    MAX_DEPTH,
    parse_document,
    parse_value,
    read_document,
)

YAML_ISH = st.text(alphabet="{}[]:,-?&*!|>'\"%@`#~<=. \n\t\\abxuU01eE+\0\x85é\ud800", max_size=60)


def surrogates_kept(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@settings(max_examples=600, deadline=None)
@given(st.one_of(st.binary(max_size=60), YAML_ISH.map(surrogates_kept)))
@example(b'a: "\\UFFFFFFFF"')
@example(b'a: "\\ud800"')
@example(b"%YAML 99999999999999999999.1\n---\na: 1")
@example(b"a: " + b"[" * 2000)
@example(b"- " * 2000)
@example(b"a: " + b"9" * 6000)
@example(b"a: 0x" + b"f" * 6000)
@example(b"\xef\xbb\xbfa: 1")
def test_any_bytes_give_a_mapping_or_a_usage_error(content: bytes) -> None:
    try:
        data = parse_document(content, "f.yaml").data
    except UsageError:
        return  # any other exception fails the test
    assert all(isinstance(key, str) for key in data)
    str(data).encode("utf-8")  # no half characters anywhere


# No control, surrogate or unassigned characters and no line separators: YAML restricts those.
JSON_TEXT = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Cn", "Zl", "Zp", "Co"]), max_size=20
)
JSON_VALUE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | JSON_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(JSON_TEXT, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(JSON_TEXT, JSON_VALUE, max_size=4))
def test_json_reads_as_json_does(data: dict[str, object]) -> None:
    """YAML 1.2 contains JSON: the json module is the oracle, types included."""
    read = parse_document(json.dumps(data, ensure_ascii=False).encode(), "f.yaml").data
    assert repr(read) == repr(data)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18:00", "18:00"),
        ("yes", "yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("2025-06-18T00:00:00+01:00", "2025-06-18T00:00:00+01:00"),
        ("2025-06-18", "2025-06-18"),
        ("~", None),
        ("", None),
        ("'~'", "~"),
        ("'12'", "12"),
        ("[1, {a: 2}]", [1, {"a": 2}]),
        ("-.inf", -math.inf),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    read = parse_value(text, "v")
    assert read == value
    assert type(read) is type(value)


def test_nan_parses() -> None:
    assert math.isnan(parse_value(".nan", "v"))


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"a: 1\nb: 2\na: 3\n", ["f.yaml:3:1", "duplicate key 'a'", "line 1"]),
        (b"a:\n  b: 1\n  b: 2\n", ["f.yaml:3:3", "duplicate key 'b'"]),
        (b"a: &x 1\n", ["f.yaml:1:4", "anchor &x"]),
        (b"a: 1\nb: *x\n", ["f.yaml:2:4", "alias *x"]),
        (b"<<: {a: 1}\n", ["f.yaml:1:1", "merge key"]),
        (b"a: !!python/object:os.system x\n", ["f.yaml:1:4", "tag", "remove it"]),
        (b"a: !mine 1\n", ["f.yaml:1:4", "tag '!mine'"]),
        (b"a: 1\n---\nb: 1\n", ["f.yaml:2:1", "second document"]),
        (b"- 1\n", ["f.yaml", "top level is a list"]),
        (b"hello\n", ["f.yaml", "top level is the single value 'hello'"]),
        (b"", ["f.yaml", "empty"]),
        (b"# only a comment\n", ["f.yaml", "empty"]),
        (b"1: x\n", ["f.yaml:1:1", "key must be text", "quotes"]),
        (b"[a]: x\n", ["f.yaml:1:1", "key must be text"]),
        (b"a:\n\t- 1\n", ["f.yaml:2:1", "spaces, not tabs"]),
        (b"a: b: c\n", ["f.yaml:1:5", "quotes"]),
        (b"a: [1, 2\nb: 3\n", ["f.yaml:2", "close the bracket"]),
        (b"ok: 1\na: 'x\n", ["f.yaml:3:1", "close the quote"]),
        (b"a: @x\n", ["f.yaml:1:4", "quotes"]),
        (b"a: 1\nb: \x01\n", ["f.yaml:2:4", "U+0001"]),
        (b"a: 1\nb: caf\xe9\n", ["f.yaml:2", "byte 11 (0xe9)", "UTF-8"]),
        ("a: 1".encode("utf-16"), ["byte 0", "UTF-8"]),
        (b"a: 99999999999999999999\n", ["f.yaml:1:4", "integer", "outside"]),
        (b"a: " + b"[" * (MAX_DEPTH + 1), ["f.yaml:1:35", "deeper than 32"]),
        (b"#" * (MAX_BYTES + 1), ["f.yaml", "8 MiB"]),
    ],
)
def test_refused_with_place_and_remedy(content: bytes, parts: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parse_document(content, "f.yaml")
    for part in parts:
        assert part in str(caught.value)


def test_depth_at_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 1  # the top-level mapping is a level too
    assert parse_document(b"a: " + b"[" * depth + b"]" * depth, "f").data["a"] is not None


def test_quoted_merge_key_is_a_plain_name() -> None:
    assert parse_document(b"'<<': 1", "f").data == {"<<": 1}


def test_positions_are_where_the_keys_are() -> None:
    text = b"name: x\nfleets:\n- name: homes\n  count: 3\n- {name: b,\n   count: 4}\n"
    positions = parse_document(text, "f").positions
    assert positions[("name",)] == (1, 1)
    assert positions[("fleets",)] == (2, 1)
    assert positions[("fleets", 0)] == (3, 3)
    assert positions[("fleets", 0, "count")] == (4, 3)
    assert positions[("fleets", 1, "count")] == (6, 4)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: x\n")
    with pytest.raises(UsageError, match=r"no such file \(did you mean 'mine.yaml'\?\)"):
        read_document(tmp_path / "mien.yaml")
    with pytest.raises(UsageError, match="no such file"):
        read_document(tmp_path / "none" / "x.yaml")
    with pytest.raises(UsageError, match="a folder"):
        read_document(tmp_path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_document(Path("a\0b.yaml"))
    with pytest.raises(UsageError, match="cannot be read"):
        read_document(tmp_path / ("x" * 5000))
    assert read_document(tmp_path / "mine.yaml").data == {"name": "x"}


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # root may read everything, so chmod is no test
    with pytest.raises(UsageError, match="not readable; check its permissions"):
        read_document(tmp_path / "x.yaml")
