"""What a figure was measured on; every benchmark that keeps figures says it the same way."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

import numpy as np

import swarm


def facts(**more: Any) -> dict[str, Any]:
    """The machine, the versions, and `more` about the measurement."""
    return {
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu_count": os.cpu_count(),
        "python": sys.version.split()[0],
        "numpy": np.__version__,
        "swarm": swarm.__version__,
        **more,
    }
