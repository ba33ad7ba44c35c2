"""Reports as a browser shows them: drawn, without errors, without a request, on a phone too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.results.compare_page import page as policies_page
from swarm.results.compare_report import facts, tables, title
from swarm.results.report import Page, report, write_page
from swarm.results.report_compare import compare_runs
from tests.results.browser import PROGRAMS, Browser, Seen, program
from tests.results.compared import row, summary_of
from tests.results.reports import copied, hostile, made, training

pytestmark = pytest.mark.skipif(
    program() is None, reason=f"no browser: none of {', '.join(PROGRAMS)} is installed"
)
Factory = pytest.TempPathFactory
WIDE, PHONE = 1280, 390


@pytest.fixture(scope="module")
def browser(tmp_path_factory: Factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def opened(browser: Browser, page: Page, path: Path, width: int) -> Seen:
    """Open the page and check what holds of each."""
    write_page(path, page)
    seen = browser.open(path, width)
    silent(seen)
    assert set(seen.marks) >= set(page.shown) - {"learning"}
    return seen


def silent(seen: Seen) -> None:
    assert seen.console == []
    assert [url for url in seen.requests if not url.startswith(("file:", "data:"))] == []
    assert seen.requests
    assert all(count > 0 for count in seen.marks.values()), seen.marks
    assert seen.overflow_px == 0


@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_a_run_is_drawn(
    browser: Browser, tmp_path_factory: Factory, tmp_path: Path, width: int
) -> None:
    seen = opened(browser, report(made("spike", tmp_path_factory)), tmp_path / "a.html", width)
    for words in ("Merit order", "Voltage", "Not shown", "Key figures and what they mean"):
        assert words in seen.text


def test_a_tick_is_chosen(browser: Browser, tmp_path_factory: Factory, tmp_path: Path) -> None:
    opened(browser, report(made("textbook", tmp_path_factory)), tmp_path / "a.html", WIDE)
    star = "document.getElementById('merit').data.at(-1).y[0]"
    found = []
    for _ in range(4):
        found.append(browser.run(star))
        browser.run("document.getElementById('merit-after').click()")
    assert found in ([65, 45, 55, 65], [55, 65, 45, 55], [45, 55, 65, 45])
    reach = "document.getElementById('merit').layout.yaxis.range[1]"
    browser.run("document.getElementById('merit-all').click()")
    every = browser.run(reach)
    browser.run("document.getElementById('merit-all').click()")
    assert browser.run(reach) < every


def test_an_emergency_and_two_runs_are_drawn(
    browser: Browser, tmp_path_factory: Factory, tmp_path: Path
) -> None:
    folders = [made(name, tmp_path_factory) for name in ("emergency", "spike")]
    seen = opened(browser, report(folders[0]), tmp_path / "a.html", PHONE)
    assert "emergency detected" in seen.text
    opened(browser, compare_runs(folders), tmp_path / "b.html", PHONE)


def test_a_hostile_name_does_nothing(
    browser: Browser, tmp_path_factory: Factory, tmp_path: Path
) -> None:
    page = report(hostile(copied("spike", tmp_path_factory)))
    opened(browser, page, tmp_path / "a.html", WIDE)
    assert browser.run("window.pwned") is None
    assert browser.run("document.querySelectorAll('img[src=x]').length") == 0


def test_a_script_that_is_not_ours_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """Were an escape forgotten, the policy of the page would stop it, and the test sees that."""
    page = report(training(tmp_path / "training"))
    evil = "<script>window.pwned = 1</script><img src='https://example.org/x.png'>"
    path = tmp_path / "a.html"
    path.write_text(page.html.replace("<h1>", f"{evil}<h1>"))
    seen = browser.open(path, WIDE)
    assert browser.run("window.pwned") is None
    assert len([said for said in seen.console if "Content Security Policy" in said]) == 2
    assert set(seen.marks) == set(page.shown)
    assert all(seen.marks.values())


def test_the_page_of_a_comparison_is_drawn(browser: Browser, tmp_path: Path) -> None:
    rows = [row(p, s, reward=s * 1.5) for p in ("<i>a", "b") for s in range(3)]
    summary = summary_of(rows, ("<i>a", "b"))
    path = tmp_path / "a.html"
    path.write_text(
        policies_page(summary, rows, title(summary), facts(summary), tables(summary), [])
    )
    silent(browser.open(path, PHONE))
