"""Prometheus takes the configuration, and finds in real runs what dashboards and alerts ask for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.configs.boards import BOARDS, RULES, Asked, asked, config, folder, names
from tests.configs.live import Live, prometheus

HERE = all(shutil.which(name) for name in ("prometheus", "promtool"))
needs_prometheus = pytest.mark.skipif(
    not HERE, reason="the Debian package prometheus is not installed"
)
QUIET = {
    "alert PolicyViolations": "no fleet of these scenarios has a policy",
    "alert UnpermittedDispatches": "nothing moves without a contract",
    "alert ShardRestarts": "nothing dies",
    "alert SlowerThanRealTime": "a tick of five minutes takes less than a second",
}
"""Queries that have nothing to tell of these runs, and why. Those of Ray come on top."""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with prometheus(tmp_path_factory.mktemp("live")) as server:
        yield server


def _promtool(*arguments: str, cwd: Path | None = None) -> str:
    command = ["promtool", *arguments]
    done = subprocess.run(command, cwd=cwd or folder(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@needs_prometheus
def test_promtool_takes_configuration_and_rules() -> None:
    assert "SUCCESS" in _promtool("check", "config", "prometheus.yaml")
    assert f"SUCCESS: {len(RULES)} rules found" in _promtool("check", "rules", "alerts.yaml")


@needs_prometheus
def test_every_query_parses(tmp_path: Path) -> None:
    rules = [{"record": f"q{at}", "expr": query.expr} for at, query in enumerate(asked())]
    text = yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})
    (tmp_path / "queries.yaml").write_text(text)
    told = _promtool("check", "rules", "queries.yaml", cwd=tmp_path)
    assert f"SUCCESS: {len(rules)} rules found" in told


@needs_prometheus
def test_alerts_fire_when_they_should() -> None:
    assert "SUCCESS" in _promtool("test", "rules", "alerts.test.yaml")


def test_every_alert_is_tested_to_fire_and_to_rest() -> None:
    cases = [
        case
        for test in config("prometheus/alerts.test.yaml")["tests"]
        for case in test["alert_rule_test"]
    ]
    for rule in RULES:
        fires = {bool(case["exp_alerts"]) for case in cases if case["alertname"] == rule["alert"]}
        assert fires == {True, False}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "hint"}


@needs_prometheus
@pytest.mark.parametrize("query", asked(), ids=lambda query: query.where)
def test_a_real_run_answers(query: Asked, live: Live) -> None:
    found = live.series(query.expr)
    of_ray = all(name.startswith("ray_") for name in names(query.expr).series)
    if of_ray or query.where in QUIET:
        assert not found
    else:
        assert found


@needs_prometheus
def test_both_runs_are_scraped_and_the_emergency_raised_alerts(live: Live) -> None:
    targets = [t for t in live.ask("targets")["activeTargets"] if t["labels"]["job"] == "swarm"]
    assert [target["health"] for target in targets] == ["up", "up"]
    rules = live.ask("rules")["groups"][0]["rules"]
    assert [rule["health"] for rule in rules] == ["ok"] * len(RULES)
    # The unit that trips takes frequency out of its band; without the swarm, load is shed too.
    fired = live.series('ALERTS{alertstate="firing"}')
    assert {one["metric"]["alertname"] for one in fired} == {"FrequencyOutOfBand", "UnservedEnergy"}


@needs_prometheus
def test_the_choices_of_a_dashboard_have_values(live: Live) -> None:
    queries = [
        variable["query"]["query"]
        for board in BOARDS.values()
        for variable in board["templating"]["list"]
        if variable["type"] == "query"
    ]
    assert queries == ["label_values(swarm_agents, kind)"]
    kinds = live.ask("label/kind/values", **{"match[]": "swarm_agents"})
    assert {"consumer", "generator", "storage"} <= set(kinds)
