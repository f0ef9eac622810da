"""What a service is asked to run: it starts child.py there as it is started here.

Not imported by rdistill: its source text is the program that service.py sends. What child.py needs lies as files in the
working folder, which the service has put there and will read the results from. An empty folder below it is all that the
program starts with; its environment is made here, so that it holds nothing of the service's.
"""

import contextlib
import ctypes
import json
import os
import resource
import sys

RESERVED_BYTES, FALLOC_KEEP_SIZE = 1 << 20, 1
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
    "PYTHONSAFEPATH": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}


def main():
    settings = json.loads(take("settings"))
    os.write(2, settings["started"].encode() + b"\n")
    source = take("child.py").decode()
    stdin, request = (opened(name) for name in ("stdin", "request"))
    os.dup2(stdin, 0)
    os.close(stdin)
    result = os.open("result", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    reserve(result)
    os.mkdir("scratch")
    os.chdir("scratch")
    limit_tasks(settings["tasks"])
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "PYTHONHOME") if name in os.environ}
    places = {"HOME": os.getcwd(), "TMPDIR": os.getcwd()}
    for fd in (request, result):
        os.set_inheritable(fd, True)
    program = [sys.executable, "-s", "-S", "-B", "-c", source, str(request), str(result)]
    os.execve(sys.executable, program, ENVIRONMENT | kept | places)


def opened(name):
    """A descriptor of a file, whose name is gone."""
    fd = os.open(name, os.O_RDONLY)
    with contextlib.suppress(OSError):
        os.remove(name)
    return fd


def take(name):
    with open(opened(name), "rb") as stream:
        return stream.read()


def reserve(fd):
    """Set space aside, where the file system can: a program that fills the disk must not cut its own results."""
    keep, start, size = ctypes.c_int(FALLOC_KEEP_SIZE), ctypes.c_long(0), ctypes.c_long(RESERVED_BYTES)
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).fallocate(fd, keep, start, size)


def limit_tasks(own):
    """Tasks count for the user, who may have others: as many as the machine has are let be."""
    others = 0
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/loadavg") as file:
        others = int(file.read().split()[3].rpartition("/")[2])
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    most = own + others if hard == resource.RLIM_INFINITY else min(own + others, hard)
    resource.setrlimit(resource.RLIMIT_NPROC, (most, most))


main()
