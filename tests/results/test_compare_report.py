"""A comparison for people: tables, Markdown, the page, and the folder with its files."""

from __future__ import annotations

import html
from datetime import UTC, datetime
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

from swarm.errors import UsageError
from swarm.results.compare import pairs_of
from swarm.results.compare_metrics import METRICS
from swarm.results.compare_page import page
from swarm.results.compare_report import estimate, facts, markdown, new_folder, tables, title
from tests.results.compared import row, summary_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_each_policy_is_compared_with_all_after_it_or_with_one() -> None:
    assert pairs_of(("t", "h", "r"), None) == (("t", "h"), ("t", "r"), ("h", "r"))
    assert pairs_of(("t", "h", "r"), "h") == (("t", "h"), ("r", "h"))
    rows = [
        row(policy, seed, total_cost=cost + seed)
        for policy, cost in (("t", 9.0), ("h", 10.0), ("r", 20.0))
        for seed in range(3)
    ]
    names = [name for name, _, _ in tables(summary_of(rows, ("t", "h", "r")))]
    assert names[2:] == ["t against h", "t against r", "h against r"]


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "words"),
    [
        (1234.5, -20.0, 2000.0, "EUR", "1,234 [-20, 2,000]"),
        (0.9712, 0.95, 1.0, "share", "97.12 [95.00, 100.00]"),
        (-0.00001, -0.004, 0.003, "MWh", "0.0000 [-0.0040, 0.0030]"),
        (0.0, 0.0, 0.0, "MWh", "0 [0, 0]"),
        (0.5, 0.25, 1.0, "chance", "0.50 [0.25, 1.00]"),
    ],
)
def test_values_in_words(value: float, low: float, high: float, unit: str, words: str) -> None:
    assert estimate({"iqm": value, "low": low, "high": high}, unit) == words


def test_tables_show_what_was_measured() -> None:
    rows = [row(p, s, seconds_in_band_share=None, reward=s + 1.0) for p in "ab" for s in range(3)]
    summary = summary_of(rows)
    figures_table, apart, between = tables(summary)
    shown = [cells[0] for cells in figures_table[2]]
    assert shown[0] == "reward (EUR)"
    assert "stability (%)" not in shown
    assert any("Not measured" in fact and "stability" in fact for fact in facts(summary))
    assert [cells[0] for cells in apart[2]] == ["payments of load (EUR)", "markup (%)"]
    assert not {cells[0] for cells in apart[2]} & set(shown)
    assert between[0] == "a against b"
    none = ("0 [0, 0]", "+0.0 % [+0.0, +0.0]", "0.50 [0.50, 0.50]")
    assert between[2][0] == ("reward (EUR)", "higher", *none)
    alone = tables(summary_of([each for each in rows if each.policy == "a"], ("a",)))
    assert len(alone) == 2


def test_the_page_says_what_the_days_are() -> None:
    days = ["2025-02-17", "2025-08-04"]
    rows = [row(p, s, days[s]) for p in "ab" for s in range(2)]
    sha256 = "0123456789abcdef" * 4
    held_out = summary_of(
        rows,
        days_are="held-out",
        trained={"policies": "shipped", "sha256": sha256},
        notes=["no policy was trained for home: heuristic"],
    )
    assert title(held_out) == "s: 2 policies on 2 held-out days"
    said = markdown(held_out)
    assert "2025-02-17 (seed 0), 2025-08-04 (seed 1)" in said
    assert "neither trains nor chooses policies on these days" in said
    assert sha256[:16] in said
    assert "no policy was trained for home: heuristic" in said
    own = summary_of(rows, days_are="own", learned=["a"], not_held_out={"2025-02-17": "validation"})
    said = markdown(own)
    assert "Not held out: 2025-02-17 (validation). a may" in said
    assert "neither trains" not in said
    # No policy has learned anything: there is nothing to hold out.
    said = markdown(own | {"learned": []})
    assert "held out" not in said.lower()


def test_page_needs_no_network_and_is_a_function_of_the_runs() -> None:
    policy = "mine.py:<b>&Mine"
    rows = [row(p, s, reward=s * 1.5) for p in (policy, "b") for s in range(3)]
    summary = summary_of(rows, (policy, "b"))
    arguments = (summary, rows, "title", ["fact"], tables(summary), ["<i>failed"])
    text = page(*arguments)
    assert text == page(*arguments)
    own = text.replace(get_plotlyjs(), "")
    assert len(own) < len(text) - 1_000_000
    for fetched in ("src=", "<link", "@import", "url("):
        assert fetched not in own
    assert html.escape(policy) in own
    assert "<b>&Mine" not in own
    assert "<i>failed" not in own


def test_markdown_escapes_strokes() -> None:
    rows = [row(p, s) for p in ("a|b", "c") for s in range(2)]
    assert "| figure | better | a\\|b | c |" in markdown(summary_of(rows, ("a|b", "c")))


def test_docs_define_every_metric() -> None:
    text = (DOCS / "compare.md").read_text()
    for metric in METRICS:
        better = metric.better or "-"
        line = f"| {metric.title} | `{metric.name}` | {metric.unit} | {better} | {metric.meaning} |"
        assert line in text


def test_folder_is_never_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    now = datetime(2025, 6, 18, 12, tzinfo=UTC)
    names = [new_folder(None, "s", now).as_posix() for _ in range(3)]
    first = "compare/20250618T120000Z-s"
    assert names == [first, f"{first}-2", f"{first}-3"]
    given = tmp_path / "given"
    assert new_folder(given, "s", now) == given == new_folder(given, "s", now)
    (given / "file").write_text("mine")
    for taken in (given, given / "file", given / "file" / "below"):
        with pytest.raises(UsageError, match="--out"):
            new_folder(taken, "s", now)
    assert (given / "file").read_text() == "mine"
