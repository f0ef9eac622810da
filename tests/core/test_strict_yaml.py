"""YAML that was written to harm is refused at once; YAML that people write is read as they mean it."""

import time
from pathlib import Path

import pytest

from rdistill.errors import ConfigError
from rdistill.overrides import apply_override
from rdistill.strict_yaml import loads_yaml

HOSTILE = {
    "object": "!!python/object/apply:os.system ['touch hacked']",
    "name": "!!python/name:os.system",
    "module": "a: !!python/module:os",
    "new": "!!python/object/new:os.system [touch hacked]",
    "tuple": "!!python/tuple [1]",
    "own tag": "a: !secret x",
    "own type": "a: !<tag:example.com,2000:x> y",
    "billion laughs": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]",
    "alias": "a: &a 1\nb: *a",
    "merge alias": "a: &a {x: 1}\nb: {<<: *a}",
    "self": "&a [*a]",
    "unknown alias": "*nothing",
    "twice": "a: 1\na: 2",
    "twice, deep": "a: {b: {c: 1, c: 2}}",
    "twice in quotes": "a: 1\n'a': 2",
    "number as key": "1: a",
    "truth as key": "yes: a",
    "null as key": "~: a",
    "list as key": "? [1, 2]\n: a",
    "map as key": "{a: 1}: b",
    "date as key": "2020-01-01: a",
    "deep list": "[" * 100_000,
    "deep map": "{a: " * 50_000,
    "deep block": "".join(" " * n + "a:\n" for n in range(200)),
    "deep dashes": "- " * 20_000,
    "many": "[" + "x," * 100_000 + "]",
    "two documents": "a: 1\n---\na: 2",
    "open quote": "a: 'b",
    "open bracket": "a: [b",
    "tab": "a:\n\tb: 1",
    "colon": "a: b: c",
    "control character": "a: \x00",
    "bell": "a: \x07",
    "lone surrogate": "a: \ud800",
    "bad escape": 'a: "\\q"',
    "bad directive": "%YAML 9.9\n---\na: 1",
    "reserved": "a: @b",
    "backtick": "a: `b`",
    "huge": "a: " + "x" * 2_000_000,
    "huge number": "a: " + "9" * 10_000,
    "octal": "a: 017",
    "octal, signed": "a: -01",
    "sexagesimal": "a: 1:30",
    "sexagesimal fraction": "a: 1:30.5",
    "binary": "a: 0b11",
    "many keys": "".join(f"k{n}: 1\n" for n in range(2_000)) + "k0: 1",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_refused_at_once(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    with pytest.raises(ValueError) as caught:
        loads_yaml(HOSTILE[name])
    assert time.process_time() - started < 3
    assert "\n" not in str(caught.value) and str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: 1e-4", {"a": "1e-4"}),  # YAML 1.1 wants a point; the config's own types make a number of it
        ("a: {b: [1, 2.5, x, null, true]}", {"a": {"b": [1, 2.5, "x", None, True]}}),
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("a: 'x # y'", {"a": "x # y"}),
        ("a: é ü 漢", {"a": "é ü 漢"}),
    ],
)
def test_what_people_write_is_read(text: str, value: object) -> None:
    assert loads_yaml(text) == value


def test_overrides_reach_any_place() -> None:
    tree: dict = {"a": {"b": [{"c": 1}, 2]}, "n": None}
    for override in ("a.b.0.c=5", "a.b.1=[x]", "n.m.o=text", "new={k: v}", "a.d=", "url=http://x:1/v1?a=b"):
        apply_override(tree, override)
    assert tree == {
        "a": {"b": [{"c": 5}, ["x"]], "d": None},
        "n": {"m": {"o": "text"}},
        "new": {"k": "v"},
        "url": "http://x:1/v1?a=b",
    }


@pytest.mark.parametrize("override", ["a", "=1", "a.b.7=1", "a.b.x=1", "a.b.1.c=1", "a=[", "a=!!python/none"])
def test_overrides_that_cannot_be_meant(override: str) -> None:
    with pytest.raises(ConfigError, match="override"):
        apply_override({"a": {"b": [{"c": 1}, 2]}}, override)
