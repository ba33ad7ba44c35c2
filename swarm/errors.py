"""The errors a user can cause or meet, each with its exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SwarmError(Exception):
    """An error shown to the user as one message, without a traceback."""

    exit_code = 3
    told = False
    """A log has told it already."""


class UsageError(SwarmError):
    """Wrong input: refused before anything starts or is written (exit code 2)."""

    exit_code = 2


class RunError(SwarmError):
    """A run that had started could not go on (exit code 3)."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint with the closest valid name, or all names where none is close; starts with a space."""
    known = sorted(set(names))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (valid: {', '.join(known)})" if known else ""
