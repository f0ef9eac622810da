"""The command line in this process: `rdistill("check", path)` -> (exit code, stdout, stderr)."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

from rich.console import Console

from rdistill import cli


class Done(NamedTuple):
    code: int
    out: str
    err: str


def rdistill(*arguments: object) -> Done:
    """What `rdistill ARGUMENTS` prints and returns; the consoles are narrow, as a pipe's would be."""
    out, err = io.StringIO(), io.StringIO()
    consoles = {"out": Console(file=out, highlight=False), "err": Console(file=err, stderr=True, highlight=False)}
    with (
        mock.patch.object(sys, "argv", ["rdistill", *map(str, arguments)]),
        mock.patch.multiple(cli, debug=False, **consoles),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            return Done(int(stop.code or 0), out.getvalue(), err.getvalue())
    return Done(0, out.getvalue(), err.getvalue())


def error(done: Done) -> str:
    """The one line that a refused command says."""
    (line,) = done.err.strip().splitlines()
    assert line.startswith("error: ")
    return line
