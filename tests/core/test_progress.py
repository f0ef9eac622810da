"""Progress: a bar on a terminal, a line now and then without one, and never both."""

import io
import threading
import time
from types import SimpleNamespace

import pytest
from rich.console import Console

from rdistill import progress


def shown(monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool, wait_s: float = 0.0, every_s: float = 0.05) -> str:
    out = io.StringIO()
    monkeypatch.setattr(progress, "console", lambda: Console(file=out, force_terminal=is_terminal, width=60))
    monkeypatch.setattr(progress, "LINE_EVERY_S", every_s)
    note = "7 solved [of many], " + "a long note " * 8
    with progress.bar("generate", 60, "problems") as update:
        update(10, note)
        time.sleep(wait_s)
    return out.getvalue()


def test_without_a_terminal_lines_come_even_if_nothing_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_, last = shown(monkeypatch, is_terminal=False, wait_s=0.5).splitlines()
    assert first.startswith("  generate: 10 of 60 problems, ") and "/min, " in first and "s left, 7 solved [of" in first
    assert last.startswith("  generate: 7 solved [of many], a long note") and last.rstrip().endswith("a long note")


def test_what_ends_soon_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(shown(monkeypatch, is_terminal=False, every_s=30).splitlines()) == 1


def test_a_terminal_has_the_bar_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "  generate: " not in shown(monkeypatch, is_terminal=True, wait_s=0.3)


@pytest.mark.parametrize(
    ("done", "seconds", "line"),
    [
        (0, 120, "0 of 90 steps in 2 min"),
        (30, 120, "30 of 90 steps, 15/min, 4 min left"),
        (1, 3600, "1 of 90 steps, 0.0167/min, 89.0 h left"),
        (90, 30, "90 of 90 steps, 180/min, 0 s left"),
    ],
)
def test_a_line_has_rate_and_time_left(done: int, seconds: float, line: str) -> None:
    assert progress.progress_line(done, 90, "steps", seconds) == line


def test_the_rate_is_that_since_something_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that took two minutes to start says nothing about the problems."""
    now = 0.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    seen = []
    monkeypatch.setattr(
        progress, "progress_line", lambda done, total, unit, seconds: seen.append((done, seconds)) or ""
    )
    out, ticks = Console(file=io.StringIO()), threading.Event()
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    with progress._lines(out, "generate", 60, "problems") as update:
        for done, now in ((0, 120.0), (1, 130.0), (11, 140.0)):  # noqa: B007
            update(done)
            ticks.wait(0.1)
    assert {(0, 120.0), (1, 130.0), (11, 11.0)} <= {*seen}
