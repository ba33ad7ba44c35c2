"""Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE.

`default` (200 examples), `quick` (50) and `thorough` (20,000), which is the slow run:

    HYPOTHESIS_PROFILE=thorough pytest tests/market

Where the variable CI is true, examples follow from the tests alone, so that a run can be repeated.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

PROFILES = {"quick": 50, "default": 200, "thorough": 20_000}
IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

for name, examples in PROFILES.items():
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        derandomize=IN_CI,
        # Generation is only slow where the machine is busy.
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

pytest_plugins = ["tests.ray_fixture"]

ON_RAY = ("test_cluster.py", "test_docs.py", "test_interrupt.py")
"""Files whose tests start a Ray of their own."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One of the two processes runs all tests that need Ray, in their order: one start, one Ray."""
    for item in items:
        if "ray_cluster" in getattr(item, "fixturenames", ()) or item.path.name in ON_RAY:
            item.add_marker(pytest.mark.xdist_group("ray"))
