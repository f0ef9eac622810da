"""What surrounds the interpreter of one run: its command line, and what has to be open or lie ready for it.

At level `strong` that is bubblewrap (layout.py). At the others it is launcher.py, which shuts itself in; at
`strong-nobwrap` unshare(1) starts that in namespaces of its own.
"""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rdistill.sandbox import landlock, layout, seccomp
from rdistill.sandbox.levels import Level
from rdistill.sandbox.scratch import scratch

LAUNCHER = Path(__file__).parent / "launcher.py"
NAMESPACES = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup")


class Walls(NamedTuple):
    """`command` ends in the interpreter's name; `fds` are what it inherits; `folder` is its scratch, if on the host."""

    command: list[str]
    fds: tuple[int, ...]
    folder: Path | None


@contextlib.contextmanager
def walls(level: Level, uid: int | None) -> Iterator[Walls]:
    """The surroundings of one run, gone afterwards. `uid`: the host uid to become; None to keep an ordinary user's.

    Raises OSError where they cannot be made.
    """
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context
        if level == "strong":
            filter_fd = enter(sealed(seccomp.build_filter(platform.machine())))
            yield Walls([*layout.command(uid, filter_fd), layout.inside_python()], (filter_fd,), None)
            return
        folder = enter(scratch(uid))
        doors: tuple[int, ...] = ()
        if level != "weak":
            are_signals_scoped = landlock.abi() >= landlock.SIGNAL_ABI
            program = seccomp.build_filter(platform.machine(), on_host=True, are_signals_scoped=are_signals_scoped)
            rules = landlock.ruleset([*layout.host_libraries(), *layout.host_python()], [folder, *layout.DEVICES])
            doors = enter(rules), enter(sealed(program))
        command = [*namespaces(uid)] if level == "strong-nobwrap" else []
        command += [sys.executable, "-I", "-S", "-B", str(LAUNCHER), json.dumps(settings(uid, folder, doors))]
        yield Walls([*command, str(layout.python_binary())], doors, folder)


def settings(uid: int | None, folder: Path, doors: tuple[int, ...]) -> dict[str, Any]:
    """What launcher.py is told."""
    home = layout.python_home()
    return {
        "parent": os.getpid(),
        "uid": uid,
        "folder": str(folder),
        "home": str(home),
        "is_home_closed": uid is not None and not is_open_to_all(home),
        "environment": layout.ENVIRONMENT | {"HOME": str(folder), "TMPDIR": str(folder)},
        "ruleset": doors[0] if doors else None,
        "filter": doors[1] if doors else None,
    }


def namespaces(uid: int | None) -> list[str]:
    """unshare(1) up to the program, and something that has it die with its parent."""
    setpriv, unshare = (str(shutil.which(name)) for name in ("setpriv", "unshare"))
    inside = str(layout.INSIDE_UID)
    user = ["--user", "--map-user", inside, "--map-group", inside] if uid is None else []
    return [setpriv, "--pdeathsig", "KILL", unshare, *user, *NAMESPACES, "--fork", "--kill-child", "--mount-proc", "--"]


def is_open_to_all(folder: Path) -> bool:
    """Whether any user may go to a folder."""
    return all(path.stat().st_mode & stat.S_IXOTH for path in (folder, *folder.parents))


@contextlib.contextmanager
def sealed(data: bytes) -> Iterator[int]:
    """A descriptor that reads `data` and can no longer be changed, not even by who inherits it."""
    fd = os.memfd_create("rdistill", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        )
        yield fd
    finally:
        os.close(fd)
