"""Calls of Ray actors: how they are made, waited for, and what an error of Ray's means."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from swarm.errors import RunError, SwarmError

ACTOR_OPTIONS = {"num_cpus": 0.01, "max_restarts": 0, "max_task_retries": 0}

Started = Callable[[int, int], None]


def actor_class(plain: type, lanes: Callable[[type], Any] = ray.remote, **options: Any) -> Any:
    """The Ray class of a plain one; `lanes` makes it, `options` are Ray's."""
    remote = lanes(plain)
    return remote.options(**ACTOR_OPTIONS, **options, enable_task_events=False)


def wait(refs: list[Any], started: Started) -> list[tuple[str, int]]:
    """Wait for the actors, telling `started(ready, all)`; node and process id of each."""
    waiting = list(refs)
    started(0, len(refs))
    while waiting:
        done, waiting = ray.wait(waiting, num_returns=1, timeout=1.0)
        if done:
            # A constructor that failed is told at once, not when all others are up.
            ray.get(done)
        started(len(refs) - len(waiting), len(refs))
    answers: list[tuple[str, int]] = ray.get(refs)
    return answers


@contextlib.contextmanager
def translated(names: Sequence[str] = (), pending: Sequence[Any] = ()) -> Iterator[None]:
    """Turn Ray's errors into ours: our own from inside an actor, a dead actor into its name."""
    try:
        yield
    except RayTaskError as error:
        if isinstance(error.cause, SwarmError):
            raise error.cause from None
        raise RunError(f"a Ray actor failed:\n{error}") from error
    except RayActorError as error:
        dead = [name for name, ref in zip(names, pending, strict=False) if _failed(ref)]
        who = f"the host of {dead[0]}" if dead else "an actor"
        raise RunError(f"{who} died: {str(error).splitlines()[0]}") from error
    except RayError as error:
        raise RunError(f"Ray failed: {error}") from error


def _failed(ref: Any) -> bool:
    try:
        ray.get(ref, timeout=0)
    except RayActorError:
        return True
    except RayError:
        return False
    return False
