"""Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE.

`default` (200 examples), `quick` (50) and `thorough` (20,000), which is the slow run:

    HYPOTHESIS_PROFILE=thorough pytest tests/market

Where the variable CI is true, examples follow from the tests alone, so that a run can be repeated.
"""

from __future__ import annotations

import os
import signal

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

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background: what is tested is Ctrl-C as a person meets it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
