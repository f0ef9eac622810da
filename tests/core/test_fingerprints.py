"""A change of one field re-runs the stages that depend on it, and those alone."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdistill.config import Config, dump_config, load_config
from rdistill.errors import ConfigError, DataError
from rdistill.stages import HARMLESS, STAGES, fingerprints, flatten, why_rerun, without_indices

NAMES = [stage.name for stage in STAGES]
PLACES = ("run_dir", "data_dir", "prompts.sources.path")
BASE: dict[str, Any] = {
    "name": "base",
    "prompts": {
        "sources": [
            {"path": "train.jsonl", "split": "train"},
            {"task": "word_problems", "size": 20, "options": {"max_number": 9}, "split": "test"},
        ]
    },
    "teacher": {"engine": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1", "mode": "tool_trace"},
    "verify": {"verifiers": [{"name": "math"}, {"name": "format"}, {"name": "mine.py:Mine", "required": False}]},
    "select": {"modes": ["explain", "direct", "tool"]},
    "student": {"model": "student"},
    "sft": {"deepspeed": "ds.json", "lora": {"rank": 4}},
    "dpo": {"deepspeed": "ds.json"},
}

# Field -> another value, and the first stage that must run again; None: no stage. Later ones follow by their inputs.
EDITS: dict[str, tuple[Any, str | None]] = {
    "name": ("other", "report"),
    "seed": (1, "prompts"),
    "prompts.sources.0.size": (5, "prompts"),
    "prompts.sources.0.fields.prompt": ("q", "prompts"),
    "prompts.sources.1.options.max_number": (12, "prompts"),
    "prompts.dev_fraction": (0.3, "prompts"),
    "prompts.near_duplicate": (0.9, "prompts"),
    "answer.marker": ("Answer:", "generate"),
    "teacher.model": ("n", "generate"),
    "teacher.revision": ("abc", "generate"),
    "teacher.base_url": ("http://127.0.0.1:8/v1", None),
    "teacher.system": ("Think. Then #### and the answer.", "generate"),
    "teacher.examples": ([{"question": "1 + 1?", "reply": "#### 2"}], "generate"),
    "teacher.sampling.temperature": (0.5, "generate"),
    "teacher.sampling.max_tokens": (99, "generate"),
    "teacher.samples_per_round": (2, "generate"),
    "teacher.max_samples": (9, "generate"),
    "teacher.want_fail": (0, "generate"),
    "teacher.max_turns": (3, "generate"),
    "teacher.concurrency": (3, None),
    "teacher.timeout_s": (7, None),
    "teacher.api_key_env": ("KEY", None),
    "teacher.vllm.max_num_seqs": (3, None),
    "verify.verifiers.1.options.max_rationale_chars": (50, "generate"),
    "verify.timeout_s": (9, "generate"),
    "verify.combine": ("any", "generate"),
    "verify.combine_in": ({"general": "any"}, "generate"),
    "verify.verifiers.0.timeout_s": (9, "generate"),
    "verify.verifiers.0.workers": (9, None),
    "verify.verifiers.0.domains": (["general"], "generate"),
    "verify.verifiers.1.required": (False, "generate"),
    "verify.workers": (3, None),
    "verify.max_bad_gold": (0.5, None),
    "sandbox.timeout_s": (9, "generate"),
    "select.max_per_problem": (1, "select"),
    "select.prefer": ("first", "select"),
    "student.prompts.direct": ("Answer only.", "select"),
    "pair.concise_ratio": (0.5, "pair"),
    "pair.max_per_problem": (1, "pair"),
    "sft.learning_rate": (1e-5, "sft"),
    "sft.weights.answer": (2.0, "sft"),
    "sft.mode_weights": ({"direct": 2.0}, "sft"),
    "sft.lora.rank": (8, "sft"),
    "sft.ranks": (4, None),
    "sft.log_every": (50, None),
    "dpo.beta": (0.3, "dpo"),
    "dpo.enabled": (False, "dpo"),
    "dpo.save_every": (10, None),
    "dpo.save_every_s": (60, None),
    "evaluate.limit": (10, "evaluate"),
    "evaluate.max_tokens.explain": (99, "evaluate"),
    "evaluate.models": (["base"], "evaluate"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RDISTILL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "train.jsonl").write_text('{"prompt": "1 + 1?", "gold": "2"}\n')
    (tmp_path / "mine.py").write_text("class Mine: ...\n")
    (tmp_path / "ds.json").write_text("{}")
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE))
    return tmp_path


def prints(*overrides: str) -> dict[str, str]:
    return {name: found[0] for name, found in fingerprints(load_config("base.yaml", list(overrides))).items()}


def changed(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in NAMES if before[name] != after[name]]


def followers(first: str) -> list[str]:
    """A stage and all that take, directly or not, what it makes."""
    found = {first}
    for stage in STAGES:
        if found & set(stage.inputs):
            found.add(stage.name)
    return [name for name in NAMES if name in found]


@pytest.mark.parametrize("field", EDITS)
def test_one_edit_reruns_what_depends_on_it(place: Path, field: str) -> None:
    value, first = EDITS[field]
    found = changed(prints(), prints(f"{field}={json.dumps(value)}"))
    assert found == (followers(first) if first else [])
    assert first or without_indices(field) in HARMLESS


def test_every_field_counts_or_is_known_to_be_harmless(place: Path) -> None:
    """Nothing in the schema is forgotten, whatever is added to it later."""
    config = load_config("base.yaml")
    counted = {key for _, settings in fingerprints(config).values() for key in settings}
    fields = {k for section, value in config.model_dump(mode="json").items() for k in flatten(section, value)}
    forgotten = {f for f in fields - counted if without_indices(f) not in HARMLESS and f not in PLACES}
    assert not forgotten
    assert {without_indices(f) for f in fields} >= set(HARMLESS) - {"prompts.sources.path"}


@pytest.mark.parametrize(
    ("file", "first"),
    [("train.jsonl", "prompts"), ("mine.py", "generate"), ("student/model.safetensors", "sft"), ("ds.json", "sft")],
)
def test_the_content_of_files_counts(place: Path, file: str, first: str) -> None:
    before = prints()
    (place / file).write_bytes((place / file).read_bytes() + b"\n")
    after = prints()
    assert changed(before, after) == followers(first)


def test_agreement_counts_what_tells_it_which_answers_are_the_same(place: Path) -> None:
    def verifiers(spec: str) -> set[str]:
        _, settings = fingerprints(load_config("base.yaml", [f"verify.verifiers=[{spec}]"]))["generate"]
        return {name for name in settings if name.startswith("verifier ")}

    assert verifiers("{name: agreement}") == {"verifier agreement", "verifier math"}
    assert verifiers("{name: agreement, options: {equality: format}}") == {"verifier agreement", "verifier format"}
    assert verifiers("{name: agreement, options: {equality: text}}") == {"verifier agreement"}


def test_a_mode_that_is_left_out_keeps_its_default(place: Path) -> None:
    config = load_config("base.yaml", ["student.prompts={direct: Short.}", "evaluate.max_tokens.explain=9"])
    assert config.student.prompts["direct"] == "Short." and "step by step" in config.student.prompts["explain"]
    assert config.evaluate.max_tokens == {"explain": 9, "direct": 32, "tool": 128}


def test_the_place_of_files_does_not(place: Path) -> None:
    before = prints()
    for name, other in (("train.jsonl", "elsewhere.jsonl"), ("ds.json", "other.json"), ("student", "pupil")):
        (place / name).rename(place / other)
    moved = ("prompts.sources.0.path=elsewhere.jsonl", "sft.deepspeed=other.json", "dpo.deepspeed=other.json")
    assert changed(before, prints(*moved, "student.model=pupil", "run_dir=far/away")) == []


def test_a_local_data_set_counts_by_content(place: Path) -> None:
    (place / "set").mkdir()
    (place / "set" / "rows.jsonl").write_text('{"prompt": "1?", "gold": "1"}\n')
    source = "prompts.sources=[{hub: set}]"
    before = prints(source)
    (place / "set" / "rows.jsonl").write_text('{"prompt": "2?", "gold": "2"}\n')
    assert changed(before, prints(source)) == NAMES


def test_a_teacher_on_this_machine_counts_by_content(place: Path) -> None:
    local = ("teacher.engine=vllm", "teacher.model=student")
    before = prints(*local)
    assert changed(before, prints(*local, "teacher.vllm.max_model_len=4096")) == followers("generate")
    assert changed(before, prints(*local, "teacher.vllm.gpu_memory_utilization=0.5")) == []
    (place / "student" / "model.safetensors").write_bytes(b"other weights")
    assert changed(before, prints(*local)) == followers("generate")


def test_the_resolved_config_is_the_same_run(place: Path) -> None:
    config = load_config("base.yaml")
    (place / "sub").mkdir()
    (place / "sub" / "config.yaml").write_text(dump_config(config))
    again = load_config("sub/config.yaml")
    assert again == config
    assert fingerprints(again) == fingerprints(config)


@pytest.mark.parametrize(
    ("file", "error", "field"),
    [
        ("train.jsonl", DataError, "prompts.sources.0.path"),
        ("ds.json", ConfigError, "sft.deepspeed"),
        ("mine.py", ConfigError, "mine.py:Mine"),
    ],
)
def test_a_file_that_is_gone_is_named_by_its_field(place: Path, file: str, error: type, field: str) -> None:
    config: Config = load_config("base.yaml")
    (place / file).unlink()
    with pytest.raises(error, match=field):
        fingerprints(config)


def test_the_reason_names_the_field(place: Path) -> None:
    stage = next(s for s in STAGES if s.name == "dpo")

    def identities(*overrides: str) -> dict[str, tuple[str, dict[str, Any]]]:
        return fingerprints(load_config("base.yaml", list(overrides)))

    before = identities()
    fingerprint, settings = before["dpo"]
    inputs = {name: before[name][0] for name in stage.inputs}
    manifest = {"fingerprint": fingerprint, "settings": settings, "version": stage.version, "inputs": inputs}
    assert why_rerun(stage, manifest, before) is None
    assert why_rerun(stage, None, before) == "not done yet"
    assert why_rerun(stage, manifest, identities("dpo.beta=0.5")) == "dpo.beta changed"
    edited = identities("dpo.beta=0.5", "dpo.epochs=2", "seed=4")
    assert why_rerun(stage, manifest, edited) == "dpo.beta changed (and 2 more)"
    assert why_rerun(stage, manifest, identities("sft.epochs=9")) == "sft ran again"
    assert why_rerun(stage, manifest, identities("select.prefer=first")) == "sft and pair ran again"
    assert why_rerun(stage, {**manifest, "fingerprint": "x", "version": 0}, before) == "its code changed"


def test_the_written_config_repeats_the_run_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found in the current folder or beside the config is found again; names that are no paths stay."""
    home, beside, away = (tmp_path / name for name in ("home", "beside", "away"))
    for folder in (home, beside, away):
        folder.mkdir()
    (home / "student").mkdir()
    (beside / "owner" / "whole").mkdir(parents=True)
    (beside / "owner" / "whole" / "config.json").write_text("{}")
    (beside / "owner" / "notes").mkdir()
    (home / "mine.py").write_text("class Mine: pass\n")
    (beside / "same.py").write_text("class Same: pass\n")
    tree = BASE | {
        "teacher": {"model": "owner/whole"},
        "select": {},
        "sft": {},
        "dpo": {},
        "verify": {
            "verifiers": [{"name": "mine.py:Mine"}, {"name": "agreement", "options": {"equality": "same.py:Same"}}]
        },
    }
    (beside / "base.yaml").write_text(yaml.safe_dump(tree))
    monkeypatch.chdir(home)
    first = load_config(beside / "base.yaml")
    assert (first.student.model, first.teacher.model) == (str(home / "student"), str(beside / "owner" / "whole"))
    assert [spec.name for spec in first.verify.verifiers] == [f"{home}/mine.py:Mine", "agreement"]
    assert first.verify.verifiers[1].options["equality"] == f"{beside}/same.py:Same"
    monkeypatch.chdir(away)
    (away / "config.yaml").write_text(dump_config(first))
    assert load_config(away / "config.yaml") == first
    for name in ("owner/notes", "owner/other", "bundled:smollm2-135m-instruct"):
        assert load_config(beside / "base.yaml", [f"student.model={name}"]).student.model == name
    at_endpoint = ["teacher.engine=openai", "teacher.base_url=http://127.0.0.1:9/v1"]
    assert load_config(beside / "base.yaml", at_endpoint).teacher.model == "owner/whole"
