"""What stands between the pool and a worker: starts it, and when either ends, ends all that the worker started.

Not imported by rdistill: it is started as a script, with the worker's command line as its arguments. Whatever a worker
leaves behind becomes a child of this process, in a session of its own or not, and is killed with it: when the worker
ends, when the pool says SIGTERM, when the pool's process dies. It then ends as the worker did.
What it does not protect against: a plug-in that kills it by SIGKILL. Its worker dies with it then, a daemon does not.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None, use_errno=True)


def main():
    signal.signal(signal.SIGTERM, leave)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keeper = os.getpid()
    try:
        worker = os.fork()
        if worker == 0:
            become(sys.argv[1:], keeper)
        let_go()
        code = wait_for(worker)
    finally:
        sweep()
    end_as(code)


def leave(number, _):
    """End here and now: an exception could be raised a second time, in the middle of the sweep that it leads to."""
    sweep()
    os._exit(128 + number)


def become(command, keeper):
    """Turn this process into the worker, in a group of its own: what it signals to its group does not reach here.

    It dies with its keeper. Else it would hold its pipes, whose end the pool waits for, for ever.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        os.setsid()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == keeper:
            os.execv(command[0], command)
    finally:
        os._exit(126)


def let_go():
    """Close the pipes between pool and worker, so that their end is seen."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)


def wait_for(worker):
    """Reap whatever dies until the worker does; returns its exit code, negative where a signal ended it."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == worker:
            return os.waitstatus_to_exitcode(status)


def sweep():
    """Kill and reap until nothing is left below: what its parent leaves becomes a child of this process."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        while True:
            kill_tree(os.getpid())
            os.waitpid(-1, 0)
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    except ChildProcessError:
        return


def kill_tree(pid):
    """SIGKILL to what is below a process, its generations one after the other."""
    for child in children(pid):
        try:
            os.kill(child, signal.SIGKILL)
        except OSError:  # it is gone, or another user's
            continue
        kill_tree(child)


def children(pid):
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def end_as(code):
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


main()
