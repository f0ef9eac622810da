"""The self-test passes here, and fails where a wall is missing."""

import json
import struct
from pathlib import Path

import pytest

from rdistill.sandbox import layout, seccomp, self_test
from rdistill.sandbox.seccomp import AUDIT_ARCH, DENIED, DENIED_ON_HOST, SIGNALS, build_filter

ATTACKED = ("strong", "strong-nobwrap", "medium")


def failures(level="strong"):
    return {probe.name for probe in self_test(level) if not probe.ok}


@pytest.mark.parametrize("level", ATTACKED)
def test_every_probe_is_stopped(level):
    probes = self_test(level)
    assert [probe for probe in probes if not probe.ok] == []
    assert len(probes) >= 12


@pytest.mark.slow
@pytest.mark.parametrize("level", ATTACKED)
def test_every_probe_is_stopped_for_an_ordinary_user(level, as_nobody):
    code = f"import json\nfrom rdistill.sandbox import self_test\nprint(json.dumps(self_test({level!r})))"
    probes = json.loads(as_nobody(code))
    assert [probe for probe in probes if not probe[1]] == []
    assert len(probes) >= 12


def test_weak_holds_its_limits():
    assert {probe.name for probe in self_test("weak")} >= {"fork bomb", "memory", "disk", "deadline", "no survivor"}
    assert failures("weak") == set()


def test_without_the_filter_the_self_test_fails(monkeypatch):
    allow_all = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    monkeypatch.setattr(seccomp, "build_filter", lambda machine, **options: allow_all)
    assert {"refused system calls", "outlive the parent"} <= failures()
    assert {"refused system calls", "UDP", "new user namespace"} <= failures("medium")


def test_with_the_host_readable_the_self_test_of_medium_fails(monkeypatch):
    monkeypatch.setattr(layout, "host_libraries", lambda: [Path("/")])
    assert "read host files" in failures("medium")


def test_with_a_host_folder_inside_the_self_test_fails(monkeypatch):
    kernel_files = layout._kernel_files
    monkeypatch.setattr(layout, "_kernel_files", lambda: [*kernel_files(), "--ro-bind", "/tmp", "/tmp"])
    assert {"read host files"} <= failures()


def test_without_the_watch_on_memory_the_self_test_fails(monkeypatch):
    from rdistill.sandbox import process

    monkeypatch.setattr(process, "tree_usage", lambda pid: (0, 0))
    monkeypatch.setattr("rdistill.sandbox.probes.TIMEOUT_S", 0.5)
    assert "memory of children" in failures()


@pytest.mark.parametrize("machine", AUDIT_ARCH)
def test_the_filter_answers_as_meant(machine):
    """Interpret the BPF: foreign ABIs die, denied calls give EPERM, namespace flags too, and read() passes."""
    program = [struct.unpack("<HBBI", chunk) for chunk in chunks(build_filter(machine), 8)]
    column, arch = list(AUDIT_ARCH).index(machine), AUDIT_ARCH[machine]
    clone, ioctl, prctl, read = (56, 16, 157, 0) if column == 0 else (220, 29, 167, 63)
    for numbers in DENIED.values():
        if numbers[column] is not None:
            assert run_filter(program, arch, numbers[column]) == 0x00050001
    assert run_filter(program, arch ^ 1, read) == 0x80000000
    assert run_filter(program, arch, 435) == 0x00050026
    assert run_filter(program, arch, clone, 0x10000011) == 0x00050001
    assert run_filter(program, arch, clone, 0x11) == 0x7FFF0000
    assert run_filter(program, arch, ioctl, 0, 0x5412) == 0x00050001
    assert run_filter(program, arch, ioctl, 0, 0x5401) == 0x7FFF0000
    assert run_filter(program, arch, prctl, 1) == 0x00050001
    assert run_filter(program, arch, prctl, 15, 1) == 0x7FFF0000
    assert run_filter(program, arch, read) == 0x7FFF0000


@pytest.mark.parametrize("machine", AUDIT_ARCH)
def test_the_filter_guards_the_host_where_there_is_no_namespace(machine):
    column, arch = list(AUDIT_ARCH).index(machine), AUDIT_ARCH[machine]
    plain, on_host = build_filter(machine), build_filter(machine, on_host=True, are_signals_scoped=False)
    prlimit, fcntl = ((302, 72), (261, 25))[column]
    for numbers in [*DENIED_ON_HOST.values(), *SIGNALS.values()]:
        if (number := numbers[column]) is not None:
            assert answer(plain, arch, number) == 0x7FFF0000
            assert answer(on_host, arch, number) == 0x00050001
    assert answer(on_host, arch, prlimit, 0) == 0x7FFF0000
    assert answer(on_host, arch, prlimit, 4242) == 0x00050001
    assert answer(on_host, arch, fcntl, 3, 8) == 0x00050001
    assert answer(on_host, arch, fcntl, 3, 1) == 0x7FFF0000


def answer(program, *call):
    return run_filter([struct.unpack("<HBBI", chunk) for chunk in chunks(program, 8)], *call)


def test_foreign_abis_of_x86_die():
    program = [struct.unpack("<HBBI", chunk) for chunk in chunks(build_filter("x86_64"), 8)]
    assert run_filter(program, AUDIT_ARCH["x86_64"], 0x40000000) == 0x80000000


def chunks(data, size):
    return [data[i : i + size] for i in range(0, len(data), size)]


def run_filter(program, arch, number, argument_0=0, argument_1=0):
    words = {0: number, 4: arch, 16: argument_0, 24: argument_1}
    position = accumulator = 0
    while True:
        code, if_true, if_false, value = program[position]
        position += 1
        if code == 0x06:
            return value
        if code == 0x20:
            accumulator = words[value]
            continue
        holds = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[code]
        position += if_true if holds else if_false


@pytest.mark.slow
@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
def test_medium_holds_on_older_kernels(abi, as_nobody):
    code = (
        "import json\nfrom rdistill.sandbox import landlock, probes\nprobes.LIMITS.clear()\n"
        f"landlock.abi = lambda: {abi}\nprint(json.dumps(probes.self_test('medium')))"
    )
    probes = json.loads(as_nobody(code))
    assert [probe for probe in probes if not probe[1]] == []
    assert len(probes) >= 12
