"""Landlock: the kernel's own list of what a process may open, made here and entered by launcher.py.

    with ruleset(readable=[Path("/usr/lib")], writable=[folder]) as fd: ...     # fd for landlock_restrict_self

Every right that the running kernel knows, and this module does, is handled: what no rule grants is refused. Landlock
looks at what is opened, made, removed and executed. It does not look at stat, access, chdir, chmod, chown, utime and
extended attributes (seccomp.py refuses those that change something), and says nothing of UDP or of Unix sockets with a
path (seccomp.py refuses every socket).
Source of the numbers: linux/landlock.h.
"""

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

CREATE_RULESET, ADD_RULE = 444, 445
CREATE_RULESET_VERSION, RULE_PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_CHAR, MAKE_DIR = 1 << 4, 1 << 5, 1 << 6, 1 << 7
MAKE_REG, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK, MAKE_SYM = (1 << n for n in range(8, 13))
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
BIND_TCP, CONNECT_TCP = 1 << 0, 1 << 1
SCOPE_ABSTRACT_UNIX_SOCKET, SCOPE_SIGNAL = 1 << 0, 1 << 1

READ = EXECUTE | READ_FILE | READ_DIR
WRITE = (
    READ_FILE | WRITE_FILE | READ_DIR | TRUNCATE | REFER
    | MAKE_DIR | MAKE_REG | MAKE_FIFO | MAKE_SYM | REMOVE_DIR | REMOVE_FILE
)  # fmt: skip
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
SIGNAL_ABI = 6
"""The first ABI that keeps signals inside."""


@cache
def abi() -> int:
    """The version of Landlock that the kernel offers; 0 for none."""
    return max(_libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), CREATE_RULESET_VERSION), 0)


def handled(version: int) -> tuple[int, int, int]:
    """Rights on files, on the network, and scopes, that an ABI knows."""
    files = (1 << 13) - 1
    for since, right in ((2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)):
        files |= right if version >= since else 0
    network = BIND_TCP | CONNECT_TCP if version >= 4 else 0
    scopes = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL if version >= SIGNAL_ABI else 0
    return files, network, scopes


@contextlib.contextmanager
def ruleset(readable: list[Path], writable: list[Path]) -> Iterator[int]:
    """A descriptor of rules: read and execute below `readable`, read and write below `writable`, and nothing else.

    Paths may be files or folders; those that do not exist are left out. Raises OSError where the kernel refuses.
    """
    version = abi()
    rights, network, scopes = handled(version)
    attributes = struct.pack("=QQQ", rights, network, scopes)[: 24 if version >= 6 else 16 if version >= 4 else 8]
    fd = _checked(_libc().syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0))
    try:
        for paths, granted in ((readable, READ), (writable, WRITE)):
            for path in paths:
                _grant(fd, path, granted & rights)
        yield fd
    finally:
        os.close(fd)


def _grant(ruleset_fd: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & OF_A_FILE, place)
        _checked(_libc().syscall(ADD_RULE, ruleset_fd, RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(place)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")
    return result


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
