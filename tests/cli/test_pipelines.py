"""The scripts of pipelines/ that `deepspeed` does not launch: each is a command of the command line."""

import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

import rdistill.pipeline

ROOT = Path(__file__).resolve().parents[2]
STAGES = {"full_run": None, "generate_traces": "generate", "verify_traces": "verify", "evaluate_student": "evaluate"}
REFUSED = {
    "no argument": ([], "Error: Missing argument 'config'"),
    "no such config": (["none.yaml"], "error: none.yaml: cannot be read"),
    "bad value": ([str(ROOT / "configs/quickstart.yaml"), "dpo.beta=-1"], "quickstart.yaml: dpo.beta=-1"),
}


def run_script(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """What `python pipelines/NAME.py ARGUMENTS` returns."""
    path = str(ROOT / "pipelines" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [path, *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(path, run_name="__main__")
    return int(stop.value.code or 0)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("why", REFUSED)
def test_what_the_user_can_mend_is_a_sentence(
    name: str, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, sentence = REFUSED[why]
    assert run_script(name, arguments, monkeypatch) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert why == "no argument" or len(said.splitlines()) == 1


@pytest.mark.parametrize("name", STAGES)
def test_a_script_runs_its_stage(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        rdistill.pipeline,
        "run_pipeline",
        lambda config, *_, only=None, **__: asked.append((config.dpo.beta, only)),
    )
    config = str(ROOT / "configs/quickstart.yaml")
    assert run_script(name, [config, "dpo.beta=0.25", f"run_dir={tmp_path}/run"], monkeypatch) == 0
    assert asked == [(0.25, STAGES[name])]
