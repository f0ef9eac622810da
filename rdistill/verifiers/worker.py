"""The process that runs verifiers. The pool starts it, talks JSON lines to it, and may kill it at any time.

    first line in    {"verifiers": [[name, options], ...], "preload": [module, ...], "memory_mb": n, "guarded": bool,
                      "probe": bool}
    first line out   ["ready", [[name, version, optional methods, sandbox level or null], ...]]
                     or ["error", kind, message]
    request          JOB METHOD INDEXES {"problem": ..., "samples": [...]}
    first reply      ["taken", job]   to a long request alone
    replies          ["verdict", job, index, status, reason, detail, seconds]  one for each index and sample, in order
    between them     ["loading", module], ["loaded", module]

What this does not protect against: a plug-in that forges its own verdict. It has a vote; the guard only notices
accidents (changed input, patched modules), and each plug-in runs in processes of its own.
"""

import builtins
import faulthandler
import json
import os
import resource
import sys
import threading
import time
from importlib import import_module
from typing import Any

from rdistill import records
from rdistill.errors import PrerequisiteError, RdistillError, VerifierError
from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers import protocol, registry

MAX_DETAIL = protocol.MAX_DETAIL
GUARDED = (builtins, json, os, sys, time, records, records.Verdict, records.Sample, records.Problem, protocol, registry)


class Pipe:
    """Our own copies of stdin and stdout; what a verifier prints goes to stderr, which the pool reads and bounds."""

    def __init__(self) -> None:
        self.requests = os.fdopen(os.dup(0), "rb")
        self.replies = os.fdopen(os.dup(1), "wb", buffering=0)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        self.encode = json.JSONEncoder(allow_nan=False).encode

    def send(self, *reply: Any) -> None:
        data = memoryview(self.encode(reply).encode() + b"\n")
        while data:
            data = data[self.replies.write(data) :]


def limit_process(memory_mb: int) -> None:
    """Bound the memory of this process, and dump no core."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb << 20, memory_mb << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable()


# Names that the interpreter sets anew by itself: after an exception, and when `strptime` first asks for the time zone.
SET_ANEW = ("last_exc", "last_type", "last_value", "last_traceback", "tzname", "timezone", "altzone", "daylight")


class Guard:
    """Notices when a plug-in replaces a function or class that the worker, or other verifiers, rely on."""

    def __init__(self) -> None:
        self.saved = [(owner, dict(vars(owner))) for owner in GUARDED]

    def changed(self) -> str | None:
        """The first name that no longer is what it was, or None. Names that were added do not count."""
        for owner, names in self.saved:
            now = vars(owner)
            for name, value in names.items():
                if now.get(name) is not value and name not in SET_ANEW:
                    return f"{owner.__name__}.{name}"
        return None


Judgement = tuple[str, str, str]
"""Status, reason, detail."""


def judge(verifier: protocol.Verifier, method: str, problem: Problem, samples: list[Sample]) -> list[Judgement]:
    """Run one method, and read a judgement on each sample. Whatever goes wrong in it is `unverifiable`."""
    try:
        found = getattr(verifier, method)(problem, list(samples) if method == "check_group" else samples[0])
        verdicts = found if method == "check_group" else [found]
        if fault := fault_of(verdicts, samples, method):
            return [broken(fault)] * len(samples)
        return [(Status(v.status).value, Reason(v.reason).value, v.detail[:MAX_DETAIL]) for v in verdicts]
    except MemoryError:
        return [(Status.UNVERIFIABLE.value, Reason.RESOURCE_LIMIT.value, "out of memory")] * len(samples)
    except BaseException as error:  # a plug-in may raise anything, SystemExit included; the verdict records it
        return [broken(f"{method} raised {type(error).__name__}: {str(error)[:MAX_DETAIL]}")] * len(samples)


def fault_of(verdicts: Any, samples: list[Sample], method: str) -> str | None:
    """Why what a method returned is not one verdict on each sample; None if it is."""
    if type(verdicts) is not list or len(verdicts) != len(samples):
        return f"{method} returned {type(verdicts).__name__}, expected a list of {len(samples)} verdicts"
    for verdict, sample in zip(verdicts, samples, strict=True):
        if type(verdict) is not Verdict:
            return f"{method} returned {type(verdict).__name__}, expected Verdict"
        if not isinstance(verdict.detail, str) or verdict.sample_id != sample.id:
            return f"{method} returned a verdict on another sample or with a detail that is not text"
    return None


def broken(detail: str) -> Judgement:
    return Status.UNVERIFIABLE.value, Reason.VERIFIER_ERROR.value, detail[:MAX_DETAIL]


def is_same(record: records.Record, before: str) -> bool:
    try:
        return record.model_dump_json() == before
    except Exception:  # changed into something that is no longer JSON
        return False


class Worker:
    """Answers requests until its stdin closes."""

    def __init__(self, pipe: Pipe, verifiers: list[protocol.Verifier], guard: Guard | None) -> None:
        self.pipe, self.verifiers, self.guard = pipe, verifiers, guard

    def serve(self) -> None:
        assert threading.current_thread() is threading.main_thread(), "checks run in the main thread"
        for line in iter(self.pipe.requests.readline, b""):
            job, method, indexes, body = line.split(b" ", 3)
            self.answer(int(job), method.decode(), [int(i) for i in indexes.split(b",")], body)

    def answer(self, job: int, method: str, indexes: list[int], body: bytes) -> None:
        fault = None
        try:
            request = json.loads(body)
            problem = Problem.model_validate(request["problem"])
            samples = [Sample.model_validate(s) for s in request["samples"]]
        except (ValueError, RecursionError) as error:
            fault = f"row cannot be read: {str(error)[:200]}"
        if len(body) - len(b"\n") > protocol.LONG:
            self.pipe.send("taken", job)
        for index in indexes:
            if fault:
                self.pipe.send("verdict", job, index, *broken(fault), 0.0)
                continue
            start = time.perf_counter()
            results = self.checked(index, method, problem, samples)
            seconds = round(time.perf_counter() - start, 6)
            for result in results:
                self.pipe.send("verdict", job, index, *result, seconds)

    def checked(self, index: int, method: str, problem: Problem, samples: list[Sample]) -> list[Judgement]:
        verifier = self.verifiers[index]
        if self.guard is None:
            return judge(verifier, method, problem, samples)
        rows: list[records.Record] = [problem, *samples]
        before = [row.model_dump_json() for row in rows]
        results = judge(verifier, method, problem, samples)
        if name := self.guard.changed():
            return [broken(f"the verifier replaced {name}")] * len(samples)
        if not all(map(is_same, rows, before)):
            return [broken("the verifier changed its input")] * len(samples)
        return results


def describe(verifier: protocol.Verifier) -> list[Any]:
    methods = [method for method in protocol.OPTIONAL if hasattr(verifier, method)]
    return [verifier.name, verifier.version, methods, protocol.sandbox_level(verifier)]


def probe(verifier: protocol.Verifier) -> None:
    """Ask a verifier whether what it depends on is at hand. Raises: PrerequisiteError, or VerifierError for a fault."""
    if not hasattr(verifier, "probe"):
        return
    try:
        verifier.probe()
    except PrerequisiteError as error:
        raise PrerequisiteError(f"verifier {verifier.name!r}: {error}") from None
    except Exception as error:  # a plug-in may raise anything
        raise VerifierError(f"verifier {verifier.name!r}: its probe raised {type(error).__name__}: {error}") from error


def main() -> None:
    pipe = Pipe()
    setup = json.loads(pipe.requests.readline())
    limit_process(setup["memory_mb"])
    protocol.announce = pipe.send
    guard = Guard() if setup["guarded"] else None
    try:
        verifiers = [registry.create(name, options) for name, options in setup["verifiers"]]
        for module in setup["preload"]:
            import_module(module)
        if setup["probe"]:
            for verifier in verifiers:
                probe(verifier)
    except RdistillError as error:
        pipe.send("error", type(error).__name__, str(error)[:2000])
        return
    worker = Worker(pipe, verifiers, guard)
    pipe.send("ready", [describe(verifier) for verifier in verifiers])
    worker.serve()


if __name__ == "__main__":
    main()
