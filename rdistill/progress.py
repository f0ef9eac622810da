"""Progress on the terminal: one bar with rate and time left, also from a child whose output goes to a log.

Without a terminal (nohup, Slurm, CI) a line every LINE_EVERY_S seconds says the same, whether or not anything moved.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY_S = 30.0
"""Seconds between two lines where there is no terminal."""
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
    """Show a bar; call the yielded function with (done so far, a short note). Without a terminal: lines."""
    out = console()
    if not out.is_terminal:
        with _lines(out, label, total, unit) as update:
            yield update
        return
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
    with Progress(*columns, console=out) as progress:
        task = progress.add_task(label, total=total, note="")

        def update(done: int, note: str = "") -> None:
            progress.update(task, completed=done, note=note)

        yield update


@contextmanager
def _lines(out: Console, label: str, total: int, unit: str) -> Iterator[Callable[[int, str], None]]:
    """A line every now and then, and the last note at the end. A thread writes them: nothing may move for long.

    The rate is that since something first moved: an engine may take minutes to start.
    """
    begun, over = time.monotonic(), threading.Event()
    seen: tuple[int, str] = (0, "")
    moved: tuple[int, float] | None = None

    def update(done: int, note: str = "") -> None:
        nonlocal seen, moved
        seen = done, note
        if done and moved is None:
            moved = done, time.monotonic()

    def seconds_at_this_rate(done: int) -> float:
        if moved is None or done == moved[0]:
            return time.monotonic() - begun
        return (time.monotonic() - moved[1]) * done / (done - moved[0])

    def say(text: str) -> None:
        out.print(f"  {label}: {text}", highlight=False, markup=False, soft_wrap=True)

    def keep_saying() -> None:
        while not over.wait(LINE_EVERY_S):
            done, note = seen
            say(", ".join(filter(None, [progress_line(done, total, unit, seconds_at_this_rate(done)), note])))

    writer = threading.Thread(target=keep_saying, daemon=True)
    writer.start()
    try:
        yield update
    finally:
        over.set()
        writer.join()
    if seen[1]:
        say(seen[1])


def progress_line(done: int, total: int, unit: str, seconds: float) -> str:
    """How much is done, how fast, and how long the rest takes at that rate: `30 of 90 steps, 15/min, 4 min left`."""
    text = f"{done} of {total} {unit}"
    if not done:
        return f"{text} in {_duration(seconds)}"
    per_minute = 60 * done / seconds
    return f"{text}, {per_minute:.3g}/min, {_duration(seconds * max(0, total - done) / done)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
