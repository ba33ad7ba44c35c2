"""A learner's whole state as one flat dict of arrays, as a checkpoint keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from swarm.errors import UsageError
from swarm.learning.stacked import Tensors


def nested(**parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of all parts, each under "part.name"."""
    return {f"{part}.{name}": array for part, held in parts.items() for name, array in held.items()}


def part(state: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    """The arrays that `nested` kept under one part, by their own names."""
    prefix = f"{name}."
    return {key[len(prefix) :]: held for key, held in state.items() if key.startswith(prefix)}


@torch.no_grad()
def restore(tensors: Tensors, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Copy weights into tensors in place; UsageError names one that is missing or misshapen."""
    for name, tensor in tensors.items():
        array = arrays.get(name)
        if array is None or array.shape != tuple(tensor.shape):
            found = None if array is None else array.shape
            raise UsageError(f"weights {name} is {found}; expected shape {tuple(tensor.shape)}")
        tensor.copy_(torch.from_numpy(array.copy()))
