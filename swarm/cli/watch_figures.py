"""The figures of a run as it goes on, and how they read: what the dashboard shows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from swarm.cli.progress import price_words
from swarm.results.summary import story

if TYPE_CHECKING:
    from swarm.grid.balance import Balance, Event, Operated
    from swarm.market.record import Cleared
    from swarm.scenario.schema import Scenario

RATE_SECONDS = 3.0
"""Wall time over which rates are taken."""
MARK_SECONDS = 0.1
"""Least wall time between two marks that rates are taken from."""
PRICES = 60
"""Ticks in the line of prices."""
KEPT = 40
"""Trades and events that are kept to be shown."""
GOOD, WARNING, BAD = "green", "yellow", "bold red"
NEAR_HZ, FAR_HZ = 0.1, 0.2
"""Deviations at 50 Hz that separate good, warning and bad frequency."""
LEAST_PU, MOST_PU = 0.95, 1.05


@dataclass(frozen=True)
class Row:
    """One figure: what it is, what it is now, and a style that the words do not depend on."""

    label: str
    value: str
    style: str = ""


@dataclass(frozen=True)
class Shown:
    """All that a frame shows, ready to draw; nothing in it changes.

    Attributes:
        title: the run.
        done: ticks cleared.
        total: ticks of the run.
        progress: ticks, their rate and the time left, in words.
        grid_at: start of the interval the figures of the grid are of; empty before the first.
        market_at: start of the interval that was cleared last.
        grid: figures of the grid.
        market: figures of the market.
        prices: of the last ticks, per MWh, NaN without trade.
        trades: last trades, newest first.
        events: last events, newest first.
    """

    title: str
    done: int
    total: int
    progress: str
    grid_at: str
    market_at: str
    grid: tuple[Row, ...]
    market: tuple[Row, ...]
    prices: tuple[float, ...]
    trades: tuple[str, ...]
    events: tuple[str, ...]


class Figures:
    """Takes in one run tick by tick. Wall time is given in seconds from any origin."""

    def __init__(self, scenario: Scenario, names: Sequence[str], about: str) -> None:
        """Start at zero.

        Args:
            scenario: of the run.
            names: of all agents, in global order.
            about: which run it is, or a word on it; may be empty.
        """
        self._scenario, self._names, self._about = scenario, names, about
        self._phase = "starting"
        self._done = self._answers = self._agreements = 0
        self._contracts = self._refused = self._violations = self._unpermitted = 0
        self._emergencies = 0
        self._emergency = False
        self._balance: Balance | None = None
        self._last: Cleared | None = None
        self._heard = -1
        self._prices: deque[float] = deque(maxlen=PRICES)
        self._trades: deque[tuple[int, str, int, int | None]] = deque(maxlen=KEPT)
        self._events: deque[Event] = deque(maxlen=KEPT)
        self._marks: deque[tuple[float, int, int]] = deque()
        self._rates = (math.nan, math.nan)

    @property
    def settled(self) -> bool:
        """Every tick was cleared, and it is known what came of the last one."""
        return self._heard >= self._scenario.ticks

    def starting(self, ready: int, actors: int) -> None:
        """So many of the actors are there."""
        self._phase = f"starting actors {ready}/{actors}"

    def add(self, cleared: Cleared, operated: Operated, now: float) -> None:
        """Take in a tick at wall time `now`, the closing steps after the last one included."""
        self._heard = cleared.tick
        self._emergency = operated.signal.emergency
        if operated.balance is not None:
            self._balance = operated.balance
        for event in operated.events:
            self._events.appendleft(event)
            self._emergencies += event.step == "detection"
        self._contracts += cleared.contracts
        self._refused += cleared.refused
        self._violations += cleared.violations
        self._unpermitted += cleared.unpermitted
        if cleared.tick >= self._scenario.ticks:
            return
        # The closing steps clear nothing: what was last stays.
        self._last, self._done = cleared, cleared.tick + 1
        self._answers += cleared.answers
        self._agreements += cleared.consensus
        price = cleared.price_milli
        self._prices.append(math.nan if price is None else price / 1000)
        # The newest tick stands first, and in it the largest trade.
        for agent, net_w in reversed(cleared.trades):
            self._trades.appendleft((cleared.tick, self._names[agent], net_w, price))
        self._mark(now)

    def _mark(self, now: float) -> None:
        """Take the rates over the last seconds; over the last tick where it took longer."""
        marks = self._marks
        if marks:
            first, ticks, answers = marks[0]
            if now > first:
                passed = now - first
                self._rates = (self._done - ticks) / passed, (self._answers - answers) / passed
        if not marks or now - marks[-1][0] >= MARK_SECONDS:
            marks.append((now, self._done, self._answers))
        while len(marks) > 1 and now - marks[0][0] > RATE_SECONDS:
            marks.popleft()

    # --- in words ---

    def line(self) -> str:
        """All figures in one line."""
        shown = self.shown()
        figures = [f"{row.label} {row.value}" for row in (*shown.market, *shown.grid)]
        last = [
            f"last {name} {lines[0]}"
            for name, lines in (("trade", shown.trades), ("event", shown.events))
            if lines
        ]
        return "  ".join([f"tick {shown.progress}", shown.market_at, *figures, *last])

    def shown(self) -> Shown:
        """All figures as they are now."""
        scenario, balance, last = self._scenario, self._balance, self._last
        about = f": {self._about}" if self._about else ""
        total, words = scenario.ticks, self._phase
        if last is not None:
            words = f"{self._done:,}/{total:,}"
            rate = self._rates[0]
            if math.isfinite(rate) and rate > 0:
                left = timedelta(seconds=round((total - self._done) / rate))
                words += f"  {rate:,.1f} ticks/s  {left} left"
        return Shown(
            title=f"{scenario.name}{about}",
            done=self._done,
            total=total,
            progress=words,
            grid_at="" if balance is None else f"{self._time(balance.tick):%H:%M}",
            market_at=f"{self._time(max(0, self._done - 1)):%Y-%m-%d %H:%M}",
            grid=() if balance is None else self._grid_rows(balance),
            market=() if last is None else self._market_rows(last),
            prices=tuple(self._prices),
            trades=tuple(self._trade_line(*trade) for trade in self._trades),
            events=tuple(self._event_lines()),
        )

    def _time(self, tick: int) -> datetime:
        return self._scenario.start + timedelta(minutes=tick * self._scenario.tick_minutes)

    def _grid_rows(self, balance: Balance) -> tuple[Row, ...]:
        net_w = balance.import_w - balance.export_w
        rows = [
            Row("load", _megawatts(balance.load_w)),
            Row("unserved", _megawatts(balance.unserved_w), WARNING if balance.unserved_w else ""),
            Row("generation", _megawatts(balance.generation_w)),
            Row("imports", _megawatts(net_w) + (" (export)" if net_w < 0 else "")),
        ]
        if math.isfinite(balance.frequency_end_hz):
            rows += self._frequency_rows(balance)
        low, high = balance.voltage_min_pu, balance.voltage_max_pu
        if math.isfinite(low):
            inside = low >= LEAST_PU and high <= MOST_PU
            words = "" if inside else ", beyond 5 %"
            rows.append(
                Row("voltage pu", f"{low:.3f} to {high:.3f}{words}", GOOD if inside else BAD)
            )
        if self._emergency:
            rows.append(Row("emergency", f"ACTIVE, {self._emergencies:,} so far", BAD))
        else:
            rows.append(Row("emergency", f"none now, {self._emergencies:,} so far", GOOD))
        return tuple(rows)

    def _frequency_rows(self, balance: Balance) -> list[Row]:
        """At the end of the interval, and the range inside it, which decides on the band."""
        low, high = balance.frequency_min_hz, balance.frequency_max_hz
        nominal = self._scenario.nominal_frequency_hz
        near, far = self._scenario.hz(NEAR_HZ), self._scenario.hz(FAR_HZ)
        worst = max(nominal - low, high - nominal)
        if worst <= near:
            words, style = f"within {near:g}", GOOD
        elif worst <= far:
            words, style = f"beyond {near:g}", WARNING
        else:
            words, style = f"beyond {far:g}", BAD
        return [
            Row("frequency", f"{balance.frequency_end_hz:.3f} Hz, {words}", style),
            Row("range", f"{low:.3f} to {high:.3f} Hz", style),
        ]

    def _market_rows(self, last: Cleared) -> tuple[Row, ...]:
        answers, share = self._rates[1], 100 * self._agreements / self._done
        return (
            Row("price", price_words(last.price_milli, self._scenario.currency)),
            Row("traded", _megawatts(last.volume_w)),
            Row("active", f"{last.agreed:,} of {len(self._names):,} agents"),
            Row("rounds", f"{last.rounds:,}, consensus {share:.1f} %"),
            Row("negotiations", "-" if math.isnan(answers) else f"{answers:,.0f}/s"),
            Row("contracts", f"{self._contracts:,} signed"),
            _alarm("refused", self._refused, WARNING),
            _alarm("violations", self._violations, WARNING),
            _alarm("unpermitted", self._unpermitted, BAD),
        )

    def _trade_line(self, tick: int, name: str, net_w: int, price: int | None) -> str:
        does = "sells" if net_w > 0 else "buys "
        words = price_words(price, self._scenario.currency)
        return f"{self._time(tick):%H:%M}  {name}  {does} {_megawatts(abs(net_w))}  at {words}"

    def _event_lines(self) -> list[str]:
        rows = [msgspec.structs.asdict(event) for event in self._events]
        return story(rows, self._scenario.start.isoformat(), self._scenario.tick_minutes)


def _megawatts(power_w: int) -> str:
    return f"{power_w / 1e6:,.3f} MW"


def _alarm(label: str, count: int, style: str) -> Row:
    """A count that should stay zero."""
    return Row(label, f"{count:,}", style if count else "")
