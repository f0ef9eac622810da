"""What runs inside the sandbox: lowers its own limits, then runs untrusted code.

Not imported by rdistill: its source text is the `-c` program of the sandbox's interpreter. It reads one JSON request
from the first descriptor in argv; to the second it writes the line `ready` before anything untrusted runs, then one
JSON line for each step.
Nothing here is secret, and nothing here is trusted once the code has run: no expected answer ever enters.
"""

import builtins
import json
import os
import resource
import sys
import types
from collections import Counter, OrderedDict, defaultdict

REQUEST_FD, RESULT_FD = map(int, sys.argv[1:3])
MAX_DEPTH, MAX_NODES, MAX_INT_BITS = 25, 100_000, 1000
LIMIT_ERRNOS = {11, 12, 24, 27, 28}  # EAGAIN, ENOMEM, EMFILE, EFBIG, ENOSPC


class Unencodable(Exception):
    """A value that is not made of plain builtin types."""


def set_limits(limits):
    for name, value in limits.items():
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(number, (value, value))


def encode(value, depth=0, budget=None):
    """Tagged JSON of an exact builtin value: tuples, sets, dicts, floats, bytes, complex numbers survive the trip."""
    budget = [MAX_NODES] if budget is None else budget
    budget[0] -= 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise Unencodable("a value nested or large beyond the limits")
    kind = type(value)
    if kind is int and value.bit_length() > MAX_INT_BITS:
        return {"int": hex(value)}
    if value is None or kind in (bool, int, str):
        return value
    if kind in (float, complex, bytes):
        return {kind.__name__: value.hex() if kind is bytes else repr(value)}
    if kind is list:
        return [encode(item, depth + 1, budget) for item in value]
    if kind in (tuple, set, frozenset):
        return {kind.__name__: [encode(item, depth + 1, budget) for item in value]}
    if kind in (dict, defaultdict, OrderedDict, Counter):
        pairs = [[encode(k, depth + 1, budget), encode(v, depth + 1, budget)] for k, v in dict.items(value)]
        return {"dict": pairs}
    raise Unencodable("a value of type " + kind.__name__)


def send(record, write=os.write, dumps=json.dumps):
    data = dumps(record).encode("ascii") + b"\n"
    while data:
        data = data[write(RESULT_FD, data) :]


def describe(error):
    """`Type: message`, short; a message that cannot be had is left out."""
    try:
        return (type(error).__name__ + ": " + str(error))[:200]
    except BaseException:
        return type(error).__name__


def is_limit(error):
    """True where code ran into one of the sandbox's limits."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in LIMIT_ERRNOS)


def run_step(step, namespace):
    """One step of a check: call a function, evaluate an expression, or execute a statement. Returns its record."""
    try:
        if step["kind"] == "call":
            value = namespace[step["name"]](*step["args"])
        elif step["kind"] == "value":
            value = eval(compile(step["code"], "<test>", "eval"), namespace)
        else:
            exec(compile(step["code"], "<test>", "exec"), namespace)
            value = True
        return {"value": encode(value)}
    except Unencodable as error:
        return {"other": str(error)}
    except BaseException as error:
        return {"limit" if is_limit(error) else "error": describe(error)}


def run_steps(request):
    """Define the solution, then run each step; a first record tells whether the definition went well."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    module = sys.modules["solution"] = types.ModuleType("solution")
    own_pid = os.getpid()
    try:
        exec(compile(request["code"], "<solution>", "exec"), module.__dict__)
        loaded = {"value": True}
    except BaseException as error:
        loaded = {"limit" if is_limit(error) else "error": describe(error)}
    if os.getpid() != own_pid:
        os._exit(0)
    send({"step": -1, **loaded})
    for number, step in enumerate(request["steps"]):
        record = run_step(step, module.__dict__)
        if os.getpid() != own_pid:
            os._exit(0)
        send({"step": number, **record})
    os._exit(0)


def run_script(request):
    """Run a whole program as __main__."""
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = ["main.py"]
    code = request["code"].encode("latin-1") if "is_bytes" in request else request["code"]
    try:
        exec(compile(code, "main.py", "exec"), module.__dict__)
    except SystemExit:
        raise
    except BaseException as error:
        if is_limit(error):
            os.write(RESULT_FD, b"limit\n")
        error = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        sys.excepthook(type(error), error, error.__traceback__)
        sys.exit(1)


def main():
    with open(REQUEST_FD, "rb") as stream:
        request = json.loads(stream.read())
    set_limits(request["limits"])
    vars(builtins).update(exit=sys.exit, quit=sys.exit)
    os.write(RESULT_FD, b"ready\n")  # raises where the parent has died before this process was bound to die with it
    (run_steps if "steps" in request else run_script)(request)


main()
