"""swarm: a simulator of learning electricity-market agents on Ray.

import swarm
run = swarm.run("price_spike", ticks=12, engine="inline")
run.metrics["mean_price"], run.market.to_pandas()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swarm.results.run import Run, read_run
    from swarm.runtime.resume import resume
    from swarm.runtime.session import run

__version__ = "0.1.0"
__all__ = ["Run", "__version__", "read_run", "resume", "run"]


def __getattr__(name: str) -> Any:
    """Import on first use: `import swarm` alone stays light, for the command's --help."""
    if name == "run":
        from swarm.runtime.session import run

        return run
    if name == "resume":
        from swarm.runtime.resume import resume

        return resume
    if name in ("Run", "read_run"):
        from swarm.results import run as module

        return getattr(module, name)
    raise AttributeError(f"module 'swarm' has no attribute {name!r}")
