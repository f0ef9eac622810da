"""`rdistill sandbox run`: a program from a file or stdin, its result as JSON or as text."""

import json
import os
import shutil
import subprocess
import sys

import pytest

CLI = (sys.executable, "-m", "rdistill.cli", "sandbox", "run")


def sandbox_run(*arguments, cwd, **options):
    return subprocess.run([*CLI, *arguments], cwd=cwd, capture_output=True, text=True, **options)


def test_json_has_every_field(tmp_path):
    (tmp_path / "twice.py").write_text("print(input() * 2)")
    (tmp_path / "in.txt").write_text("ab\n")
    done = sandbox_run("twice.py", "--stdin", "in.txt", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert list(found) == ["status", "exit_code", "stdout", "stderr", "seconds", "level"]
    assert (found["status"], found["exit_code"], found["stdout"], found["level"]) == ("ok", 0, "abab\n", "strong")


def test_program_from_stdin_has_an_empty_stdin(tmp_path):
    code = "import sys; print(repr(sys.stdin.read())); sys.exit(3)"
    done = sandbox_run("-", "--json", cwd=tmp_path, input=code)
    found = json.loads(done.stdout)
    assert (found["status"], found["exit_code"], found["stdout"]) == ("error", 3, "''\n")
    assert done.returncode == 0


def test_text_output_shows_control_characters_as_marks(tmp_path):
    done = sandbox_run("-", cwd=tmp_path, input=r"print('a\x1b[31mb')")
    assert done.stdout == "a⟨U+001B⟩[31mb\n" and "ok, exit status 0" in done.stderr


def test_a_file_that_cannot_be_opened_is_one_sentence(tmp_path):
    (tmp_path / "program.py").write_text("")
    for arguments in (("none.py",), (".",), ("program.py", "--stdin", "none.txt"), ("none.py", "--json")):
        done = sandbox_run(*arguments, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout
        assert "cannot be read (" in done.stderr and "name an existing file" in done.stderr


@pytest.mark.parametrize(
    ("program", "status", "exit_code", "stdout", "stderr"),
    [
        (b"\xff\xfe", "error", 1, "", "SyntaxError: (unicode error) 'utf-8' codec can't decode byte 0xff"),
        (b"# -*- coding: latin-1 -*-\r\nprint(ascii('\xe4'))\r\n", "ok", 0, "'\\xe4'\n", ""),
        (b"# -*- coding: no-such -*-\nprint(1)\n", "error", 1, "", "encoding: no-such"),
        (b"\xef\xbb\xbfprint(ascii('\xc3\xa4'))", "ok", 0, "'\\xe4'\n", ""),
        (b"print(1)\0", "error", 1, "", "SyntaxError: source code string cannot contain null bytes"),
        (b"", "ok", 0, "", ""),
    ],
)
def test_a_program_is_read_as_python_reads_a_file(tmp_path, program, status, exit_code, stdout, stderr):
    (tmp_path / "program.py").write_bytes(program)
    done = sandbox_run("program.py", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (found["status"], found["exit_code"], found["stdout"]) == (status, exit_code, stdout)
    assert stderr in found["stderr"]


def test_stdin_may_be_any_bytes(tmp_path):
    (tmp_path / "in.bin").write_bytes(bytes(range(256)))
    code = "import sys; data = sys.stdin.buffer.read(); print(data == bytes(range(256)))"
    done = sandbox_run("-", "--stdin", "in.bin", "--json", cwd=tmp_path, input=code)
    assert json.loads(done.stdout)["stdout"] == "True\n"


def test_the_time_limit_is_an_option(tmp_path):
    done = sandbox_run("-", "--json", "--timeout", "0.6", cwd=tmp_path, input="import time; time.sleep(30)")
    found = json.loads(done.stdout)
    assert found["status"] == "timeout" and 0.6 <= found["seconds"] < 5


def test_the_code_verifier_is_tested_without_bubblewrap_where_that_is_accepted(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("setpriv", "unshare"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    gold = {"kind": "stdio", "cases": [{"stdin": "2\n", "stdout": "4\n"}]}
    row = {"id": "a", "gold": gold, "answer": "```python\nprint(int(input()) * 2)\n```", "expected": "pass"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row))
    command = [sys.executable, "-m", "rdistill.cli", "verifiers", "test", "code", "--cases", "cases.jsonl", "--json"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True, "env": {**os.environ, "PATH": str(tools)}}
    refused = subprocess.run(command, **options)
    assert refused.returncode == 3 and "apt-get install bubblewrap" in refused.stderr
    done = subprocess.run([*command, "--allow-weak-sandbox", "--i-understand-untrusted-code"], **options)
    assert json.loads(done.stdout)["true_accepted"] == 1.0 and "warning: code that a model wrote runs" in done.stderr
