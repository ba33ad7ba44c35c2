"""Files of policies and states: what is written is what is read, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from safetensors import safe_open

from swarm.agents.observation import VECTORS
from swarm.errors import UsageError
from swarm.learning import dqn, networks
from swarm.learning.files import (
    CARD,
    SPECS,
    TENSORS,
    PolicySet,
    load_policies,
    load_state,
    save_policies,
    save_state,
)
from swarm.learning.networks import OPERATOR, Spec
from tests.learning.same import assert_identical


def policies(seed: int = 0, own: int = 3) -> PolicySet:
    """Every kind: storages with own weights, the operator with 3 objectives, the others shared."""
    made: PolicySet = {
        kind: {name: networks.init(SPECS[name], seed, 0, 1) for name in names}
        for kind, names in VECTORS.items()
    }
    made["operator"] = {"operator": networks.init(SPECS["operator"], seed, 0, 3)}
    made["storage"] = {"storage": networks.init(SPECS["storage"], seed, 0, own)}
    made["storage"]["storage"]["log_std"] = np.full((own, 1), -0.7, np.float32)
    return made


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "set"
    save_policies(folder, policies(), {"storage": {"seeds": [1, 2]}})
    return folder


def test_policies_come_back_as_they_were(saved: Path) -> None:
    loaded = load_policies(saved)
    expected = policies()
    assert loaded.policies.keys() == expected.keys()
    for kind, by_network in expected.items():
        assert loaded.policies[kind].keys() == by_network.keys()
        for network, weights in by_network.items():
            assert_identical(loaded.policies[kind][network], weights)
    # In order of names, whatever order the reader gives.
    assert list(loaded.policies) == sorted(expected)
    assert list(loaded.policies["operator"]["operator"]) == sorted(networks.shapes(OPERATOR))
    assert loaded.card == {"storage": {"seeds": [1, 2]}}
    assert loaded.sha256 == hashlib.sha256((saved / TENSORS).read_bytes()).hexdigest()
    assert {path.name for path in saved.iterdir()} == {TENSORS, CARD}


def test_the_file_reads_with_safetensors_alone(saved: Path) -> None:
    with safe_open(saved / TENSORS, framework="numpy") as file:
        names = set(file.keys())
        bias = file.get_tensor("home/consumer/layer2.bias")
    assert {"storage/storage/log_std", "operator/operator/attention.query"} <= names
    assert bias.shape == (1, 1)


def test_equal_policies_are_equal_bytes(saved: Path, tmp_path: Path) -> None:
    made = policies()
    turned = {kind: made[kind] for kind in reversed(made)}
    sha256 = save_policies(tmp_path, turned, {})
    assert sha256 == load_policies(saved).sha256
    assert save_policies(tmp_path, policies(seed=1), {}) != sha256


def test_a_training_gives_its_best_or_else_its_last(tmp_path: Path) -> None:
    last = save_policies(tmp_path / "last", policies(seed=1), {})
    assert load_policies(tmp_path).sha256 == last
    best = save_policies(tmp_path / "best", policies(seed=2), {})
    assert load_policies(tmp_path).sha256 == best


def rewrite(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the arrays in place, and the hash with them."""
    arrays = safetensors.numpy.load((folder / TENSORS).read_bytes())
    arrays = {name: array.copy() for name, array in arrays.items()}
    change(arrays)
    forge(folder, safetensors.numpy.save(arrays))


def forge(folder: Path, data: bytes) -> None:
    (folder / TENSORS).write_bytes(data)
    said = json.loads((folder / CARD).read_text())
    said["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / CARD).write_text(json.dumps(said))


def flip(folder: Path) -> None:
    data = bytearray((folder / TENSORS).read_bytes())
    data[-100] ^= 1
    (folder / TENSORS).write_bytes(bytes(data))


def cut(folder: Path) -> None:
    forge(folder, (folder / TENSORS).read_bytes()[:-8])


def renamed(old: str, new: str) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, lambda arrays: arrays.update({new: arrays.pop(old)}))


def replaced(name: str, value: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda folder: rewrite(folder, lambda arrays: arrays.update({name: value(arrays[name])}))


DAMAGE: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no tensors": (lambda f: (f / TENSORS).unlink(), [TENSORS, "missing"]),
    "no card": (lambda f: (f / CARD).unlink(), [CARD, "missing"]),
    "a bit": (flip, [TENSORS, "damaged", "SHA-256"]),
    "half a card": (lambda f: (f / CARD).write_text('{"card": {'), [CARD, "damaged"]),
    "a card of no hash": (lambda f: (f / CARD).write_text('{"card": {}}'), [CARD, "sha256"]),
    "cut, with its hash": (cut, [TENSORS, "damaged"]),
    "no safetensors": (lambda f: forge(f, b"these are none"), [TENSORS, "damaged"]),
    "nothing in it": (lambda f: rewrite(f, dict.clear), [TENSORS, "no policy"]),
    "another kind": (
        renamed("ev/storage/layer0.bias", "eve/storage/layer0.bias"),
        [TENSORS, "'eve'", "did you mean 'ev'"],
    ),
    "another network": (
        renamed("solar/generator/layer0.bias", "solar/storage/layer0.bias"),
        ["solar", "'generator', 'storage'"],
    ),
    "an array is missing": (
        lambda f: rewrite(f, lambda arrays: arrays.pop("wind/generator/layer3.bias")),
        ["wind/generator", "layer3.bias"],
    ),
    "spread of a consumer": (
        lambda f: rewrite(
            f, lambda a: a.update({"consumer/consumer/log_std": np.zeros((1, 1), np.float32)})
        ),
        ["consumer/consumer", "log_std"],
    ),
    "spread of other agents": (
        replaced("storage/storage/log_std", lambda array: array[:2]),
        ["storage/storage", "log_std", "(2, 1)", "(3, 1)"],
    ),
    "another shape": (
        replaced("generator/generator/layer1.weight", lambda array: array[:, :-1].copy()),
        ["generator/generator", "layer1.weight", "(1, 127, 64)", "(1, 128, 64)"],
    ),
    "no agents": (
        lambda f: rewrite(f, lambda arrays: arrays.update({k: arrays[k][:0] for k in arrays})),
        ["(0, "],
    ),
    "another type": (
        replaced("ev/storage/layer1.bias", lambda array: array.astype(np.float64)),
        ["ev/storage", "layer1.bias", "float64", "float32"],
    ),
    "not finite": (
        replaced("operator/operator/layer0.weight", lambda array: array / 0),
        ["operator/operator", "layer0.weight", "finite"],
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_damaged_is_refused_by_name(case: str, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(saved, folder)
    harm, words = DAMAGE[case]
    harm(folder)
    with pytest.raises(UsageError) as refused:
        load_policies(folder)
    for word in [str(folder), *words]:
        assert word in str(refused.value)


def test_wrong_policies_are_not_written(tmp_path: Path) -> None:
    made = policies()
    made["ev"]["storage"]["layer0.bias"][0, 0] = np.nan
    with pytest.raises(UsageError, match=r"ev/storage.*layer0\.bias.*finite"):
        save_policies(tmp_path / "set", made, {})
    assert not (tmp_path / "set").exists()


def test_a_state_keeps_its_types_and_shapes(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    state = {
        "bool": draw.random((3, 2)) < 0.5,
        "int": np.array([-(2**62)], dtype=np.int64),
        "scalar": np.array(0.5),
        "none": np.zeros((0, 4), dtype=np.float32),
        "turned": draw.random((2, 3)).T,
        "strided": draw.random((4, 4)).astype(np.float32)[::2, ::2],
    }
    save_state(tmp_path / "state.safetensors", state, {"episode": 3, "score": None})
    read, meta = load_state(tmp_path / "state.safetensors")
    assert meta == {"episode": 3, "score": None}
    assert_identical(read, state)
    assert {name: array.shape for name, array in read.items()} == {
        name: array.shape for name, array in state.items()
    }
    read["int"][0] = 1  # one's own to change, as a learner does


def test_a_learner_goes_on_from_its_file_to_the_same_bytes(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    steps = [
        {
            "observation": draw.random((2, 4, 3), dtype=np.float32),
            "action": draw.integers(0, 5, (2, 4)),
            "reward": draw.random((2, 4), dtype=np.float32),
            "next_observation": draw.random((2, 4, 3), dtype=np.float32),
            "terminated": draw.random((2, 4)) < 0.3,
        }
        for _ in range(10)
    ]

    def learner() -> dqn.Learner:
        settings = dqn.Settings(replay=20, warmup=8, batch=8, target_every=3)
        return dqn.Learner(settings, 5, 2, spec=Spec((3, 8, 5)))

    def learn(who: dqn.Learner, ticks: range) -> None:
        for tick in ticks:
            who.observe(**steps[tick])
            if who.ready:
                who.update(tick)

    whole, begun, resumed = learner(), learner(), learner()
    learn(whole, range(10))
    learn(begun, range(6))
    save_state(tmp_path / "state.safetensors", begun.state(), {})
    resumed.load(load_state(tmp_path / "state.safetensors")[0])
    learn(resumed, range(6, 10))
    assert_identical(resumed.state(), whole.state())


def test_a_changed_meta_is_refused_by_name(tmp_path: Path) -> None:
    save_state(tmp_path / "state.safetensors", {"x": np.zeros(3)}, {"score": 0.5})
    beside = tmp_path / "state.json"
    beside.write_text(beside.read_text().replace("0.5", "0.7"))
    with pytest.raises(UsageError, match=r"state\.json: is damaged"):
        load_state(tmp_path / "state.safetensors")


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
def test_a_damaged_state_is_refused_by_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, {"x": np.zeros(3)}, {})
    good = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(good[:-10])
    with pytest.raises(UsageError, match=name):
        load_state(path)
    (tmp_path / name).unlink()
    with pytest.raises(UsageError, match=f"{name}: is missing"):
        load_state(path)
    with pytest.raises(UsageError, match="words is <U3"):
        save_state(path, {"words": np.array(["abc"])}, {})


def test_reading_policies_loads_no_torch(saved: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom swarm.learning.files import load_policies\n"
        f"load_policies(Path({str(saved)!r}))\n"
        "assert not {'torch', 'ray', 'pandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
