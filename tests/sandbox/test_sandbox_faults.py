"""A machine whose sandbox is missing or broken: it refuses to start, or every row says at which level it ran."""

import json
import os
import shutil
import stat
from types import SimpleNamespace

import pytest
import yaml
from code_service import Service, isolated
from command import rdistill
from scripted import Endpoint

from rdistill import cli
from rdistill.config import Config
from rdistill.errors import PrerequisiteError
from rdistill.ledger import Ledger
from rdistill.records import Verdict
from rdistill.run import RunFolder
from rdistill.sandbox import Consent, Sandbox, granted, landlock, layout, levels, probes, require
from rdistill.stages import stages_of

REPLY = "Add both.\n```python\ndef add(a, b):\n    return a + b\n```\n#### done"
GOLD = {"kind": "function", "entry_point": "add", "cases": [{"args": [2, 3], "expected": 5}]}


def answer(_):
    message = {"role": "assistant", "content": REPLY}
    usage = {"prompt_tokens": 10, "completion_tokens": 10}
    return 200, json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    ).encode()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A config whose verifier runs code, with a teacher that writes some."""
    monkeypatch.chdir(tmp_path)
    words = ("red", "green", "blue", "black", "white", "grey", "pink", "brown")
    rows = [{"prompt": f"Write add for {word} numbers.", "gold": GOLD} for word in words]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Endpoint(broken=answer) as endpoint:
        config = {
            "name": "p",
            "prompts": {"sources": [{"path": "rows.jsonl", "gold_format": "json"}], "near_duplicate": 1},
            "teacher": {"engine": "openai", "model": "m", "base_url": endpoint.url, "max_samples": 1},
            "verify": {"timeout_s": 60, "workers": 1, "verifiers": [{"name": "code", "options": {"timeout_s": 20}}]},
            "student": {"model": "bundled:smollm2-135m-instruct"},
        }
        (tmp_path / "p.yaml").write_text(yaml.safe_dump(config))
        yield tmp_path


def programs(folder, monkeypatch, *names, **broken):
    """A PATH with these programs, and with broken ones that say something and end with 1."""
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(shutil.which(name))
    for name, words in broken.items():
        (folder / name).write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        (folder / name).chmod(stat.S_IRWXU | stat.S_IRWXG | stat.S_IRWXO)
    monkeypatch.setenv("PATH", str(folder))


def hide_bwrap(folder, monkeypatch):
    programs(folder, monkeypatch, "unshare", "setpriv")
    return "bwrap is not on PATH: apt-get install bubblewrap", "strong-nobwrap"


def deny_namespaces(folder, monkeypatch):
    denied = "No permissions to create new namespace"
    programs(folder, monkeypatch, "setpriv", bwrap=denied, unshare=denied)
    monkeypatch.setattr(levels, "_setting", {"kernel/apparmor_restrict_unprivileged_userns": "1"}.get)
    mends = "--cap-add SYS_ADMIN" if os.geteuid() == 0 else "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
    return mends, "medium"


def hide_setpriv(folder, monkeypatch):
    programs(folder, monkeypatch, "unshare", *(["bwrap"] if os.geteuid() == 0 else []))
    return "apt-get install " + ("util-linux" if os.geteuid() == 0 else "bubblewrap"), "medium"


def hide_landlock(folder, monkeypatch):
    programs(folder, monkeypatch, "unshare", "setpriv")
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    return "apt-get install bubblewrap", "weak"


def open_the_host(folder, monkeypatch):
    kernel_files = layout._kernel_files
    monkeypatch.setattr(layout, "_kernel_files", lambda: [*kernel_files(), "--ro-bind", "/tmp", "/tmp"])
    return "read host files", "strong-nobwrap"


@pytest.mark.slow
@pytest.mark.parametrize("fault", [hide_bwrap, deny_namespaces, hide_setpriv, hide_landlock, open_the_host])
def test_a_fault_is_refused_or_written_on_every_row(fault, place, monkeypatch):
    mends, level = fault(place / "bin", monkeypatch)
    typed = ["--allow-weak-sandbox", *(["--i-understand-untrusted-code"] if level == "weak" else [])]
    for command in ("check", "run", "generate"):
        done = rdistill(command, "p.yaml")
        assert done.code == 3, done
        said = " ".join(done.err.split())
        assert "sandbox.require=strong is not met" in said and mends in said and "--allow-weak-sandbox" in said
    done = rdistill("generate", "p.yaml", *typed)
    assert done.code == 0, done
    assert f"warning code that a model wrote runs at sandbox level {level}" in " ".join(done.err.split())
    done = rdistill("verify", "p.yaml")
    assert done.code == 3, "it has to be typed each time"
    assert rdistill("verify", "p.yaml", *typed).code == 0
    run = RunFolder("runs/p")
    verdicts = list(Ledger(run.ledger, read_only=True).rows(Verdict))
    assert verdicts and {verdict.status for verdict in verdicts} == {"pass"}
    assert {verdict.sandbox for verdict in verdicts} == {level}
    for stage in ("generate", "verify"):
        assert run.read_manifest(stage)["result"]["sandbox"] == {level: len(verdicts)}


def test_the_level_may_be_configured_and_landlock_may_be_missing(monkeypatch):
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(PrerequisiteError, match=r"medium is not met: .*bubblewrap; .*util-linux; .*lsm="):
        require("medium")


def test_a_kernel_without_seccomp_has_limits_at_most(monkeypatch):
    libc = SimpleNamespace(prctl=lambda *arguments: -1)
    monkeypatch.setattr(levels, "ctypes", SimpleNamespace(CDLL=lambda name: libc))
    for level in ("strong", "strong-nobwrap", "medium"):
        assert "CONFIG_SECCOMP_FILTER" in str(levels.missing(level))
    assert levels.missing("weak") is None


def test_weak_wants_a_second_word(monkeypatch):
    monkeypatch.setattr(probes, "fault_of", lambda level: None if level == "weak" else f"no {level}")
    for consent in (Consent(), Consent(untrusted=True)):
        with pytest.raises(PrerequisiteError, match="no strong; or accept"):
            require("strong", consent)
    for lowest, consent in (("strong", Consent(weak=True)), ("weak", Consent())):
        with pytest.raises(PrerequisiteError, match="--i-understand-untrusted-code"):
            require(lowest, consent)
    assert require("strong", Consent(weak=True, untrusted=True)) == "weak" == granted() == Sandbox().level


def test_a_better_level_than_required_is_taken(monkeypatch):
    monkeypatch.setattr(probes, "fault_of", lambda level: "no bwrap" if level == "strong" else None)
    assert require("medium") == "strong-nobwrap"
    monkeypatch.setattr(probes, "fault_of", lambda level: None)
    assert require("medium", Consent(weak=True)) == "strong"


def test_a_command_does_not_take_a_level_from_its_environment(monkeypatch):
    monkeypatch.setenv(levels.VARIABLE, "weak")
    assert rdistill("--version").code == 0
    assert granted() == "strong"
    monkeypatch.setenv(levels.VARIABLE, "none")
    with pytest.raises(PrerequisiteError, match="'none' is no sandbox level"):
        Sandbox()


def test_a_verifier_that_finds_no_sandbox_is_no_fault_of_its_pool(monkeypatch, tmp_path):
    programs(tmp_path / "bin", monkeypatch)
    done = rdistill("verifiers", "test", "code")
    assert done.code == 3 and "apt-get install bubblewrap" in done.err


def test_selftest_names_the_level(monkeypatch, tmp_path):
    programs(tmp_path / "bin", monkeypatch, "unshare", "setpriv")
    monkeypatch.setattr("rdistill.sandbox.probes.ATTACKS", {})
    monkeypatch.setattr("rdistill.sandbox.probes.LIMITS", {})
    done = rdistill("sandbox", "selftest", "--json")
    found = json.loads(done.out)
    assert (done.code, found["ok"], found["level"]) == (3, False, "strong-nobwrap")
    assert [row["level"] for row in found["probes"] if not row["ok"]] == ["strong"]
    done = rdistill("sandbox", "selftest", "--allow-weak-sandbox")
    assert done.code == 0 and done.out.endswith("level strong-nobwrap\n")
    (tmp_path / "x.py").write_text("print(6 * 7)")
    done = rdistill("sandbox", "run", tmp_path / "x.py", "--json", "--allow-weak-sandbox")
    assert (done.code, json.loads(done.out)["level"]) == (0, "strong-nobwrap")


def test_the_command_line_takes_consent_where_a_stage_may_ask_verifiers():
    tree = {"name": "t", "prompts": {"sources": [{"task": "word_problems", "size": 9}]}, "teacher": {"model": "m"}}
    config = Config(**tree, student={"model": "m"}, pair={"sources": ["student"]})
    assert tuple(stage.name for stage in stages_of(config) if stage.judges) == cli.SANDBOXED


@pytest.mark.slow
def test_a_service_reaches_stages_and_verifier_processes_and_is_on_every_row(place, monkeypatch):
    monkeypatch.setattr(probes, "fault_of", lambda level, url=None: None if level == "external" else "not asked")
    with Service(isolated) as service:
        configured = ("p.yaml", "sandbox.require=external", f"sandbox.url={service.url}")
        for command in ("generate", "verify"):
            done = rdistill(command, *configured)
            assert done.code == 0, done
            assert "warning code that a model wrote runs at sandbox level external" in " ".join(done.err.split())
        assert service.requests
    verdicts = list(Ledger(RunFolder("runs/p").ledger, read_only=True).rows(Verdict))
    assert {(verdict.status, verdict.sandbox) for verdict in verdicts} == {("pass", "external")}
    for stage in ("generate", "verify"):
        assert RunFolder("runs/p").read_manifest(stage)["result"]["sandbox"] == {"external": len(verdicts)}
