"""docs/watching.md says what the code and the alerts say."""

from __future__ import annotations

from swarm.telemetry.metrics import METRICS
from tests.commands import ROOT
from tests.configs.boards import BOARDS, RULES

PAGE = (ROOT / "docs/watching.md").read_text()


def _table(heading: str) -> list[str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


def test_every_metric_is_documented() -> None:
    assert _table("Metrics") == [
        f"| `{metric.name}` | {metric.type} | {', '.join(f'`{name}`' for name in metric.labels)}"
        f" | {metric.help} |"
        for metric in METRICS
    ]


def test_every_alert_says_what_to_do() -> None:
    assert _table("Alerts") == [
        f"| `{rule['alert']}` | {rule['labels']['severity']} | {rule['annotations']['hint']} |"
        for rule in RULES
    ]


def test_every_dashboard_is_documented() -> None:
    titles = {board["title"].removeprefix("Swarm ") for board in BOARDS.values()}
    assert {row.split(" | ")[0].removeprefix("| ") for row in _table("Dashboards")} == titles
