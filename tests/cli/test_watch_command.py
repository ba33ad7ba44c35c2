"""Options of `swarm run` that go with the dashboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarm.cli import main
from swarm.errors import UsageError


def swarm(*arguments: str) -> int:
    """The exit code of the command line in this process."""
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_quiet_and_watch_contradict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("run", "--scenario", "price_spike", "--engine", "inline", "--out", str(tmp_path))
    assert swarm(*command, "--quiet", "--watch") == 2
    error = capsys.readouterr().err
    assert "--watch" in error
    assert "--quiet" in error
    assert list(tmp_path.iterdir()) == []


def test_shadow_is_a_field_of_the_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def run(*_: Any, **options: Any) -> None:
        asked.extend(options["sets"])
        raise UsageError("enough")

    monkeypatch.setattr("swarm.runtime.session.run", run)
    assert swarm("run", "--scenario", "price_spike", "--set", "seed=3", "--shadow") == 2
    assert asked == ["seed=3", "trust.shadow=true"]


def test_a_run_in_a_pipe_has_lines_and_the_same_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    digests = []
    for extra in ((), ("--watch",)):
        command = ("run", "--scenario", "price_spike", "--engine", "inline", "--agents", "12")
        assert swarm(*command, "--ticks", "6", "--out", str(tmp_path), *extra) == 0
        said = capsys.readouterr()
        digests.append(said.out.rsplit("digest:", 1)[1].strip())
    assert digests[0] == digests[1]
    assert "\x1b" not in said.err
    assert "tick 6/6" in said.err
    assert "consensus" in said.err
