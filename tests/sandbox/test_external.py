"""Level external: a service that holds is used like this machine's sandbox, one that does not is found out."""

import base64
import json
import struct
import time

import pytest
from code_service import Service, answer, bare, isolated
from command import rdistill
from pydantic import ValidationError
from rdistill.verifiers.code import Code

from rdistill.config import SandboxConfig
from rdistill.errors import PrerequisiteError
from rdistill.records import Reason, Status
from rdistill.sandbox import (
    Consent,
    Sandbox,
    layout,
    levels,
    probes,
    require,
    run_function,
    sandbox_warnings,
    seccomp,
    self_test,
    service_probes,
)
from rdistill.sandbox import service as client
from rdistill.tools.tool import Python
from rdistill.verifiers.cases import to_pair


@pytest.fixture(scope="module")
def service():
    with Service(isolated) as service:
        yield service


@pytest.fixture
def box(service):
    return Sandbox("external", timeout_s=10, memory_mb=256, url=service.url)


@pytest.fixture
def accepted(monkeypatch):
    """The self-test, which has its own tests, is not repeated."""
    monkeypatch.setattr(probes, "fault_of", lambda level, url=None: None)


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    monkeypatch.setattr(service_probes, "LIMIT_S", 1.0)
    monkeypatch.setattr(service_probes, "LEAVE_S", 0.9)
    monkeypatch.setattr(service_probes, "FAR_PLACES", [("169.254.169.254", 80)])
    monkeypatch.setattr(service_probes, "FAR_NAME_SERVERS", [])


def test_a_service_that_holds_passes_every_probe(service):
    found = self_test("external", service.url)
    assert [probe for probe in found if not probe.ok] == []
    assert len(found) >= 20


def test_a_service_without_isolation_fails_and_is_spared_what_would_harm_it(service):
    with Service(bare) as service:
        found = {probe.name: probe for probe in self_test("external", service.url)}
        asked = "".join(request["code"] + request["files"]["request"] for _, request in service.requests)
    failed = {name for name, probe in found.items() if not probe.ok}
    assert {"network", "abstract Unix socket", "other processes", "no packet arrived"} <= failed
    assert {"files of the caller", "host folder unchanged"} <= failed
    assert {"a run beside another", "a run after another"} & failed
    assert not {*service_probes.FIRM, *service_probes.LIMITS} & set(found)
    assert "hunter2" not in json.dumps(found) + asked


def shared_tmp(monkeypatch, folder):
    inside = layout._kernel_files
    shared = ["--perms", "0755", "--dir", "/var", "--bind", str(folder), "/var/tmp"]
    folder.chmod(0o777)
    monkeypatch.setattr(layout, "_kernel_files", lambda: [*inside(), *shared])
    return {"a run beside another", "a run after another"}


def shared_network(monkeypatch, _):
    allow_all = struct.pack("<HBBI", 0x06, 0, 0, 0x7FFF0000)
    monkeypatch.setattr(seccomp, "build_filter", lambda machine, **options: allow_all)
    inside = layout.command
    monkeypatch.setattr(layout, "command", lambda *given: [word for word in inside(*given) if word != "--unshare-net"])
    return {"network", "no packet arrived", "abstract Unix socket"}


def shared_processes(monkeypatch, _):
    inside = layout.command
    missing = ("--unshare-pid", "--as-pid-1")
    monkeypatch.setattr(layout, "command", lambda *given: [word for word in inside(*given) if word not in missing])
    return {"other processes"}


@pytest.mark.slow
@pytest.mark.parametrize("hole", [shared_tmp, shared_network, shared_processes])
def test_one_missing_wall_is_found(hole, service, monkeypatch, tmp_path):
    through = hole(monkeypatch, tmp_path)
    failed = {probe.name for probe in self_test("external", service.url) if not probe.ok}
    assert failed & through and len(failed) <= 5, failed


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise ValueError('honest')", "error"),
        ("import os; os._exit(7)", "error"),
        ("print('\\ud800')", "error"),
        ("x = '\ud800'", "error"),
        ("x = bytes(1 << 34)", "resource_limit"),
        ("open('big', 'wb').truncate(1 << 40)", "resource_limit"),
        ("print('x' * (1 << 17))", "resource_limit"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "resource_limit"),
        ("import os, shutil; shutil.rmtree('..', ignore_errors=True)", "ok"),
        ("import os; os.write(1, b'\\xff')", "ok"),
    ],
)
def test_each_end_has_its_status(box, code, status):
    result = box.run(code)
    assert (result.status, result.level) == (status, "external"), result


def test_output_input_environment_and_traceback_are_the_programs_own(box, monkeypatch):
    monkeypatch.setenv("RDISTILL_OWN", "mine")
    result = box.run("import os, sys\nprint(input()[::-1], os.listdir(), os.environ.get('X'))\n1 / 0", stdin="aπ\n")
    assert result.stdout == "πa [] None\n"
    assert result.stderr.splitlines()[1:] == [
        '  File "main.py", line 3, in <module>',
        "ZeroDivisionError: division by zero",
    ]
    assert "RDISTILL" not in box.run("import os; print(dict(os.environ))").stdout


def test_a_time_out_and_large_input(box):
    start = time.monotonic()
    assert box.run("while True: pass", timeout_s=0.5).status == "timeout"
    assert time.monotonic() - start < 8
    assert box.run("print(1)", stdin="x" * (17 << 20)).status == "resource_limit"


def test_verifier_and_tool_run_there_and_expected_answers_stay_here(service, monkeypatch):
    levels.grant("external", service.url)
    service.requests.clear()
    function = {"kind": "function", "entry_point": "f", "cases": [{"args": [1], "expected": 271828}]}
    stdio = {"kind": "stdio", "cases": [{"stdin": "1\n", "stdout": "271828\n"}]}
    for gold, right, wrong in (
        (function, "def f(n): return 271827 + n", "def f(n): return n"),
        (stdio, "print(271827 + int(input()))", "print(input())"),
    ):
        verdicts = []
        for code in (right, wrong):
            row = {"id": "x", "gold": gold, "answer": f"```python\n{code}\n```"}
            verdicts.append(Code(timeout_s=10).check(*to_pair(row)))
        assert [(v.status, v.sandbox) for v in verdicts] == [("pass", "external"), ("fail", "external")], verdicts
    sent = [base64.b64decode(text) for _, request in service.requests for text in request["files"].values()]
    assert len(service.requests) == 4 and not any(b"271828" in data for data in sent)
    tool = Python(SandboxConfig())
    result = tool.sandbox.run("print(6 * 7)")
    assert (tool.level, result.stdout, service.requests[-1][0]) == ("external", "42\n", "/run_code")


def respond(body, status=200, length=None, **headers):
    """Write a reply and end."""

    def write(handler, stopped):
        handler.send_response(status)
        for name, value in {"content-length": len(body) if length is None else length, **headers}.items():
            handler.send_header(name, str(value))
        handler.end_headers()
        handler.wfile.write(body)

    return write


def trickle(start):
    """Begin an answer and send a byte now and then, for ever."""

    def write(handler, stopped):
        handler.wfile.write(start)
        while not stopped.wait(0.05):
            handler.wfile.write(b" ")

    return write


def flood(handler, stopped):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(1 << 12):
        handler.wfile.write(b"x" * (1 << 16))


def tampered(**changes):
    """A good reply but for some fields of it or of its run."""
    reply = answer(0, "5\n", "", {"result": base64.b64encode(b"ready\n").decode()})
    for name, value in changes.items():
        (reply if name in reply else reply["run_result"])[name] = value
    return respond(json.dumps(reply).encode())


MISBEHAVING = {
    "says nothing": lambda handler, stopped: stopped.wait(20),
    "trickles its head": trickle(b"HTTP/1.1 200 OK\r\nx:"),
    "trickles its body": trickle(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{"),
    "closes at once": lambda handler, stopped: handler.connection.shutdown(2),
    "closes early": respond(b'{"status":', length=99),
    "is no HTTP": lambda handler, stopped: handler.wfile.write(b"220 mail\r\n\r\n"),
    "500": respond(b"{}", status=500),
    "503": respond(b"{}", status=503),
    "404": respond(b"{}", status=404),
    "too large": flood,
    "not JSON": respond(b"<html>"),
    "not text": respond(b'{"status": "\xff"}'),
    "compressed": respond(b"\x1f\x8b", **{"content-encoding": "gzip"}),
    "a list": respond(b"[]"),
    "deep": respond(b"[" * 100_000),
    "NaN": tampered(execution_time=float("nan")),
    "a key twice": respond(b'{"status": "Success", "status": "Success"}'),
    "SandboxError": tampered(status="SandboxError", message="no space"),
    "no run": tampered(run_result=None),
    "a run of another kind": tampered(run_result=[]),
    "failed inside": tampered(**{"run_result": {"status": "Error", "stderr": "x"}}),
    "a code that is true": tampered(return_code=True),
    "a code in words": tampered(return_code="0"),
    "no code": tampered(return_code=None),
    "stdout is a number": tampered(stdout=5),
    "no files": tampered(files=None),
    "a result that is no base64": tampered(files={"result": "?"}),
    "a result that is none": tampered(files={"result": 5}),
    "another's result": tampered(files={"result": base64.b64encode(b"5\nready\n").decode()}),
    "no result": tampered(files={}),
    "success with an exit status": tampered(return_code=1),
    "failure without one": tampered(status="Failed"),
}


@pytest.mark.parametrize("name", MISBEHAVING)
def test_a_service_that_misbehaves_says_nothing_about_the_code(name, monkeypatch):
    monkeypatch.setattr(client, "ALLOWANCE_S", 0.4)
    monkeypatch.setattr(client, "PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr(client, "MAX_REPLY_BYTES", 8 << 20)
    with Service(MISBEHAVING[name], is_raw=True) as service:
        start = time.monotonic()
        box = Sandbox("external", timeout_s=0.2, url=service.url)
        assert run_function(box, "def f(n): return 5", "f", [[5]]).status == "sandbox_error"
        if name != "another's result":
            result = box.run("print(5)")
            assert (result.status, result.stdout) == ("sandbox_error", ""), result
            assert service.url in result.stderr
        assert time.monotonic() - start < 5


def test_a_redirect_is_not_followed(service, monkeypatch):
    service.requests.clear()
    moved = respond(b"", status=307, location=f"{service.url}/run_code")
    with Service(moved, is_raw=True) as first:
        assert Sandbox("external", url=first.url).run("print(5)").status == "sandbox_error"
    assert service.requests == []


@pytest.mark.parametrize(
    "records",
    [
        [],
        ['{"step":-1,"value":true}'],
        ['{"step":-1,"value":true}', '{"step":0,"value":NaN}'],
        ['{"step":-1,"value":true}', '{"step":1,"value":5}'],
        ['{"step":-1,"value":true}', '{"step":0,"value":5}', '{"step":0,"value":5}'],
        ['{"step":-1,"value":true}', '{"step":0,"value":{"float":"five"}}'],
        ['{"step":0,"value":5}'],
    ],
)
def test_results_that_are_forged_badly_are_no_values(records):
    stream = b"ready\n" + "".join(f"{record}\n" for record in records).encode()
    with Service(lambda _: answer(0, files={"result": base64.b64encode(stream).decode()})) as service:
        run = run_function(Sandbox("external", url=service.url), "def f(n): return 5", "f", [[5]])
    assert (run.status, run.outcomes) == ("error", [])


def test_a_busy_service_is_asked_again(service):
    turned_away = []

    def busy_at_first(handler, stopped):
        turned_away.append(1)
        if len(turned_away) < 3:
            respond(b"", status=503)(handler, stopped)
        else:
            respond(json.dumps(answer(0, files={"result": base64.b64encode(b"ready\n").decode()})).encode())(
                handler, stopped
            )

    with Service(busy_at_first, is_raw=True) as busy:
        assert Sandbox("external", url=busy.url).run("x = 1").status == "ok"


def test_nobody_there_is_one_sentence():
    with Service(isolated) as gone:
        pass
    with pytest.raises(PrerequisiteError) as caught:
        require("external", Consent(), gone.url)
    said = str(caught.value)
    assert said.startswith("sandbox.require=external is not met: sandbox level external failed 1 of 1 probes")
    assert "does not answer" in said and gone.url in said and said.endswith("for this run: --allow-weak-sandbox")


def test_a_service_is_never_one_of_several(monkeypatch):
    asked = []
    monkeypatch.setattr(probes, "fault_of", lambda level, url=None: asked.append(level) or f"no {level}")
    for lowest in ("strong", "medium", "weak"):
        for consent in (Consent(), Consent(weak=True, untrusted=True)):
            with pytest.raises(PrerequisiteError):
                require(lowest, consent)
    assert "external" not in asked
    asked.clear()
    with pytest.raises(PrerequisiteError):
        require("external", Consent(), "http://a")
    assert asked == ["external"]


def test_consent_puts_this_machine_in_a_services_place_and_says_so(monkeypatch):
    monkeypatch.setattr(probes, "fault_of", lambda level, url=None: "gone" if level == "external" else None)
    level = require("external", Consent(weak=True), "http://a")
    assert level == "strong" and levels.granted_url() is None
    assert "runs on this machine, at sandbox level strong" in sandbox_warnings(level, "external")[0]
    assert "sandbox.require=external allows" in sandbox_warnings("external", "external")[0]


def test_what_was_granted_goes_with_its_service(accepted):
    require("external", Consent(), "http://a")
    assert (Sandbox().level, Sandbox().url) == ("external", "http://a")
    levels.grant("strong")
    assert (Sandbox().level, Sandbox().url) == ("strong", None)
    with pytest.raises(PrerequisiteError, match=r"sandbox\.url"):
        Sandbox("external")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"require": "external"}, "needs url"),
        ({"url": "http://a"}, "write require: external"),
        ({"require": "medium", "url": "http://a"}, "write require: external"),
        ({"require": "external", "url": "a:8080"}, "no http"),
        ({"require": "external", "url": "ftp://a"}, "no http"),
        ({"require": "external", "url": "http://"}, "no http"),
        ({"require": "external", "url": "http://a:x"}, "no http"),
        ({"require": "external", "url": "http://a b"}, "no http"),
        ({"require": "external", "url": "http://[::1"}, "no http"),
        ({"require": "external", "url": "http://me:pass123@a"}, "user name or password"),
        ({"require": "external", "url": "http://a/?key=pass123"}, "query"),
    ],
)
def test_an_address_is_checked(fields, said):
    with pytest.raises(ValidationError, match=said):
        SandboxConfig(**fields)


def test_the_command_line_takes_an_address(service, accepted, tmp_path):
    (tmp_path / "x.py").write_text("print(6 * 7)")
    done = rdistill("sandbox", "run", tmp_path / "x.py", "--json", "--url", service.url)
    assert (done.code, json.loads(done.out)["level"], json.loads(done.out)["stdout"]) == (0, "external", "42\n")
    assert "sandbox level external" in " ".join(done.err.split())
    for command in (("run", tmp_path / "x.py"), ("selftest",)):
        done = rdistill("sandbox", *command, "--url", "http://me:pass123@a")
        assert done.code == 2 and "--url" in done.err and "pass123" not in done.err


def test_selftest_of_a_service_names_what_failed(monkeypatch):
    monkeypatch.setattr(service_probes, "QUIET", {"own user": lambda aim: "print('ESCAPED')"})
    monkeypatch.setattr(service_probes, "_other_runs", lambda sandbox, aim: [])
    with Service(bare) as service:
        done = rdistill("sandbox", "selftest", "--url", service.url, "--allow-weak-sandbox")
        assert done.code == 3 and "own user" in done.err and "user without rights" in " ".join(done.err.split())
        found = json.loads(rdistill("sandbox", "selftest", "--url", service.url, "--json").out)
    assert (found["ok"], found["level"]) == (False, None)


def test_a_service_that_is_gone_leaves_a_verdict_open():
    with Service(isolated) as gone:
        pass
    levels.grant("external", gone.url)
    gold = {"kind": "function", "entry_point": "f", "cases": [{"args": [1], "expected": 2}]}
    row = {"id": "x", "gold": gold, "answer": "```python\ndef f(n): return n + 1\n```"}
    verdict = Code().check(*to_pair(row))
    assert (verdict.status, verdict.reason) == (Status.UNVERIFIABLE, Reason.SANDBOX)
