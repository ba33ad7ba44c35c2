"""One decision end to end, from a log and tables written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.errors import UsageError
from swarm.results.audit import LOG
from swarm.results.decision import Order, Refused, Sealed, Signed, Violated, explain
from swarm.trust.keys import market_key
from tests.results.audited import audited, edit_manifest, put, seal_tables


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return audited(tmp_path / "run")


def test_what_an_agent_was_awarded_and_did(run_dir: Path) -> None:
    found = explain(run_dir, "batteries-1", 1)
    log = found.log
    assert (found.agent, found.kind, found.tick, found.currency) == (1, "storage", 1, "EUR")
    assert found.starts == "2025-06-18T00:15:00+01:00"
    reserve = {"containment_down": 8}
    assert log.contract == Sealed(4, -70, 40_000, reserve, 1, 3, True, True)
    assert log.countersignature == Signed(6, 1, 1, True)
    assert log.violations == (
        Violated(5, "offer", "max_discharge", 0, "W", 90, 70),
        Violated(5, "offer", "max_price", 1, "price", 45_000, 40_000),
    )
    assert (log.dispatched_w, log.dispatch_record, log.refusals) == (-70, 8, ())
    assert found.row is not None
    assert (found.row["contract_w"], found.row["received_micro"]) == (-70, -700)
    assert found.price_milli == 40_000
    assert found.orders is None
    assert json.loads(json.dumps(found.to_dict()))["log"]["contract"]["leaf"] == 1


def test_a_clip_before_dispatch(run_dir: Path) -> None:
    log = explain(run_dir, "0", 1).log
    assert log.violations == (Violated(7, "dispatch", "max_discharge", 3, "W", 501, 0),)
    assert log.dispatched_w == -20


def test_a_refusal_and_no_contract_at_all(run_dir: Path) -> None:
    refused = explain(run_dir, "town-1", 2).log
    assert refused.contract is not None
    assert refused.countersignature is None
    assert refused.dispatched_w is None
    assert [one.reason for one in refused.refusals] == ["revoked"]
    assert refused.refusals[0] == Refused(13, "dispatch", "revoked")
    assert explain(run_dir, "town-0", 1).log.contract is None


def test_one_signature_for_many(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", per_shard=True)
    log = explain(run_dir, "batteries-1", 3).log
    assert log.countersignature == Signed(16, 0, 3, True)


def test_a_contract_under_another_market_key_is_shown_as_not_valid(run_dir: Path) -> None:
    right = explain(run_dir, "0", 0).log.contract
    edit_manifest(run_dir, trust_market_public_key=market_key(8).public.hex())
    found = explain(run_dir, "0", 0).log.contract
    assert right is not None
    assert found == replace(right, seal_valid=False)
    edit_manifest(run_dir, trust_run_id="00" * 32)
    log = explain(run_dir, "0", 0).log
    assert log.contract == replace(right, seal_valid=False, in_tree=False)
    assert log.countersignature == Signed(1, 0, 1, False)


def test_orders_where_they_were_kept(run_dir: Path) -> None:
    orders = {
        "tick": [1, 1, 2],
        "agent": [0, 1, 0],
        "side": [1, -1, 1],
        "price_milli_per_mwh": [39_000, 45_000, 38_000],
        "quantity_w": [600, 70, 9],
        "accepted_w": [501, 70, 0],
    }
    put(run_dir, "data/orders/part-00000.parquet", "orders", orders)
    seal_tables(run_dir)
    assert explain(run_dir, "0", 1).orders == (Order(1, 39_000, 600, 501),)
    assert explain(run_dir, "3", 1).orders == ()


def test_an_agent_outside_the_sample_has_no_row(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", agents=[1])
    assert explain(run_dir, "0", 1).row is None
    assert explain(run_dir, "1", 1).row is not None


def test_a_run_cut_off_shows_what_it_has(tmp_path: Path) -> None:
    run_dir = audited(tmp_path / "run", status="failed", anchored=2)
    data = (run_dir / LOG).read_bytes()
    (run_dir / LOG).write_bytes(data[:-1])
    log = explain(run_dir, "0", 4).log
    assert (log.contract is not None, log.dispatched_w) == (True, 504)


def test_unknown_agents_and_ticks_are_refused(run_dir: Path) -> None:
    with pytest.raises(UsageError, match=r"'batery-1'.*did you mean 'batteries-1'"):
        explain(run_dir, "batery-1", 1)
    with pytest.raises(UsageError, match=r"agent '4'.*an index is 0 to 3"):
        explain(run_dir, "4", 1)
    edit_manifest(run_dir, ticks=None)
    with pytest.raises(UsageError, match=r"manifest.json: ticks: expected a whole number"):
        explain(run_dir, "0", 1)
    edit_manifest(run_dir, ticks=5)
    for tick in (-1, 5):
        with pytest.raises(UsageError, match=f"tick {tick}: expected 0 to 4"):
            explain(run_dir, "0", tick)


@pytest.mark.parametrize("name", [LOG, "data/registry/part-00000.parquet"])
def test_a_damaged_file_is_refused(run_dir: Path, name: str) -> None:
    data = bytearray((run_dir / name).read_bytes())
    data[60] ^= 1
    (run_dir / name).write_bytes(data)
    with pytest.raises(UsageError, match=r"damaged|swarm audit verify"):
        explain(run_dir, "0", 1)
