"""The commands that README and docs show, and running one the way a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "../shared/data"


def shown(page: str) -> list[str]:
    """Every line of the bash blocks of a page, in order."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.strip().splitlines() if line]


def python_blocks(page: str) -> list[str]:
    """Every python block of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)


def run(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a shown command in `cwd` with this environment's programs first on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", command.replace("../shared/data", str(DATA.resolve()))],
        cwd=cwd,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=540,
    )
