"""The audit log of real runs: verified as it is, and not once anything in it changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import swarm
from swarm.cli import main
from swarm.errors import UsageError
from swarm.results.audit import LOG
from swarm.results.audit_check import verify_run
from swarm.results.decision import explain

TICKS = 12


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    run = swarm.run(
        "price_spike", ticks=TICKS, engine="inline", out=out, sets=["results.orders=true"]
    )
    assert run.run_dir is not None
    return run.run_dir


def test_a_real_run_is_verified(run_dir: Path) -> None:
    report = verify_run(run_dir)
    assert report.fault is None
    tally = report.tally
    agents = swarm.read_run(run_dir).agents
    # The table knows no contract of zero watts, which one of reserve alone is.
    contracted = int(np.count_nonzero(agents.column("contract_w").to_numpy()))
    assert tally.contracts >= contracted > 0
    assert tally.contracts == tally.dispatches + sum(tally.refusals.values())
    assert (tally.first_tick, tally.last_tick) == (0, TICKS - 1)
    assert report.compared == agents.num_rows


def test_every_contract_of_one_tick_is_explained(run_dir: Path) -> None:
    agents = swarm.read_run(run_dir).agents.to_pylist()
    rows = [row for row in agents if row["tick"] == 6 and row["contract_w"]]
    assert rows
    for row in rows[:5]:
        found = explain(run_dir, str(row["agent"]), 6)
        contract, signed = found.log.contract, found.log.countersignature
        assert contract is not None
        assert signed is not None
        assert (contract.quantity_w, contract.price_milli) == (row["contract_w"], found.price_milli)
        assert contract.in_tree
        assert contract.seal_valid
        assert signed.valid
        assert found.orders is not None
        assert sum(order.side * order.accepted_w for order in found.orders) == row["contract_w"]
        assert found.row == row


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.999])
def test_one_flipped_bit_is_exit_code_1(
    run_dir: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run_dir / LOG
    data = path.read_bytes()
    changed = bytearray(data)
    changed[int(share * len(data))] ^= 4
    path.write_bytes(changed)
    with pytest.raises(SystemExit) as stop:
        main(["audit", "verify", str(run_dir)])
    path.write_bytes(data)
    assert stop.value.code == 1
    assert "audit log: BROKEN" in capsys.readouterr().out


def test_a_run_without_signatures_has_no_log(tmp_path: Path) -> None:
    run = swarm.run(
        "price_spike", ticks=1, engine="inline", out=tmp_path, sets=["trust.signatures=none"]
    )
    assert run.run_dir is not None
    assert not (run.run_dir / LOG).exists()
    with pytest.raises(UsageError, match=r"trust.signatures is none"):
        verify_run(run.run_dir)


def test_one_signature_for_a_block(tmp_path: Path) -> None:
    run = swarm.run(
        "price_spike", ticks=3, engine="inline", out=tmp_path, sets=["trust.signatures=per_shard"]
    )
    assert run.run_dir is not None
    report = verify_run(run.run_dir)
    assert report.fault is None
    assert 0 < report.tally.countersignatures < report.tally.contracts
