"""The manifests for KubeRay: their fields, what Ray reads from them, and that they fit together.

`SCHEMAS` types the fields that the manifests use, as KubeRay 1.6 (group ray.io/v1), Kubernetes 1.34
and the Prometheus operator (monitoring.coreos.com/v1) define them, and refuses any other field. The
whole schemas of KubeRay are a hundred times as long. What Ray's autoscaler makes of a cluster is
asked of Ray itself.
"""

from __future__ import annotations

import copy
import re
import shlex
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

import swarm
from swarm.cli.run import command
from tests.commands import ROOT

FOLDER = ROOT / "configs/ray"
FILES = ("podmonitor", "raycluster", "rayjob", "reader", "results")
DOCUMENTS: dict[str, Any] = {
    name: yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in FILES
}
JOB = DOCUMENTS["rayjob"]["spec"]
CLUSTERS = {"rayjob": JOB["rayClusterSpec"], "raycluster": DOCUMENTS["raycluster"]["spec"]}
TEXT: dict[str, Any] = {"type": "string", "minLength": 1}
BOOL = {"type": "boolean"}
COUNT = {"type": "integer", "minimum": 0}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[kMGT]i?)?$"}
LABEL = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
PORT_NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$"}


def _of(required: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": fields,
        "required": required.split(),
        "additionalProperties": False,
    }


def _map(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": of}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


def _one(*values: str) -> dict[str, Any]:
    return {"enum": list(values)}


META = _of("name", name=LABEL, labels=_map(TEXT))
RESOURCES = _of("requests limits", requests=_map(QUANTITY), limits=_map(QUANTITY))
CONFINED = _of(
    "allowPrivilegeEscalation capabilities readOnlyRootFilesystem",
    allowPrivilegeEscalation=BOOL,
    capabilities=_of("drop", drop=_list(TEXT)),
    readOnlyRootFilesystem=BOOL,
)
ENVIRONMENT = _list(_of("name value", name=TEXT, value=TEXT))
MOUNT = _of("name mountPath", name=LABEL, mountPath=TEXT, readOnly=BOOL)
CONTAINER = _of(
    "name image resources securityContext",
    name=LABEL,
    image=TEXT,
    command=_list(TEXT),
    env=ENVIRONMENT,
    ports=_list(_of("name containerPort", name=PORT_NAME, containerPort=COUNT)),
    resources=RESOURCES,
    securityContext=CONFINED,
    volumeMounts=_list(MOUNT),
)
POD = _of(
    "containers securityContext",
    activeDeadlineSeconds=COUNT,
    automountServiceAccountToken=BOOL,
    restartPolicy=_one("Always", "OnFailure", "Never"),
    securityContext=_of(
        "runAsNonRoot runAsUser seccompProfile",
        runAsNonRoot=BOOL,
        runAsUser=COUNT,
        fsGroup=COUNT,
        seccompProfile=_of("type", type=_one("RuntimeDefault", "Localhost", "Unconfined")),
    ),
    containers=_list(CONTAINER),
    volumes=_list(
        _of(
            "name",
            name=LABEL,
            emptyDir=_of(sizeLimit=QUANTITY),
            persistentVolumeClaim=_of("claimName", claimName=LABEL),
        )
    ),
)
TEMPLATE = _of("metadata spec", metadata=_of("labels", labels=_map(TEXT)), spec=POD)
CLUSTER = _of(
    "rayVersion headGroupSpec workerGroupSpecs",
    rayVersion=TEXT,
    authOptions=_of("mode", mode=_one("disabled", "token")),
    enableInTreeAutoscaling=BOOL,
    autoscalerOptions=_of(
        version=_one("v1", "v2"),
        upscalingMode=_one("Default", "Aggressive", "Conservative"),
        idleTimeoutSeconds=COUNT,
        env=ENVIRONMENT,
        resources=RESOURCES,
        securityContext=CONFINED,
        volumeMounts=_list(MOUNT),
    ),
    headGroupSpec=_of("rayStartParams template", rayStartParams=_map(TEXT), template=TEMPLATE),
    workerGroupSpecs=_list(
        _of(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName=LABEL,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=_map(TEXT),
            template=TEMPLATE,
        )
    ),
)


def _whole(api: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _of(
        "apiVersion kind metadata spec",
        apiVersion=_one(api),
        kind=_one(kind),
        metadata=META,
        spec=spec,
    )


SCHEMAS = {
    "raycluster": _whole("ray.io/v1", "RayCluster", CLUSTER),
    "rayjob": _whole(
        "ray.io/v1",
        "RayJob",
        _of(
            "entrypoint rayClusterSpec",
            entrypoint=TEXT,
            submissionMode=_one("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
            backoffLimit=COUNT,
            preRunningDeadlineSeconds={"type": "integer", "minimum": 1},
            activeDeadlineSeconds={"type": "integer", "minimum": 1},
            shutdownAfterJobFinishes=BOOL,
            ttlSecondsAfterFinished=COUNT,
            rayClusterSpec=CLUSTER,
            submitterPodTemplate=TEMPLATE,
        ),
    ),
    "reader": _whole("v1", "Pod", POD),
    "results": _whole(
        "v1",
        "PersistentVolumeClaim",
        _of(
            "accessModes resources",
            accessModes=_list(_one("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany")),
            resources=_of("requests", requests=_of("storage", storage=QUANTITY)),
        ),
    ),
    "podmonitor": _whole(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        _of(
            "selector podMetricsEndpoints",
            selector=_of("matchLabels", matchLabels=_map(TEXT)),
            podMetricsEndpoints=_list(_of("port", port=PORT_NAME, interval=TEXT)),
        ),
    ),
}


def _templates(name: str) -> list[dict[str, Any]]:
    cluster = CLUSTERS[name]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"] for group in groups]


PODS = {
    "reader": DOCUMENTS["reader"],
    "submitter": JOB["submitterPodTemplate"],
    **{f"{name}-{at}": pod for name in CLUSTERS for at, pod in enumerate(_templates(name))},
}


@pytest.mark.parametrize("name", FILES)
def test_it_holds_to_its_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    Draft202012Validator(SCHEMAS[name]).validate(DOCUMENTS[name])
    # The schema is one that refuses.
    wrong = copy.deepcopy(DOCUMENTS[name])
    wrong["spec"]["no_such_field"] = 1
    assert not Draft202012Validator(SCHEMAS[name]).is_valid(wrong)


def test_no_file_is_left_out() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == {*FILES, "cluster"}


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_reads_the_cluster_from_it(name: str) -> None:
    reader = pytest.importorskip("ray.autoscaler._private.kuberay.autoscaling_config")
    util = pytest.importorskip("ray.autoscaler._private.util")
    made = {"metadata": {"name": "swarm", "namespace": "default"}, "spec": CLUSTERS[name]}
    read = reader._derive_autoscaling_config_from_ray_cr(made)
    util.validate_config(read)
    [(group, workers)] = [
        item for item in read["available_node_types"].items() if item[0] != read["head_node_type"]
    ]
    head = read["available_node_types"][read["head_node_type"]]
    assert head["resources"]["CPU"] == 0, "agents would crowd the driver"
    spec = CLUSTERS[name]["workerGroupSpecs"][0]
    assert group == spec["groupName"]
    assert workers["resources"]["CPU"] == 4
    assert workers["resources"]["memory"] == 4 * 2**30
    assert 1 <= workers["min_workers"] <= spec["replicas"] <= workers["max_workers"]
    assert read["idle_timeout_minutes"] == 5


@pytest.mark.parametrize("pod", PODS)
def test_pods_have_no_more_rights_than_they_need(pod: str) -> None:
    spec = PODS[pod]["spec"]
    # What the "restricted" standard of Kubernetes asks of a pod.
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    [container] = spec["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    # And more: nothing is written outside of volumes, and who needs no token has none.
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    asks_kubernetes = container["name"] == "ray-head"  # the autoscaler in its pod does
    assert spec.get("automountServiceAccountToken", True) is asks_kubernetes
    user = re.search(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert user is not None
    assert spec["securityContext"]["runAsUser"] == int(user[1])


@pytest.mark.parametrize("pod", PODS)
def test_pods_ask_for_what_they_may_use_and_mount_what_they_have(pod: str) -> None:
    spec = PODS[pod]["spec"]
    [container] = spec["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in spec["volumes"]}
    assert {"name": "HOME", "value": mounts["tmp"]} in container["env"]


@pytest.mark.parametrize("name", CLUSTERS)
def test_the_autoscaler_is_confined_like_its_pod(name: str) -> None:
    options = CLUSTERS[name]["autoscalerOptions"]
    [head] = _templates(name)[0]["spec"]["containers"]
    assert options["securityContext"] == head["securityContext"]
    assert options["env"] == head["env"]
    assert options["resources"]["requests"] == options["resources"]["limits"]
    assert options["volumeMounts"][0] in head["volumeMounts"]


def test_image_and_versions_are_one() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    pinned = re.search(r'"ray\[default\]==([\d.]+)"', dockerfile)
    assert pinned is not None
    image = f"swarm:{swarm.__version__}"
    assert f"\nFROM {image}\n" in dockerfile
    assert f"--tag {image}-ray " in dockerfile
    # From 2.53 on KubeRay asks for health by HTTP, and not with a wget that the image has not.
    assert tuple(map(int, pinned[1].split("."))) >= (2, 53)
    assert {str(cluster["rayVersion"]) for cluster in CLUSTERS.values()} == {pinned[1]}
    assert {pod["spec"]["containers"][0]["image"] for pod in PODS.values()} == {f"{image}-ray"}


def test_the_job_writes_where_the_claim_is_and_ends() -> None:
    program, *arguments = shlex.split(JOB["entrypoint"])
    assert program == "swarm"
    asked = command.make_context("run", arguments[1:]).params
    for name in CLUSTERS:
        head = _templates(name)[0]["spec"]
        [mount] = [m for m in head["containers"][0]["volumeMounts"] if m["name"] == "results"]
        assert str(asked["out"]) == mount["mountPath"]
        [volume] = [v for v in head["volumes"] if v["name"] == "results"]
        claim = DOCUMENTS["results"]["metadata"]["name"]
        assert volume["persistentVolumeClaim"]["claimName"] == claim
    port = {"name": "swarm-metrics", "containerPort": asked["metrics_port"]}
    assert port in head["containers"][0]["ports"]
    assert asked["metrics_host"] == "0.0.0.0"
    assert JOB["shutdownAfterJobFinishes"] is True
    assert 0 < JOB["preRunningDeadlineSeconds"] < JOB["activeDeadlineSeconds"]
    assert JOB["backoffLimit"] == 0


def test_prometheus_finds_the_pods() -> None:
    monitor = DOCUMENTS["podmonitor"]["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    for name in CLUSTERS:
        for template in _templates(name):
            assert wanted <= template["metadata"]["labels"].items()
    for pod in ("reader", "submitter"):
        assert not wanted <= PODS[pod]["metadata"]["labels"].items(), "it serves nothing"
    named = {port["name"] for port in _templates("rayjob")[0]["spec"]["containers"][0]["ports"]}
    asked = {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]}
    assert asked - named == {"metrics"}, "the name that KubeRay gives Ray's own port"
