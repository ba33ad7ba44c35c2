"""Stacked learning: n agents at once are n agents one by one, gradients and Adam are right."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from swarm.errors import UsageError
from swarm.learning import networks, stacked
from swarm.learning.networks import Attention, Spec, Weights

N, BATCH, UPDATES = 7, 32, 4
SPECS = {
    "generator": networks.GENERATOR,
    "storage actor": networks.STORAGE_ACTOR,
    "consumer critic": networks.consumer_critic(others=3),
    "operator": networks.OPERATOR,
    "odd sizes": Spec((7, 65, 33, 3), activation="tanh"),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    stacked.deterministic()
    yield
    torch.set_num_threads(before)


def observations(spec: Spec, n: int = N, batch: int = BATCH, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (n, batch, spec.inputs)).astype(np.float32)


def train(
    spec: Spec, weights: Weights, part: slice
) -> tuple[Weights, dict[str, np.ndarray], np.ndarray]:
    """Weights, optimiser state and losses of some agents after a few clipped updates."""
    tensors = stacked.to_torch({name: array[part] for name, array in weights.items()})
    adam = stacked.Adam(tensors, learning_rate=0.01)
    losses = []
    for update in range(UPDATES):
        x = torch.from_numpy(observations(spec, seed=update)[part])
        loss = (stacked.forward(spec, tensors, x) - 1).square().mean(dim=(1, 2))
        grads = stacked.gradients(loss.sum(), tensors)
        stacked.clip(grads, limit=0.5)
        adam.step(grads)
        losses.append(loss.detach().numpy())
    return stacked.to_numpy(tensors), adam.state(), np.stack(losses)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_one_update_of_seven_agents_is_seven_updates_of_one(spec: Spec) -> None:
    weights = networks.init(spec, seed=1, first=0, n=N)
    whole, state, losses = train(spec, weights, slice(0, N))
    assert (losses[-1] < losses[0]).all()
    for agent in range(N):
        one, one_state, one_losses = train(spec, weights, slice(agent, agent + 1))
        for name in one:
            np.testing.assert_allclose(one[name][0], whole[name][agent], rtol=0, atol=1e-6)
        for name in one_state:
            if not name.startswith("step."):
                np.testing.assert_allclose(
                    one_state[name][0], state[name][agent], rtol=0, atol=1e-6
                )
        np.testing.assert_allclose(one_losses[:, 0], losses[:, agent], rtol=0, atol=1e-6)
    assert {float(held[0]) for name, held in state.items() if name.startswith("step.")} == {UPDATES}


@pytest.mark.parametrize("spec", [SPECS[name] for name in SPECS if name != "odd sizes"])
def test_at_the_designs_sizes_a_split_learns_the_same_bits(spec: Spec) -> None:
    weights = networks.init(spec, seed=2, first=0, n=N)
    whole, state, _ = train(spec, weights, slice(0, N))
    for part in (slice(0, 1), slice(1, 4), slice(4, N)):
        some, some_state, _ = train(spec, weights, part)
        for name in some:
            np.testing.assert_array_equal(some[name], whole[name][part])
        for name in some_state:
            if not name.startswith("step."):
                np.testing.assert_array_equal(some_state[name], state[name][part])


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_forward_agrees_with_acting(spec: Spec) -> None:
    weights = networks.init(spec, seed=1, first=0, n=N)
    x = observations(spec)
    present = mask = None
    if spec.attention is not None:
        present = np.random.default_rng(1).random((N, BATCH, spec.attention.tokens)) < 0.5
        present[0, 0] = False
        mask = torch.from_numpy(present)
    found = stacked.forward(spec, stacked.to_torch(weights), torch.from_numpy(x), mask)
    for row in range(BATCH):
        acted = networks.forward(
            spec, weights, x[:, row], None if present is None else present[:, row]
        )
        np.testing.assert_allclose(found[:, row].detach().numpy(), acted, rtol=1e-6, atol=1e-6)


def test_a_shared_policy_is_the_same_policy_for_each() -> None:
    spec = networks.consumer_critic(others=3)
    one = networks.init(spec, seed=1, first=0, n=1)
    copies = {name: np.repeat(array, N, axis=0) for name, array in one.items()}
    x = torch.from_numpy(observations(spec))
    present = torch.from_numpy(np.random.default_rng(1).random((N, BATCH, 3)) < 0.5)
    found = stacked.forward(spec, stacked.to_torch(one), x, present)
    each = stacked.forward(spec, stacked.to_torch(copies), x, present)
    torch.testing.assert_close(found, each, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("embedded", [False, True])
def test_gradients_through_attention_agree_with_finite_differences(embedded: bool) -> None:
    attention = Attention(own=3, tokens=4, features=2, heads=2, width=3, embedded=embedded)
    spec = Spec((9, 5, 1), attention=attention)
    weights = networks.init(spec, seed=4, first=0, n=2)
    names = list(weights)
    values = [
        torch.from_numpy(array.astype(np.float64)).requires_grad_() for array in weights.values()
    ]
    x = torch.from_numpy(observations(spec, n=2, batch=3).astype(np.float64)).requires_grad_()
    present = torch.ones(2, 3, 4, dtype=torch.bool)
    present[0, 0] = False  # nobody there
    present[1, 1, 2] = False

    def outputs(x: torch.Tensor, *tensors: torch.Tensor) -> torch.Tensor:
        return stacked.forward(spec, dict(zip(names, tensors, strict=True)), x, present)

    assert torch.autograd.gradcheck(outputs, (x, *values))


def test_adam_is_the_papers_algorithm() -> None:
    """Algorithm 1 of Kingma and Ba in float64, step by step."""
    rng = np.random.default_rng(0)
    weight, grads = rng.normal(size=(3, 5, 4)), rng.normal(size=(10, 3, 5, 4))
    tensors = stacked.to_torch({"w": weight.astype(np.float32)})
    adam = stacked.Adam(tensors, learning_rate=0.02, betas=(0.8, 0.95), epsilon=1e-3)
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for step, grad in enumerate(grads, start=1):
        adam.step({"w": torch.from_numpy(grad.astype(np.float32))})
        first = 0.8 * first + 0.2 * grad
        second = 0.95 * second + 0.05 * grad**2
        unbiased = first / (1 - 0.8**step), second / (1 - 0.95**step)
        weight = weight - 0.02 * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-3)
    np.testing.assert_allclose(stacked.to_numpy(tensors)["w"], weight, rtol=1e-5, atol=1e-6)


def test_adam_goes_on_from_its_state_to_the_same_bytes() -> None:
    spec = networks.OPERATOR
    start = networks.init(spec, seed=1, first=0, n=2)
    grads = [
        {name: np.random.default_rng(k).normal(size=a.shape).astype(np.float32)
         for name, a in start.items()}
        for k in range(6)
    ]  # fmt: skip

    def steps(weights: Weights, state: dict[str, np.ndarray] | None, which: slice) -> tuple:
        tensors = stacked.to_torch(weights)
        adam = stacked.Adam(tensors)
        if state is not None:
            adam.load(state)
        for grad in grads[which]:
            adam.step(stacked.to_torch(grad, grad=False))
        return stacked.to_numpy(tensors), adam.state()

    through = steps(start, None, slice(0, 6))
    again = steps(*steps(start, None, slice(0, 3)), slice(3, 6))
    for expected, found in zip(through, again, strict=True):
        assert expected.keys() == found.keys()
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name])


def test_adam_refuses_a_state_of_other_shapes() -> None:
    adam = stacked.Adam(stacked.to_torch(networks.init(networks.GENERATOR, 0, 0, 2)))
    other = stacked.Adam(stacked.to_torch(networks.init(networks.GENERATOR, 0, 0, 3))).state()
    with pytest.raises(UsageError, match=r"exp_avg.layer0.weight is of shape \(3, 8192\)"):
        adam.load(other)
    with pytest.raises(UsageError, match=r"step\.layer0\.weight is missing"):
        adam.load({})


def test_clipping_scales_each_agent_by_its_own_norm() -> None:
    rng = np.random.default_rng(0)
    plain = {"a": rng.normal(size=(3, 4, 5)), "b": rng.normal(size=(3, 5))}
    scale = np.array([0.01, 1.0, 1e4])
    plain = {k: v * scale.reshape(-1, *[1] * (v.ndim - 1)) for k, v in plain.items()}
    grads = {k: torch.from_numpy(v.astype(np.float32)) for k, v in plain.items()}
    norm = stacked.clip(grads, limit=2.0)
    for agent in range(3):
        every = np.concatenate([plain["a"][agent].ravel(), plain["b"][agent]])
        length = np.linalg.norm(every)
        assert float(norm[agent]) == pytest.approx(length, rel=1e-5)
        clipped = torch.cat([grads["a"][agent].flatten(), grads["b"][agent]]).numpy()
        np.testing.assert_allclose(clipped, every * min(1, 2 / length), rtol=1e-5)
    assert float(norm[0]) < 2 < float(norm[1])


def test_copies_share_no_memory() -> None:
    weights = networks.init(Spec((2, 3)), 0, 0, 1)
    tensors = stacked.to_torch(weights)
    back = stacked.to_numpy(tensors)
    with torch.no_grad():
        tensors["layer0.weight"].zero_()
    assert weights["layer0.weight"].all()
    assert back["layer0.weight"].all()
    assert tensors["layer0.weight"].requires_grad
    assert not stacked.to_torch(weights, grad=False)["layer0.weight"].requires_grad


def test_wrong_observations_are_refused() -> None:
    tensors = stacked.to_torch(networks.init(networks.GENERATOR, 0, 0, 2))
    with pytest.raises(UsageError, match=r"x is \(2, 63\); expected \(n, batch, 64\)"):
        stacked.forward(networks.GENERATOR, tensors, torch.zeros(2, 63))
