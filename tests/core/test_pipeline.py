"""Which stages run, in which order, and what is on disk when: with stages that only note that they were called."""

import fcntl
import io
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from rdistill import check, outputs, pipeline, stages, steps
from rdistill.config import load_config
from rdistill.errors import ConfigError, DataError, PrerequisiteError, RdistillError, TrainError
from rdistill.ledger import Ledger
from rdistill.pipeline import run_pipeline
from rdistill.records import Sample
from rdistill.run import RunFolder, write_durable
from rdistill.select.sealed import read_sealed
from rdistill.stages import STAGE_NAMES

CONFIG = {
    "name": "pipe",
    "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
    "teacher": {"model": "bundled:smollm2-135m-instruct"},
    "student": {"model": "bundled:smollm2-135m-instruct"},
}
Go = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def go(tmp_path: Path, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Go:
    """go("dpo.beta=0.5", until="pair") runs the pipeline and returns the stages that did their work."""
    (tmp_path / "pipe.yaml").write_text(yaml.safe_dump(CONFIG))
    called: list[str] = []

    def note(name: str) -> Callable[..., dict[str, Any]]:
        def work(run: RunFolder, config: Any, ledger: Ledger) -> dict[str, Any]:
            assert run.read_manifest(name) is None, "a stage that is at work does not count as done"
            called.append(name)
            return {"called": len(called)}

        return work

    for name in STAGE_NAMES:
        monkeypatch.setattr(steps, name, note(name))
    monkeypatch.setattr(pipeline, "check_verifiers", lambda config: None)
    monkeypatch.setattr(
        stages, "_run_child", lambda stage, run, logs, lock: stages.run_here(stage, run, load_config(run.config))
    )

    def run(*overrides: str, **options: Any) -> list[str]:
        called.clear()
        config = load_config(tmp_path / "pipe.yaml", [*overrides, f"run_dir={folder.root}"])
        run_pipeline(config, Console(quiet=True), **options)
        return [*called]

    return run


def after(name: str) -> list[str]:
    return list(STAGE_NAMES[STAGE_NAMES.index(name) :])


def test_all_stages_run_once_in_order_and_then_none(go: Go) -> None:
    assert go() == list(STAGE_NAMES)
    started = time.monotonic()
    assert go() == []
    assert time.monotonic() - started < 3


def test_only_what_follows_a_change_runs_again(go: Go) -> None:
    go()
    assert go("dpo.beta=0.5") == ["dpo", "evaluate", "report"]
    assert go("dpo.beta=0.5") == []
    assert go("dpo.beta=0.5", "teacher.system=Think, then ####.") == after("generate")
    assert go("dpo.beta=0.5", "teacher.system=Think, then ####.", "teacher.concurrency=2") == []
    assert go() == after("generate"), "going back is a change too"


def test_until_and_from(go: Go) -> None:
    assert go(until="select") == ["prompts", "generate", "verify", "select"]
    assert go(until="pair") == ["pair"]
    assert go() == after("sft")
    assert go(from_stage="verify", until="pair") == ["verify", "select", "pair"]
    assert go() == [], "what was made again from the same inputs is the same"
    assert go(from_stage="report") == ["report"]


def test_pairs_of_the_students_own_mistakes_wait_for_the_student(go: Go) -> None:
    own = 'pair.sources=["best_of_n", "student"]'
    go(until="select")
    assert go(own, until="pair") == ["sft", "pair"]
    assert go(own) == ["dpo", "evaluate", "report"]
    assert go(own, "sft.epochs=5") == ["sft", "pair", "dpo", "evaluate", "report"]
    assert go(own, "sft.epochs=5", "pair.student_samples=9", "dpo.beta=0.5") == ["pair", "dpo", "evaluate", "report"]
    with pytest.raises(ConfigError, match="--until sft comes before --from pair"):
        go(own, until="sft", from_stage="pair")
    with pytest.raises(DataError, match="stage pair needs stage sft, which was done with other settings"):
        go(own, only="pair")


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"until": "train"}, "--until 'train' is no stage; the stages are prompts, "),
        ({"from_stage": "x"}, "--from 'x' is no stage"),
        ({"until": "verify", "from_stage": "sft"}, "--until verify comes before --from sft"),
    ],
)
def test_stages_that_make_no_sense_are_refused(go: Go, options: dict, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        go(**options)


def test_one_stage_alone_needs_its_inputs_done_with_these_settings(go: Go) -> None:
    with pytest.raises(DataError, match="stage verify needs stage generate, which is not done; run: rdistill run"):
        go(only="verify")
    assert go(only="generate") == ["prompts", "generate"]
    assert go(only="verify") == ["verify"]
    assert go(only="verify") == ["verify"], "asked for by name, it runs again"
    with pytest.raises(DataError, match="stage verify needs stage generate, which was done with other settings"):
        go("teacher.max_samples=5", only="verify")
    assert go() == after("select")


def test_a_failed_stage_is_the_next_runs_first(go: Go, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = steps.sft

    def fails(*_: object) -> dict:
        raise TrainError("loss is NaN; lower sft.learning_rate")

    monkeypatch.setattr(steps, "sft", fails)
    with pytest.raises(TrainError, match="loss is NaN"):
        go()
    assert folder.read_manifest("pair") and folder.read_manifest("sft") is None
    monkeypatch.setattr(steps, "sft", whole)
    assert go() == after("sft")


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        TrainError("sft failed: OSError: [Errno 28] No space left on device; the whole output is in x"),
        ExceptionGroup("of tasks", [OSError(28, "No space left on device")]),
    ],
)
def test_a_full_disk_is_one_sentence_and_the_next_run_goes_on(
    go: Go, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object) -> dict:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(steps, "sft", full)
        with pytest.raises(
            RdistillError, match=rf"^no space left on {folder.root} .*; free some, then run ag"
        ) as caught:
            go()
    assert caught.value.exit_code == 4
    assert go() == after("sft")


def test_a_damaged_manifest_counts_as_not_done(go: Go, folder: RunFolder) -> None:
    go()
    for text in ("", "{", "[1]", '{"fingerprint": 3}'):
        folder.manifest("select").write_text(text)
        assert go()[0] == "select"


@pytest.fixture
def go_writing(go: Go, monkeypatch: pytest.MonkeyPatch) -> Go:
    """As `go`, but each stage leaves files, the same ones each time, where a real one does."""
    for name in STAGE_NAMES:
        before = getattr(steps, name)

        def work(run: RunFolder, *args: Any, name: str = name, before: Any = before) -> dict[str, Any]:
            result = before(run, *args)
            for path in run.outputs(name):
                path = path / "model.safetensors" if path.parent.name == "models" else path
                write_durable(path, f"{name} {path.name}")
            return result

        monkeypatch.setattr(steps, name, work)
    return go


@pytest.mark.parametrize(
    ("path", "again"),
    [
        ("data/sft.parquet", ["select"]),
        ("data/pairs.parquet", ["pair"]),
        ("data/quarantine.jsonl", ["generate", "verify", "select"]),
        ("models/sft/model.safetensors", ["sft"]),
        ("stages/dpo/result.json", ["dpo"]),
        ("evaluation/scorecard.json", ["evaluate"]),
        ("report.html", ["report"]),
    ],
)
def test_a_stage_whose_file_is_gone_or_altered_runs_again(
    go_writing: Go, folder: RunFolder, path: str, again: list[str]
) -> None:
    """What follows does so only where the file comes out another one."""
    go_writing()
    assert go_writing() == []
    whole = (folder.root / path).read_bytes()
    (folder.root / path).unlink()
    assert go_writing() == again
    assert (folder.root / path).read_bytes() == whole
    (folder.root / path).write_bytes(whole[:-1] + b"?")  # of the same size
    assert go_writing() == again
    assert go_writing() == []


def test_the_reason_names_the_file(go_writing: Go, folder: RunFolder, tmp_path: Path) -> None:
    go_writing()
    folder.pairs_data.unlink()
    said = io.StringIO()
    run_pipeline(load_config(tmp_path / "pipe.yaml", [f"run_dir={folder.root}"]), Console(file=said))
    assert "pair      starts: data/pairs.parquet is missing\n" in said.getvalue()
    assert "sft       done\ndpo       done\n" in said.getvalue()
    folder.sft_data.write_text("other")
    with pytest.raises(DataError, match=r"stage sft needs stage select, which is done, but data/sft.parquet was alte"):
        go_writing(only="sft")


def test_check_says_what_is_to_run_and_why_before_anything_did(
    go_writing: Go, folder: RunFolder, tmp_path: Path
) -> None:
    def planned(*overrides: str) -> dict[str, str]:
        return check.plan_of_stages(load_config(tmp_path / "pipe.yaml", [*overrides, f"run_dir={folder.root}"]))

    go_writing()
    assert set(planned().values()) == {"done"}
    plan = planned("sft.epochs=9")
    assert (plan["sft"], plan["dpo"], plan["evaluate"]) == ("sft.epochs changed", "sft runs again", "dpo runs again")
    go_writing("sft.epochs=9", until="sft")
    assert planned("sft.epochs=9")["dpo"] == "sft ran again"
    folder.pairs_data.unlink()
    assert planned("sft.epochs=9")["pair"] == "data/pairs.parquet is missing"


def test_a_line_is_not_broken_at_the_width_of_no_terminal(
    go_writing: Go, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "pair", lambda run, config, ledger: {"sha256": "0" * 64, "rows": 1})
    go_writing()
    folder.pairs_data.unlink(missing_ok=True)
    folder.manifest("pair").unlink()
    said = io.StringIO()
    run_pipeline(load_config(tmp_path / "pipe.yaml", [f"run_dir={folder.root}"]), Console(file=said, width=20))
    assert "pair      starts: not done yet\n" in said.getvalue()
    assert f"pair      sha256={'0' * 64}, rows=1  (0 s)\n" in said.getvalue()


def test_what_follows_a_file_that_came_out_another_one_runs_too(
    go_writing: Go, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_writing()
    whole = steps.pair

    def other(run: RunFolder, *args: Any) -> dict[str, Any]:
        result = whole(run, *args)
        write_durable(run.pairs_data, "other pairs")
        return result

    monkeypatch.setattr(steps, "pair", other)
    folder.pairs_data.unlink()
    assert go_writing(until="pair") == ["pair"]
    assert go_writing(until="dpo") == ["dpo"], "also in a later command"


def test_a_copied_run_is_read_once_and_is_done(go_writing: Go, folder: RunFolder, monkeypatch: Any) -> None:
    go_writing()
    os.utime(folder.model("sft") / "model.safetensors")
    assert go_writing() == []
    monkeypatch.setattr(outputs, "_sha256", lambda path: pytest.fail(f"{path} was read again"))
    assert go_writing() == []


def test_a_training_set_with_other_bytes_is_not_read(go_writing: Go, folder: RunFolder) -> None:
    go_writing()
    folder.pairs_data.write_text("x" * folder.pairs_data.stat().st_size)
    with pytest.raises(DataError, match=r"pairs.parquet is not what stage pair wrote \(its sha256 differs\); remo"):
        read_sealed(folder, folder.pairs_data)


def test_requests_without_a_reply_are_asked_for_again(
    go_writing: Go, folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, failed = steps.generate, [3, 2, 0]
    monkeypatch.setattr(steps, "generate", lambda *args: whole(*args) | {"requests_failed": failed.pop(0)})
    go_writing()
    said = io.StringIO()
    run_pipeline(load_config(tmp_path / "pipe.yaml", [f"run_dir={folder.root}"]), Console(file=said))
    assert "generate  starts: 3 requests had no reply\n" in said.getvalue()
    assert "sft       done\n" in said.getvalue(), "nothing else came of it"
    assert go_writing() == ["generate", "verify", "select"]
    assert go_writing() == []


def test_the_manifest_says_what_was_done(go: Go, folder: RunFolder) -> None:
    go()
    manifest = json.loads(folder.manifest("dpo").read_text())
    assert manifest["settings"]["dpo.beta"] == 0.1 and manifest["result"] == {"called": 7}
    assert manifest["versions"]["rdistill"] and manifest["seconds"] >= 0 and manifest["finished"].endswith("Z")
    assert manifest["seed"] == 0
    assert manifest["inputs"] == {name: folder.read_manifest(name)["fingerprint"] for name in ("sft", "pair")}
    assert manifest["code"] is None or len(manifest["code"]["commit"]) == 40


def test_what_changes_while_a_stage_works_is_not_what_it_used(
    go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text('{"prompt": "1 + 1?", "gold": "2"}\n')
    source = f"prompts.sources=[{{path: {data}}}]"

    def edited_meanwhile(*args: Any) -> dict[str, Any]:
        data.write_text('{"prompt": "1 + 1?", "gold": "3"}\n')
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(steps, "prompts", edited_meanwhile)
        go(source, until="prompts")
    assert go(source, until="prompts") == ["prompts"]


def test_a_run_that_is_refused_leaves_the_config_as_it_was(go: Go, folder: RunFolder) -> None:
    go()
    before = folder.config.read_text()
    with pytest.raises(PrerequisiteError):
        go("teacher.model=/nowhere/at/all")
    with pytest.raises(DataError):
        go("dpo.beta=0.5", only="evaluate")
    assert folder.config.read_text() == before


def test_a_copied_run_works_on_itself(go: Go, folder: RunFolder, tmp_path: Path) -> None:
    go()
    copy = tmp_path / "copy"
    shutil.copytree(folder.root, copy, symlinks=True)
    assert load_config(folder.config).run_dir == str(folder.root)
    assert load_config(copy / "config.yaml").run_dir == str(copy)
    assert load_config(copy / "config.yaml", [f"run_dir={tmp_path / 'third'}"]).run_dir == str(tmp_path / "third")


def test_warnings_of_a_stage_are_printed(go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(steps, "pair", lambda run, config, ledger: {"pairs": 3, "warnings": ["few pairs [3]"]})
    said = io.StringIO()
    run_pipeline(load_config(tmp_path / "pipe.yaml", [f"run_dir={tmp_path / 'other'}"]), Console(file=said))
    assert "warning   few pairs [3]\n" in said.getvalue()


def test_prerequisites_are_asked_for_before_the_teacher_not_without_it(
    go: Go, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(config: object) -> None:
        raise PrerequisiteError("student.model is nowhere")

    monkeypatch.setattr(pipeline, "check_prerequisites", missing)
    with pytest.raises(PrerequisiteError):
        go()
    monkeypatch.setattr(pipeline, "check_prerequisites", check.check_prerequisites)
    assert go() == list(STAGE_NAMES)
    monkeypatch.setattr(pipeline, "check_prerequisites", missing)
    assert go("dpo.beta=0.5") == ["dpo", "evaluate", "report"]
    assert go(until="pair") == []


def test_verifiers_look_for_what_they_need_before_they_are_asked(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(config: object) -> None:
        raise PrerequisiteError("no judge")

    go()
    monkeypatch.setattr(pipeline, "check_verifiers", missing)
    with pytest.raises(PrerequisiteError):
        go("verify.threshold=0.6", "verify.combine=weighted")
    assert go("dpo.beta=0.5", until="dpo") == ["dpo"]


def test_another_teacher_forgets_the_rows_and_keeps_the_completions(go: Go, folder: RunFolder) -> None:
    go()
    sample = Sample.create(
        problem_id="p",
        messages=[],
        rationale=None,
        answer=None,
        finish_reason="stop",
        usage={},
        sampling={},
        engine="e",
    )
    with Ledger(folder.ledger) as ledger:
        ledger.submit(sample, generation=("key", "{}")).result()
    go(from_stage="generate")
    assert Ledger(folder.ledger, read_only=True).count(Sample) == 1, "the same work again keeps its rows"
    go("teacher.max_samples=3")
    kept = Ledger(folder.ledger, read_only=True)
    assert kept.count(Sample) == 0 and kept.generation("key") == "{}"


def test_a_second_process_is_refused_and_the_next_is_not(go: Go, folder: RunFolder) -> None:
    with folder.locked(), pytest.raises(DataError, match=r"in use by process \d+; wait for it"):
        go()
    assert go() == list(STAGE_NAMES)


def test_of_many_that_start_at_once_one_goes_on(folder: RunFolder) -> None:
    def start(_: int) -> bool:
        try:
            with RunFolder(folder.root).locked():
                time.sleep(2)
                return True
        except DataError:
            return False

    with ThreadPoolExecutor(20) as threads:
        assert sum(threads.map(start, range(20))) == 1


def test_the_lock_outlives_the_parent_in_its_child(folder: RunFolder) -> None:
    """A child that inherits the descriptor keeps the run taken until it is gone too."""
    with folder.locked() as handle:
        inherited = os.dup(handle)
    with pytest.raises(DataError, match="in use"):
        folder.check_usable()
    os.close(inherited)
    folder.check_usable()


def test_looking_at_the_lock_does_not_take_it(folder: RunFolder) -> None:
    with folder.locked():
        pass
    folder.check_usable()
    with open(folder.root / ".lock") as f:
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_durable_write_leaves_the_old_file_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file.json"
    write_durable(path, "old")
    write_durable(path, b"new")
    assert path.read_text() == "new" and path.stat().st_mode & 0o777 == 0o644

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durable(path, "newer")
    assert path.read_text() == "new" and [p.name for p in path.parent.iterdir()] == ["file.json"]


def test_each_attempt_has_its_own_logs(folder: RunFolder) -> None:
    names = [folder.new_attempt().name for _ in range(3)]
    assert names == ["attempt_1", "attempt_2", "attempt_3"]
    assert (folder.logs / "latest").resolve().name == "attempt_3"
    copy = RunFolder(shutil.copytree(folder.root, folder.root.with_name("copy")))
    assert not (copy.logs / "latest").is_symlink(), "copied by what follows links"
    assert copy.new_attempt() == (copy.logs / "latest").resolve() == copy.logs / "attempt_4"
