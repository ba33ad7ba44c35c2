"""`swarm run --watch` in a real pseudo-terminal: what it draws, and how it leaves the screen."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def watched(tmp_path: Path, *arguments: str, interrupt: bool = False) -> tuple[int, str, str]:
    """Exit code, what the terminal got, and stdout of a run watched at 100 x 30."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (30, 100))
    command = [sys.executable, "-m", "swarm", "run", "--scenario", "price_spike", "--watch"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        [*command, "--engine", "inline", "--out", str(tmp_path), *arguments],
        stderr=follower,
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment,
        text=True,
    )
    os.close(follower)
    drawn = bytearray()
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:
            break
        if not data:
            break
        drawn += data
        if interrupt and ALTERNATE.encode() in drawn and b"MWh" in drawn:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            interrupt = False
    os.close(leader)
    assert process.stdout is not None
    told = process.stdout.read()
    return process.wait(timeout=60), drawn.decode(), told


def test_a_run_is_watched_on_a_screen_of_its_own(tmp_path: Path) -> None:
    code, drawn, told = watched(tmp_path, "--ticks", "24", "--set", "events=[]")
    assert code == 0
    assert drawn.index(ALTERNATE) < drawn.rindex(NORMAL)
    assert drawn.rindex(SHOW) > drawn.rindex(HIDE)
    last = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn[drawn.rindex(NORMAL) :])
    assert re.search(r"active +\d+ of 100 agents", last)
    assert re.search(r"unpermitted\D+0\b", last)
    assert "consensus" in last
    assert "negotiat" in last
    assert "digest:" in told
    assert "\x1b" not in told


def test_ctrl_c_gives_the_terminal_back(tmp_path: Path) -> None:
    code, drawn, told = watched(tmp_path, interrupt=True)
    assert code == 130
    assert NORMAL in drawn
    assert drawn.rindex(SHOW) > drawn.rindex(HIDE)
    assert "interrupted" in drawn[drawn.rindex(NORMAL) :]
    assert told == ""
