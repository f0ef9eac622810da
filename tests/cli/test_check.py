"""`rdistill check` on bad configs and data: exit 2 or 3 within ten seconds, one sentence with field and remedy."""

import fcntl
import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from command import rdistill
from scripted import Endpoint
from tiny_student import CHATML, EATS_REASONING, NEVER_ENDS, NO_SYSTEM, make_student

STUDENT = "bundled:smollm2-135m-instruct"
GOOD = {
    "name": "good",
    "prompts": {"sources": [{"path": "data.jsonl", "fields": {"prompt": "question", "gold": "answer"}}]},
    "teacher": {"model": STUDENT},
    "student": {"model": STUDENT},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good config and good data, which is also the current one."""
    monkeypatch.chdir(tmp_path)
    rows = [
        {"question": f"What is {n} + {n * n}?", "answer": n + n * n, "solution": f"Add them.\n#### {n + n * n}"}
        for n in range(40)
    ]
    write_rows(tmp_path / "data.jsonl", rows)
    (tmp_path / "good.yaml").write_text(yaml.safe_dump(GOOD))
    return tmp_path


def write_rows(path: Path, rows: list) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def limit_s() -> float:
    """Ten seconds of a machine that does nothing else."""
    return 10 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def sentence(err: str) -> str:
    """The one line of an error message, without its label."""
    lines = err.strip().splitlines()
    assert len(lines) == 1, f"not one line: {err}"
    assert lines[0].startswith("error: ") and "Traceback" not in err and "fault of rdistill" not in err
    return lines[0].removeprefix("error: ")


# Text of a whole config file -> what its sentence must say (several parts: the field, then the remedy).
FILES = {
    "bad yaml": ("name: [unclosed", ["bad.yaml", "not plain YAML", "mend"]),
    "tab": ("name: x\n\tprompts: 1", ["bad.yaml", "line 2", "mend"]),
    "duplicate key": ("name: x\nname: y", ["'name' stands twice", "mend"]),
    "python tag": ("name: !!python/object/apply:os.system ['touch hacked']", ["python/object", "mend"]),
    "alias": ("a: &a [x]\nb: [*a, *a]", ["aliases", "mend"]),
    "number as key": ("1: x", ["key 1 is not text", "quotes"]),
    "too deep": ("name: " + "[" * 5000, ["levels", "mend"]),
    "too many": ("name: [" + "x, " * 20_000 + "]", ["10000 nodes", "mend"]),
    "too large": ("# " + "x" * 2_000_000, ["2000002 bytes", "at most 1048576", "name another file"]),
    "no mapping": ("- a\n- b", ["holds list", "expected a mapping"]),
    "empty": ("", ["holds NoneType", "expected a mapping"]),
    "nothing in it": ("{}", ["name is missing", "add it"]),
}

# key=value on a good config -> what its sentence must say.
OVERRIDES = {
    "unknown section": (["tacher.model=x"], ["'tacher'", "did you mean 'teacher'?"]),
    "unknown key": (["dpo.betta=1"], ["'dpo.betta'", "did you mean 'beta'?"]),
    "text for a number": (["sft.epochs=many"], ["sft.epochs", '"many"', "expected a valid number"]),
    "flag for a number": (["teacher.max_samples=yes"], ["teacher.max_samples", "true", "change it"]),
    "number for text": (["teacher.system=5"], ["teacher.system=5", "expected text", "quotes"]),
    "comment for text": (["answer.marker=####"], ["answer.marker=null", "quotes"]),
    "list for a section": (["sft=[1]"], ["sft=[1]", "expected a mapping"]),
    "not a number": (["sft.learning_rate=.nan"], ["sft.learning_rate=NaN", "finite"]),
    "infinite": (["dpo.learning_rate=.inf"], ["dpo.learning_rate=Infinity", "finite"]),
    "zero": (["evaluate.limit=0"], ["evaluate.limit=0", "greater than or equal to 1"]),
    "negative": (["dpo.beta=-1"], ["dpo.beta=-1", "greater than 0"]),
    "share above one": (["prompts.test_fraction=1.5"], ["prompts.test_fraction=1.5", "less than or equal to 1"]),
    "unknown mode": (["teacher.mode=debate"], ["teacher.mode", "'rationale', 'critique_revise' or 'tool_trace'"]),
    "unknown student mode": (["select.modes=[brief]"], ["select.modes.0", "'explain', 'direct' or 'tool'"]),
    "no models": (["evaluate.models=[]"], ["evaluate.models=[]", "add one"]),
    "name with a slash": (["name=a/b"], ["name=", "change it"]),
    "not key=value": (["dpo.beta"], ["'dpo.beta' is not key=value", "write e.g."]),
    "index out of range": (["prompts.sources.3.path=x"], ["prompts.sources.3.path", "no index of a list of 1"]),
    "below a value": (["prompts.sources.0=5", "prompts.sources.0.path=x"], ["'path'", "set that one whole"]),
    "bad yaml in a value": (["teacher.system='open"], ["teacher.system", "mend it"]),
    "two origins": (["prompts.sources.0.task=word_problems"], ["prompts.sources.0", "exactly one of path, hub, task"]),
    "task without a size": (["prompts.sources=[{task: word_problems}]"], ["prompts.sources.0", "needs a size"]),
    "unknown task": (["prompts.sources=[{task: sudoku_9, size: 5}]"], ["'sudoku_9'", "known: arithmetic, "]),
    "endpoint without address": (["teacher.engine=openai"], ["base_url", "e.g."]),
    "address without a scheme": (
        ["teacher.engine=openai", "teacher.base_url=notaurl"],
        ["teacher", "base_url='notaurl' does not begin with http://", "write it in front"],
    ),
    "memory for no program": (["sandbox.memory_mb=8"], ["sandbox.memory_mb=8", "greater than or equal to 32"]),
    "memory for no process": (["verify.memory_mb=1"], ["verify.memory_mb=1", "greater than or equal to 256"]),
    "tools taken away": (["teacher.mode=tool_trace", "teacher.tools=[]"], ["tools", "e.g."]),
    "tool mode without traces": (["select.modes=[tool]"], ["select.modes", "teacher.mode=rationale", "tool_trace"]),
    "tool measured without traces": (["evaluate.modes=[tool]"], ["evaluate.modes", "teacher.mode", "tool_trace"]),
    "modes alike": (
        ["student.prompts={explain: Answer., direct: Answer.}"],
        ["student.prompts.direct and .explain are equal", "change one"],
    ),
    "mode without a prompt": (["student.prompts.direct=''"], ["student.prompts", "add student.prompts.direct"]),
    "more wanted than asked": (["teacher.want_pass=9"], ["teacher.max_samples=8", "teacher.want_pass=9", "raise it"]),
    "no room for the prompt": (
        ["teacher.sampling.max_tokens=4096"],
        ["teacher.sampling.max_tokens=4096", "teacher.vllm.max_model_len=2048", "raise"],
    ),
    "nothing weighs": (["sft.weights={rationale: 0, answer: 0, tool_call: 0}"], ["sft.weights", "raise one"]),
    "modes weighed twice": (["sft.mode_weights={direct: 2}", "sft.multitask_lambda=0.5"], ["sft.mode_weights", "take"]),
    "direct weighs nothing": (["sft.weights.answer=0"], ["sft.weights.answer=0", "'direct'", "raise it"]),
    "nothing required": (
        ["verify.verifiers=[{name: math, required: false}]"],
        ["verify.verifiers", "required: true", "require one"],
    ),
    "a value twice": (["select.modes=[explain, explain]"], ["select.modes", "'explain' twice", "take one out"]),
    "two markers": (
        ["verify.verifiers=[{name: math}, {name: format, options: {marker: '####'}}]", "answer.marker='Answer:'"],
        ["verify.verifiers.1.options.marker='####'", "answer.marker='Answer:'", "set both"],
    ),
    "blank marker": (["answer.marker=' '"], ["answer.marker", "use visible text"]),
    "unknown verifier": (["verify.verifiers=[{name: maths}]"], ["'maths' is unknown", "did you mean 'math'?"]),
    "verifier's file missing": (["verify.verifiers=[{name: 'my.py:Mine'}]"], ["my.py:Mine", "no such file"]),
    "verifier's option": (
        ["verify.verifiers=[{name: math, options: {strickt: true}}]"],
        ["verify.verifiers", "strickt", "correct"],
    ),
    "no folder of data": (["data_dir=nowhere"], ["data_dir", "nowhere", "name the one"]),
    "no file of data": (
        ["prompts.sources.0.path=nothing.jsonl"],
        ["prompts.sources.0.path", "nothing.jsonl", "correct"],
    ),
    "column missing": (
        ["prompts.sources.0.fields.prompt=questoin"],
        ["prompts.sources.0.fields.prompt", "no column 'questoin'", "question"],
    ),
    "gold column missing": (["prompts.sources.0.fields.gold=label"], ["fields.gold", "'label'", "answer"]),
    "gold is no equation": (
        ["prompts.sources.0.fields.gold=question", "prompts.sources.0.gold_format=equation"],
        ["prompts.sources.0", "gold", "gold_format"],
    ),
    "gold that math refuses": (
        ["prompts.sources.0.fields.gold=solution"],
        ["verify.verifiers", "'math'", "verify.max_bad_gold=0.1", "prompts.sources.N.fields.gold"],
    ),
    "no gold": (["prompts.sources.0.fields.gold=null"], ["no gold answer", "'math'", "fields.gold"]),
    "empty test split": (["prompts.test_fraction=0"], ["evaluate.split=test", "prompts.test_fraction"]),
    "all rows held out": (["prompts.test_fraction=1"], ["train split is empty", "lower prompts.test_fraction"]),
    "no such model": (["student.model=/nowhere/model"], ["student.model='/nowhere/model'", "give an existing folder"]),
    "no hub id": (["student.model=gpt 2"], ["student.model='gpt 2'", "OWNER/NAME"]),
    "hub out of reach": (["student.model=nobody/nothing"], ["student.model='nobody/nothing'", "give a local folder"]),
    "no bundled model": (["teacher.model=bundled:gpt-9"], ["teacher.model='bundled:gpt-9'", "there is smollm2"]),
    "folder of no model": (["student.model=."], ["student.model=", "without config.json", "name a folder"]),
    "DeepSpeed file missing": (["sft.deepspeed=ds.json"], ["sft.deepspeed=", "ds.json", "name a"]),
    "tracker missing": (
        ["dpo.report_to=[trackio]"],
        ["dpo.report_to", "trackio is not installed", "pip install trackio"],
    ),
    "run inside a file": (["run_dir=good.yaml/run"], ["run_dir=", "good.yaml is a file", "give another"]),
    "run where nothing can be": (["run_dir=/proc/1/run"], ["run_dir='/proc/1/run'", "give another"]),
    "dead endpoint": (
        ["teacher.engine=openai", "teacher.base_url=http://127.0.0.1:9/v1"],
        ["teacher.base_url='http://127.0.0.1:9/v1'", "start the server"],
    ),
    "address of nothing": (
        ["teacher.engine=openai", "teacher.base_url=http://[::bad/v1"],
        ["teacher.base_url='http://[::bad/v1'", "correct the address"],
    ),
}


@pytest.mark.parametrize("name", FILES)
def test_a_config_that_cannot_be_read_is_one_sentence(place: Path, name: str) -> None:
    text, parts = FILES[name]
    (place / "bad.yaml").write_text(text)
    started = time.monotonic()
    done = rdistill("check", "bad.yaml")
    assert done.code == 2 and time.monotonic() - started < limit_s()
    assert not [part for part in parts if part not in sentence(done.err)], done.err
    assert not (place / "hacked").exists()


@pytest.mark.parametrize("name", OVERRIDES)
def test_a_wrong_field_is_one_sentence(place: Path, name: str) -> None:
    overrides, parts = OVERRIDES[name]
    started = time.monotonic()
    done = rdistill("check", "good.yaml", *overrides)
    assert done.code in (2, 3), done
    assert time.monotonic() - started < limit_s()
    assert not [part for part in parts if part not in sentence(done.err)], done.err
    assert not done.out


def test_check_of_a_good_config_says_what_would_be_done(place: Path) -> None:
    make_student(place / "student")
    done = rdistill("check", "good.yaml", "student.model=student", "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert plan["problems"]["splits"]["train"] + plan["problems"]["splits"]["test"] > 30
    assert plan["gold"] == {"checked": 40, "quarantined": 0, "reasons": {}, "splits": {}, "examples": []}
    assert set(plan["stages"].values()) == {"not done yet"}
    weights = {(p["role"], p["weight"]) for p in plan["example"]["pieces"]}
    assert weights == {(None, 0.0), ("rationale", 1.0), ("answer", 1.0)}
    assert not (place / "runs").exists(), "check makes nothing"
    shown = rdistill("check", "good.yaml", "student.model=student").out
    assert "The reasoning is a placeholder" in shown.replace("the", "The") and "weights" in shown


def test_check_warns_of_what_is_probably_not_meant(place: Path) -> None:
    done = rdistill(
        "check", "good.yaml", "teacher.system=Answer after ####.", "teacher.sampling.temperature=0", "--json"
    )
    found = json.loads(done.out)["warnings"]
    assert any("teacher.system" in w and "quotes" in w for w in found)
    assert any("temperature=0" in w for w in found)
    done = rdistill("check", "good.yaml", "verify.verifiers=[{name: agreement}]", "--json")
    assert any("verify.verifiers has none that judges one answer alone" in w for w in json.loads(done.out)["warnings"])


def test_check_warns_of_texts_that_end_otherwise_than_the_marker_says(place: Path) -> None:
    examples = "teacher.examples=[{question: q, reply: 'So #### 1'}, {question: q, reply: 'So Final: 1'}]"
    prompts = 'student.prompts.explain="Reason. End with ####."'
    system = "teacher.system='End with Final: and the answer.'"
    done = rdistill("check", "good.yaml", "answer.marker='Final:'", system, examples, prompts, "--json")
    assert done.code == 0, done.err
    about = [w.split(" ")[0] for w in json.loads(done.out)["warnings"]]
    assert about == ["teacher.examples.0.reply", "student.prompts.explain"]


@pytest.mark.parametrize(
    ("verifiers", "says"),
    [
        ("[{name: length}]", "no bounds; set an option"),
        ("[{name: language}]", "'language' does not accept 40 of 40 gold answers"),
        ("[{name: math}, {name: format, options: {max_answer_chars: many}}]", "max_answer_chars is 'many'"),
        ("[{name: math, options: {strict: maybe}}]", "strict is 'maybe'"),
    ],
)
def test_check_refuses_verifiers_that_could_judge_nothing(place: Path, verifiers: str, says: str) -> None:
    done = rdistill("check", "good.yaml", f"verify.verifiers={verifiers}")
    assert done.code == 2 and says in sentence(done.err)


def test_check_tells_of_gold_that_will_be_quarantined(place: Path) -> None:
    rows = [{"question": f"What is {n} + {n}?", "answer": str(2 * n) if n else "n/a\n#### or 0"} for n in range(40)]
    write_rows(place / "data.jsonl", rows)
    done = rdistill("check", "good.yaml", "--json")
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    assert (plan["gold"]["quarantined"], plan["gold"]["reasons"]) == (1, {"math: BAD_GOLD": 1})
    assert any("1 of 40 gold answers fail their own verifier" in w and "n/a" in w for w in plan["warnings"])
    assert "gold: 40 checked, 1 to be quarantined" in rdistill("check", "good.yaml").out
    done = rdistill("check", "good.yaml", "verify.max_bad_gold=0.02")
    assert done.code == 2 and "above verify.max_bad_gold=0.02" in sentence(done.err)


@pytest.mark.parametrize(
    ("template", "part"),
    [
        (EATS_REASONING, "drops or rewrites"),
        (NEVER_ENDS, "could not stop"),
        (NO_SYSTEM, "no system"),
        (None, "chat template"),
    ],
)
def test_a_template_that_would_spoil_training_is_refused(place: Path, template: str | None, part: str) -> None:
    make_student(place / "student", template)
    done = rdistill("check", "good.yaml", "student.model=student", "select.modes=[direct, explain]")
    assert done.code == 2
    text = sentence(done.err)
    assert "student.model='" in text and "/student'" in text and part in text and "take another model" in text


def test_a_template_that_never_ends_is_ended(place: Path) -> None:
    make_student(place / "student", "{% for i in range(99999) %}{{ range(99999)|sum }}{% endfor %}")
    done = rdistill("check", "good.yaml", "student.model=student")
    assert done.code == 3
    text = sentence(done.err)
    assert "student.model='" in text and "chat template takes more than 2 s" in text and "another model" in text


@pytest.mark.parametrize(("missing", "code"), [("tokenizer.json", 3), ("model.safetensors", 3), ("config.json", 3)])
def test_a_model_folder_that_is_not_whole_is_refused(place: Path, missing: str, code: int) -> None:
    make_student(place / "student", CHATML)
    (place / "student" / missing).unlink()
    for field in ("student.model", "teacher.model"):
        done = rdistill("check", "good.yaml", f"{field}=student")
        assert done.code == code
        assert field in sentence(done.err) and "name a folder that holds a whole model" in done.err


def test_a_damaged_tokenizer_is_refused(place: Path) -> None:
    (make_student(place / "student") / "tokenizer.json").write_text("{")
    done = rdistill("check", "good.yaml", "student.model=student")
    assert done.code == 3 and "/student': its tokenizer cannot be loaded" in sentence(done.err)


def test_deepspeed_files_must_be_json_objects(place: Path) -> None:
    for text, part in (("{", "is not JSON"), ("[]", "holds list, expected an object")):
        (place / "ds.json").write_text(text)
        done = rdistill("check", "good.yaml", "dpo.deepspeed=ds.json")
        assert done.code == 2 and "dpo.deepspeed=" in sentence(done.err) and part in done.err


def test_data_files_that_cannot_be_used(place: Path) -> None:
    good = (place / "data.jsonl").read_bytes()
    (place / "cut.jsonl.gz").write_bytes(gzip.compress(good)[:-20])
    (place / "not.parquet").write_bytes(good)
    (place / "table.xlsx").write_bytes(good)
    (place / "empty.jsonl").write_text("")
    (place / "broken.jsonl").write_bytes(good + b"{half a row\n" * 20)
    (place / "latin.csv").write_bytes("question,answer\nWhat is £1?,1\n".encode("latin-1"))
    for name in ("cut.jsonl.gz", "not.parquet", "table.xlsx", "empty.jsonl", "broken.jsonl", "latin.csv"):
        done = rdistill("check", "good.yaml", f"prompts.sources.0.path={name}")
        assert done.code == 2, (name, done)
        assert name in sentence(done.err) and ";" in done.err
    (place / "saved").mkdir()
    for command in ("check", "run"):
        done = rdistill(command, "good.yaml", "prompts.sources.0.path=saved")
        assert done.code == 2 and "prompts.sources.0.path: 'saved' is a folder" in sentence(done.err)
        assert "write hub: saved" in done.err


def test_a_verifier_plugin_that_does_not_import_is_refused(place: Path) -> None:
    (place / "mine.py").write_text("import not_there_at_all\nclass Mine: pass\n")
    done = rdistill("check", "good.yaml", "verify.verifiers=[{name: 'mine.py:Mine'}]")
    assert done.code == 2
    assert "verify.verifiers" in sentence(done.err) and "not_there_at_all" in done.err


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        (["teacher.mode=tool_trace", "teacher.tools=[python]"], "teacher.tools"),
        (["verify.verifiers=[{name: math}, {name: code}]"], "verify.verifiers"),
    ],
)
def test_code_of_a_model_wants_a_sandbox(
    place: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], field: str
) -> None:
    monkeypatch.setenv("PATH", str(place))
    done = rdistill("check", "good.yaml", *overrides)
    assert done.code == 3
    assert (
        f"{field} runs code that a model wrote, but sandbox.require=strong is not met: the sandbox needs bubblewrap"
        in sentence(done.err)
    )


def test_a_judge_is_asked_for_one_token_before_it_is_needed(place: Path) -> None:
    judge = "verify.verifiers=[{name: judge, timeout_s: 90, options: {base_url: '%s', model: m}}]"
    done = rdistill("check", "good.yaml", judge % "http://127.0.0.1:9/v1")
    assert done.code == 3
    said = sentence(done.err)
    assert "verify.verifiers: verifier 'judge': options.base_url='http://127.0.0.1:9/v1' does not answer" in said
    assert "start the server" in said
    done = rdistill("check", "good.yaml", "verify.verifiers=[{name: judge, timeout_s: 90}]")
    assert done.code == 2 and "base_url" in sentence(done.err)
    with Endpoint() as endpoint:
        done = rdistill("check", "good.yaml", judge % endpoint.url)
    assert (done.code, endpoint.requests) == (0, 1), done


def test_a_run_in_use_is_refused(place: Path) -> None:
    (place / "runs" / "good").mkdir(parents=True)
    with open(place / "runs" / "good" / ".lock", "w") as f:
        f.write("4242")
        f.flush()
        fcntl.flock(f, fcntl.LOCK_EX)
        for command in ("check", "run", "generate"):
            done = rdistill(command, "good.yaml")
            assert done.code == 2
            assert "in use by process 4242" in sentence(done.err) and "give another --run-dir" in done.err
    assert rdistill("check", "good.yaml").code == 0


def test_a_run_never_takes_the_place_of_the_users_own_config(place: Path) -> None:
    (place / "good.yaml").rename(place / "config.yaml")
    before = (place / "config.yaml").read_bytes()
    for command in ("check", "run"):
        done = rdistill(command, "config.yaml", "--run-dir", ".")
        assert done.code == 2 and "run_dir=" in sentence(done.err) and "overwritten" in done.err
    assert (place / "config.yaml").read_bytes() == before


def test_a_run_takes_neither_another_runs_place_nor_that_of_other_files(place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / ".hidden").write_text("")
    assert rdistill("check", "good.yaml", "--run-dir", "mine").code == 0
    (place / "mine" / "photo.png").write_text("")
    for command in ("check", "run"):
        done = rdistill(command, "good.yaml", "--run-dir", "mine")
        assert done.code == 2 and "holds 'photo.png' but no run; give a folder that is new" in sentence(done.err)
    assert len(list((place / "mine").iterdir())) == 2
    (place / "runs" / "good").mkdir(parents=True)
    (place / "runs" / "good" / ".lock").write_text("")
    (place / "runs" / "good" / "config.yaml").write_text("name: good\n")
    assert rdistill("check", "good.yaml").code == 0
    for command in ("check", "run", "select"):
        done = rdistill(command, "good.yaml", "name=other", "--run-dir", "runs/good")
        assert done.code == 2 and "holds the run 'good' and the config's name is 'other'" in sentence(done.err)
        assert "give another --run-dir, or name: good" in done.err
    assert (place / "runs" / "good" / "config.yaml").read_text() == "name: good\n"


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_an_endpoint_that_accepts_and_never_answers_is_given_up(place: Path, silent_port: int) -> None:
    started = time.monotonic()
    done = rdistill(
        "check", "good.yaml", "teacher.engine=openai", f"teacher.base_url=http://127.0.0.1:{silent_port}/v1"
    )
    assert done.code == 3 and time.monotonic() - started < limit_s()
    assert "teacher.base_url=" in sentence(done.err) and "gave no token in 6 s" in done.err


@pytest.mark.parametrize(
    ("status", "body", "part"),
    [
        (401, b"no", "set the key in $MY_KEY"),
        (404, b'{"error": "model x"}', "check teacher.model"),
        (200, b"<html>hello</html>", "mostly ends in /v1"),
        (200, b'{"choices": []}', "no chat completion"),
        (200, b"[]", "no chat completion"),
    ],
)
def test_an_endpoint_that_is_none_is_refused(place: Path, status: int, body: bytes, part: str) -> None:
    with Endpoint(broken=lambda n: (status, body)) as endpoint:
        options = ("teacher.engine=openai", f"teacher.base_url={endpoint.url}", "teacher.api_key_env=MY_KEY")
        done = rdistill("check", "good.yaml", *options)
    assert done.code == 3
    assert "teacher.base_url=" in sentence(done.err) and part in done.err


def test_a_working_endpoint_costs_one_token(place: Path) -> None:
    with Endpoint() as endpoint:
        done = rdistill("check", "good.yaml", "teacher.engine=openai", f"teacher.base_url={endpoint.url}")
    assert (done.code, endpoint.requests) == (0, 1)


REAL = {
    "missing file": (["check", "none.yaml"], 2),
    "unknown key": (["check", "good.yaml", "dpo.betta=1"], 2),
    "gold": (["check", "good.yaml", "prompts.sources.0.fields.gold=solution"], 2),
    "model": (["check", "good.yaml", "student.model=/nowhere"], 3),
    "good": (["check", "good.yaml"], 0),
}


@pytest.mark.parametrize("name", REAL)
def test_the_installed_command_does_the_same(place: Path, name: str) -> None:
    arguments, code = REAL[name]
    started = time.monotonic()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "rdistill.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == code, done
    assert code == 0 or time.monotonic() - started < limit_s(), "what is wrong is said within ten seconds"
    if code:
        sentence(done.stderr)


def test_no_sentence_is_said_twice() -> None:
    """The table covers different faults, thirty at least."""
    parts: list[Callable | list[str]] = [p for _, p in [*FILES.values(), *OVERRIDES.values()]]
    assert len({json.dumps(p) for p in parts}) == len(parts) > 60
