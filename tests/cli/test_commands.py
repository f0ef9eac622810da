"""Every command on a real small run: what it prints, what it writes, and how it says no."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from command import error, rdistill
from mock_judge import JudgeEndpoint
from rich.console import Console
from scripted import Endpoint

from rdistill.config import load_config
from rdistill.ledger import Ledger
from rdistill.lineage import lineage, print_lineage
from rdistill.records import Example, Pair, Problem, Sample, Verdict
from rdistill.report.table import print_scorecard
from rdistill.run import RunFolder
from rdistill.stages import STAGE_NAMES

SECRET = "sk-planted-2f7a"


def write_config(folder: Path, url: str) -> Path:
    """A small run's config, and its data."""
    rows = [{"prompt": f"Item {n}: what is {n} + {n * 3 % 50}?", "gold": n + n * 3 % 50} for n in range(20)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "name": "made",
        "prompts": {"sources": [{"path": "rows.jsonl"}], "near_duplicate": 1, "test_fraction": 0.2},
        "teacher": {"engine": "openai", "model": "m", "base_url": url},
        "verify": {"timeout_s": 60, "workers": 1},
        "student": {"model": "bundled:smollm2-135m-instruct"},
    }
    (folder / "made.yaml").write_text(yaml.safe_dump(config))
    return folder / "made.yaml"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, RunFolder]]:
    """A config and its run, done until the pairs."""
    folder = tmp_path_factory.mktemp("made")
    with Endpoint() as endpoint, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", SECRET)
        write_config(folder, endpoint.url)
        done = rdistill("run", folder / "made.yaml", "--run-dir", folder / "run", "--until", "pair")
        assert done.code == 0, done.err
        yield folder / "made.yaml", RunFolder(folder / "run")


def test_the_key_is_written_nowhere(made: tuple[Path, RunFolder]) -> None:
    files = [p for p in made[0].parent.rglob("*") if p.is_file()]
    assert len(files) > 10 and not [p for p in files if SECRET.encode() in p.read_bytes()]


# run


def test_run_again_skips_what_is_done(made: tuple[Path, RunFolder]) -> None:
    done = rdistill("run", made[0], "--run-dir", made[1].root, "--until", "pair")
    assert done.code == 0
    assert [line.split() for line in done.err.splitlines()] == [[name, "done"] for name in STAGE_NAMES[:5]]


def test_the_resolved_config_repeats_the_run_from_anywhere(
    made: tuple[Path, RunFolder], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = rdistill("run", made[1].config, "--until", "pair")
    assert done.code == 0 and "starts" not in done.err
    assert not list(tmp_path.iterdir())
    assert load_config(made[1].config).run_dir == str(made[1].root)


def test_the_announcement_names_the_field_that_changed(made: tuple[Path, RunFolder]) -> None:
    done = rdistill(
        "check",
        made[0],
        "--run-dir",
        made[1].root,
        "pair.concise_ratio=0.5",
        "teacher.engine=vllm",
        "teacher.model=bundled:smollm2-135m-instruct",
        "--json",
    )
    stages = json.loads(done.out)["stages"]
    assert stages["prompts"] == "done" and stages["generate"].startswith("teacher.")
    assert stages["verify"] == "generate runs again", "nothing has run yet"


def test_a_stage_by_name_wants_its_inputs(made: tuple[Path, RunFolder], tmp_path: Path) -> None:
    done = rdistill("pair", made[0], "--run-dir", tmp_path / "new")
    assert done.code == 2
    assert "stage pair needs stage select, which is not done; run: rdistill run" in error(done)


def test_refused_prompts_end_no_run(tmp_path: Path) -> None:
    with Endpoint(refuses=lambda m: "content filter" if "Item 1" in m[-1]["content"] else None) as endpoint:
        done = rdistill("run", write_config(tmp_path, endpoint.url), "--run-dir", tmp_path / "run", "--until", "verify")
    assert done.code == 0, done.err
    run = RunFolder(tmp_path / "run")
    train = Ledger(run.ledger, read_only=True).rows(Problem, split="train")
    refused = [p.id for p in train if "Item 1" in p.messages[0]["content"]]
    result = (run.read_manifest("generate") or {})["result"]
    assert result["requests_without_reply"] == {"refused": 4 * len(refused)}
    assert f"{4 * len(refused)} requests were refused (HTTP 400" in result["warnings"][0]
    log = (run.logs / "latest" / "generate.log").read_text()
    assert refused and all(f"problem {problem_id}: refused: HTTP 400" in log for problem_id in refused)
    assert (run.read_manifest("verify") or {})["result"]["reasons"]["math: REQUEST_REFUSED"] == 4 * len(refused)


# show


def test_show_walks_from_any_row_to_its_family(made: tuple[Path, RunFolder]) -> None:
    run = made[1]
    ledger = Ledger(run.ledger, read_only=True)
    pair = next(ledger.rows(Pair))
    sample, problem = ledger.get(Sample, pair.chosen_id), ledger.get(Problem, pair.problem_id)
    assert sample and problem
    example = next((e for e in ledger.rows(Example) if e.sample_id == sample.id), next(ledger.rows(Example)))
    for row_id in (problem.id, sample.id, pair.id):
        found = json.loads(rdistill("show", run.root, row_id, "--json").out)
        assert found["problem"]["id"] == problem.id
        assert pair.id in [p["id"] for p in found["pairs"]]
        (shown,) = [s for s in found["samples"] if s["id"] == sample.id]
        assert [v["status"] for v in shown["verdicts"]] == ["pass"]
    found = json.loads(rdistill("show", run.root, example.id, "--json").out)
    assert example.id in [e["id"] for s in found["samples"] for e in s["examples"]]
    text = rdistill("show", run.root, pair.id).out
    assert f"> pair {pair.id}" in " ".join(text.split()) and "#### " in text
    assert re.search(r"math \d+: pass OK", text)


def test_show_takes_the_first_digits_and_refuses_what_is_not_one_row(made: tuple[Path, RunFolder]) -> None:
    run = made[1]
    ids = [s.id for s in Ledger(run.ledger, read_only=True).rows(Sample)]
    assert rdistill("show", run.root, ids[0][:12]).code == 0
    common = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in ids) > 3)
    for row_id, part in (
        (common, "give more digits"),
        ("zzz", "is no row of"),
        ("", "an id is needed"),
    ):
        done = rdistill("show", run.root, row_id)
        assert done.code == 2 and part in error(done)


def test_show_of_a_held_out_problem_has_each_models_answer(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    problem = Problem(id="ab", messages=[], gold="7", cluster="c", split="test")
    with Ledger(run.ledger) as ledger:
        ledger.write([problem])
    row = {"mode": "direct", "text": "It is 7.", "finish_reason": "length", "sandbox": None, "problem_id": "ab"}
    expected = [
        row | {"model": "base", "status": "unverifiable", "reason": "NO_ANSWER", "answer": None},
        row | {"model": "dpo", "status": "pass", "reason": "OK", "answer": "7"},
    ]
    rows = [*expected, expected[0] | {"problem_id": "abc"}]
    run.answers.parent.mkdir()
    run.answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = json.loads(rdistill("show", run.root, problem.id, "--json").out)
    assert found["answers"] == expected and found["samples"] == []
    text = " ".join(rdistill("show", run.root, problem.id).out.split())
    assert "base direct: unverifiable NO_ANSWER answer=None finish_reason=length assistant: It is 7." in text
    assert "dpo direct: pass OK answer=7 finish_reason=length" in text
    run.answers.write_text('["ab"]')
    done = rdistill("show", run.root, problem.id)
    assert done.code == 2 and "answers.jsonl: cannot be read" in error(done)


def test_show_hides_nothing_that_shaped_a_sample(tmp_path: Path) -> None:
    problem = Problem(id="ab", messages=[], gold="7", cluster="c", split="train", hint="3 + 4")
    fields = {"messages": [], "rationale": None, "answer": None, "usage": {}, "engine": "e", "problem_id": "ab"}
    sampling = {"hint": True, "index": 0}
    sample = Sample.create(**fields, sampling=sampling, finish_reason="failed", sandbox="medium", fault="HTTP 503")
    verdict = Verdict(
        sample_id=sample.id, verifier="code", version="1", status="unverifiable", reason="NO_REPLY", sandbox="strong"
    )
    with Ledger(RunFolder(tmp_path).ledger) as ledger:
        ledger.write([problem, sample, verdict])
    text = " ".join(rdistill("show", tmp_path, "ab").out.split())
    assert "split=train gold=7 hint=3 + 4" in text
    assert "answer answer=None hint=True finish_reason=failed sandbox=medium fault=HTTP 503" in text
    assert "NO_REPLY sandbox=strong" in text


def test_show_outside_a_run_says_so(tmp_path: Path) -> None:
    done = rdistill("show", tmp_path, "abc")
    assert done.code == 2 and "no ledger here; name the folder of a run" in error(done)
    assert not list(tmp_path.iterdir())


def test_hostile_text_is_shown_harmlessly(tmp_path: Path) -> None:
    hostile = "\x1b[31mred\x1b]0;title\x07 [bold]not bold[/bold] [/] \u202eevil"
    problem = Problem(
        id="ab", messages=[{"role": "user", "content": hostile}], gold=hostile, cluster="c", split="train"
    )
    sample = Sample.create(
        problem_id="ab",
        messages=[{"role": "assistant", "content": hostile}],
        rationale=None,
        answer=hostile,
        finish_reason="stop",
        usage={},
        sampling={},
        engine="e",
    )
    verdict = Verdict(
        sample_id=sample.id, verifier="m", version="1", status="fail", reason="WRONG_ANSWER", detail=hostile
    )
    run = RunFolder(tmp_path)
    with Ledger(run.ledger) as ledger:
        ledger.write([problem, sample, verdict])
    out = io.StringIO()
    print_lineage(lineage(tmp_path, "ab"), Console(file=out, width=20))
    assert "\x1b" not in out.getvalue() and "\u202e" not in out.getvalue() and "[bold]not bold[/bold]" in out.getvalue()


# export


def test_export_writes_each_format(made: tuple[Path, RunFolder], tmp_path: Path) -> None:
    run = made[1]
    sealed = pq.read_table(run.sft_data).num_rows, pq.read_table(run.pairs_data).num_rows
    assert min(sealed) > 5
    for name, files in {"trl": ("sft.jsonl", "dpo.jsonl"), "jsonl": ("sft.jsonl", "pairs.jsonl")}.items():
        done = rdistill("export", run.root, "--format", name, "--out", tmp_path / name)
        assert done.code == 0
        rows = [[json.loads(line) for line in (tmp_path / name / f).read_text().splitlines()] for f in files]
        assert tuple(map(len, rows)) == sealed
        if name == "trl":
            assert set(rows[0][0]) == {"id", "mode", "prompt", "completion"}
            assert set(rows[1][0]) == {"id", "mode", "prompt", "chosen", "rejected"}
    assert rdistill("export", run.root, "--format", "parquet", "--out", tmp_path / "p").code == 0
    assert (tmp_path / "p" / "sft.parquet").read_bytes() == run.sft_data.read_bytes()


def test_export_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    done = rdistill("export", tmp_path / "none")
    assert done.code == 2 and "none is no run's folder; name one that `rdistill run` made" in error(done)
    (tmp_path / "config.yaml").write_text("name: made\n")
    done = rdistill("export", tmp_path)
    assert done.code == 2 and f"has no data/sft.parquet; run: rdistill run {tmp_path}/config.yaml" in error(done)
    assert rdistill("export", tmp_path, "--format", "xml").code == 2


def test_export_to_where_nothing_can_be_written_says_so(made: tuple[Path, RunFolder], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", "/proc/x"):
        done = rdistill("export", made[1].root, "--out", place)
        assert done.code == 2 and f"{place}/sft.jsonl cannot be written (" in error(done) and "--out" in done.err


# verifiers test


def test_all_verifiers_are_tested_where_none_is_named(monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    names = [("format", "rdistill", "1"), ("judge", "rdistill", "1"), ("choice", "rdistill", "1")]
    monkeypatch.setattr("rdistill.verifiers.cases.list_verifiers", lambda: names)
    done = rdistill("verifiers", "test", "--timeout", 60)
    assert done.code == 0 and "not tested: judge: verifier 'judge' refused its options" in done.err
    rows = [line.split() for line in done.out.splitlines()]
    assert rows[0] == ["name", "n", "true_accepted", "false_accepted", "unverifiable", "wrong", "per_s"]
    numbers = {n: (checkout / f"verifiers/{n}/cases.jsonl").read_text().count("\n") for n in ("format", "choice")}
    assert [row[:2] for row in rows[1:]] == [[name, str(number)] for name, number in numbers.items()]
    found = json.loads(rdistill("verifiers", "test", "--json", "--timeout", 60).out)
    assert set(found) == {"format", "choice"}
    assert set(found["format"]) == set(json.loads(rdistill("verifiers", "test", "format", "--json").out))


def test_a_verifier_is_tested_with_its_options(tmp_path: Path) -> None:
    row = {"id": "a", "gold": "36", "answer": "#### 36", "expected": "pass"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(row))
    with JudgeEndpoint(lambda system, user: '{"score": 8}') as endpoint:
        for threshold, accepted in ((8, 1.0), (9, 0.0)):
            options = (f"base_url={endpoint.url}", "model=m", f"threshold={threshold}")
            given = [part for option in options for part in ("--option", option)]
            arguments = ("judge", "--cases", tmp_path / "cases.jsonl", "--json", "--timeout", 60, *given)
            assert json.loads(rdistill("verifiers", "test", *arguments).out)["true_accepted"] == accepted


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("judge",), "refused its options"),
        (("math", "--option", "strict"), "'strict' is not key=value"),
        (("math", "--option", "loud=true"), "loud"),
        (("--option", "strict=true"), "give its name too"),
        (("--cases", "x.jsonl"), "give its name too"),
    ],
)
def test_verifiers_test_says_what_is_wrong(arguments: tuple, part: str) -> None:
    done = rdistill("verifiers", "test", *arguments)
    assert done.code == 2 and part in error(done)


# init, help, exit codes


def test_init_writes_a_config_that_check_understands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = rdistill("init")
    assert done.code == 0 and "rdistill check rdistill.yaml" in done.out
    before = (tmp_path / "rdistill.yaml").read_text()
    config = load_config(tmp_path / "rdistill.yaml")
    assert config.answer.marker in config.teacher.system
    done = rdistill("init")
    assert done.code == 2 and "rdistill.yaml exists; name another file" in error(done)
    assert (tmp_path / "rdistill.yaml").read_text() == before
    assert "rdistill run a[b].yaml" in rdistill("init", "a[b].yaml").out
    assert rdistill("check", "rdistill.yaml", "--run-dir", "/tmp/[/b]x").code == 3, "no markup"
    done = rdistill("init", tmp_path / "no" / "folder.yaml")
    assert done.code == 2 and "cannot be written" in error(done)
    (tmp_path / "train.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n' * 3)
    assert rdistill("check", "rdistill.yaml").code == 3, "the hub is out of reach here"


COMMANDS = ("check", "init", "run", "ask", "show", "export", *STAGE_NAMES[1:])


def test_help_teaches() -> None:
    whole = rdistill("--help")
    assert whole.code == 0 and rdistill().out == whole.out
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\S", whole.out, re.MULTILINE), f"{command} is not listed with what it does"
        shown = rdistill(command, "--help")
        assert shown.code == 0 and "Usage: rdistill" in shown.out
        for line in re.findall(r"^  (-.*|\{?\[?\w+\]?\}?.*)$", shown.out, re.MULTILINE):
            assert len(line.split()) > 1
    assert "e.g." in rdistill("check", "--help").out and "dpo.beta=0.2" in rdistill("run", "--help").out
    assert rdistill("--version").out.startswith("rdistill ")


def test_exit_codes() -> None:
    assert rdistill("chekc").code == 2 and "Did you mean 'check'" in rdistill("chekc").err
    assert rdistill("check").code == 2 and rdistill("check", "x", "--what").code == 2
    done = rdistill("check", "no.yaml")
    assert done.code == 2 and "no.yaml: cannot be read" in error(done) and "name an existing YAML file" in done.err


def test_a_fault_of_ours_is_one_line_with_the_way_to_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("odd\n\x1b[31mthing [red]")

    monkeypatch.setattr("rdistill.config.load_config", broken)
    done = rdistill("check", "x.yaml")
    assert done.code == 4 and "KeyError" in error(done) and "--debug" in done.err and "[red]" in done.err
    assert "\x1b" not in done.err
    with pytest.raises(KeyError):
        rdistill("--debug", "check", "x.yaml")


def test_an_interrupt_is_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rdistill.config.load_config", stop)
    done = rdistill("check", "x.yaml")
    assert done.code == 130 and done.err.startswith("interrupted; what was finished is kept")


def test_a_closed_pipe_is_no_failure(checkout: Path) -> None:
    command = f"{sys.executable} -m rdistill.cli verifiers list --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=checkout)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_outcome_is_a_table(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    score = {
        "n": 200,
        "accuracy": 0.435,
        "accuracy_ci": [0.368, 0.504],
        "output_tokens_mean": 41.2,
        "latency_s": {"p50": 1.5, "p95": 2, "p99": 3},
    }
    test = {
        "first": "base",
        "second": "dpo",
        "mode": "explain",
        "difference": 0.3,
        "won": 70,
        "lost": 10,
        "p_value": 1e-9,
    }
    card = {"models": {"dpo": {"explain": score}}, "paired": [test], "pairs_invalid": 0, "leakage": 0}
    run.scorecard.parent.mkdir()
    run.scorecard.write_text(json.dumps(card))
    out = io.StringIO()
    print_scorecard(run, Console(file=out, width=200))
    text = " ".join(out.getvalue().split())
    assert "dpo explain 200 43.5% 36.8% - 50.4% 41.2 1.50 s" in text
    assert "dpo vs base, explain: +30.0% (won 70, lost 10, p = 1e-09)" in text
    assert "invalid pairs: 0, clusters on two sides of the split: 0" in text and f"scorecard: {run.scorecard}" in text
