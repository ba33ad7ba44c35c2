"""The compose file holds to its specification, to loopback and to what is in the project."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from click import NoSuchOption
from jsonschema import Draft202012Validator

from swarm.cli.run import command
from swarm.scenario.load import load_scenario
from tests.commands import ROOT
from tests.configs.boards import CONFIGS, config

COMPOSE: dict[str, Any] = config("compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]
PULLED = {name: service for name, service in SERVICES.items() if "build" not in service}
SWARM = re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", SERVICES["swarm"]["command"])
"""What swarm is told where no variable says otherwise."""
TOOLS = {"prometheus": "wget", "grafana": "wget", "jaeger": "wget"}
"""What the images have to ask with: each comes with BusyBox."""


def test_it_holds_to_the_compose_specification() -> None:
    vendored = pytest.importorskip("check_jsonschema.builtin_schemas")
    schema = vendored.get_builtin_schema("vendor.compose-spec")
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(COMPOSE)
    # The schema is one that refuses.
    wrong = {"services": {"swarm": {"image": "swarm", "port": ["9464"]}}}
    assert not Draft202012Validator(schema).is_valid(wrong)


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@pytest.mark.parametrize("name", PULLED)
def test_images_are_pinned_and_healthy_by_a_tool_they_have(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", PULLED[name]["image"])
    test = PULLED[name]["healthcheck"]["test"]
    assert test[:2] == ["CMD", TOOLS[name]]
    port = PULLED[name]["ports"][0].rsplit(":", 1)[1]
    assert test[-1].startswith(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_exists(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (CONFIGS / source).exists(), source
            assert volume.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_services_have_no_more_rights_than_they_need(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert service.get("user") != "root"


def test_what_a_service_waits_for_can_be_healthy() -> None:
    waited = {other for service in SERVICES.values() for other in service.get("depends_on", {})}
    assert waited == {"jaeger", "prometheus"}
    assert all("healthcheck" in SERVICES[other] for other in waited)


def test_nobody_can_log_in_to_grafana() -> None:
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    text = (CONFIGS / "compose.yaml").read_text().lower()
    assert "password" not in text


def test_grafana_finds_what_is_mounted() -> None:
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["grafana"]["volumes"])
    dashboards = mounted["./grafana/dashboards"]
    [provider] = config("grafana/provisioning/dashboards/swarm.yaml")["providers"]
    assert provider["options"]["path"] == dashboards
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == dashboards
    assert (CONFIGS / "grafana/dashboards" / home.name).exists()


def test_services_call_each_other_by_name_and_port() -> None:
    [group] = config("prometheus/targets.compose.yaml")
    port = re.search(r"--metrics-port (\d+)", SWARM)
    assert port is not None
    assert group["targets"] == [f"swarm:{port[1]}"]
    for source in config("grafana/provisioning/datasources/swarm.yaml")["datasources"]:
        name, at = re.fullmatch(r"http://(\w+):(\d+)", source["url"]).groups()
        assert SERVICES[name]["ports"][0].endswith(f":{at}")
    mounted = dict(volume.split(":")[:2] for volume in SERVICES["prometheus"]["volumes"])
    flag = next(arg for arg in SERVICES["prometheus"]["command"] if "config.file" in arg)
    assert mounted["./prometheus/prometheus.yaml"] == flag.split("=")[1]
    assert mounted["./prometheus/targets.compose.yaml"] == "/etc/prometheus/targets.yaml"


def test_the_run_is_a_command_that_swarm_takes() -> None:
    parts = shlex.split(SWARM)
    assert "$" not in SWARM
    assert parts.pop(0) == "run"
    asked = command.make_context("run", parts).params
    assert asked["metrics_port"] == 9464
    minutes = load_scenario(asked["scenario"]).scenario.ticks * asked["pace"] / 60
    assert 5 <= minutes <= 30, "long enough to look at, short enough to see its end"
    assert asked["hold"] >= 600
    environment = SERVICES["swarm"]["environment"]
    # The port of OTLP over HTTP, which is what the SDK speaks unless told otherwise.
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://jaeger:4318"
    with pytest.raises(NoSuchOption):
        command.make_context("run", [*parts, "--no-such-option"])


def test_the_page_names_versions_and_addresses() -> None:
    page = (ROOT / "docs/watching.md").read_text()
    for service in PULLED.values():
        assert f"`{service['image']}`" in page
        assert f"http://{service['ports'][0].rsplit(':', 1)[0]}" in page
