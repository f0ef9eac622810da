"""Golds and replies that the tests of the code verifier share."""

from rdistill.verifiers.code import Code

from rdistill.verifiers.cases import to_pair

RIGHT, WRONG = "def add(a, b): return a + b", "def add(a, b): return a - b"


def judge(gold, code, *, timeout_s=10, finish_reason="stop"):
    row = {"id": "x", "gold": gold, "answer": f"```python\n{code}\n```", "finish_reason": finish_reason}
    return Code(timeout_s=timeout_s).check(*to_pair(row))


def asserts(tests):
    return {"kind": "asserts", "entry_point": "add", "tests": tests}
