"""The two stages as users run them, on a tiny student made on the spot: one rank and two, killed and gone on."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file
from train_helpers import EXACT, make_run, start

from rdistill.config import load_config
from rdistill.run import RunFolder
from rdistill.stages import BY_NAME, fingerprints, write_manifest

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    sft = start(root, "sft", **EXACT, ranks=1, epochs=2, report_to=["tensorboard"])
    return root, sft, start(root, "dpo", **EXACT, ranks=1, epochs=2)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    root = tmp_path_factory.mktemp("two")
    return root, start(root, "sft", **EXACT, ranks=2, epochs=2), start(root, "dpo", **EXACT, ranks=2, epochs=2)


def test_two_ranks_train_the_curve_of_one(one_rank, two_ranks):
    for ours, theirs in zip(one_rank[1:], two_ranks[1:], strict=True):
        assert [r["step"] for r in ours] == list(range(1, 7)) == [r["step"] for r in theirs]
        assert [r["loss"] for r in ours] == pytest.approx([r["loss"] for r in theirs], rel=1e-4)
    one, two = (load_file(r[0] / "models" / "dpo" / "model.safetensors") for r in (one_rank, two_ranks))
    assert one.keys() == two.keys()
    assert max((one[k] - two[k]).abs().max().item() for k in one) < 1e-3


def test_a_tracker_gets_the_lines_of_the_metrics(one_rank):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    root, lines, _ = one_rank
    events = EventAccumulator(str(root / "stages" / "sft" / "tensorboard"))
    events.Reload()
    logged = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert logged == [(line["step"], pytest.approx(line["loss"])) for line in lines]
    assert not (root / "stages" / "dpo" / "tensorboard").exists()


def test_dpo_starts_at_margin_zero_and_learns(one_rank, two_ranks):
    for root, sft, dpo in (one_rank, two_ranks):
        assert sft[-1]["loss"] < sft[0]["loss"]
        assert dpo[0]["margin"] == pytest.approx(0, abs=1e-5)
        assert dpo[-1]["margin"] > 0
        assert dpo[-1]["epoch"] == 2
        result = RunFolder(root).read_result("dpo")
        assert result["step0_drift"] < 1e-6
        assert not result["reference_reused"]


def test_the_result_counts_and_the_model_is_whole(two_ranks):
    root = two_ranks[0]
    result = RunFolder(root).read_result("sft")
    assert (result["rows"], result["refused"], result["steps"], result["ranks"]) == (12, {}, 6, 2)
    assert result["tokens"] == 2 * result["tokens_per_epoch"]
    assert 0 < result["supervised_share"] < 1 and 0 < result["computed_share"] < 1
    assert {"tokenizer.json", "chat_template.jinja", "model.safetensors"} <= {
        p.name for p in (root / "models" / "sft").iterdir()
    }
    student, trained = (load_file(root / d / "model.safetensors") for d in ("student", "models/sft"))
    assert student.keys() == trained.keys()


def test_a_second_dpo_reads_its_reference_back(one_rank):
    root = one_rank[0]
    start(root, "dpo", **EXACT, ranks=1, beta=0.2)
    assert RunFolder(root).read_result("dpo")["reference_reused"]


def test_simpo_on_two_ranks_computes_no_reference_and_says_what_it_lost(one_rank):
    root = one_rank[0]
    stored = RunFolder(root).stage("dpo") / "reference.safetensors"
    stored.unlink(missing_ok=True)
    lines = start(root, "dpo", **EXACT, ranks=2, loss="simpo", beta=2.0, learning_rate=0.05)
    assert not stored.exists()
    assert "chosen_logp_drift" not in lines[0]
    result = RunFolder(root).read_result("dpo")
    lost = lines[0]["chosen_logp_per_token"] - lines[-1]["chosen_logp_per_token"]
    assert len(result["warnings"]) == (lost > 0.1)
    assert "reference_seconds" not in result


def test_a_killed_training_goes_on_from_its_checkpoint(one_rank, tmp_path):
    options = {**EXACT, "ranks": 1, "epochs": 2}
    started = subprocess.Popen(
        [sys.executable, "-m", "rdistill.train.sft", str(make_run(tmp_path)), "sft.save_every=2"]
        + [f"sft.{k}={v}" for k, v in options.items()],
        cwd=ROOT,
    )
    run = RunFolder(tmp_path)
    deadline = time.monotonic() + 240
    while not [*(run.stage("sft") / "checkpoints").glob("step-[456]")] and time.monotonic() < deadline:
        time.sleep(0.01)
    started.kill()
    started.wait()
    lines = start(tmp_path, "sft", **options)
    assert run.read_result("sft")["resumed_from"] in (4, 5, 6)
    assert [r["loss"] for r in lines] == [r["loss"] for r in one_rank[1]]
    assert (run.stage("sft") / "checkpoints").exists()  # until the stage is sealed, it may have to go on from them
    config = load_config(run.config)
    write_manifest(BY_NAME["sft"], run, config, fingerprints(config)["sft"], run.read_result("sft"), 1.0)
    assert not (run.stage("sft") / "checkpoints").exists()
