"""Progress on the terminal: one bar with rate and time left, also from a child whose output goes to a log."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_terminal: TextIO | None = None


def keep_terminal() -> None:
    """Remember today's stderr, before it is redirected to a log."""
    global _terminal
    _terminal = os.fdopen(os.dup(2), "w", buffering=1)


def console() -> Console:
    """The terminal to talk to."""
    return Console(file=_terminal or sys.stderr)


@contextmanager
def bar(label: str, total: int, unit: str = "rows") -> Iterator[Callable[[int, str], None]]:
    """Show a bar; call the yielded function with (done so far, a short note). Without a terminal: a line at the end."""
    out = console()
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=out, disable=not out.is_terminal) as progress:
        task = progress.add_task(label, total=total, note="")
        last = ""

        def update(done: int, note: str = "") -> None:
            nonlocal last
            last = note
            progress.update(task, completed=done, note=note)

        yield update
    if not out.is_terminal and last:
        out.print(f"  {label}: {last}", highlight=False)
