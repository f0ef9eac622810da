"""Values come back whole; forged, cut or doubled result streams never read as an answer."""

import contextlib
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdistill.sandbox import Sandbox, equals_json, run_function, run_steps
from rdistill.sandbox.functions import decode, read_outcomes


@pytest.fixture(scope="module")
def box():
    return Sandbox(timeout_s=10, memory_mb=256)


VALUES = [
    None, True, 0, -3, 2**3000, 0.1, math.inf, 1 - 2j, "π\n", b"\x00\xff", (), [], {}, set(), frozenset({1}),
    [(1, [2.5, {"a": (None,)}])], {1: "a", (2, 3): {4}, None: [True]}, "\ud800"[:0],
]  # fmt: skip


def test_plain_values_come_back_with_their_types(box):
    run = run_function(box, "def f(n): return VALUES[n]\nVALUES = " + repr(VALUES).replace("inf", "float('inf')"), "f",
                       [[n] for n in range(len(VALUES))])  # fmt: skip
    assert run.status == "ok"
    assert [repr(outcome.value) for outcome in run.outcomes] == [repr(value) for value in VALUES]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("def f(n): return object()", "it returned a value of type object"),
        ("class Y(int): __eq__ = lambda s, o: True\ndef f(n): return Y(5)", "it returned a value of type Y"),
        ("def f(n): return (x for x in [5])", "it returned a value of type generator"),
        ("def f(n):\n    x = []\n    x.append(x)\n    return x", "nested or large"),
        ("def f(n): return [0] * 10**6", "nested or large"),
        ("def f(n): 1 / 0", "ZeroDivisionError"),
        ("def f(n): exit(0)", "SystemExit"),
        ("f = 5", "TypeError"),
        ("def g(n): return 5", "KeyError"),
    ],
)
def test_what_is_no_plain_value_is_an_error(box, code, problem):
    (outcome,) = run_function(box, code, "f", [[5]]).outcomes
    assert outcome.value is None
    assert problem in outcome.error


FORGE = """
import os
for fd in range(3, 1024):
    try: os.write(fd, b'{"step": -1, "value": true}\\n')
    except OSError: pass
def f(n): return 5
"""


@pytest.mark.parametrize(
    "code",
    [
        "def f(n) return 5",
        "import sys\nsys.exit(0)",
        "import os\nos._exit(0)",
        "import os\ndef f(n): os._exit(0)",
        "import os, signal\ndef f(n): os.kill(os.getpid(), signal.SIGSEGV); os._exit(0)",
        FORGE,
        "import os\nos.closerange(3, 1024)\ndef f(n): return 5",
        "import builtins\nbuiltins.type = lambda *a: int\ndef f(n): raise KeyError",
    ],
)
def test_cheats_and_crashes_give_no_outcome(box, code):
    run = run_function(box, code, "f", [[5]])
    assert run.status in ("error", "sandbox_error") or run.outcomes[0].error
    assert 5 not in [outcome.value for outcome in run.outcomes if not outcome.error]


def test_steps_share_one_namespace_and_arguments_are_fresh(box):
    steps = [{"kind": "run", "code": "x = add(1, 2)"}, {"kind": "value", "code": "x + 1"}]
    assert run_steps(box, "def add(a, b): return a + b", steps).outcomes[1].value == 4
    run = run_function(box, "def grow(xs):\n    xs.append(1)\n    return xs", "grow", [[[]], [[]]])
    assert [outcome.value for outcome in run.outcomes] == [[1], [1]]


def test_no_steps_is_refused(box):
    with pytest.raises(ValueError, match="0 steps"):
        run_steps(box, "", [])


GOOD = [{"step": -1, "value": True}, {"step": 0, "value": 5}, {"step": 1, "error": "KeyError: 1"}]


def stream(records):
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def test_the_good_stream_reads():
    assert [o.value for o in read_outcomes(stream(GOOD), 2)] == [True, 5, None]


@given(st.lists(st.sampled_from(GOOD), max_size=6).filter(lambda records: records != GOOD))
def test_dropped_doubled_and_reordered_records_are_refused(records):
    with pytest.raises(ValueError):
        read_outcomes(stream(records), 2)


@settings(max_examples=10_000, deadline=None)
@given(st.binary(max_size=200) | st.integers(0, len(stream(GOOD)) - 1).map(lambda n: stream(GOOD)[:n]))
def test_random_bytes_never_read_as_results(data):
    with pytest.raises(ValueError):
        read_outcomes(data, 2)


@settings(max_examples=2000, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(stream(GOOD)) - 1), st.binary(max_size=4)), min_size=1, max_size=6))
def test_damaged_streams_are_whole_results_or_refused(damages):
    data = bytearray(stream(GOOD))
    for at, put in damages:
        data[at : at + len(put)] = put
    with contextlib.suppress(ValueError):
        loaded, *outcomes = read_outcomes(bytes(data), 2)
        assert loaded.error is not None or len(outcomes) == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dict", "set", "tuple", "float", "int", "bytes", "complex", "x"]), inner, max_size=2
        )
    ),
    max_leaves=8,
)


@settings(max_examples=2000)
@given(JSON)
def test_decode_gives_a_value_or_a_value_error(tagged):
    try:
        value = decode(tagged)
    except ValueError:
        return
    assert type(value) in (type(None), bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)


@pytest.mark.parametrize(
    ("value", "expected", "same"),
    [
        (5, 5, True), (5.0, 5, True), (0.1 + 0.2, 0.3, True), (True, 1, False), (1, True, False), ("5", 5, False),
        ((1, 2), [1, 2], True), ({1, 2}, [1, 2], False), ([1], [1, 2], False), ({1: "a"}, {"1": "a"}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False), ({True: 1}, {"true": 1}, True),
        (math.nan, 0, False), (math.inf, 1e308, False),
        (10**400, 1.5, False), (None, None, True), (None, False, False), ([], {}, False),
        ({1: 0, "1": 0}, {"1": 0}, False),
    ],
)  # fmt: skip
def test_equality_with_json(value, expected, same):
    assert equals_json(value, expected) is same
