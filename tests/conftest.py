"""Hypothesis profiles, chosen by the environment variable HYPOTHESIS_PROFILE.

`default` (1,000 examples), `quick` (100) and `thorough` (20,000):

    HYPOTHESIS_PROFILE=thorough pytest tests/market
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

for name, examples in (("default", 1_000), ("quick", 100), ("thorough", 20_000)):
    settings.register_profile(
        name,
        max_examples=examples,
        deadline=None,
        print_blob=True,
        derandomize="CI" in os.environ,
        # Solving a linear program or drawing a long book is slow for reasons the test knows.
        suppress_health_check=[HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))
