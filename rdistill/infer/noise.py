"""What vLLM and its processes print goes to a file: stdout is for answers.

`RDISTILL_VERBOSE=1` leaves it on the terminal.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from rdistill.models import cache_folder


def log_file(command: str) -> Path:
    """Where the engine's own output goes, empty, in the cache folder; the one before it is kept as .log.1."""
    path = cache_folder() / f"{command}.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_suffix(".log.1"))
        path.write_text("")
    except OSError:
        return Path(os.devnull)
    return path


@contextlib.contextmanager
def noise_to(path: Path) -> Iterator[Callable[[str], object]]:
    """Send what this process and its children print to a file; what is given prints a line on the real stdout."""
    if os.environ.get("RDISTILL_VERBOSE"):
        yield lambda text: print(text, flush=True)
        return
    kept = os.dup(1), os.dup(2)
    with path.open("a") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield lambda text: os.write(kept[0], f"{text}\n".encode())
        finally:
            print(end="", flush=True)  # what was printed meanwhile is noise too
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)
