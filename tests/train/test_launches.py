"""Launches of a stage with real `deepspeed`: its settings, its faults, its end. A tiny student made on the spot."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file
from train_helpers import EXACT, make_run, start

from rdistill.config import dump_config, load_config
from rdistill.errors import TrainError
from rdistill.run import RunFolder
from rdistill.stages import BY_NAME, fingerprints, why_repair, why_rerun, write_manifest
from rdistill.train.data import load_sft
from rdistill.train.losses import span_loss
from rdistill.train.packing import forward_logps, pack
from rdistill.train.rank import load_model, load_tokenizer

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]


def test_lora_and_zero3_save_every_tensor_merged(tmp_path):
    deepspeed = str(ROOT / "configs" / "deepspeed" / "zero3.json")
    start(tmp_path, "sft", ranks=2, deepspeed=deepspeed, lora={"rank": 4}, learning_rate=1e-2, dtype="float32")
    student, trained = (load_file(tmp_path / d / "model.safetensors") for d in ("student", "models/sft"))
    assert student.keys() == trained.keys()
    assert any((student[k] != trained[k]).any() for k in student)


def test_qlora_trains_on_4_bits_and_saves_the_exact_weights(tmp_path):
    settings = str(ROOT / "configs" / "deepspeed" / "zero3.json")
    lora = {"rank": 4, "quantize": "nf4"}
    lines = start(tmp_path, "sft", ranks=2, lora=lora, learning_rate=1e-2, epochs=8, log_every=1, deepspeed=settings)
    assert lines[-1]["loss"] < lines[0]["loss"]
    student, trained = (load_file(tmp_path / d / "model.safetensors") for d in ("student", "models/sft"))
    assert student.keys() == trained.keys()
    same = {k for k in student if torch.equal(student[k].bfloat16(), trained[k].bfloat16())}
    assert {k for k in student if "proj" not in k} == same


def test_preferences_with_adapters_start_at_the_sft_model(tmp_path):
    """The reference is the SFT model, though adapters are what is trained."""
    make_run(tmp_path)
    sft = tmp_path / "models" / "sft"
    shutil.copytree(tmp_path / "student", sft)
    weights = load_file(sft / "model.safetensors")
    weights["model.norm.weight"] *= 1.3  # the base model itself would be another reference
    save_file(weights, sft / "model.safetensors", metadata={"format": "pt"})
    lines = start(tmp_path, "dpo", **EXACT, ranks=2, epochs=4, lora={"rank": 4}, learning_rate=1e-2)
    assert lines[0]["margin"] == pytest.approx(0, abs=1e-5) and lines[-1]["margin"] > 0.1
    assert RunFolder(tmp_path).read_result("dpo")["step0_drift"] < 1e-6
    trained = load_file(tmp_path / "models" / "dpo" / "model.safetensors")
    assert trained.keys() == weights.keys()
    assert {k for k in weights if not torch.equal(weights[k], trained[k])} == {k for k in weights if "_proj" in k}


@pytest.mark.parametrize(("ranks", "deepspeed"), [(1, None), (2, "zero3")])
def test_early_stop_keeps_the_model_of_the_lowest_held_out_loss(tmp_path, ranks, deepspeed):
    options = {"early_stop": {"share": 0.3, "every": 2, "patience": 2}, "learning_rate": 0.05, "epochs": 20}
    if deepspeed:
        options["deepspeed"] = str(ROOT / "configs" / "deepspeed" / f"{deepspeed}.json")
    lines = start(tmp_path, "sft", **EXACT, **options, ranks=ranks)
    result = RunFolder(tmp_path).read_result("sft")
    looks = {line["step"]: line["held_out_loss"] for line in lines if "held_out_loss" in line}
    assert list(looks) == list(range(2, result["steps"] + 1, 2))
    student, trained = (load_file(tmp_path / d / "model.safetensors") for d in ("student", "models/sft"))
    assert {k: v.shape for k, v in student.items()} == {k: v.shape for k, v in trained.items()}
    best = min(looks, key=looks.get)
    assert best == result["best_step"] == result["steps"] - 4 < 20
    assert {step for step in looks if step > best} == {best + 2, best + 4}
    assert held_out_loss(tmp_path) == pytest.approx(looks[best], rel=1e-4) == result["held_out_loss"]
    config = load_config(tmp_path / "config.yaml")
    write_manifest(BY_NAME["sft"], RunFolder(tmp_path), config, fingerprints(config)["sft"], result, 1.0)
    left = {p.name for p in (tmp_path / "stages" / "sft").iterdir()}
    assert left == {"manifest.json", "metrics.jsonl", "result.json"}


def held_out_loss(root: Path) -> float:
    """Loss of the saved model on the rows that were not trained on."""
    config, tokenizer = load_config(root / "config.yaml"), load_tokenizer(root / "models" / "sft")
    data = load_sft(root / "data" / "sft.parquet", tokenizer, config.sft)
    batch = pack([data.groups[row] for row in sorted(data.held_out)])
    with torch.no_grad():
        logps_N = forward_logps(load_model(root / "models" / "sft", config.sft), batch)
    return float(span_loss(logps_N, batch.weights_N, batch.weights_N.sum()))


def test_a_failed_rank_is_one_sentence(tmp_path):
    make_run(tmp_path)
    with pytest.raises(TrainError, match=r"12 of 12 rows cannot be trained on \(12 TOO_LONG\); .* max_length is 4"):
        start(tmp_path, "sft", ranks=2, max_length=4)


def test_a_loss_that_is_not_finite_stops_the_stage(tmp_path):
    make_run(tmp_path)
    weights = load_file(tmp_path / "student" / "model.safetensors")
    weights["model.norm.weight"].fill_(float("nan"))
    save_file(weights, tmp_path / "student" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainError, match="loss is nan at step 1; lower learning_rate"):
        start(tmp_path, "sft", ranks=1)


def test_stages_trained_by_hand_are_done(tmp_path):
    path, run = make_run(tmp_path), RunFolder(tmp_path)
    for stage, ranks in (("sft", "1"), ("dpo", "2")):
        command = [sys.executable, "-m", "deepspeed.launcher.runner", "--num_accelerators", ranks]
        done = subprocess.run(
            [*command, "--master_port", "29611", str(ROOT / f"pipelines/train_{stage}.py"), str(path), "dpo.beta=0.3"],
            env=os.environ | {"DS_ACCELERATOR": "cpu", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert (run.read_result(stage)["rows"], run.read_result(stage)["ranks"]) == (12, int(ranks))
        prints = fingerprints(load_config(path, ["dpo.beta=0.3"]))
        assert why_rerun(BY_NAME[stage], run.read_manifest(stage), prints) is None
        assert why_repair(BY_NAME[stage], run) is None
    assert why_rerun(BY_NAME["dpo"], run.read_manifest("dpo"), fingerprints(load_config(path))) == "dpo.beta changed"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_rank_outlives_the_command(tmp_path, how):
    config = make_run(tmp_path)
    code = (
        "import signal; from rdistill.config import load_config; from rdistill.run import RunFolder;"
        "from rdistill.train.launch import launch;"
        # A background job is started with SIGINT ignored, and its children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"launch('sft', RunFolder({str(tmp_path)!r}), load_config({str(config)!r}, ['sft.ranks=2']))"
    )
    run = RunFolder(tmp_path)
    path = load_config(config, ["sft.ranks=2", "sft.epochs=5000"])
    run.config.write_text(dump_config(path))
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    deadline = time.monotonic() + 240
    while not run.metrics("sft").exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 3
    parent.send_signal(how)
    assert parent.wait(30) != 0
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
