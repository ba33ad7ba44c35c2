"""`swarm audit verify` and `swarm audit show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarm.cli import main
from swarm.results.audit import LOG
from swarm.trust.dispatch import Reason
from tests.results.audited import audited, edit_manifest, keys_of


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return audited(tmp_path / "run")


class Called:
    """What a command did."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = self._capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, said.out, said.err


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Called:
    return Called(capsys)


def test_a_log_that_holds(run_dir: Path, called: Called) -> None:
    code, out, err = called("audit", "verify", run_dir)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[-1] == "audit log: verified"
    for line in (
        "status finished",
        "records 23",
        "Contracts 5",
        "contracts 18",
        "countersignatures 13",
        "refusals dispatch revoked 5",
        "violations offer max_discharge 1, offer max_price 1, dispatch max_discharge 1",
        "emergency steps 1",
        "same in the results 20 rows of the table of agents",
        "ticks 0 to 4",
    ):
        assert line in lines
    code, out, _ = called("audit", "verify", run_dir, "--json")
    found = json.loads(out)
    assert (code, found["verified"], found["contracts"]) == (0, True, 18)


def test_a_flipped_byte_is_exit_code_1_and_named(run_dir: Path, called: Called) -> None:
    data = bytearray((run_dir / LOG).read_bytes())
    data[-40] ^= 1
    (run_dir / LOG).write_bytes(data)
    code, out, _ = called("audit", "verify", run_dir)
    assert code == 1
    assert out.splitlines()[-1] == (
        "audit log: BROKEN at record 22 (tick 4): was changed or does not follow the one before it"
    )
    code, out, _ = called("audit", "verify", run_dir, "--json")
    fault = json.loads(out)["fault"]
    assert code == 1
    assert (fault["code"], fault["record"], fault["tick"]) == ("damaged", 22, 4)


def test_a_fault_that_is_of_no_record(run_dir: Path, called: Called) -> None:
    (run_dir / LOG).unlink()
    code, out, _ = called("audit", "verify", run_dir)
    assert code == 1
    assert out.splitlines()[-1].startswith("audit log: BROKEN: ")


def test_the_markets_key_from_elsewhere(tmp_path: Path, called: Called) -> None:
    run_dir = audited(tmp_path / "run", keys="folder")
    right, wrong = (keys_of(kind)[0].public.hex() for kind in ("folder", "seed"))
    assert called("audit", "verify", run_dir, "--market-key", right)[0] == 0
    assert called("audit", "verify", run_dir, "--market-key", wrong)[0] == 1
    code, _, err = called("audit", "verify", run_dir, "--market-key", "abc")
    assert code == 2
    assert "expected 64 hexadecimal digits, got 'abc'" in err


def test_what_is_no_run_is_exit_code_2(tmp_path: Path, run_dir: Path, called: Called) -> None:
    code, _, err = called("audit", "verify", tmp_path / "nowhere")
    assert (code, "no such folder" in err) == (2, True)
    assert called("audit", "show", tmp_path, "--agent", "0", "--tick", "0")[0] == 2
    (run_dir / LOG).unlink()
    edit_manifest(run_dir, trust=None)
    code, _, err = called("audit", "verify", run_dir)
    assert (code, "trust.signatures is none" in err) == (2, True)


def test_a_decision_in_words(run_dir: Path, called: Called) -> None:
    code, out, _ = called("audit", "show", run_dir, "--agent", "batteries-1", "--tick", 1)
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines == [
        "batteries-1 (storage, index 1), tick 1, 2025-06-18T00:15:00+01:00",
        "forecast -75 W, error 3 W",
        "offer not kept; run with --set results.orders=true",
        "policy max_discharge: asked 90 W, allowed 70 W (order slot 0, at offer)",
        "policy max_price: asked 45.000 EUR/MWh, allowed 40.000 EUR/MWh (order slot 1, at offer)",
        "contract -70 W at 40.000 EUR/MWh, record 4",
        "reserve 8 W containment_down",
        "proof leaf 1 of 3, valid",
        "market's seal valid",
        "countersignature its own, valid",
        "dispatch -70 W",
        "schedule -70 W",
        "metered -70 W",
        "payment paid 0.000700 EUR",
        "clearing price 40.000 EUR/MWh",
    ]


def test_a_refusal_in_words(run_dir: Path, called: Called) -> None:
    _, out, _ = called("audit", "show", run_dir, "--agent", "town-1", "--tick", 0)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "countersignature none that holds" in lines
    assert "refused at dispatch, revoked: the agent's key is revoked" in lines
    code, out, _ = called("audit", "show", run_dir, "--agent", "town-1", "--tick", 0, "--json")
    assert code == 0
    assert json.loads(out)["log"]["refusals"][0]["reason"] == "revoked"


def test_an_unknown_agent_is_exit_code_2(run_dir: Path, called: Called) -> None:
    code, _, err = called("audit", "show", run_dir, "--agent", "town-7", "--tick", 0)
    assert code == 2
    assert "did you mean 'town-" in err


def test_every_reason_has_its_words() -> None:
    from swarm.cli.audit import REASONS

    assert set(REASONS) == {reason.name.lower() for reason in Reason} - {"valid"}
