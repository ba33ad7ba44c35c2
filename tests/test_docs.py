"""Every command and program in README and docs runs.

The two commands that set up an environment are run by `.ci/run`; those of docs/cluster.md and
`--address auto` by `tests/runtime/test_cluster.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.commands import DATA, ROOT, python_blocks, run, shown

PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
SETS_UP = ("python3 -m venv", "source ")
LONG = ("python -m pytest", "HYPOTHESIS_PROFILE", "python benchmarks/")
ELSEWHERE = "--address"
STAYS = ("prometheus ", "docker ")
"""What runs until somebody stops it. `tests/configs` starts this Prometheus and asks it; tests have
no container engine, so there it checks what such an engine reads."""
DAYS = ("normal_day", "price_spike", "renewable_heavy", "rts_gmlc", "solar_surplus")
SHORT = dict.fromkeys(DAYS, "--ticks 12") | {
    "emergency": "--set start=2025-06-18T18:20:00+02:00 --ticks 5",
    "islanding": "--set start=2025-06-18T08:20:00+02:00 --ticks 6",
}
"""By scenario, what cuts a run to an hour of the day or to the minutes around its event."""


def commands(*, long: bool) -> list[str]:
    found = []
    for page in PAGES:
        if page == "docs/cluster.md":
            continue
        for line in shown(page):
            skipped = line.startswith((*SETS_UP, *STAYS)) or ELSEWHERE in line
            if not skipped and line.startswith(LONG) is long:
                found.append(line)
    # A command that two pages show runs once.
    return list(dict.fromkeys(found))


def shortened(command: str) -> str:
    """The command with a short run, unless a later command looks at what it wrote."""
    found = re.match(r"swarm (?:run|compare) --scenario (\w+)", command)
    if found is None or "--out" in command or found[1] not in SHORT:
        return command
    return f"{re.sub(r' --(?:ticks|pace|hold) [0-9]+', '', command)} {SHORT[found[1]]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reader")


@pytest.mark.parametrize("command", commands(long=False))
def test_shown_command_works(command: str, folder: Path, ray_cluster: str) -> None:
    if "../shared/data" in command and not DATA.is_dir():
        pytest.skip("the real data is not at ../shared/data")
    done = run(shortened(command), folder, RAY_ADDRESS=ray_cluster)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands(long=False) if shortened(c) != c])
def test_shown_command_works_in_full(command: str, folder: Path, ray_cluster: str) -> None:
    if "../shared/data" in command and not DATA.is_dir():
        pytest.skip("the real data is not at ../shared/data")
    done = run(command, folder, RAY_ADDRESS=ray_cluster)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands(long=True) if "pytest" not in c])
def test_long_command_works(command: str) -> None:
    if "../shared/data" in command and not DATA.is_dir():
        pytest.skip("the real data is not at ../shared/data")
    done = run(command, ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    for block in python_blocks(page):
        exec(compile(block, page, "exec"), {})
        assert capsys.readouterr().out
    assert page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / page).read_text()):
        assert ((ROOT / page).parent / target).exists(), target


def test_every_figure_is_documented() -> None:
    from swarm.results.kpis import DEFINITIONS

    page = (ROOT / "docs/results.md").read_text()
    for name, definition in DEFINITIONS.items():
        assert f"| `{name}` | {definition} |" in page


def test_every_reason_of_a_refusal_is_documented() -> None:
    from swarm.cli.audit import REASONS
    from swarm.trust.dispatch import Reason

    page = (ROOT / "docs/trust.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| \d+ \| `", line)]
    refused = [reason for reason in Reason if reason is not Reason.VALID]
    assert rows == [
        f"| {reason.value} | `{reason.name.lower()}` | {REASONS[reason.name.lower()]} |"
        for reason in refused
    ]
