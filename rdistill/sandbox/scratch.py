"""A private folder for one run, at the levels that have no file system of their own.

It lies in the system's folder for temporary files, is the program's working folder and home, and is gone after the run;
what a killed harness leaves goes with the next one's first.
Its size is watched from outside (process.py); no file of it grows past the limit of one file.
"""

import contextlib
import fcntl
import os
import secrets
import stat
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PREFIX, MIN_AGE_S = "rdistill-sandbox-", 60
"""A folder may be without its lock for a moment after it is made."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_ENTRIES, MAX_PATH_CHARS = 4096, 1024
"""Files and folders in it, and how deep they go; more count as a full disk."""


@contextlib.contextmanager
def scratch(uid: int | None) -> Iterator[Path]:
    """A new folder that only `uid` may enter (None: this process's own). Raises OSError where none can be made."""
    _remove_stale(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    held = os.open(folder, FOLDER)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        if uid is not None:
            os.chown(folder, uid, uid)
        yield folder
    finally:
        empty(held)
        os.close(held)
        with contextlib.suppress(FileNotFoundError):
            folder.rmdir()


@cache
def _remove_stale(parent: str) -> None:
    """Once in a process, remove what killed processes left: their locks went with them."""
    for path in Path(parent).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            found = os.open(path, FOLDER)
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time.time() - os.fstat(found).st_ctime > MIN_AGE_S:
                    empty(found)
                    path.rmdir()
            finally:
                os.close(found)


def empty(root: int) -> None:
    """Remove what is in an open folder, however deep it goes and whatever its modes are.

    There is no recursion, and no link is followed.
    """
    while names := os.listdir(root):
        for name in names:
            _remove(name, root)


def _remove(name: str, root: int) -> None:
    """Remove an entry of `root`; the folders in it move up to `root`, to be removed in their turn."""
    if _is_unlinked(name, root):
        return
    folder = os.open(name, FOLDER, dir_fd=root)
    try:
        for inner in os.listdir(folder):
            if not _is_unlinked(inner, folder):
                os.rename(inner, secrets.token_hex(16), src_dir_fd=folder, dst_dir_fd=root)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=root)


def _is_unlinked(name: str, folder: int) -> bool:
    """Unlink what is no folder; a folder is opened to its owner instead."""
    try:
        os.unlink(name, dir_fd=folder)
        return True
    except IsADirectoryError:
        if os.geteuid() != 0:
            os.chmod(name, stat.S_IRWXU, dir_fd=folder)
        return False


def bytes_below(folder: Path, max_bytes: int) -> int:
    """Bytes on disk of a folder that others are writing to; counts no further than past `max_bytes`.

    Too many entries, or too deep ones, count as more than `max_bytes`.
    """
    total = num_entries = 0
    pending = [str(folder)]
    while pending:
        with contextlib.suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                num_entries += 1
                if total > max_bytes or num_entries > MAX_ENTRIES or len(entry.path) > MAX_PATH_CHARS:
                    return max_bytes + 1
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                with contextlib.suppress(OSError):
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total
