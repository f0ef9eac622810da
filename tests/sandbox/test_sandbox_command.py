"""`rdistill sandbox run`: a program from a file or stdin, its result as JSON or as text."""

import json
import subprocess
import sys

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


def test_a_missing_or_binary_file_is_one_sentence(tmp_path):
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe")
    for name in ("none.py", "binary.py"):
        done = sandbox_run(name, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.count("\n") == 1 and name in done.stderr
