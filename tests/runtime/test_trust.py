"""Contracts in whole runs: what signing changes, and what a broken contract does to devices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import swarm
from swarm.agents.host import Host
from swarm.errors import UsageError
from swarm.market.awards import unpermitted
from swarm.messages import Meters, Notice, StepReply, decode, encode, no_meters
from swarm.results.audit_check import verify_run
from swarm.results.run import Run
from swarm.scenario.load import load_scenario
from swarm.trust.dispatch import Reason
from swarm.trust.exchange import Awards, TickAudit
from swarm.trust.keys import random_key, write_key_folder
from swarm.trust.records import Contracts, Countersignatures, Dispatches, Refusals

EVENING = ("start=2024-07-30T16:00:00+10:00", "events=[]")
TICKS, AGENTS = 36, 24


def evening(*sets: str, **options: Any) -> Run:
    given: dict[str, Any] = {"engine": "inline", "out": None, "ticks": TICKS, "agents": AGENTS}
    given["policy"] = "heuristic"
    return swarm.run("price_spike", sets=(*EVENING, *sets), **(given | options))


@pytest.fixture(scope="module")
def signed() -> Run:
    return evening()


def moved_w(run: Run, agent: int) -> np.ndarray:
    """What the device of one agent did, by tick."""
    table = run.agents
    rows = table["agent"].to_numpy() == agent
    return table["battery_w"].to_numpy()[rows]


def storages(run: Run) -> list[int]:
    rows = run.registry.to_pylist()
    return [row["agent"] for row in rows if row["kind"] == "storage"]


def test_signing_changes_no_result(signed: Run) -> None:
    unsigned = evening("trust.signatures=none")
    assert unsigned.digest == signed.digest
    assert unsigned.audit_log is None
    assert unsigned.metrics["contracts"] is None
    assert evening("trust.signatures=per_shard").digest == signed.digest


@pytest.mark.parametrize("mode", ["per_agent", "per_shard"])
def test_the_audit_log_does_not_depend_on_packing(
    monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    for module in ("swarm.trust.holder", "swarm.runtime.packing"):
        monkeypatch.setattr(f"{module}.BLOCK", 3)
    logs = {
        evening(f"trust.signatures={mode}", ticks=8, agents_per_actor=per_actor).audit_log
        for per_actor in (1, 5, AGENTS)
    }
    assert len(logs) == 1
    assert logs.pop()


def test_every_contract_is_dispatched_once_and_nobody_moves_without(signed: Run) -> None:
    m = signed.metrics
    contract = signed.agents["contract_w"].to_numpy()
    assert m["contracts"] >= np.count_nonzero(contract) > 100
    assert m["dispatches"] == m["contracts"]
    assert m["refusals_by_reason"] == {}
    assert m["unpermitted_dispatches"] == 0


@pytest.mark.parametrize("mechanism", ["uniform_price", "pay_as_bid", "negotiated"])
@pytest.mark.parametrize("mode", ["per_agent", "per_shard"])
def test_audit_verify_takes_every_kind_of_run(tmp_path: Path, mechanism: str, mode: str) -> None:
    run = evening(
        f"market.mechanism={mechanism}", f"trust.signatures={mode}", ticks=6, out=tmp_path
    )
    assert run.run_dir is not None
    assert verify_run(run.run_dir).fault is None


def test_a_revoked_agent_is_refused_and_rests(tmp_path: Path, signed: Run) -> None:
    agent = next(at for at in storages(signed) if moved_w(signed, at).any())
    name = signed.registry.to_pylist()[agent]["id"]
    run = evening(f"trust.revoked=[{name}]", out=tmp_path)
    assert not moved_w(run, agent).any()
    assert run.metrics["refusals_by_reason"]["revoked"] > 0
    assert run.metrics["unpermitted_dispatches"] == 0
    assert run.run_dir is not None
    assert verify_run(run.run_dir).fault is None


def test_an_unknown_revoked_agent_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"trust\.revoked: no agent 'batteries-001'.*did you mean"):
        evening("trust.revoked=[batteries-001]", out=tmp_path)
    assert not list(tmp_path.iterdir())


Change = Callable[[Notice], Notice]


def _awards(change: Callable[[Awards], Awards]) -> Change:
    def changed(notice: Notice) -> Notice:
        awards = change(decode(notice.awards, Awards))
        return msgspec.structs.replace(notice, awards=encode(awards))

    return changed


def _bit(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def _more(notice: Notice) -> Notice:
    """One watt less for every order that got any."""
    accepted = notice.accepted_w
    return msgspec.structs.replace(notice, accepted_w=np.where(accepted > 0, accepted - 1, 0))


ATTACKS: dict[str, tuple[Change, Reason]] = {
    "the quantity": (_more, Reason.TAMPERED),
    "the price": (
        _awards(lambda a: msgspec.structs.replace(a, price_milli=a.price_milli + 1)),
        Reason.TAMPERED,
    ),
    "the root": (
        _awards(
            lambda a: msgspec.structs.replace(
                a, seal=msgspec.structs.replace(a.seal, root=_bit(a.seal.root))
            )
        ),
        Reason.TAMPERED,
    ),
    "the proofs": (
        _awards(lambda a: msgspec.structs.replace(a, paths=_bit(a.paths))),
        Reason.TAMPERED,
    ),
    "the signer": (
        _awards(
            lambda a: msgspec.structs.replace(
                a, seal=msgspec.structs.replace(a.seal, market=random_key().public)
            )
        ),
        Reason.WRONG_SIGNER,
    ),
    "the run": (
        _awards(
            lambda a: msgspec.structs.replace(
                a, seal=msgspec.structs.replace(a.seal, run=_bit(a.seal.run))
            )
        ),
        Reason.WRONG_RUN,
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_changed_on_the_way_moves_nothing(
    monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    """From tick 4 on every notice is changed: every contract it touches is refused by its code."""
    change, reason = ATTACKS[attack]
    step = Host.step

    def tampered(host: Host, signal: Any, notice: Notice | None) -> StepReply:
        if notice is not None and notice.tick >= 4 and len(notice.accepted_w):
            notice = change(notice)
        return step(host, signal, notice)

    monkeypatch.setattr(Host, "step", tampered)
    run = evening(ticks=8)
    refused = run.metrics["refusals_by_reason"]
    # One proof is changed of each of four ticks; all else concerns every contract.
    assert refused[reason.name.lower()] >= (4 if attack == "the proofs" else 20)
    assert run.metrics["unpermitted_dispatches"] == 0
    for agent in storages(run):
        if attack != "the proofs":
            assert not moved_w(run, agent)[4:].any()


def test_old_awards_sent_again_move_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    step, kept = Host.step, []

    def replayed(host: Host, signal: Any, notice: Notice | None) -> StepReply:
        if notice is not None:
            kept.append(notice)
            if len(kept) > 3:
                notice = msgspec.structs.replace(notice, awards=kept[-2].awards)
        return step(host, signal, notice)

    monkeypatch.setattr(Host, "step", replayed)
    run = evening(ticks=8)
    assert run.metrics["refusals_by_reason"]
    assert run.metrics["unpermitted_dispatches"] == 0
    assert not any(moved_w(run, agent)[3:].any() for agent in storages(run))


def test_offers_changed_on_the_way_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Host.step

    def forged(host: Host, signal: Any, notice: Notice | None) -> StepReply:
        reply = step(host, signal, notice)
        if len(reply.orders.quantity) and signal.tick >= 4:
            reply.orders.quantity[0] += 1
        return reply

    monkeypatch.setattr(Host, "step", forged)
    run = evening(ticks=8)
    orders = run.market["volume_w"].to_numpy()
    assert orders[:4].all()
    assert not orders[4:].any()


def test_keys_from_a_folder_sign_the_same_run(tmp_path: Path, signed: Run) -> None:
    names = [row["id"] for row in signed.registry.to_pylist()]
    keys = {name: random_key() for name in (*names, "market")}
    write_key_folder(tmp_path / "keys", keys)
    run = evening(keys=tmp_path / "keys", out=tmp_path / "runs")
    assert run.digest == signed.digest
    assert run.run_dir is not None
    assert verify_run(run.run_dir, keys["market"].public).fault is None
    assert verify_run(run.run_dir, random_key().public).fault is not None
    secrets = [key.secret[:32].hex() for key in keys.values()]
    for path in run.run_dir.rglob("*"):
        text = path.read_bytes().hex() if path.is_file() else ""
        assert not any(secret in text for secret in secrets), f"{path} holds a secret"


def test_a_missing_key_is_refused_before_anything_starts(tmp_path: Path) -> None:
    write_key_folder(tmp_path / "keys", {"market": random_key()})
    with pytest.raises(UsageError, match=r"key of .*: missing"):
        evening(keys=tmp_path / "keys", out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("sets", [("grid=null",), ()])
def test_shadow_moves_nothing_and_logs_everything(tmp_path: Path, sets: tuple[str, ...]) -> None:
    shadow = evening(*sets, "trust.shadow=true", out=tmp_path)
    without = ("grid.swarm=false",) if not sets else ()
    policy = "heuristic" if without else "passive"
    assert shadow.digest == evening(*sets, *without, policy=policy).digest
    m = shadow.metrics
    assert m["contracts"] > 100
    assert m["dispatches"] == 0
    assert m["refusals_by_reason"] == {"shadow": m["contracts"]}
    assert shadow.run_dir is not None
    assert verify_run(shadow.run_dir).fault is None


def test_shadow_decides_what_the_swarm_would(signed: Run) -> None:
    """At the first tick nothing differs yet: the contracts are those of the run with the swarm."""
    shadow = evening("trust.shadow=true")
    assert shadow.audit_log is not None
    assert signed.audit_log is not None

    def first(log: bytes) -> tuple[Any, Any]:
        from swarm.trust.audit import frames, open_log, read_header
        from swarm.trust.records import from_bytes

        with open_log(log) as file:
            read_header(file)
            frame = next(iter(frames(file)))
        record = from_bytes(frame.kind, frame.payload)
        assert isinstance(record, Contracts)
        return record.agent.tolist(), record.quantity_w.tolist()

    assert first(shadow.audit_log) == first(signed.audit_log)


def test_shadow_without_signatures_is_refused() -> None:
    with pytest.raises(UsageError, match=r"trust\.shadow: needs contracts"):
        evening("trust.shadow=true", "trust.signatures=none")


def test_negotiation_finds_the_prices_of_the_auction(signed: Run) -> None:
    run = evening("market.mechanism=negotiated")
    assert run.metrics["consensus_share"] == 1
    assert run.metrics["agreed_share"] == 1
    for name in ("price_milli_per_mwh", "volume_w", "status", "outside_micro", "operator_micro"):
        assert run.market[name].equals(signed.market[name]), name
    for name in ("contract_w", "received_micro", "delivered_w"):
        assert run.agents[name].equals(signed.agents[name]), name
    assert run.timings["negotiation"]["calls"] == sum(run.market["rounds"].to_pylist())


def test_agents_whose_answers_are_lost_take_no_part() -> None:
    run = evening("market.mechanism=negotiated", "market.negotiation.lost_share=0.4")
    share = run.metrics["agreed_share"]
    assert 0.4 < share < 0.8
    assert run.metrics["unpermitted_dispatches"] == 0
    # Lost loads are not served: nobody bought for them.
    assert run.metrics["unserved_mwh"] > 0
    assert (
        run.digest
        == evening(
            "market.mechanism=negotiated", "market.negotiation.lost_share=0.4", agents_per_actor=5
        ).digest
    )


def test_too_few_rounds_end_without_consensus() -> None:
    run = evening("market.mechanism=negotiated", "market.negotiation.max_rounds=3")
    assert 0 <= run.metrics["consensus_share"] < 1
    assert max(run.market["rounds"].to_pylist()) <= 3
    assert run.metrics["ledger_residual_micro"] == 0


def test_a_reserve_market_and_a_negotiation_go_together() -> None:
    sets = ("grid.reserves.containment_mw=0.2", "grid.reserves.restoration_mw=0.2")
    auction, talk = (
        evening(*sets, ticks=12),
        evening(*sets, "market.mechanism=negotiated", ticks=12),
    )
    assert auction.metrics["reserve_cost"] is not None
    for name in ("price_milli_per_mwh", "volume_w", "containment_up_bought_w"):
        assert talk.market[name].equals(auction.market[name]), name
    assert talk.agents["received_micro"].equals(auction.agents["received_micro"])


def _audit(dispatched: list[int], agents: int) -> TickAudit:
    none = np.zeros(0, dtype=np.int64)
    every, zero = np.arange(agents), np.zeros(agents, dtype=np.int64)
    reserve = np.zeros((agents, 4), dtype=np.int64)
    acting = np.array(dispatched, dtype=np.int64)
    return TickAudit(
        Contracts(0, 0, bytes(32), bytes(64), every, zero, zero, reserve),
        None,
        Countersignatures(0, none, none, np.zeros((0, 64), dtype=np.uint8)),
        None,
        Dispatches(0, acting, acting),
        Refusals(0, "dispatch", none, none.astype(np.int8)),
    )


@pytest.mark.parametrize(
    ("meter", "found"), [("battery_w", 1), ("shifted_w", 1), ("generation_w", 1), ("load_w", 0)]
)
def test_a_device_that_moves_without_a_contract_is_counted(meter: str, found: int) -> None:
    columns = no_meters(3)
    columns[meter] = np.array([5, 5, 5])
    own_sun = np.array([False, False, meter == "generation_w"])
    count = unpermitted(_audit([0], 3), Meters(**columns), np.zeros(3, dtype=np.int64), own_sun)
    assert count == (found if meter == "generation_w" else 2 * found)


def test_scenarios_say_who_signs() -> None:
    trust = load_scenario("price_spike").scenario.trust
    assert trust.mode(10_000) == "per_agent"
    assert trust.mode(10_001) == "per_shard"
