"""What runs between the harness and a program at the levels without bubblewrap: shuts itself in, then runs Python.

Not imported by rdistill: it is started as a script, with its settings as JSON in the first argument and Python's
arguments after it. One process stays outside as supervisor and adopts whatever the program leaves behind; it ends when
the program has ended, or with the harness, after all that is below it is dead. The other closes, one after the other,
the doors that its settings name: another uid, no new privileges, Landlock, seccomp. It then becomes the program.
"""

import ctypes
import json
import os
import signal
import struct
import sys

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 22, 24, 36, 38
SECCOMP_MODE_FILTER, CAPABILITY_VERSION_3, LAST_CAPABILITY = 2, 0x20080522, 63
LANDLOCK_RESTRICT_SELF = 446
CAPSET = {"x86_64": 126, "aarch64": 91}
libc = ctypes.CDLL(None, use_errno=True)


def main():
    settings = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, leave)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() not in (0, settings["parent"]):  # 0: it is outside this process namespace
        sys.exit("the harness has died")
    supervisor = os.getpid()
    try:
        program = os.fork()
        if program == 0:
            try:
                become(settings, sys.argv[2:], supervisor)
            except BaseException as error:
                os.write(2, f"sandbox launcher: {type(error).__name__}: {error}\n".encode())
            os._exit(126)
        code = wait_for(program)
    finally:
        sweep()
    sys.exit(code)


def leave(number, _):
    """End here and now: an exception could be raised a second time, in the middle of the sweep that it leads to."""
    sweep()
    os._exit(128 + number)


def become(settings, arguments, supervisor):
    """Turn this process into the program. Raises OSError where a door does not close."""
    os.setsid()
    binary = os.open(arguments[0], os.O_RDONLY)
    home = settings["home"]
    if settings["is_home_closed"]:  # to the uid that this process takes: what is open stays open
        opened = os.open(home, os.O_PATH)
        os.set_inheritable(opened, True)
        home = f"/proc/self/fd/{opened}"
    os.chdir(settings["folder"])
    if settings["uid"] is not None:
        for capability in range(LAST_CAPABILITY + 1):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
        os.setgroups([])
        os.setresgid(*[settings["uid"]] * 3)
        os.setresuid(*[settings["uid"]] * 3)
    clear_capabilities()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        raise OSError("the supervisor has died")
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if settings["ruleset"] is not None:
        checked(libc.syscall(LANDLOCK_RESTRICT_SELF, settings["ruleset"], 0))
        os.close(settings["ruleset"])
    if settings["filter"] is not None:
        with open(settings["filter"], "rb") as stream:
            load_filter(stream.read())
    python = home + "/bin/" + os.path.basename(arguments[0])
    places = {"PATH": home + "/bin", "PYTHONHOME": home, "LD_LIBRARY_PATH": home + "/lib"}
    os.execve(binary, [python, *arguments[1:]], settings["environment"] | places)


def clear_capabilities():
    """No effective, permitted or inheritable capability, whoever started this."""
    header, empty = struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24)
    checked(libc.syscall(CAPSET[os.uname().machine], header, empty))


def load_filter(program):
    """Enter a seccomp program: an array of struct sock_filter, of 8 bytes each."""

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Program(len(program) // 8, program)))


def wait_for(program):
    """Reap whatever dies until the program does; returns its exit status as a shell counts it."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


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
        except ProcessLookupError:
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


def prctl(option, value, pointer=0):
    checked(libc.prctl(option, ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0)))


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


main()
