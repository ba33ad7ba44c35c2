"""Networks: the design's sizes, the bits of any split, and torch's own layers as the oracle."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from swarm.errors import UsageError
from swarm.learning import networks
from swarm.learning.draws import wide_uniforms
from swarm.learning.networks import Attention, Spec, Weights

N = 37
SPECS = {
    "generator": networks.GENERATOR,
    "storage actor": networks.STORAGE_ACTOR,
    "storage critic": networks.STORAGE_CRITIC,
    "consumer actor": networks.CONSUMER_ACTOR,
    "consumer critic": networks.consumer_critic(others=9),
    "operator": networks.OPERATOR,
}
SEEING = {name: spec for name, spec in SPECS.items() if spec.attention is not None}
EDGES = [[0, 1, 2, 3, N], list(range(N + 1)), [0, 16, 33, N]]


def some(spec: Spec, n: int = N) -> tuple[Weights, np.ndarray, np.ndarray | None]:
    """Weights with biases that are not zero, observations, and a mask with an empty row."""
    rng = np.random.default_rng(7)
    weights = networks.init(spec, seed=3, first=5, n=n)
    for name in weights:
        if name.endswith(".bias"):
            weights[name] = rng.uniform(-0.1, 0.1, weights[name].shape).astype(np.float32)
    x = rng.uniform(-1, 1, (n, spec.inputs)).astype(np.float32)
    if spec.attention is None:
        return weights, x, None
    present = rng.random((n, spec.attention.tokens)) < 0.6
    present[0] = False
    return weights, x, present


def rows(weights: Weights, part: slice) -> Weights:
    return {name: array[part] for name, array in weights.items()}


def by_torch_layers(
    spec: Spec, weights: Weights, x: np.ndarray, present: np.ndarray | None
) -> np.ndarray:
    """One agent after another in float64 through torch's linear layers and attention."""
    found = []
    for agent in range(len(x)):
        held = {k: torch.from_numpy(array[agent]).double() for k, array in weights.items()}
        row = torch.from_numpy(x[agent]).double()
        if (attention := spec.attention) is not None:
            own, tokens = row[: attention.own], row[attention.own :]
            tokens = tokens.reshape(attention.tokens, attention.features)
            if attention.embedded:
                tokens = tokens + held["attention.token"]
            tokens = tokens[torch.from_numpy(present[agent])]
            split = (-1, attention.heads, attention.width)
            query = functional.linear(own, held["attention.query"].T).reshape(split)
            key = functional.linear(tokens, held["attention.key"].T).reshape(split)
            value = functional.linear(tokens, held["attention.value"].T).reshape(split)
            seen = torch.zeros(attention.heads, 1, attention.width, dtype=torch.float64)
            if len(tokens):
                seen = functional.scaled_dot_product_attention(
                    query.transpose(0, 1),
                    key.transpose(0, 1),
                    functional.leaky_relu(value, 0.01).transpose(0, 1),
                )
            row = torch.cat([own, seen.flatten()])
        for layer in range(len(spec.sizes) - 1):
            row = functional.linear(row, held[f"layer{layer}.weight"].T, held[f"layer{layer}.bias"])
            if layer < len(spec.sizes) - 2:
                row = torch.relu(row) if spec.activation == "relu" else torch.tanh(row)
        found.append(torch.tanh(row) if spec.out == "tanh" else row)
    return torch.stack(found).numpy()


@pytest.mark.parametrize(
    ("spec", "inputs", "sizes"),
    [
        (networks.GENERATOR, 64, (64, 128, 64, 32, 20)),
        (networks.STORAGE_ACTOR, 48, (48, 64, 32, 1)),
        (networks.STORAGE_CRITIC, 48, (48, 64, 32, 1)),
        (networks.CONSUMER_ACTOR, 40, (40, 64, 32, 1)),
        (networks.OPERATOR, 80, (80, 128, 96, 64, 25)),
    ],
)
def test_sizes_are_those_of_the_design(spec: Spec, inputs: int, sizes: tuple[int, ...]) -> None:
    weights = networks.init(spec, seed=0, first=0, n=2)
    assert spec.inputs == inputs
    for layer, (into, out) in enumerate(itertools.pairwise(sizes)):
        assert weights[f"layer{layer}.weight"].shape == (2, into, out)
        assert weights[f"layer{layer}.bias"].shape == (2, out)
    assert f"layer{len(sizes) - 1}.weight" not in weights
    networks.check(spec, weights, n=2)


@pytest.mark.parametrize("spec", [*SPECS.values(), Spec((5, 4, 3), activation="tanh")])
def test_forward_is_what_torchs_layers_give(spec: Spec) -> None:
    weights, x, present = some(spec)
    found = networks.forward(spec, weights, x, present)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_torch_layers(spec, weights, x, present), atol=5e-6)


@pytest.mark.parametrize("edges", EDGES)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_any_split_of_the_agents_gives_the_same_bits(spec: Spec, edges: list[int]) -> None:
    weights, x, present = some(spec)
    whole = networks.forward(spec, weights, x, present)
    parts = [slice(a, b) for a, b in itertools.pairwise(edges)]
    found = [
        networks.forward(
            spec, rows(weights, part), x[part], None if present is None else present[part]
        )
        for part in parts
    ]
    np.testing.assert_array_equal(np.concatenate(found), whole)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_shared_policy_has_the_bits_of_one_copy_per_agent(spec: Spec) -> None:
    weights, x, present = some(spec)
    one = rows(weights, slice(0, 1))
    copies = {name: np.repeat(array, N, axis=0) for name, array in one.items()}
    np.testing.assert_array_equal(
        networks.forward(spec, one, x, present), networks.forward(spec, copies, x, present)
    )
    # And of one agent at a time, whatever the split of the agents.
    np.testing.assert_array_equal(
        networks.forward(spec, one, x[4:5], None if present is None else present[4:5]),
        networks.forward(spec, one, x, present)[4:5],
    )


@pytest.mark.parametrize("spec", SEEING.values(), ids=SEEING)
def test_an_absent_token_has_no_influence(spec: Spec) -> None:
    weights, x, present = some(spec)
    attention = spec.attention
    assert attention is not None
    assert present is not None
    other = x.copy()
    tokens = other[:, attention.own :].reshape(N, attention.tokens, attention.features)
    tokens[~present] = 1e6
    assert (other != x).any()
    np.testing.assert_array_equal(
        networks.forward(spec, weights, other, present),
        networks.forward(spec, weights, x, present),
    )


@pytest.mark.parametrize("embedded", [False, True])
def test_the_order_of_tokens_counts_only_where_places_are_embedded(embedded: bool) -> None:
    spec = Spec((3 + 8, 6, 2), attention=Attention(3, 4, 5, heads=2, width=4, embedded=embedded))
    weights, x, _ = some(spec)
    turned = x.copy()
    turned[:, 3:] = x[:, 3:].reshape(N, 4, 5)[:, ::-1].reshape(N, 20)
    found = networks.forward(spec, weights, turned)
    assert np.allclose(found, networks.forward(spec, weights, x), atol=1e-6) is not embedded


def test_initial_weights_do_not_depend_on_the_split() -> None:
    spec = Spec((64, 128, 3))
    n = 300  # more than init draws at once for the first layer
    assert n * 64 * 128 > networks.CHUNK
    whole = networks.init(spec, seed=9, first=1_000, n=n)
    for a, b in [(0, 1), (1, 130), (130, n)]:
        part = networks.init(spec, seed=9, first=1_000 + a, n=b - a)
        for name, array in part.items():
            np.testing.assert_array_equal(array, whole[name][a:b])
    assert (networks.init(spec, 10, 1_000, 1)["layer0.weight"] != part["layer0.weight"][0]).any()


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("layer0.weight", math.sqrt(6 / 80)),  # He, before a ReLU
        ("layer2.weight", math.sqrt(6 / 96)),
        ("layer3.weight", math.sqrt(6 / (64 + 25))),  # Glorot, before a linear output
        ("attention.query", math.sqrt(6 / (24 + 56))),
    ],
)
def test_initial_weights_are_uniform_within_the_bound(name: str, largest: float) -> None:
    values = networks.init(networks.OPERATOR, seed=0, first=0, n=20)[name]
    assert abs(values).max() <= np.float32(largest)
    assert abs(values).max() > 0.99 * largest
    # Variance of a uniform on (-b, b) is b^2 / 3; 20,000 values give it to about 1 %.
    assert values.var() == pytest.approx(largest**2 / 3, rel=0.04)
    assert values.mean() == pytest.approx(0, abs=0.02 * largest)


def test_before_tanh_all_layers_are_glorot_and_biases_start_at_zero() -> None:
    spec = Spec((40, 80, 2), activation="tanh")
    weights = networks.init(spec, seed=0, first=0, n=5)
    assert abs(weights["layer0.weight"]).max() <= np.float32(math.sqrt(6 / 120))
    assert not weights["layer0.bias"].any()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Spec((3,)), "sizes"),
        (lambda: Spec((3, 0, 1)), "sizes"),
        (lambda: Spec((3, 1), activation="gelu"), "activation is 'gelu'"),
        (lambda: Spec((3, 1), out="relu"), "out is 'relu'"),
        (lambda: Spec((80, 1), attention=Attention(24, 7, 8)), "expected own"),
        (lambda: Attention(24, 0, 8), "attention.tokens is 0"),
    ],
)
def test_a_wrong_network_is_refused(make: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    "x", [np.zeros((2, 63), np.float32), np.zeros((2, 64)), np.zeros(64, np.float32)]
)
def test_wrong_observations_are_refused(x: np.ndarray) -> None:
    weights = networks.init(networks.GENERATOR, 0, 0, 2)
    with pytest.raises(UsageError, match="expected float32"):
        networks.forward(networks.GENERATOR, weights, x)


@pytest.mark.parametrize("n", [1, 3])
def test_weights_of_another_number_of_agents_are_refused(n: int) -> None:
    weights = networks.init(networks.GENERATOR, 0, 0, 2)
    with pytest.raises(UsageError, match="weights are of 2 agents"):
        networks.forward(networks.GENERATOR, weights, np.zeros((n, 64), np.float32))


def test_check_names_what_does_not_fit() -> None:
    weights = networks.init(networks.GENERATOR, 0, 0, 2)
    with pytest.raises(UsageError, match=r"layer0.weight is float32 \(2, 64, 128\)"):
        networks.check(networks.GENERATOR, weights, n=3)
    with pytest.raises(UsageError, match=r"layer0.bias is float64"):
        networks.check(networks.GENERATOR, {**weights, "layer0.bias": np.zeros((2, 128))}, n=2)
    del weights["layer1.bias"]
    with pytest.raises(UsageError, match=r"layer1\.bias"):
        networks.check(networks.GENERATOR, weights, n=2)


def test_wide_uniforms_are_numpys_philox_and_do_not_depend_on_the_split() -> None:
    whole = wide_uniforms(42, "s", 6, first=10, count=9, width=7)
    assert whole.shape == (9, 7)
    parts = [wide_uniforms(42, "s", 6, 10 + a, b - a, 7) for a, b in [(0, 2), (2, 3), (3, 9)]]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    # Seven numbers take two blocks of four, so agent 12 starts at block 24.
    key = int.from_bytes(hashlib.sha256(b"42/s").digest()[:16], "little")
    bits = np.random.Philox(key=key).advance(24 + (6 << 64))
    np.testing.assert_array_equal(whole[2], np.random.Generator(bits).random(7))
