"""`swarm run` watched from outside: its options, and logs as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from swarm.cli import main
from swarm.telemetry.metrics import BY_NAME
from tests.telemetry.receiver import receiving

SHORT = ["run", "--scenario", "price_spike", "--engine", "inline", "--agents", "12", "--ticks", "6"]


def lines(said: str) -> list[dict[str, Any]]:
    """Every line of what was said, which is JSON throughout."""
    return [json.loads(line) for line in said.splitlines()]


def swarm(*arguments: str, out: Path) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as end:
        main([*SHORT, *arguments, "--out", str(out)])
    return int(end.value.code or 0)


def test_every_line_of_the_log_is_json_and_carries_the_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.address)
        assert swarm("--log-format", "json", "--otel", "--otel-ratio", "1", out=tmp_path) == 0
    said = lines(capsys.readouterr().err)
    for line in said:
        assert {"time", "level", "message"} <= set(line)
    traced = {line["trace_id"] for line in said if "trace_id" in line}
    assert traced == {receiver.spans[0].trace_id.hex()}
    last = [line for line in said if line["message"] == "tick"][-1]
    assert last["tick"] == 5
    assert last["trace_id"] in traced
    assert last["scenario"] == "price_spike"


def test_emergencies_are_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(
            [
                *("run", "--scenario", "emergency", "--engine", "inline"),
                *("--out", str(tmp_path), "--log-format", "json"),
            ]
        )
    found = [line for line in lines(capsys.readouterr().err) if line["level"] == "warning"]
    assert any(line["message"] == "emergency detected" for line in found)
    assert all(48 < line["frequency_hz"] < 50 for line in found)


def test_an_error_is_one_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert swarm("--log-format", "json", "--set", "market.price_cp=3", out=tmp_path) == 2
    (line,) = lines(capsys.readouterr().err)
    assert line["level"] == "error"
    assert line["exit_code"] == 2
    assert "price_cap" in line["message"], "the nearest valid name"


def test_quiet_logs_say_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert swarm("--log-format", "json", "--quiet", out=tmp_path) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--otel-ratio", "0.5"), "give both"),
        (("--otel", "--otel-ratio", "3"), "expected 0 to 1"),
        (("--hold", "3"), "give a port"),
        (("--metrics-port", "-4"), "expected 0 to 65535"),
        (("--metrics-port", "9464", "--metrics-host", "256.0.0.1"), "nothing can listen"),
        (("--watch", "--log-format", "json"), "draws for people"),
        (("--pace", "soon"), "not a valid float"),
    ],
)
def test_nonsense_is_refused(
    arguments: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert swarm(*arguments, out=tmp_path / "runs") == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_ratio_from_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "often")
    assert swarm("--otel", out=tmp_path / "runs") == 2
    assert "OTEL_TRACES_SAMPLER_ARG='often'" in capsys.readouterr().err


def test_the_endpoint_stays_while_it_is_held_and_listens_on_loopback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "swarm", *SHORT, "--out", str(tmp_path)]
    command += ["--metrics-port", "0", "--hold", "60", "--log-format", "json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        url = ""
        for line in running.stderr:
            message = json.loads(line)["message"]
            if message.startswith("metrics: "):
                url = message.removeprefix("metrics: ")
            if message.startswith("metrics stay"):
                break
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url) as answer:
            text = answer.read().decode()
        assert "swarm_ticks_total 6.0" in text
        names = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP swarm_")}
        assert names <= set(BY_NAME) | {name.removesuffix("_total") for name in BY_NAME}
        begin = time.monotonic()
        running.send_signal(2)
        assert running.wait(timeout=30) == 0, "the run itself is done"
        assert time.monotonic() - begin < 20, "Ctrl-C ends the wait"
