"""The file for `ray up`: checked by what Ray itself does to it before it starts a machine.

Here, after the tests that start Ray: it reads its environment when it is first imported, and a Ray
of our own must have read ours.
"""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
import yaml

import swarm
from tests.commands import ROOT

FOLDER = ROOT / "configs/ray"
CONFIG: dict[str, Any] = yaml.safe_load((FOLDER / "cluster.yaml").read_text())
DOCKERFILE = (FOLDER / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def util() -> Any:
    """What `ray up` checks a file with."""
    return pytest.importorskip("ray.autoscaler._private.util")


def test_ray_takes_it(util: Any) -> None:
    prepared = util.prepare_config(CONFIG)
    util.validate_config(prepared)
    [(name, node)] = prepared["available_node_types"].items()
    assert prepared["head_node_type"] == name
    workers = len(CONFIG["provider"]["worker_ips"])
    assert (node["min_workers"], node["max_workers"]) == (workers, workers)
    # Ray warns of more, and starts fewer.
    assert CONFIG["min_workers"] == CONFIG["max_workers"] == workers


@pytest.mark.parametrize(
    ("section", "field"), [("docker", "imagee"), ("auth", "ssh_usr"), (None, "idle_minutes")]
)
def test_ray_refuses_a_field_it_does_not_know(util: Any, section: str | None, field: str) -> None:
    wrong = copy.deepcopy(CONFIG)
    (wrong if section is None else wrong[section])[field] = "x"
    with pytest.raises(Exception, match=field):
        util.validate_config(util.prepare_config(wrong))


def test_addresses_are_for_examples() -> None:
    # RFC 5737: no machine has them, so that nobody's is started by mistake.
    provider = CONFIG["provider"]
    addresses = [provider["head_ip"], *provider["worker_ips"]]
    assert all(address.startswith("192.0.2.") for address in addresses)
    assert len(set(addresses)) == len(addresses)


@pytest.mark.parametrize("which", ["head", "worker"])
def test_start_commands_are_ones_that_ray_takes(which: str) -> None:
    scripts = pytest.importorskip("ray.scripts.scripts")
    stop, start = CONFIG[f"{which}_start_ray_commands"]
    assert stop == "ray stop"
    program, name, *arguments = start.split()
    assert (program, name) == ("ray", "start")
    asked = scripts.start.make_context("start", arguments).params
    assert asked["head"] is (which == "head")
    assert asked["object_store_memory"] == 500_000_000
    if which == "head":
        assert asked["dashboard_host"] == "127.0.0.1"
        # Where `ray up` puts the file that its autoscaler reads.
        assert asked["autoscaling_config"] == "~/ray_bootstrap_config.yaml"


def test_containers_have_no_more_rights_than_they_need() -> None:
    options = CONFIG["docker"]["run_options"]
    assert "--cap-drop=ALL" in options
    assert "--security-opt=no-new-privileges" in options
    assert "--env=RAY_AUTH_MODE=token" in options
    assert "RAY_AUTH_TOKEN" not in str(CONFIG), "a secret is not for this file"


def test_the_image_is_the_one_of_the_dockerfile() -> None:
    image = f"swarm:{swarm.__version__}-ray"
    assert CONFIG["docker"]["image"] == image
    assert f"--tag {image} --file configs/ray/Dockerfile" in DOCKERFILE
    # `ray up` runs `IMAGE bash`, and copies files with rsync and ssh inside.
    assert re.search(r"^ENTRYPOINT \[\]$", DOCKERFILE, flags=re.MULTILINE)
    assert {"openssh-client", "rsync"} <= set(DOCKERFILE.split())
    users = re.findall(r"^USER (\w+)$", DOCKERFILE, flags=re.MULTILINE)
    assert users[-1] == "10001"
