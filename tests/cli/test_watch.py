"""`swarm run --watch`: the figures that are put in are the figures that are shown."""

from __future__ import annotations

import io
import re
import sys
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from swarm.cli.progress import PLAIN_SECONDS
from swarm.cli.watch import Watch
from swarm.cli.watch_frame import sparkline
from swarm.grid.balance import Balance, Event, Operated
from swarm.market.record import Cleared
from swarm.messages import Signal
from swarm.scenario.schema import Scenario

NAMES = ("coal-1", "home-7", "wind-3", "farm-9")
ENTER_SCREEN, LEAVE_SCREEN, HOME, SHOW_CURSOR = "\x1b[?1049h", "\x1b[?1049l", "\x1b[H", "\x1b[?25h"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3[0-7]m")
SIGNAL = Signal(0, 50.0, np.zeros(24), np.zeros(24), -500.0, 3000.0, 0.0, True)
CALM: dict[str, Any] = dict.fromkeys(Balance.__struct_fields__[1:12], 0) | {
    "generation_w": 453_353_000,
    "load_w": 460_104_000,
    "import_w": 7_250_000,
    "frequency_min_hz": 49.987,
    "frequency_max_hz": 50.031,
    "frequency_end_hz": 50.012,
    "voltage_min_pu": 0.968,
    "voltage_max_pu": 1.021,
}


class Wall:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """What was written, by something that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def scenario(**fields: Any) -> Scenario:
    return Scenario.model_validate(
        {"name": "script", "ticks": 6, "currency": "AUD", "start": "2025-06-18T10:00:00+01:00"}
        | fields
    )


def operated(tick: int, *, emergency: bool = False, **balance: Any) -> Operated:
    """Of the interval before `tick`; `events` are steps and their seconds."""
    events = balance.pop("events", ())
    told = tuple(Event(tick - 1, second, step, 1e6, 49.75) for step, second in events)
    return Operated(
        Balance(tick=tick - 1, **(CALM | balance)) if tick else None,
        msgspec.structs.replace(SIGNAL, tick=tick + 1, emergency=emergency),
        events=told,
    )


SCRIPT = (
    (Cleared(0, 50_000, 1, contracts=1200, answers=4, rounds=1, agreed=4), operated(0)),
    (
        Cleared(
            1, 3_000_000, 2, contracts=31, refused=2, violations=5, rounds=3, consensus=False,
            agreed=3, answers=9, trades=((2, 4_000_000), (1, -125_000)),
        ),
        operated(1),
    ),
    (
        Cleared(
            2, 61_250, 461_500_000, contracts=3, refused=1, violations=2, unpermitted=7,
            rounds=12, agreed=2, answers=24, trades=((0, 2_500_000), (3, -1_750_000)),
        ),
        operated(2, emergency=True, events=(("detection", 61.5), ("storage", 61.75))),
    ),
)  # fmt: skip
SHOWN = (
    "script", "2025-06-18 10:10", "3/6", "61.25 AUD/MWh", "461.500 MW", "2 of 4 agents",
    "12, consensus 66.7 %", "1,234 signed", "460.104 MW", "453.353 MW", "7.250 MW",
    "50.012 Hz, within 0.1", "49.987 to 50.031 Hz", "0.968 to 1.021", "ACTIVE, 1 so far",
    "50.00 to 3,000.00",
    "10:10  coal-1  sells 2.500 MW  at 61.25 AUD/MWh",
    "10:10  farm-9  buys  1.750 MW  at 61.25 AUD/MWh",
    "10:05  wind-3  sells 4.000 MW  at 3,000.00 AUD/MWh",
    "10:05  home-7  buys  0.125 MW  at 3,000.00 AUD/MWh",
    "10:06:01.750   49.750 Hz  storage responds +1 MW",
    "10:06:01.500   49.750 Hz  emergency detected +1 MW",
)  # fmt: skip


def still(width: int, height: int, ticks: Any = SCRIPT, **fields: Any) -> list[str]:
    """Lines of the last frame on a screen of that size, as a reader sees them."""
    file = Terminal()
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    watch = Watch(console, Wall())
    with watch:
        watch.begin(scenario(**fields), NAMES)
        for cleared, told in ticks:
            watch._clock.now += 1.0  # type: ignore[attr-defined]
            watch.tick(cleared, told)
    screen = file.getvalue().split(LEAVE_SCREEN)[0].split(HOME)[-1]
    return re.sub(r"\x1b\[[?\d;]*[a-zA-Z]", "", screen).split("\n")


def value(lines: list[str], label: str, width: int = 80) -> str:
    """What stands behind a label, in a terminal of that width."""
    middle = (width - 2) // 2 if width >= 76 else width
    parts = [part for line in lines for part in (line[:middle], line[middle + 2 :])]
    return next(part[len(label) :].strip() for part in parts if part.startswith(f"{label} "))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_figures_put_in_are_shown(width: int, height: int) -> None:
    lines = still(width, height)
    text = "\n".join(lines)
    assert [figure for figure in SHOWN if figure not in text] == []
    assert value(lines, "refused", width) == "3"
    assert value(lines, "violations", width) == "7"
    assert value(lines, "unpermitted", width) == "7"
    assert value(lines, "unserved", width) == "0.000 MW"
    # The newest stands first, and of one tick the largest.
    order = [text.index(name) for name in ("coal-1", "farm-9", "wind-3", "home-7")]
    assert order == sorted(order)
    assert text.index("storage responds") < text.index("emergency detected")
    # The interval of the grid is the one before the market's.
    assert "grid 10:05" in text
    assert "market 10:10" in text
    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_small_screen_shows_what_matters_first() -> None:
    lines = still(40, 10)
    assert len(lines) == 10
    assert max(map(len, lines)) <= 40
    assert lines[0].startswith("2025-06-18 10:10  script")
    assert "3/6" in lines[1]
    assert value(lines, "price", 40) == "61.25 AUD/MWh"
    assert value(lines, "frequency", 40) == "50.012 Hz, within 0.1"
    assert value(lines, "emergency", 40) == "ACTIVE, 1 so far"
    assert value(lines, "load", 40) == "460.104 MW"
    assert value(lines, "unpermitted", 40) == "7"


@pytest.mark.parametrize("height", [1, 2, 24])
@pytest.mark.parametrize("width", [1, 3, 30])
def test_any_size_is_drawn(width: int, height: int) -> None:
    lines = still(width, height)
    assert len(lines) == height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(
    ("nominal", "low", "high", "words"),
    [
        (50, 49.901, 50.0, "within 0.1"),
        (50, 49.95, 50.11, "beyond 0.1"),
        (50, 49.79, 50.0, "beyond 0.2"),
        (60, 59.885, 60.0, "within 0.12"),
        (60, 59.885, 60.23, "beyond 0.12"),
        (60, 59.75, 60.0, "beyond 0.24"),
    ],
)
def test_band_of_frequency_reads_without_colour(
    nominal: int, low: float, high: float, words: str
) -> None:
    # Back at nominal at the end: the worst moment of the interval decides.
    told = operated(1, frequency_min_hz=low, frequency_max_hz=high, frequency_end_hz=float(nominal))
    lines = still(80, 24, [(Cleared(1, None, 0), told)], nominal_frequency_hz=nominal)
    assert value(lines, "frequency") == f"{nominal}.000 Hz, {words}"


def test_what_is_not_simulated_is_not_shown() -> None:
    nan = dict.fromkeys(("frequency_min_hz", "frequency_max_hz", "frequency_end_hz"), np.nan)
    told = operated(1, **nan, voltage_min_pu=np.nan, voltage_max_pu=np.nan)
    text = "\n".join(still(80, 24, [(Cleared(1, None, 0), told)]))
    assert "no trade" in text
    assert "frequency" not in text
    assert "voltage" not in text
    assert "nan" not in text


def test_exports_and_shortage_read_as_such() -> None:
    told = operated(1, import_w=0, export_w=2_000_000, unserved_w=30_000, voltage_min_pu=0.93)
    lines = still(80, 24, [(Cleared(1, 1000, 0), told)])
    assert value(lines, "imports") == "-2.000 MW (export)"
    assert value(lines, "unserved") == "0.030 MW"
    assert value(lines, "voltage pu") == "0.930 to 1.021, beyond 5 %"


def test_sparkline() -> None:
    assert sparkline([0, 7, 3, float("nan"), -7], "abcdefgh") == "ehf a"
    assert sparkline([5, 5, float("nan")], "abc") == "bb "
    assert sparkline([float("nan")] * 2) == "  "


def plain(wall: Wall) -> tuple[Watch, io.StringIO]:
    file = io.StringIO()
    return Watch(Console(file=file, width=80), wall), file


def test_rates_follow_the_last_seconds() -> None:
    wall = Wall()
    watch, file = plain(wall)
    watch.begin(scenario(ticks=1000), NAMES)
    for tick in range(200):
        # A hundred ticks at 10/s, then a hundred at 2/s; 60 answers each.
        wall.now += 0.1 if tick < 100 else 0.5
        watch.tick(Cleared(tick, 1000, 0, answers=60), operated(tick))
        if tick == 99:
            assert watch._figures is not None
            assert "10.0 ticks/s  0:01:30 left" in watch._figures.line()
            assert "negotiations 600/s" in watch._figures.line()
    last = file.getvalue().splitlines()[-1]
    assert "2.0 ticks/s" in last
    assert "negotiations 120/s" in last


def test_plain_lines_have_the_same_figures_and_no_control_codes() -> None:
    wall = Wall()
    watch, file = plain(wall)
    with watch:
        watch.begin(scenario(), NAMES)
        for cleared, told in SCRIPT:
            wall.now += PLAIN_SECONDS
            watch.tick(cleared, told)
    first, *lines = file.getvalue().splitlines()
    assert first == "script: 4 agents, 6 ticks"
    assert len(lines) == len(SCRIPT)
    older = ("50.00 to 3,000.00", "farm-9", "wind-3", "home-7", "emergency detected")
    assert [f for f in SHOWN[1:] if f not in lines[-1] and not any(o in f for o in older)] == []
    assert "unpermitted 7" in lines[-1]
    assert "\x1b" not in file.getvalue()


def test_closing_steps_count_and_end_the_lines() -> None:
    watch, file = plain(Wall())
    watch.begin(scenario(ticks=1), NAMES)
    watch.tick(Cleared(0, 61_250, 0, contracts=4), operated(0))
    watch.tick(Cleared(1, None, 0, refused=1, unpermitted=2), operated(1))
    watch.tick(Cleared(2, None, 0), operated(0))
    _, last = file.getvalue().splitlines()
    for words in ("tick 1/1", "price 61.25 AUD/MWh", "4 signed  refused 1", "unpermitted 2"):
        assert words in last


def test_a_second_run_starts_anew_and_says_which_it_is() -> None:
    wall = Wall()
    watch, _ = plain(wall)
    watch.note("first as it was, to compare")
    watch.begin(scenario(), NAMES)
    watch.tick(*SCRIPT[1])
    assert watch._figures is not None
    first = watch._figures.shown()
    assert first.title == "script: first as it was, to compare"
    watch.begin(scenario(baseline={"name": "as it was", "set": ["outages=false"]}), NAMES)
    watch.tick(*SCRIPT[0])
    second = watch._figures.shown()
    assert second.title == "script: compared with 'as it was'"
    assert second.progress.startswith("1/6")
    assert {"1,200 signed", "0"} <= {row.value for row in second.market}
    assert second.trades == ()
    assert second.prices == (50.0,)


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error as a terminal with colours."""
    file = Terminal()
    monkeypatch.setattr(sys, "stderr", file)
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return file


def test_an_interrupt_gives_the_terminal_back_and_loses_no_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = terminal_of(monkeypatch)
    wall = Wall()

    def interrupted() -> None:
        with Watch(clock=wall) as watch:
            watch.note("said before")
            watch.begin(scenario(), NAMES)
            watch.note("said meanwhile")
            for cleared, told in SCRIPT:
                watch.tick(cleared, told)
            print("a warning", file=sys.stderr)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sys.stderr is terminal
    before, rest = terminal.getvalue().split(ENTER_SCREEN)
    during, after = rest.split(LEAVE_SCREEN)
    assert "said before" in before
    assert SHOW_CURSOR in during + after
    assert "a warning" not in during
    assert "a warning" in after
    assert "said meanwhile" in after
    # The last frame stays, with the ticks that came too soon to be drawn.
    assert "1,234 signed" in after
    assert HOME not in after


def test_frames_are_few_whatever_the_rate_of_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    wall = Wall()
    with Watch(clock=wall) as watch:
        watch.begin(scenario(ticks=10_000), NAMES)
        for tick in range(10_000):
            wall.now += 0.001
            watch.tick(Cleared(tick, 50_000, 1), operated(tick))
    frames = terminal.getvalue().count(HOME)
    assert 40 <= frames <= 80  # in ten seconds


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)

    def drawn() -> str:
        with Watch(clock=Wall()) as watch:
            watch.begin(scenario(), NAMES)
            for cleared, told in SCRIPT:
                watch.tick(cleared, told)
        return terminal.getvalue()

    assert COLOUR.search(drawn())
    terminal.truncate(0)
    monkeypatch.setenv("NO_COLOR", "1")
    assert COLOUR.search(drawn()) is None


def test_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    with Watch(clock=Wall()) as watch:
        watch.begin(scenario(), NAMES)
        watch.tick(*SCRIPT[0])
    assert "script: 4 agents" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_ascii_terminal_gets_ascii() -> None:
    class Ascii(Terminal):
        encoding = "ascii"

    file = Ascii()
    console = Console(file=file, width=80, height=24, force_terminal=True, color_system=None)
    with Watch(console, Wall()) as watch:
        watch.begin(scenario(), NAMES)
        for cleared, told in SCRIPT:
            watch.tick(cleared, told)
    assert file.getvalue().isascii()
    assert "50.00 to 3,000.00  _#_" in file.getvalue()
