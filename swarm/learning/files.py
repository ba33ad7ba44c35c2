"""Policies and learners' states as files: safetensors for the arrays, JSON for the words.

A set of policies is `policies.safetensors` with arrays "kind/network/array" and `policies.json`,
the model card with the SHA-256 of the former. Each file is written whole or not at all. Reading
refuses by name whatever is not what was written. No torch: runs read policies here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from swarm.agents.observation import VECTORS
from swarm.errors import UsageError, nearest
from swarm.learning import networks
from swarm.learning.networks import SPECS, Weights
from swarm.results.folder import write_bytes, write_json

PolicySet: TypeAlias = dict[str, dict[str, Weights]]
"""Weights by kind of agent, or "operator", and by network; their first axis is 1 for a policy that
all agents of the kind share, else the agents in order, and the objectives for the operator."""

TENSORS = "policies.safetensors"
CARD = "policies.json"
PLACES = ("", "best", "last", "previous")
"""Where the policies are in a folder of policies, or in one of a training, the best first."""

NETWORKS: Mapping[str, tuple[str, ...]] = {**VECTORS, "operator": ("operator",)}
"""The networks of each kind."""
LOG_STD = "log_std"
"""What a storage's weights may hold beside its network: the log of the standard deviation of its
actions, (n, 1), with which it explores."""


@dataclass(frozen=True)
class Loaded:
    """Policies as they were read.

    Attributes:
        policies: the weights, of one's own to change.
        card: what was said of them when they were saved.
        sha256: of the file of the arrays, hex.
    """

    policies: PolicySet
    card: dict[str, Any]
    sha256: str


def check_policies(policies: Mapping[str, Mapping[str, Weights]]) -> None:
    """Raise UsageError, which names kind, network and array, unless agents can act on `policies`.

    Refused are kinds that are not known, networks too many or missing, arrays too many, missing, of
    another shape or type than the network's, and numbers that are not finite.
    """
    if not policies:
        raise UsageError(f"no policy is in it; expected one of {', '.join(NETWORKS)} at least")
    for kind in policies:
        if kind not in NETWORKS:
            raise UsageError(f"kind {kind!r} is not known{nearest(kind, NETWORKS)}")
    for kind, by_network in policies.items():
        if set(by_network) != set(NETWORKS[kind]):
            raise UsageError(
                f"{kind} has the networks {sorted(by_network)}; expected {sorted(NETWORKS[kind])}"
            )
        for network, weights in by_network.items():
            try:
                _check_network(network, weights)
            except UsageError as error:
                raise UsageError(f"{kind}/{network}: {error}") from None


def _check_network(network: str, weights: Weights) -> None:
    first = weights.get("layer0.bias")
    stacks = 1 if first is None or first.ndim == 0 else max(1, len(first))
    held = dict(weights)
    if network == "storage" and (log_std := held.pop(LOG_STD, None)) is not None:
        expected = (stacks, SPECS[network].sizes[-1])
        if log_std.shape != expected or log_std.dtype != np.float32:
            raise UsageError(
                f"{LOG_STD} is {log_std.dtype} {log_std.shape}; expected float32 {expected}"
            )
    networks.check(SPECS[network], held, stacks)
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise UsageError(f"{name} holds a number that is not finite")


def save_policies(
    folder: Path, policies: Mapping[str, Mapping[str, Weights]], card: Mapping[str, Any]
) -> str:
    """Write `policies.safetensors`, then `policies.json`, into `folder`; the SHA-256 of the former.

    Args:
        folder: made where it is missing; other files in it stay.
        policies: see `PolicySet`.
        card: what one must know of them, for JSON: on what each kind was trained, seeds, the range
            that was covered, scores, the command.

    Raises:
        UsageError: see `check_policies`; nothing is written then.
        RunError: where a file cannot be written.
    """
    check_policies(policies)
    arrays = {
        f"{kind}/{network}/{name}": array
        for kind, by_network in policies.items()
        for network, weights in by_network.items()
        for name, array in weights.items()
    }
    return _save(folder / TENSORS, arrays, {"card": dict(card)})


def load_policies(folder: Path) -> Loaded:
    """Read what `save_policies` wrote.

    Args:
        folder: of the policies, or of a training: then its best, or else its last.

    Raises:
        UsageError: a file is missing, damaged or not the one its card is of, or see
            `check_policies`.
    """
    found = next((at for name in PLACES if (at := folder / name / CARD).exists()), folder / CARD)
    path = found.with_name(TENSORS)
    arrays, said = _load(path)
    policies: PolicySet = {}
    for key, array in arrays.items():
        kind, _, rest = key.partition("/")
        network, _, name = rest.partition("/")
        policies.setdefault(kind, {}).setdefault(network, {})[name] = array
    try:
        check_policies(policies)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None
    card = said.get("card")
    if not isinstance(card, dict):
        raise UsageError(f"{found}: card is {card!r}; expected an object")
    return Loaded(policies, card, said["sha256"])


def save_state(path: Path, state: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> str:
    """Write a learner's whole state: arrays of any type to `path`, `meta` as JSON beside it.

    Args:
        path: ends in `.safetensors`; the JSON has the same name with `.json`.
        state: see `state` of a learner.
        meta: anything JSON can hold; it has a hash of its own.

    Returns:
        The SHA-256 of the file of the arrays, hex.

    Raises:
        UsageError: an array holds no numbers.
        RunError: where a file cannot be written.
    """
    return _save(path, state, {"meta": dict(meta), "meta_sha256": _digest(meta)})


def load_state(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays and the `meta` that `save_state` wrote, with their types and shapes.

    Raises:
        UsageError: a file is missing, damaged or of another state.
    """
    arrays, said = _load(path)
    meta = said.get("meta")
    if not isinstance(meta, dict) or _digest(meta) != said.get("meta_sha256"):
        raise UsageError(
            f"{path.with_suffix('.json')}: is damaged: its meta does not have the SHA-256 that it "
            "states"
        )
    return arrays, meta


def _digest(meta: Mapping[str, Any]) -> str:
    text = json.dumps(dict(meta), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _save(path: Path, arrays: Mapping[str, NDArray[Any]], said: Mapping[str, Any]) -> str:
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise UsageError(f"{name} is {array.dtype}; expected numbers")
    # In order of names, so that equal arrays are equal bytes. C order is what the format stores.
    stored = {name: np.asarray(arrays[name], order="C") for name in sorted(arrays)}
    data = safetensors.numpy.save(stored)
    sha256 = hashlib.sha256(data).hexdigest()
    write_bytes(path, data)
    write_json(path.with_suffix(".json"), {**said, "sha256": sha256})
    return sha256


def _load(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The arrays of a file, writable, by name, and the JSON object beside it with their hash."""
    beside = path.with_suffix(".json")
    try:
        said = json.loads(_read(beside))
    except ValueError as error:
        raise UsageError(f"{beside}: is damaged: {error}") from None
    if not isinstance(said, dict) or not isinstance(said.get("sha256"), str):
        raise UsageError(f"{beside}: has no sha256; expected a file written beside {path.name}")
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != said["sha256"]:
        raise UsageError(
            f"{path}: is damaged, or not the file that {beside.name} is of: its SHA-256 is "
            f"{found}; expected {said['sha256']}"
        )
    try:
        arrays = safetensors.numpy.load(data)
    except (SafetensorError, KeyError, ValueError) as error:
        raise UsageError(f"{path}: is damaged: {error}") from None
    # safetensors gives them in another order each time.
    return {name: arrays[name].copy() for name in sorted(arrays)}, said


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: is missing") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
