"""One frame of the dashboard, drawn to the size of the terminal it meets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, OverflowMethod, RenderResult
from rich.text import Text

from swarm.cli.watch_figures import Row, Shown

TWO_COLUMNS = 76
"""Narrower terminals get one column."""
LEAST_LINES = 18
"""Lower terminals get one column without headings."""
STILL_LINES = 24
"""Lines of a frame that is not drawn to a screen."""
GAP = 2
LABEL = 13
BAR = 24
IMPORTANT = (
    "price",
    "frequency",
    "emergency",
    "load",
    "unpermitted",
    "violations",
    "refused",
    "contracts",
    "active",
)
"""What a small terminal shows first."""
SPARKS, ASCII_SPARKS = "▁▂▃▄▅▆▇█", "_.,-=+*#"


class Frame:
    """A rich renderable; it may be drawn again at any size, from any thread."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield as many lines as fit, none longer than the terminal is wide."""
        width, height = options.max_width, options.height or STILL_LINES
        # On a screen the last lines stay where they are, however few trades there are.
        pad = options.height is not None
        if width < TWO_COLUMNS or height < LEAST_LINES:
            lines = self._small(height)
        else:
            lines = self._large(width, height, pad=pad, plain=options.ascii_only)
        for line in lines[:height]:
            line.no_wrap = True
            line.truncate(width, overflow=_overflow(options.ascii_only))
            yield line

    def _large(self, width: int, height: int, *, pad: bool, plain: bool) -> list[Text]:
        shown, column = self._shown, (width - GAP) // 2
        done = round(BAR * shown.done / shown.total)
        full, empty = ("#", "-") if plain else ("█", "░")
        rule = "-" if plain else "─"
        lines = [
            Text(f"{shown.title}  {shown.market_at}", "bold"),
            Text(f"{full * done}{empty * (BAR - done)}  {shown.progress}"),
            _beside(
                _heading(f"grid {shown.grid_at}", column, rule),
                _heading(f"market {shown.market_at[-5:]}", column, rule),
                column,
                plain=plain,
            ),
        ]
        nothing = Text("")
        for left, right in zip_longest(map(_figure, shown.grid), map(_figure, shown.market)):
            lines.append(_beside(left or nothing, right or nothing, column, plain=plain))
        lines.append(_price_line(shown.prices, plain=plain))
        left_lines = height - len(lines) - 2
        for name, said, room in (
            ("last trades", shown.trades, left_lines // 2),
            ("last events", shown.events, left_lines - left_lines // 2),
        ):
            lines.append(_heading(name, width, rule))
            told = said[:room] or ("none",)
            lines += [Text(text) for text in told]
            if pad:
                lines += [Text("") for _ in range(room - len(told))]
        return lines

    def _small(self, height: int) -> list[Text]:
        """One column, the most important first."""
        shown = self._shown
        rows = {row.label: row for row in (*shown.grid, *shown.market)}
        order = [name for name in IMPORTANT if name in rows]
        order += [name for name in rows if name not in IMPORTANT]
        lines = [Text(f"{shown.market_at}  {shown.title}", "bold"), Text(shown.progress)]
        lines += [_figure(rows[name]) for name in order]
        lines += [Text(text) for text in (*shown.trades[:3], *shown.events[:3])]
        return lines[:height]


def sparkline(values: Sequence[float], ramp: str = SPARKS) -> str:
    """One character for each value, from the lowest to the highest; a space where it is NaN."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return " " * len(values)
    low, span = min(known), max(known) - min(known)
    if span == 0:
        return "".join(ramp[len(ramp) // 2] if math.isfinite(value) else " " for value in values)
    top = len(ramp) - 1
    return "".join(
        ramp[round(top * (value - low) / span)] if math.isfinite(value) else " " for value in values
    )


def _price_line(prices: Sequence[float], *, plain: bool) -> Text:
    known = [price for price in prices if math.isfinite(price)]
    if not known:
        return Text("prices")
    # The range comes first: a narrow terminal cuts off the end.
    curve = sparkline(prices, ASCII_SPARKS if plain else SPARKS)
    return Text(f"prices  {min(known):,.2f} to {max(known):,.2f}  {curve}")


def _heading(text: str, width: int, rule: str) -> Text:
    return Text(f"{rule * 2} {text.strip()} ".ljust(width, rule), "dim")


def _figure(row: Row) -> Text:
    return Text.assemble(row.label.ljust(LABEL), (row.value, row.style))


def _overflow(plain: bool) -> OverflowMethod:
    """A cut must be seen, above all that of a number."""
    return "crop" if plain else "ellipsis"


def _beside(left: Text, right: Text, column: int, *, plain: bool) -> Text:
    """Two texts in columns."""
    left = left.copy()
    left.truncate(column, overflow=_overflow(plain), pad=True)
    return Text.assemble(left, " " * GAP, right)
