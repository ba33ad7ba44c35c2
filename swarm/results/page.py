"""A page in one HTML file: tables and plots that need no network and no colour vision.

The content security policy allows the page's own two scripts, by their SHA-256, and no request:
whatever a name from a file says, it is text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart without colour vision: Okabe and Ito, Color Universal Design, 2008."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
"""A shape for each colour."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,6px")
"""A kind of line for each colour."""
STYLE = """
* { box-sizing: border-box; }
body { font: 16px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto;
  padding: 0 1rem; color: #1a1a1a; background: #fff; overflow-wrap: break-word; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
th, td { text-align: left; padding: 0.25rem 0.9rem 0.25rem 0; border-bottom: 1px solid #ddd;
  font-variant-numeric: tabular-nums; vertical-align: top; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
a { color: #004a7c; }
.scroll { overflow-x: auto; }
.plot { width: 100%; }
.pick { display: flex; flex-wrap: wrap; gap: 0.5rem; margin: 0.5rem 0; }
.pick select, .pick button { font: inherit; padding: 0.4rem 0.7rem; max-width: 100%; }
.glance { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr));
  gap: 0.6rem 1rem; }
.glance dt { color: #4a4a4a; font-size: 0.85rem; }
.glance dd { margin: 0; font-weight: 600; }
@media (min-width: 601px) { .stack td:not(:last-child) { white-space: nowrap; } }
@media (max-width: 600px) {
  .glance { grid-template-columns: repeat(2, 1fr); }
  .pick select { order: -1; width: 100%; }
  body { margin: 1rem auto; padding: 0 0.7rem; }
  .stack tr { display: block; padding: 0.4rem 0; border-bottom: 1px solid #ddd; }
  .stack th { display: none; }
  .stack td { display: block; border: 0; padding: 0; }
  .stack td:first-child { font-weight: 600; }
  .stack td[data-of]::before { content: attr(data-of) ": "; color: #4a4a4a; }
}
"""
NO_SCRIPT = "<noscript><p>The plots need JavaScript; the tables do not.</p></noscript>"


def document(title: str, body: str, generator: str = "swarm") -> str:
    """The whole page as HTML, a function of its arguments and the version of plotly alone.

    Args:
        title: of the page, as plain text.
        body: HTML, made by the functions below.
        generator: which command made it, for the page's metadata.
    """
    from plotly.offline import get_plotlyjs

    scripts = (get_plotlyjs(), _script())
    hashes = " ".join(f"'sha256-{_sha256(text)}'" for text in scripts)
    # plotly puts styles into the page while it draws, and makes pictures as blob: and data:.
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    drawn = "".join(f"<script>{text}</script>\n" for text in scripts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="generator" content="{escape(generator)}">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{NO_SCRIPT}\n{body}\n{drawn}</body>\n</html>\n"
    )


@cache
def _script() -> str:
    return Path(__file__).with_name("page.js").read_text(encoding="utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def plot(name: str, figure: Mapping[str, Any], spoken: str, *, least_px: int = 0) -> str:
    """A figure; the page's script draws it.

    Args:
        name: its id in the page, of letters, digits and `-`.
        figure: `data` and `layout` as plotly.js takes them, and `merit` where a tick is chosen,
            see `swarm.results.report_merit`. Texts from files go through `label` first.
        spoken: what a screen reader says instead.
        least_px: a narrower screen scrolls sideways.
    """
    least = f"min-height:{int(figure['layout']['height'])}px;min-width:{least_px}px"
    return (
        f'<div class="scroll"><div class="plot" id="{name}" role="img" '
        f'aria-label="{escape(spoken)}" style="{least}"></div></div>\n{embedded(name, figure)}'
    )


def embedded(name: str, value: Any) -> str:
    """`value` as JSON in the page, for the script; NaN and infinity become null."""
    text = json.dumps(_plain(value), separators=(",", ":"), sort_keys=True, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return f'<script type="application/json" id="{name}-data">{text}</script>'


def _plain(value: Any) -> Any:
    """As JSON has it: numbers with seven significant digits, more than a screen can show."""
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def label(text: object) -> str:
    """Text from a file for a plot: plotly takes some HTML for layout, this has none."""
    return escape(str(text), quote=False)


def bullets(lines: Sequence[str]) -> str:
    """A list of plain sentences."""
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def glance(rows: Sequence[Sequence[str]]) -> str:
    """Labels with their values, side by side as far as the screen is wide."""
    cells = (f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows)
    return f'<dl class="glance">{"".join(cells)}</dl>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, stacked: bool = False) -> str:
    """A table of plain text; `stacked`: on a phone its cells stand below each other."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    # Stacked, several values of a row are told apart by the heading of their column.
    named = header if stacked and len(header) > 3 else ()
    body = "".join(f"<tr>{_cells(row, named)}</tr>\n" for row in rows)
    first = f"<tr>{head}</tr>\n" if header else ""
    kind = "stack" if stacked else "wide"
    return f'<div class="scroll"><table class="{kind}">\n{first}{body}</table></div>'


def _cells(row: Sequence[str], named: Sequence[str]) -> str:
    last = len(row) - 1
    return "".join(
        f'<td data-of="{escape(named[at])}">{escape(cell)}</td>'
        if named and 0 < at < last
        else f"<td>{escape(cell)}</td>"
        for at, cell in enumerate(row)
    )
