"""Verification of a run's audit log: log, anchor, manifest, keys and tables hold together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarm.errors import RunError, UsageError
from swarm.results.audit import (
    ANCHOR,
    ANCHOR_TICKS,
    LOG,
    PUBLIC_KEYS,
    AuditWriter,
    public_keys_bytes,
    read_public_keys,
    write_public_keys,
)
from swarm.results.audit_check import Report, verify_run
from swarm.results.folder import write_bytes
from swarm.trust.anchor import Anchor
from swarm.trust.audit import frames, open_log
from swarm.trust.keys import market_key, simulation_keys
from swarm.trust.records import KINDS
from tests.results import audited as made
from tests.results.audited import RUN, SEED, audited, edit_manifest, put, seal_tables

TICKS = 24
"""Four records each, and three more: 99 records."""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return audited(tmp_path / "run")


def broken(run_dir: Path) -> str:
    """What verification finds wrong, in words; it must find something."""
    fault = verify_run(run_dir).fault
    assert fault is not None
    return fault.what


def whole(report: Report) -> bool:
    return report.fault is None


def test_a_run_is_verified_and_counted(run_dir: Path) -> None:
    report = verify_run(run_dir)
    tally = report.tally
    assert whole(report)
    assert report.anchored == 23
    assert (tally.contracts, tally.countersignatures, tally.dispatches) == (18, 13, 13)
    assert tally.refusals == {"dispatch revoked": 5}
    assert {name: count for name, count in tally.violations.items() if count} == {
        "offer max_discharge": 1,
        "offer max_price": 1,
        "dispatch max_discharge": 1,
    }
    assert (tally.emergency_steps, tally.first_tick, tally.last_tick) == (1, 0, 4)
    assert report.compared == 5 * 4
    assert "detect damage, not an adversary" in report.notes[0]
    assert json.loads(json.dumps(report.to_dict()))["verified"] is True


def test_blocks_that_share_a_signature_are_verified(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", per_shard=True)
    report = verify_run(run_dir)
    assert whole(report)
    assert report.tally.countersignatures == 5
    edit_manifest(run_dir, trust_signatures="per_agent")
    assert "one countersignature for the agents 0 to 2" in broken(run_dir)


def test_keys_of_a_folder_are_compared_with_one_known_from_elsewhere(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", keys="folder")
    assert "the run itself names" in verify_run(run_dir).notes[0]
    report = verify_run(run_dir, made.keys_of("folder")[0].public)
    assert whole(report)
    assert "the agents' keys are those that the run names" in report.notes[0]
    other = verify_run(run_dir, market_key(SEED).public)
    assert other.fault is not None
    assert "as the market's key, not the one given" in other.fault.what
    with pytest.raises(UsageError, match="small order"):
        verify_run(run_dir, bytes(32))


def test_a_sample_of_agents_and_shadow_mode(tmp_path: Path) -> None:
    assert verify_run(audited(tmp_path / "sample", agents=[1, 3])).compared == 5 * 2
    report = verify_run(audited(tmp_path / "shadow", shadow=True))
    assert whole(report)
    assert report.compared == 0
    assert "shadow mode" in report.notes[0]


def test_damage_anywhere_in_the_log_is_detected_and_named(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", ticks=TICKS)
    assert whole(verify_run(run_dir))
    data = (run_dir / LOG).read_bytes()
    with open_log(data) as file:
        ends = np.array([frame.end for frame in frames(file)])
    assert len(ends) == 99
    bits = np.random.default_rng(2).integers(0, 8, len(data))
    # Every byte is flipped in tests/trust/test_verify.py; here it is the whole command.
    for at in range(0, len(data), 131):
        changed = bytearray(data)
        changed[at] ^= 1 << int(bits[at])
        (run_dir / LOG).write_bytes(changed)
        fault = verify_run(run_dir).fault
        assert fault is not None
        if fault.record is not None:
            assert fault.record == int(np.searchsorted(ends, at, side="right"))
    for size in range(0, len(data), 997):
        (run_dir / LOG).write_bytes(data[:size])
        assert verify_run(run_dir).fault is not None


def test_every_flipped_byte_of_the_anchor_is_detected(run_dir: Path) -> None:
    data = (run_dir / ANCHOR).read_bytes()
    bits = np.random.default_rng(3).integers(0, 8, len(data))
    for at in range(len(data) - 1):  # the last is a newline
        changed = bytearray(data)
        changed[at] ^= 1 << int(bits[at])
        (run_dir / ANCHOR).write_bytes(changed)
        assert ANCHOR in broken(run_dir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "not the one that the seed gives"),
        ({"seed": "7"}, "seed: expected a whole number, got '7'"),
        ({"trust_run_id": "00" * 32}, "audit.anchor.json is of run"),
        ({"trust_run_id": "00"}, "trust.run_id: expected 64"),
        ({"trust_signatures": "none"}, "signatures"),
        ({"trust_signatures": "per_shard"}, "countersignature of agent 0 for tick 0 is not valid"),
        ({"trust_keys": "cloud"}, "Invalid enum value 'cloud'"),
        ({"trust_market_public_key": market_key(8).public.hex()}, "market's key is not the one"),
        ({"trust_market_public_key": 5}, "Expected `str`, got `int`"),
        ({"trust_public_keys_sha256": "00" * 32}, "its SHA-256 is not the one in manifest.json"),
        ({"trust_anchor": None}, "trust.anchor is missing, though the run finished"),
        ({"trust_anchor": {"count": 3}}, "anchor: expected the fields"),
        ({"trust": None}, "there is audit.log, but manifest.json has no section trust"),
        ({"trust": {}}, "missing required field"),
        ({"trust": []}, "Expected `object`, got `array`"),
        ({"digest": "00" * 32}, "SHA256SUMS: damaged"),
    ],
)
def test_every_field_of_the_manifest_counts(
    run_dir: Path, change: dict[str, Any], message: str
) -> None:
    edit_manifest(run_dir, **change)
    assert message in broken(run_dir)


def test_an_older_anchor_does_not_pass(run_dir: Path) -> None:
    older = AuditWriter(None, RUN, market_key(SEED))
    older.write(0, made.records_of(0, *made.keys_of("seed"), False))
    anchor = json.dumps(older.anchor())
    (run_dir / ANCHOR).write_text(anchor)
    assert "do not agree: records 4 and 23" in broken(run_dir)
    edit_manifest(run_dir, trust_anchor=json.loads(anchor))
    fault = verify_run(run_dir).fault
    assert fault is not None
    assert (fault.code, fault.record, fault.tick) == ("beyond", 4, 1)


@pytest.mark.parametrize("name", [LOG, ANCHOR, PUBLIC_KEYS])
def test_a_missing_file_is_a_fault(run_dir: Path, name: str) -> None:
    (run_dir / name).unlink()
    assert name in broken(run_dir)


@pytest.mark.parametrize("name", [LOG, ANCHOR, PUBLIC_KEYS, "data/agents/part-00000.parquet"])
@pytest.mark.parametrize("data", [b"", b"\0" * 400, b"garbage \xff\n", b'{"run": []}'])
def test_garbage_is_a_fault(run_dir: Path, name: str, data: bytes) -> None:
    (run_dir / name).write_bytes(data)
    assert broken(run_dir)


def test_other_public_keys_are_detected(run_dir: Path) -> None:
    public = [key.public for key in simulation_keys(8, 0, 4)]
    sha256 = write_public_keys(run_dir, made.IDS, public)
    assert "its SHA-256 is not the one" in broken(run_dir)
    edit_manifest(run_dir, trust_public_keys_sha256=sha256)
    assert "the key of 'batteries-0' is not the one that the seed gives" in broken(run_dir)
    edit_manifest(run_dir, trust_keys="folder")
    assert "countersignature of agent 0 for tick 0 is not valid" in broken(run_dir)
    right = [key.public for key in made.keys_of("seed")[1]]
    sha256 = write_public_keys(run_dir, [*made.IDS[:3], "town-9"], right)
    edit_manifest(run_dir, trust_public_keys_sha256=sha256)
    assert "do not name the same agents" in broken(run_dir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, None),
        (
            {"contract_w": (3, 1, -71)},
            "record 15 (tick 3): the table of agents has -71 W contracted for agent 1 at tick 3, "
            "the log -70 W",
        ),
        ({"contract_w": (3, 2, 1)}, "1 W contracted for agent 2 at tick 3, the log 0 W"),
        ({"agent": (3, 3, 4)}, "tick 3 of the table of agents has other agents than the registry"),
        ({"tick": (4, 0, 3)}, "tick 3 of the table of agents has other agents than the registry"),
        ({"tick": (3, 0, 2)}, "tick 2 after tick 2"),
    ],
)
def test_tables_that_were_changed_with_their_checksums_are_compared(
    run_dir: Path, change: dict[str, tuple[int, int, int]], message: str | None
) -> None:
    ticks, agents = np.repeat([3, 4], 4), np.tile(np.arange(4), 2)
    quantity_w = np.concatenate([made.quantities_w(3), made.quantities_w(4)])
    columns = {"tick": ticks, "agent": agents, "contract_w": quantity_w}
    for name, (tick, agent, value) in change.items():
        columns[name][(ticks == tick) & (agents == agent)] = value
    put(run_dir, "data/agents/part-00001.parquet", "agents", columns)
    assert "SHA-256 is not the one in SHA256SUMS" in broken(run_dir)
    seal_tables(run_dir)
    if message is None:
        assert whole(verify_run(run_dir))
    else:
        assert message in broken(run_dir)


def test_ticks_that_log_or_table_lacks(run_dir: Path) -> None:
    made.write_tables(run_dir, 6)
    assert "has 505 W contracted for agent 0 at tick 5, the log 0 W" in broken(run_dir)
    made.write_tables(run_dir, 4)
    assert "tick 4 is not in the table of agents" in broken(run_dir)


def test_the_log_is_checked_before_damaged_tables(run_dir: Path) -> None:
    (run_dir / "SHA256SUMS").unlink()
    assert "SHA256SUMS" in broken(run_dir)
    data = bytearray((run_dir / LOG).read_bytes())
    data[-40] ^= 1
    (run_dir / LOG).write_bytes(data)
    assert "record 22 (tick 4)" in broken(run_dir)


def test_a_run_cut_off_is_verified_up_to_its_anchor(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", status="failed", anchored=2)
    report = verify_run(run_dir)
    assert whole(report)
    assert (report.anchored, report.beyond, report.tally.last_tick) == (10, 13, 1)
    assert "13 after it chain on, and nobody vouches" in report.notes[-1]
    data = (run_dir / LOG).read_bytes()
    (run_dir / LOG).write_bytes(data[:-1])
    report = verify_run(run_dir)
    assert whole(report)
    assert report.beyond == 12
    assert "then a torn one" in report.notes[-1]
    # A crash tears the end off; it flips nothing.
    changed = bytearray(data)
    changed[-1] ^= 1
    (run_dir / LOG).write_bytes(changed)
    assert "record 22 (tick 4)" in broken(run_dir)
    changed = bytearray(data)
    changed[200] ^= 1
    (run_dir / LOG).write_bytes(changed)
    assert "record 0 (tick 0)" in broken(run_dir)
    with open_log(data) as file:
        end = [frame.end for frame in frames(file)][8]
    (run_dir / LOG).write_bytes(data[:end])
    assert "with 1 records of tick 1 missing" in broken(run_dir)


def test_the_manifest_of_a_run_cut_off_may_have_an_earlier_anchor_only(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", status="interrupted", anchored=2)
    newest = json.loads((run_dir / ANCHOR).read_text())
    empty = AuditWriter(None, RUN, market_key(SEED)).anchor()
    for anchor in (empty, newest):
        edit_manifest(run_dir, trust_anchor=anchor)
        assert whole(verify_run(run_dir))
    for wrong in ({"count": 11}, {"head": "00" * 32}):
        edit_manifest(run_dir, trust_anchor=newest | wrong)
        assert "do not agree" in broken(run_dir)


def test_what_is_no_run_with_a_log_is_refused(tmp_path: Path, run_dir: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        verify_run(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"did you mean .*run"):
        verify_run(tmp_path)
    edit_manifest(run_dir, trust=None)
    (run_dir / LOG).unlink()
    with pytest.raises(UsageError, match=r"kept no audit log, because trust.signatures is none"):
        verify_run(run_dir)
    for text in ("", "[]", "{", "\0"):
        (run_dir / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match=r"manifest.json: damaged"):
            verify_run(run_dir)


def test_the_writer_anchors_at_the_start_and_now_and_then(tmp_path: Path) -> None:
    writer = AuditWriter(tmp_path, RUN, market_key(SEED))

    def anchored() -> int:
        return Anchor.from_dict(json.loads((tmp_path / ANCHOR).read_text())).count

    assert anchored() == 0
    market, keys = made.keys_of("seed")
    for tick in range(ANCHOR_TICKS):
        assert anchored() == 0
        writer.write(tick, made.records_of(tick, market, keys, False) if tick % 16 == 0 else [])
    assert anchored() == writer.count == 12
    assert writer.anchor() == json.loads((tmp_path / ANCHOR).read_text())
    writer.close()
    with pytest.raises(RunError, match="cannot anchor"):
        writer.anchor()
    with pytest.raises(RunError, match="exists"):
        AuditWriter(tmp_path, RUN, market_key(SEED))


def test_a_log_in_memory_has_the_bytes_of_the_file(tmp_path: Path) -> None:
    writers = [AuditWriter(folder, RUN, market_key(SEED)) for folder in (None, tmp_path)]
    market, keys = made.keys_of("seed")
    for writer in writers:
        writer.write(3, made.records_of(3, market, keys, False))
    assert writers[0].anchor() == writers[1].anchor()
    assert writers[0].data() == (tmp_path / LOG).read_bytes()
    for writer in writers:
        writer.close()


def test_public_keys_are_read_back_and_checked(tmp_path: Path) -> None:
    public = [key.public for key in simulation_keys(1, 0, 3)]
    ids = ["a", "b", "c"]
    write_public_keys(tmp_path, ids, public)
    assert read_public_keys(tmp_path) == (ids, public)
    assert public_keys_bytes(ids, public) == (tmp_path / PUBLIC_KEYS).read_bytes()
    assert write_public_keys(None, ids, public) == write_public_keys(tmp_path, ids, public)
    with pytest.raises(UsageError, match="also that of 'a'"):
        public_keys_bytes(ids, [public[0]] * 3)
    with pytest.raises(UsageError, match="missing"):
        read_public_keys(tmp_path / "nowhere")


def test_a_table_that_is_none_of_public_keys_is_refused(run_dir: Path) -> None:
    other = (run_dir / "data/registry/part-00000.parquet").read_bytes()
    write_bytes(run_dir / PUBLIC_KEYS, other)
    with pytest.raises(UsageError, match="expected the columns agent, id, public_key"):
        read_public_keys(run_dir)


def test_all_kinds_of_records_are_in_the_folder_made_here(run_dir: Path) -> None:
    assert set(verify_run(run_dir).tally.records) == {kind.__name__ for kind in KINDS.values()}
