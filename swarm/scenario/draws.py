"""Parameters that are drawn per agent: reading a range, and what it can reach."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from swarm.errors import nearest
from swarm.scenario.assets import Model
from swarm.scenario.problems import converted, describe, dotted, shown
from swarm.scenario.schema import Choice, Draw, Normal, Uniform

NORMAL_CUT_SD = 3.0
_DRAWS: dict[str, type[Model]] = {"choice": Choice, "normal": Normal, "uniform": Uniform}


def parse_draw(value: Any) -> Any:
    """`value` as a Draw where it is a mapping like `{uniform: [a, b]}`, otherwise unchanged.

    Unchanged are plain parameters: a number, text, true or false, None, a list (`cost_steps`).
    Raises ValueError, with what was expected, for any other mapping.
    """
    if not isinstance(value, Mapping):
        return value
    if len(value) != 1:
        raise ValueError(f"got {shown(value)}, expected one of uniform, normal and choice")
    (name,) = value
    if name not in _DRAWS:
        raise ValueError(f"unknown draw {name!r}{nearest(str(name), _DRAWS)}")
    try:
        draw = _DRAWS[name].model_validate(value)
    except ValidationError as error:
        raise ValueError(_first_error(error, name)) from None
    for problem in converted(value, draw):
        raise ValueError(str(problem))
    return draw


def reached(draw: Draw) -> tuple[float | bool | str, ...]:
    """The ends of a range, mean and +-3 standard deviations of a normal, or every choice."""
    if isinstance(draw, Uniform):
        return draw.uniform
    if isinstance(draw, Normal):
        mean, deviation = draw.normal
        return mean - NORMAL_CUT_SD * deviation, mean + NORMAL_CUT_SD * deviation
    return draw.choice


def corners(draw: Draw) -> tuple[float | bool | str, ...]:
    """The values of `reached` that decide rules between fields: its ends, where it has ends."""
    values = reached(draw)
    numbers = [value for value in values if isinstance(value, int | float)]
    return (min(numbers), max(numbers)) if len(numbers) == len(values) else values


def _first_error(error: ValidationError, name: str) -> str:
    """The first thing wrong with a draw."""
    detail = error.errors(include_url=False)[0]
    if detail["type"] in ("missing", "too_short", "too_long") and name != "choice":
        pair = "[lowest, highest]" if name == "uniform" else "[mean, standard deviation]"
        return f"expected {name}: {pair}"
    if name == "choice" and len(detail["loc"]) > 1:
        got = f"{dotted(detail['loc'][:2])}: got {shown(detail['input'])}"
        return f"{got}, expected a finite number, text, true or false"
    text = describe(detail)
    return text if text.startswith(name) else f"{dotted(detail['loc'])}: {text}"
