"""`swarm keys`, and `swarm run --keys`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from swarm.cli import main
from swarm.trust import keys as trust_keys
from swarm.trust.keys import read_key_folder

SMALL = ("--scenario", "price_spike", "--agents", "20")
Called = Callable[..., tuple[int, str, str]]


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Called:
    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return stop.value.code, said.out, said.err

    return call


def test_every_agent_and_the_market_get_a_key_and_none_is_told(
    tmp_path: Path, called: Called
) -> None:
    folder = tmp_path / "new" / "keys"
    code, out, err = called("keys", folder, *SMALL)
    assert (code, err) == (0, "")
    files = sorted(folder.iterdir())
    assert len(files) == 21
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    told = re.fullmatch(r".*: 21 keys written; market's public key ([0-9a-f]{64})\n", out)
    assert told is not None
    secrets = {}
    for file in files:
        secret, public = re.findall("[0-9a-f]{64}", file.read_text())
        # Another implementation of the interface agrees that the two belong together.
        assert bytes(SigningKey(bytes.fromhex(secret)).verify_key).hex() == public
        assert secret not in out
        secrets[file.stem] = secret, public
    assert len(set(secrets.values())) == 21
    assert secrets["market"][1] == told[1]


def test_a_run_signs_with_them(tmp_path: Path, called: Called) -> None:
    code, out, _ = called("keys", tmp_path / "keys", *SMALL, "--json")
    made = json.loads(out)
    assert (code, made["written"], made["kept"]) == (0, 21, 0)
    options = ("--engine", "inline", "--ticks", 4, "--quiet", "--out", tmp_path / "runs")
    assert called("run", *SMALL, *options, "--keys", tmp_path / "keys")[0] == 0
    (run_dir,) = (tmp_path / "runs").iterdir()
    key = ("--market-key", made["market_public_key"])
    assert called("audit", "verify", run_dir, *key)[0] == 0
    trust = json.loads((run_dir / "manifest.json").read_text())["trust"]
    assert trust["keys"] == "folder"


def test_keys_are_kept_only_where_asked(tmp_path: Path, called: Called) -> None:
    called("keys", tmp_path, *SMALL)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    code, _, err = called("keys", tmp_path, *SMALL)
    assert code == 2
    assert "keys are never overwritten" in err
    lost = tmp_path / "batteries-0001.key"
    lost.unlink()
    code, out, _ = called("keys", tmp_path, *SMALL, "--missing")
    assert code == 0
    assert "1 keys written, 20 kept" in out
    after = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert after.keys() == before.keys()
    assert [file for file in before if after[file] != before[file]] == [lost]


def test_agents_of_the_baseline_get_keys_too(tmp_path: Path, called: Called) -> None:
    scenario = tmp_path / "two.yaml"
    scenario.write_text(
        "name: two\nticks: 12\nfleets:\n- {name: homes, kind: home, count: 2}\n"
        "baseline: {name: more, set: ['fleets.homes.count=3']}\n"
    )
    assert called("keys", tmp_path / "keys", "--scenario", scenario)[0] == 0
    assert len(read_key_folder(tmp_path / "keys", ["homes-0003", "market"])) == 2


def test_an_agent_called_market_is_refused(tmp_path: Path, called: Called) -> None:
    scenario = tmp_path / "one.yaml"
    scenario.write_text("name: one\nfleets:\n- {name: a, kind: home, agents: [{name: market}]}\n")
    code, _, err = called("keys", tmp_path / "keys", "--scenario", scenario)
    assert code == 2
    assert "agent 'market': the market signs under that name" in err
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    ("scenario", "said"),
    [("price_spice", "did you mean 'price_spike'"), ("rts_gmlc", "--data")],
)
def test_a_scenario_that_cannot_be_writes_nothing(
    tmp_path: Path, called: Called, scenario: str, said: str
) -> None:
    code, _, err = called("keys", tmp_path / "keys", "--scenario", scenario)
    assert code == 2
    assert said in err
    assert not (tmp_path / "keys").exists()


def test_a_folder_that_is_a_file(tmp_path: Path, called: Called) -> None:
    (tmp_path / "keys").write_text("mine")
    code, _, err = called("keys", tmp_path / "keys", *SMALL)
    assert code == 2
    assert "error: key folder" in err
    assert (tmp_path / "keys").read_text() == "mine"


def test_what_cannot_be_written_whole_is_taken_away(
    tmp_path: Path, called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after ten keys."""
    real, calls = trust_keys.os.open, []

    def full(path: Path, flags: int, mode: int) -> int:
        calls.append(path)
        if len(calls) > 10:
            raise OSError(28, "No space left on device")
        return real(path, flags, mode)

    monkeypatch.setattr(trust_keys.os, "open", full)
    code, _, err = called("keys", tmp_path, *SMALL)
    assert (code, len(calls)) == (2, 11)
    assert "No space left on device" in err
    assert not list(tmp_path.iterdir())


def test_a_run_whose_keys_are_missing_does_not_start(tmp_path: Path, called: Called) -> None:
    options = ("--engine", "inline", "--ticks", 4, "--out", tmp_path / "runs")
    code, _, err = called("run", *SMALL, *options, "--keys", tmp_path / "nowhere")
    assert code == 2
    assert "no such folder" in err
    assert not (tmp_path / "runs").exists()
