"""The line by which a training rank tells its launcher how far it is."""

import json
from typing import Any

PREFIX = "rdistill-progress "


def progress_line(step: int, steps: int, metrics: dict[str, Any]) -> str:
    """One line with the step, the number of steps, the loss and the speed."""
    return PREFIX + json.dumps({"step": step, "steps": steps, **{k: metrics[k] for k in ("loss", "tokens_per_s")}})


def parse_progress(line: str) -> dict[str, Any] | None:
    """The inverse of progress_line; None for any other line."""
    return json.loads(line.removeprefix(PREFIX)) if line.startswith(PREFIX) else None
