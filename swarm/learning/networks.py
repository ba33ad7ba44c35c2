"""The networks of all agents as stacked arrays: shapes, initial values, and acting in numpy.

`Weights` holds n agents' weights on the first axis; a policy shared by a kind has n = 1. Acting is
one stacked product per layer, `(n, 1, in) @ (n, in, out)`, whose rows have the same bits for every
split of the agents; a 2-D product of many rows with one matrix does not. `swarm.learning.stacked`
is the torch form of the same layout.

Attention is scaled dot-product attention of one query over tokens (Vaswani et al., Attention is
all you need, NeurIPS 2017), with the values through a leaky ReLU as in the critic of Iqbal and Sha
(Actor-attention-critic for multi-agent reinforcement learning, ICML 2019).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.learning.draws import wide_uniforms

Weights: TypeAlias = dict[str, NDArray[np.float32]]
"""Weights of n agents by name, float32, agents on the first axis; see `shapes`."""

LEAK = 0.01
"""Slope of the leaky ReLU on attention values below zero."""

CHUNK = 1 << 20
"""Values drawn at once by `init`, which bounds its memory beyond the weights themselves."""


@dataclass(frozen=True)
class Attention:
    """One query over `tokens` tokens; the input is `own` numbers, then the tokens one by one.

    The attended values replace the tokens: the first layer reads `own + heads * width` numbers.
    """

    own: int
    """Numbers at the head of the input that belong to no token; the query is made of them."""
    tokens: int
    features: int
    """Numbers per token."""
    heads: int = 4
    width: int = 8
    """Numbers per head."""
    embedded: bool = False
    """Add a learned vector to each token, so that the tokens' places differ. Without it the order
    of tokens does not matter."""

    def __post_init__(self) -> None:
        for name in ("own", "tokens", "features", "heads", "width"):
            if getattr(self, name) < 1:
                raise UsageError(f"attention.{name} is {getattr(self, name)}; expected 1 or more")

    @property
    def inputs(self) -> int:
        """Length of the whole input."""
        return self.own + self.tokens * self.features

    @property
    def outputs(self) -> int:
        """Length of what the first layer reads."""
        return self.own + self.heads * self.width


@dataclass(frozen=True)
class Spec:
    """A fully connected network: ReLU or tanh between layers, attention before the first."""

    sizes: tuple[int, ...]
    """Input, hidden layers, output."""
    activation: Literal["relu", "tanh"] = "relu"
    out: Literal["linear", "tanh"] = "linear"
    attention: Attention | None = None

    def __post_init__(self) -> None:
        if len(self.sizes) < 2 or min(self.sizes) < 1:
            raise UsageError(f"sizes is {self.sizes}; expected two or more numbers of 1 or more")
        if self.activation not in ("relu", "tanh"):
            raise UsageError(f"activation is {self.activation!r}; expected 'relu' or 'tanh'")
        if self.out not in ("linear", "tanh"):
            raise UsageError(f"out is {self.out!r}; expected 'linear' or 'tanh'")
        if self.attention is not None and self.attention.outputs != self.sizes[0]:
            raise UsageError(
                f"sizes[0] is {self.sizes[0]}; expected own + heads * width of the attention, "
                f"{self.attention.outputs}"
            )

    @property
    def inputs(self) -> int:
        """Length of an observation."""
        return self.sizes[0] if self.attention is None else self.attention.inputs

    @property
    def layers(self) -> int:
        """Number of weight layers."""
        return len(self.sizes) - 1


GENERATOR = Spec((64, 128, 64, 32, 20))
"""Q values of 20 price levels."""
STORAGE_ACTOR = Spec((48, 64, 32, 1), out="tanh")
"""Power, as a share of the largest, -1 to 1."""
STORAGE_CRITIC = Spec((48, 64, 32, 1))
"""Value of a state."""
CONSUMER_ACTOR = Spec((40, 64, 32, 1), out="tanh")
"""Share of the flexible load, -1 to 1 for 0 to 100 %."""
OPERATOR = Spec(
    (80, 128, 96, 64, 25),
    attention=Attention(own=24, tokens=7, features=8, heads=7, width=8, embedded=True),
)
"""Q values of 25 pairs of reserve and activation level. The observation is 24 numbers of the whole
system and 8 of each of the 7 agent kinds; attention keeps its length of 80."""


SPECS: Mapping[str, Spec] = {
    "generator": GENERATOR,
    "storage": STORAGE_ACTOR,
    "consumer": CONSUMER_ACTOR,
    "operator": OPERATOR,
}
"""The network that acts on each observation vector."""


def consumer_critic(others: int) -> Spec:
    """Centralised critic of a consumer that sees `others` consumers of its neighbourhood.

    The input is its own 40 observations and action, then the 41 numbers of each of the others.
    """
    attention = Attention(own=41, tokens=others, features=41)
    return Spec((attention.outputs, 64, 32, 1), attention=attention)


def shapes(spec: Spec) -> dict[str, tuple[int, ...]]:
    """Shape of each array for one agent, by name, in the order of evaluation."""
    found: dict[str, tuple[int, ...]] = {}
    if (attention := spec.attention) is not None:
        out = attention.heads * attention.width
        if attention.embedded:
            found["attention.token"] = (attention.tokens, attention.features)
        found["attention.query"] = (attention.own, out)
        found["attention.key"] = (attention.features, out)
        found["attention.value"] = (attention.features, out)
    for layer in range(spec.layers):
        found[f"layer{layer}.weight"] = spec.sizes[layer : layer + 2]
        found[f"layer{layer}.bias"] = (spec.sizes[layer + 1],)
    return found


def bound(spec: Spec, name: str) -> float:
    """Largest initial value of an array, uniform on both sides of zero; biases start at zero.

    Layers before a ReLU: sqrt(6 / in) (He et al., Delving deep into rectifiers, ICCV 2015). All
    others: sqrt(6 / (in + out)) (Glorot and Bengio, Understanding the difficulty of training deep
    feedforward neural networks, AISTATS 2010).
    """
    if name.endswith(".bias"):
        return 0.0
    into, out = shapes(spec)[name]
    hidden = name.startswith("layer") and name != f"layer{spec.layers - 1}.weight"
    return sqrt(6 / into) if hidden and spec.activation == "relu" else sqrt(6 / (into + out))


def init(spec: Spec, seed: int, first: int, n: int) -> Weights:
    """Initial weights of agents `first` to `first + n - 1`: the same for any split of the agents.

    Two networks of one agent need two seeds.
    """
    weights: Weights = {}
    for name, shape in shapes(spec).items():
        weights[name] = np.zeros((n, *shape), dtype=np.float32)
        largest = bound(spec, name)
        if largest == 0.0:
            continue
        width = int(np.prod(shape))
        rows = max(1, CHUNK // width)
        for start in range(0, n, rows):
            count = min(rows, n - start)
            drawn = wide_uniforms(seed, f"learning/init/{name}", 0, first + start, count, width)
            weights[name][start : start + count] = ((2 * drawn - 1) * largest).reshape(-1, *shape)
    return weights


def check(spec: Spec, weights: Mapping[str, NDArray[np.float32]], n: int) -> None:
    """Raise UsageError unless `weights` holds exactly the float32 arrays of n agents of `spec`."""
    expected = shapes(spec)
    if set(weights) != set(expected):
        raise UsageError(f"weights have {sorted(weights)}; expected {sorted(expected)}")
    for name, shape in expected.items():
        array = weights[name]
        if array.shape != (n, *shape) or array.dtype != np.float32:
            raise UsageError(
                f"{name} is {array.dtype} {array.shape}; expected float32 {(n, *shape)}"
            )


def forward(
    spec: Spec,
    weights: Weights,
    x: NDArray[np.float32],
    present: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Outputs (n, out) of n agents that each see one row of `x` (n, in).

    Args:
        spec: the network.
        weights: of n agents, or of one policy (n = 1) that all rows share.
        x: float32 observations; attention's tokens follow the own numbers, token by token.
        present: (n, tokens); a token that is False has no part in the attention. None: all are.

    Raises:
        UsageError: `x` has another length or type than the network reads, or the weights are of
            another number of agents.
    """
    if x.ndim != 2 or x.shape[1] != spec.inputs or x.dtype != np.float32:
        raise UsageError(f"x is {x.dtype} {x.shape}; expected float32 (n, {spec.inputs})")
    if (stacks := len(weights["layer0.weight"])) not in (1, len(x)):
        raise UsageError(f"weights are of {stacks} agents; expected 1 or as many as x, {len(x)}")
    if spec.attention is not None:
        x = attend(spec.attention, weights, x, present)
    rows = x[:, None, :]
    for layer in range(spec.layers):
        rows = np.matmul(rows, weights[f"layer{layer}.weight"])
        rows += weights[f"layer{layer}.bias"][:, None, :]
        last = layer == spec.layers - 1
        if (spec.out if last else spec.activation) == "tanh":
            np.tanh(rows, out=rows)
        elif not last:
            np.maximum(rows, 0, out=rows)
    return rows[:, 0, :]


def attend(
    attention: Attention,
    weights: Weights,
    x: NDArray[np.float32],
    present: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """`x` (n, inputs) with its tokens replaced by the attended values: (n, outputs).

    softmax(q k / sqrt(width)) v per head; all zero where no token is present.
    """
    n, heads, width = len(x), attention.heads, attention.width
    own = np.ascontiguousarray(x[:, : attention.own])
    tokens = x[:, attention.own :].reshape(n, attention.tokens, attention.features)
    if attention.embedded:
        tokens = tokens + weights["attention.token"]
    # One head after another: (n, heads, tokens, width), so that every sum is over a whole row.
    split = (n, attention.tokens, heads, width)
    query = np.matmul(own[:, None, :], weights["attention.query"]).reshape(n, heads, 1, width)
    key = np.matmul(tokens, weights["attention.key"]).reshape(split).transpose(0, 2, 1, 3)
    value = np.matmul(tokens, weights["attention.value"]).reshape(split).transpose(0, 2, 3, 1)
    score = np.multiply(query, key, order="C").sum(axis=-1) * np.float32(1 / sqrt(width))
    seen = np.ones((n, 1, 1), dtype=bool) if present is None else present[:, None, :]
    score = np.where(seen, score, np.float32(-1e30))
    share = np.exp(score - score.max(axis=-1, keepdims=True))
    share = np.where(seen, share / share.sum(axis=-1, keepdims=True), np.float32(0))
    value = np.maximum(value, np.float32(LEAK) * value)
    attended = np.multiply(share[:, :, None, :], value, order="C").sum(axis=-1)
    return np.concatenate([own, attended.reshape(n, heads * width)], axis=1)
