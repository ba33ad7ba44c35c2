"""What connecting to Ray takes besides ray: its environment, read when it is imported, and care."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from swarm.errors import UsageError

CONNECT_SECONDS = 5.0


def prepare(address: str | None) -> str | None:
    """Choose the cluster, and set Ray's environment where it is one of our own.

    A local Ray gets token authentication with a token of its own, so that no file in the home
    folder decides or is written; no usage statistics; and workers at normal priority. What the
    user has set stays as it is. Ray in use in this process already is left alone.

    Args:
        address: what `--address` says.

    Returns:
        The address to connect to: the given one, Ray's own RAY_ADDRESS (set inside a Ray job), or
        None for a Ray on this machine.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address is None and "ray" not in sys.modules:
        settings = {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
            # Ray prints notices of its own to stdout, where only data belongs.
            "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
            # Despite its name this decides everywhere whether nodes use the loopback address.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        }
        if "RAY_AUTH_MODE" not in os.environ:
            settings["RAY_AUTH_MODE"] = "token"
            settings["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        for name, value in settings.items():
            os.environ.setdefault(name, value)
    return address


def probe(address: str) -> None:
    """Refuse a host:port at which nothing listens, before Ray waits for it in silence."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address == "auto" or not host or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UsageError(no_cluster(address, str(error))) from None


def no_cluster(address: str, why: str) -> str:
    """What to tell where no cluster answers."""
    return (
        f"--address {address}: no Ray cluster answers ({why}); start one with "
        "`ray start --head`, or leave --address away to run on this machine"
    )


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done: Ray crashes when its start or end is cut short."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
