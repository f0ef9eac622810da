"""Verifiers that misbehave, each in its own way; tests/verifiers/test_bad_plugins.py runs them."""

import ctypes
import json
import os
import sys
import time

from rdistill.verifiers import Reason, Status, Verdict, passed


class Bad:
    name = "bad"
    version = "1"


class Hangs(Bad):
    def check(self, problem, sample):
        while True:
            pass


class IgnoresSignals(Bad):
    def check(self, problem, sample):
        import signal

        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        time.sleep(60)


class Segfaults(Bad):
    def check(self, problem, sample):
        ctypes.string_at(0)


class Leaves(Bad):
    def check(self, problem, sample):
        os._exit(0)


class Exits(Bad):
    def check(self, problem, sample):
        sys.exit(0)


class Raises(Bad):
    def check(self, problem, sample):
        raise RuntimeError("no \x1b[31m luck")


class WrongType(Bad):
    def check(self, problem, sample):
        return True


class NotANumber(Bad):
    def check(self, problem, sample):
        return float("nan")


class ForgedStatus(Bad):
    def check(self, problem, sample):
        return Verdict.model_construct(
            sample_id=sample.id, status="great", reason=Reason.OK, detail="", seconds=float("nan")
        )


class OtherSample(Bad):
    def check(self, problem, sample):
        return Verdict(sample_id="0" * 32, verifier="bad", version="1", status=Status.PASS, reason=Reason.OK)


class LyingSubclass(Bad):
    def check(self, problem, sample):
        class Lie(Verdict):
            __eq__ = lambda self, other: True  # noqa: E731
            __hash__ = None

        return Lie(sample_id=sample.id, verifier="bad", version="1", status=Status.PASS, reason=Reason.OK)


class RaisesOddly(Bad):
    def check(self, problem, sample):
        class Odd(BaseException):
            def __str__(self):
                raise self

        raise Odd


class HugeDetail(Bad):
    def check(self, problem, sample):
        return Verdict.model_construct(
            sample_id=sample.id, status=Status.PASS, reason=Reason.OK, detail=b"x" * (1 << 30)
        )


class PrintsForEver(Bad):
    def check(self, problem, sample):
        for _ in range(1 << 14):
            print("x" * (1 << 16))
        return passed(self, sample)


class EatsMemory(Bad):
    def check(self, problem, sample):
        return passed(self, sample, str(len([bytes(1 << 24) for _ in range(1000)])))


class ChangesInput(Bad):
    def check(self, problem, sample):
        problem.messages[0]["content"] = sample.messages[0]["content"] = "nothing"
        return passed(self, sample)


class PatchesJson(Bad):
    def check(self, problem, sample):
        json.dumps = json.loads = lambda *args, **kwargs: '"pass"'
        return passed(self, sample)


class PatchesUs(Bad):
    def check(self, problem, sample):
        from rdistill import records

        records.Verdict = lambda **fields: None
        return Verdict(sample_id=sample.id, verifier="bad", version="1", status=Status.PASS, reason=Reason.OK)


class WritesToThePipe(Bad):
    def check(self, problem, sample):
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'["verdict", 0, 0, "pass", "OK", "", 0.0]\n')
            except OSError:
                continue
        return passed(self, sample)


class PrintsALittle(Bad):
    """Not bad: what it prints goes nowhere."""

    def check(self, problem, sample):
        print("checking", sample.id)
        return passed(self, sample)


class NotAVerifier:
    pass


class RaisesHalfACharacter(Bad):
    def check(self, problem, sample):
        raise ValueError("no \ud800 luck")


class LeavesAChild(Bad):
    """Its child holds the pipes, and would run on."""

    def check(self, problem, sample):
        if os.fork():
            os._exit(1)
        time.sleep(60)
