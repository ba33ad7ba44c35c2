"""Learning on stacked weights in torch: forward pass, Adam and gradient clipping for n agents.

The layout is that of `swarm.learning.networks`: a dict of tensors with the agents on the first
axis. Nothing here mixes agents, so one update of n agents is n separate updates. The loss must
therefore be a sum over agents of a mean over each agent's batch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import sqrt
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from swarm.errors import UsageError
from swarm.learning.networks import LEAK, Attention, Spec, Weights

Tensors: TypeAlias = dict[str, Tensor]
"""`Weights` as torch tensors."""


LANES = 16
"""float32 numbers of the widest vector that torch computes on, AVX-512's."""


def deterministic() -> None:
    """Make torch's results a function of its inputs alone: call before the first product.

    One thread, deterministic kernels, and one code path of MKL; without the last the bits of a
    batched product depend on the number of agents at odd sizes.
    """
    os.environ.setdefault("MKL_CBWR", "AVX2")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def to_torch(weights: Mapping[str, NDArray[np.float32]], grad: bool = True) -> Tensors:
    """A copy of the weights as torch tensors that take gradients unless `grad` is False."""
    return {
        name: torch.from_numpy(array.copy()).requires_grad_(grad) for name, array in weights.items()
    }


def to_numpy(tensors: Tensors) -> Weights:
    """A copy of the tensors as numpy arrays."""
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors.items()}


def forward(spec: Spec, tensors: Tensors, x: Tensor, present: Tensor | None = None) -> Tensor:
    """Outputs (n, batch, out) of n agents for `x` (n, batch, in).

    Args:
        spec: the network.
        tensors: weights of n agents, or of one policy (n = 1) that all rows share.
        x: observations, float32.
        present: bool (n, batch, tokens) for a network with attention; None: all tokens are there.
    """
    if x.ndim != 3 or x.shape[2] != spec.inputs:
        raise UsageError(f"x is {tuple(x.shape)}; expected (n, batch, {spec.inputs})")
    n, batch = x.shape[:2]
    if n > 1 and tensors["layer0.weight"].shape[0] == 1:
        flat = None if present is None else present.reshape(1, n * batch, -1)
        return forward(spec, tensors, x.reshape(1, n * batch, -1), flat).reshape(n, batch, -1)
    if spec.attention is not None:
        x = attend(spec.attention, tensors, x, present)
    for layer in range(spec.layers):
        weight, bias = tensors[f"layer{layer}.weight"], tensors[f"layer{layer}.bias"][:, None, :]
        if weight.shape[2] == 1:
            # baddbmm has another kernel for one agent with one output, hence other bits.
            x = (x * weight.transpose(1, 2)).sum(dim=-1, keepdim=True) + bias
        else:
            x = torch.baddbmm(bias, x, weight)
        last = layer == spec.layers - 1
        if (spec.out if last else spec.activation) == "tanh":
            x = torch.tanh(x)
        elif not last:
            x = torch.relu(x)
    return x


def attend(
    attention: Attention, tensors: Tensors, x: Tensor, present: Tensor | None = None
) -> Tensor:
    """`x` (n, batch, inputs) with its tokens replaced by the attended values: (n, batch, outputs).

    The torch form of `networks.attend`.
    """
    n, batch = x.shape[:2]
    heads, width, m = attention.heads, attention.width, attention.tokens
    own = x[:, :, : attention.own]
    tokens = x[:, :, attention.own :].reshape(n, batch, m, attention.features)
    if attention.embedded:
        tokens = tokens + tensors["attention.token"][:, None]
    tokens = tokens.reshape(n, batch * m, attention.features)
    split = (n, batch, m, heads, width)
    query = torch.bmm(own, tensors["attention.query"]).reshape(n, batch, 1, heads, width)
    key = torch.bmm(tokens, tensors["attention.key"]).reshape(split)
    value = torch.bmm(tokens, tensors["attention.value"]).reshape(split)
    score = (query * key).sum(dim=-1) * (1 / sqrt(width))
    if present is not None:
        score = score.masked_fill(~present[..., None], -1e30)
    share = torch.softmax(score, dim=2)
    if present is not None:
        # Only matters where no token is there: the softmax would share evenly.
        share = share.masked_fill(~present[..., None], 0.0)
    value = torch.nn.functional.leaky_relu(value, LEAK)
    attended = (share[..., None] * value).sum(dim=2)
    return torch.cat([own, attended.reshape(n, batch, heads * width)], dim=-1)


def gradients(loss: Tensor, tensors: Tensors) -> Tensors:
    """Gradient of a scalar loss by every tensor, under the tensors' names."""
    found = torch.autograd.grad(loss, list(tensors.values()))
    return dict(zip(tensors, found, strict=True))


def clip(grads: Tensors, limit: float) -> Tensor:
    """Scale each agent's gradients in place to a norm of at most `limit`; the norms before, (n,).

    The norm is over all arrays of one agent, never across agents (Pascanu et al., On the
    difficulty of training recurrent neural networks, ICML 2013).
    """
    parts = [torch.linalg.vector_norm(grad.flatten(1), dim=1) for grad in grads.values()]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(parts, dim=1), dim=1)
    scale = (limit / norm.clamp(min=limit)).to(norm.dtype)
    for grad in grads.values():
        grad.mul_(scale.reshape(-1, *[1] * (grad.ndim - 1)))
    return norm


class Adam:
    """Adam over stacked tensors (Kingma and Ba, Adam: a method for stochastic optimization, 2015).

    torch's fused kernel, one pass over the memory: torch's kernels differ in the last bits, so
    everything learns with this one. It computes whole vectors and the rest after them with other
    roundings, so each agent's numbers are padded to whole vectors: the bits then do not depend on
    how many agents are stacked.
    """

    def __init__(
        self,
        tensors: Tensors,
        learning_rate: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self._moved = {name: _padded(tensor.detach()) for name, tensor in tensors.items()}
        # Where padding had to copy, the copy is moved and copied back.
        self._copied = [
            (tensor, self._moved[name][:, : tensor[0].numel()])
            for name, tensor in tensors.items()
            if self._moved[name].data_ptr() != tensor.data_ptr()
        ]
        self._optimiser = torch.optim.Adam(
            self._moved.values(), lr=learning_rate, betas=betas, eps=epsilon, fused=True
        )
        for moved in self._moved.values():
            self._optimiser.state[moved] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(moved),
                "exp_avg_sq": torch.zeros_like(moved),
            }

    @torch.no_grad()
    def step(self, grads: Tensors) -> None:
        """Move the tensors in place by one step along `grads`."""
        for name, moved in self._moved.items():
            moved.grad = _padded(grads[name])
        for tensor, rows in self._copied:
            rows.copy_(tensor.flatten(1))
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        for tensor, rows in self._copied:
            tensor.copy_(rows.reshape(tensor.shape))

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all that `load` needs to go on to the same bytes: steps and both moments.

        "step.layer0.weight" has shape (1,), "exp_avg.layer0.weight" and "exp_avg_sq.layer0.weight"
        (n, size) with the size rounded up to a multiple of 16, and so on.
        """
        return {
            f"{part}.{name}": np.atleast_1d(value.numpy()).copy()
            for name, moved in self._moved.items()
            for part, value in self._optimiser.state[moved].items()
        }

    def load(self, state: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over what `state` gave; UsageError names an array that is missing or misshapen."""
        for name, moved in self._moved.items():
            for part, value in self._optimiser.state[moved].items():
                array, shape = state.get(f"{part}.{name}"), tuple(value.shape)
                if array is None or array.shape != (shape or (1,)):
                    found = "missing" if array is None else f"of shape {array.shape}"
                    raise UsageError(
                        f"optimiser state {part}.{name} is {found}; expected {shape or (1,)}"
                    )
                value.copy_(torch.from_numpy(array.reshape(shape)))


def _padded(tensor: Tensor) -> Tensor:
    """Rows of numbers (n, size) with the size rounded up to LANES; a view where it fits already."""
    rows = tensor.flatten(1)
    more = -rows.shape[1] % LANES
    return torch.nn.functional.pad(rows, (0, more)) if more else rows.contiguous()
