"""A private folder for one run, at the levels that have no file system of their own.

It lies in the system's folder for temporary files, is the program's working folder and home, and is gone after the run.
Its size is watched from outside (process.py); no file of it grows past the limit of one file.
"""

import contextlib
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

MAX_ENTRIES, MAX_PATH_CHARS = 4096, 1024
"""Files and folders in it, and how deep they go; more count as a full disk."""


@contextlib.contextmanager
def scratch(uid: int | None) -> Iterator[Path]:
    """A new folder that only `uid` may enter (None: this process's own). Raises OSError where none can be made."""
    folder = Path(tempfile.mkdtemp(prefix="rdistill-sandbox-"))
    try:
        if uid is not None:
            os.chown(folder, uid, uid)
        yield folder
    finally:
        with contextlib.suppress(FileNotFoundError):
            empty(folder)
            folder.rmdir()


def empty(folder: Path) -> None:
    """Remove what is in a folder, however deep it goes and whatever its modes are, without recursion."""
    while entries := list(os.scandir(folder)):
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, stat.S_IRWXU)
            for inner in list(os.scandir(entry.path)):
                if inner.is_dir(follow_symlinks=False):
                    os.chmod(inner.path, stat.S_IRWXU)
                    os.rename(inner.path, folder / secrets.token_hex(16))
                else:
                    os.unlink(inner.path)
            os.rmdir(entry.path)


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
