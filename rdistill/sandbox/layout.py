"""What a program finds around it: the bubblewrap arguments of level `strong`, and the host's paths for Landlock.

The new root holds a read-only Python and the system's shared libraries, a small private /tmp, and nothing else. Started
by an ordinary user it is a user namespace. Started by root it is not (a process that is root outside passes checks that
go by uid, with or without capabilities): setpriv changes to a real unprivileged uid, one for each concurrent run.
Without bubblewrap the same Python and libraries are read where they lie.
"""

import os
import shutil
import sys
from pathlib import Path

SCRATCH_MB = 64
INSIDE_UID = 60600
ENVIRONMENT = {
    "PATH": "/python/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "LD_LIBRARY_PATH": "/python/lib",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
_PRIVILEGES = ["CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"]


DEVICES = [Path("/dev/null"), Path("/dev/urandom")]


def command(uid: int | None, seccomp_fd: int) -> list[str]:
    """The command line up to the program. `uid` is the host uid to become; None for an ordinary user's own."""
    arguments = [
        str(shutil.which("bwrap")),
        "--unshare-pid",
        "--unshare-net",
        "--unshare-ipc",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    # Not bubblewrap's own init: it is left to others to reap, and the program could write its memory where they share
    # a uid. Process 1 is the program, or for root a shell with another uid that waits for it; either way all of the
    # box is dead before bubblewrap ends.
    arguments += [
        "--as-pid-1",
        "--new-session",
        "--die-with-parent",
        "--hostname",
        "sandbox",
        "--clearenv",
        "--cap-drop",
        "ALL",
    ]
    if uid is None:
        arguments += ["--unshare-user", "--uid", str(INSIDE_UID), "--gid", str(INSIDE_UID)]
    else:
        arguments += [word for privilege in _PRIVILEGES for word in ("--cap-add", privilege)]
    for name, value in ENVIRONMENT.items():
        arguments += ["--setenv", name, value]
    arguments += [*_libraries(), *_python(), *_kernel_files()]
    if uid is not None:
        setpriv = os.path.realpath(str(shutil.which("setpriv")))
        arguments += ["--perms", "0755", "--dir", "/sbin", "--ro-bind", setpriv, "/sbin/setpriv"]
        arguments += ["--ro-bind", os.path.realpath("/bin/sh"), "/sbin/sh"]
    arguments += ["--remount-ro", "/", "--chdir", "/tmp", "--seccomp", str(seccomp_fd), "--"]
    if uid is not None:
        arguments += [
            "/sbin/sh",
            "-c",
            '"$@"; exit $?',
            "sh",
            "/sbin/setpriv",
            "--reuid",
            str(uid),
            "--regid",
            str(uid),
            "--clear-groups",
        ]
        arguments += ["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    return arguments


def python_arguments(source: str, *arguments: int) -> list[str]:
    """The interpreter's own: no site packages, and `source` as the program, with numbers as its argv."""
    return ["-s", "-S", "-P", "-B", "-c", source, *map(str, arguments)]


def python_home() -> Path:
    """Where the interpreter and its standard library lie on the host."""
    return Path(sys.base_prefix).resolve()


def python_binary() -> Path:
    """The interpreter on the host, outside any virtual environment."""
    binary = python_home() / "bin" / _python_version()
    return (binary if binary.exists() else Path(sys.executable)).resolve()


def host_python() -> list[Path]:
    """What may be read of Python."""
    return [python_binary(), python_home() / "lib"]


def host_libraries() -> list[Path]:
    """What may be read of the system: the folders of shared libraries and the dynamic linker's index of them."""
    return [Path(path) for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache")]


def _python_version() -> str:
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def _is_system_python() -> bool:
    return python_home() == Path("/usr")


def inside_python() -> str:
    """The interpreter's name in bubblewrap's root."""
    return f"/usr/bin/{_python_version()}" if _is_system_python() else f"/python/bin/{_python_version()}"


def _libraries() -> list[str]:
    arguments = ["--perms", "0755", "--dir", "/usr", "--ro-bind", "/usr/lib", "/usr/lib"]
    if Path("/usr/lib64").is_dir():
        arguments += ["--ro-bind", "/usr/lib64", "/usr/lib64"]
    for folder in (Path("/lib"), Path("/lib64")):
        if folder.is_symlink():
            arguments += ["--symlink", os.readlink(folder), str(folder)]
        elif folder.is_dir():
            arguments += ["--ro-bind", str(folder), str(folder)]
    return [*arguments, "--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]


def _python() -> list[str]:
    """The interpreter and its standard library at a neutral path: a private home folder is closed to other uids."""
    prefix, version, source = python_home(), _python_version(), str(python_binary())
    if _is_system_python():
        return ["--perms", "0755", "--dir", "/usr/bin", "--ro-bind", source, inside_python()]
    arguments = ["--perms", "0755", "--dir", "/python", "--perms", "0755", "--dir", "/python/bin"]
    arguments += ["--ro-bind", source, inside_python(), "--ro-bind", str(prefix / "lib"), "/python/lib"]
    if (prefix / "lib" / version / "site-packages").is_dir():
        hidden = f"/python/lib/{version}/site-packages"
        arguments += ["--perms", "0755", "--size", "4096", "--tmpfs", hidden, "--remount-ro", hidden]
    return arguments


def _kernel_files() -> list[str]:
    size = str(SCRATCH_MB << 20)
    return [
        *("--proc", "/proc", "--ro-bind", "/proc/sys", "/proc/sys"),
        *("--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
        *("--perms", "1777", "--size", size, "--tmpfs", "/tmp"),
    ]
