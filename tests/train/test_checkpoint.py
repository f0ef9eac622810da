"""Checkpoints: whole or not at all, proven before use, the one before when the newest is damaged."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from rdistill.config import SftConfig
from rdistill.errors import TrainError
from rdistill.train import checkpoint as checkpoints
from rdistill.train.checkpoint import MANIFEST, check_space, keep_metrics, newest_whole, seal, training_identity
from rdistill.train.data import TokenData
from rdistill.train.trainer import final_loss

# What transformers and DeepSpeed write for one rank; benchmarks/kill_train.py damages the real files.
FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "training_args.bin",
    "rng_state.pth",
    "trainer_state.json",
    "scheduler.pt",
    "latest",
    "zero_to_fp32.py",
    "global_step40/mp_rank_00_model_states.pt",
    "global_step40/zero_pp_rank_0_mp_rank_00_optim_states.pt",
]


def write(folder: Path, step: int) -> Path:
    """The files of a checkpoint, not sealed yet."""
    written = folder / f"checkpoint-{step}"
    for number, name in enumerate(FILES):
        path = written / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([step, number]) * 500)
    return written


@pytest.fixture
def folder(tmp_path):
    for step in (20, 40):
        seal(write(tmp_path, step), step, "this")
    return tmp_path


def delete(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_newest_whole_checkpoint_is_used(folder, capsys):
    assert newest_whole(folder, "this") == folder / "step-40"
    assert (folder / "latest").read_text() == "step-40"
    said = capsys.readouterr()
    assert "goes on after step 40" in said.out and not said.err


@pytest.mark.parametrize("harm", [delete, truncate, flip_a_bit])
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_damaged_checkpoint_gives_way_to_the_one_before_loudly(folder, capsys, name, harm):
    harm(folder / "step-40" / name)
    assert newest_whole(folder, "this") == folder / "step-20"
    said = capsys.readouterr().err
    assert "step-40 is damaged" in said and name in said
    assert (folder / "step-40.damaged").is_dir() and not (folder / "step-40").exists()
    assert newest_whole(folder, "this") == folder / "step-20", "and again"
    assert seal(write(folder, 40), 40, "this") == newest_whole(folder, "this"), "its place is free"


def test_an_unknown_file_a_lost_folder_and_no_whole_one_are_said(folder, capsys):
    (folder / "step-40" / "stray").write_text("?")
    assert newest_whole(folder, "this") == folder / "step-20"
    assert "stray is unknown to its manifest" in capsys.readouterr().err
    shutil.rmtree(folder / "step-20")
    (folder / "step-60").mkdir()
    assert newest_whole(folder, "this") is None
    said = capsys.readouterr().err
    assert f"step-60 is damaged ({MANIFEST} cannot be read" in said
    assert "step-40 is gone, though latest names it" in said and "it starts from step 0" in said


def test_unfinished_checkpoints_are_cleared_away(folder):
    write(folder, 60)
    assert newest_whole(folder, "this") == folder / "step-40"
    assert sorted(p.name for p in folder.iterdir()) == ["latest", "step-20", "step-40"]


def test_a_checkpoint_of_another_training_waits_until_that_one_goes_on(folder, capsys):
    assert newest_whole(folder, "other") is None
    said = capsys.readouterr().err
    assert "step-40 is of a training with other settings or data; set aside" in said and "is gone" not in said
    assert sorted(p.name for p in folder.glob("step-*")) == ["step-20.this", "step-40.this"]
    seal(write(folder, 40), 40, "other")
    assert newest_whole(folder, "other") == folder / "step-40"
    assert newest_whole(folder, "this") == folder / "step-40"
    assert sorted(p.name for p in folder.glob("step-*")) == ["step-20", "step-40", "step-40.other"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), Killed()], ids=["full disk", "killed"])
def test_whatever_step_of_sealing_fails_a_whole_checkpoint_is_left(tmp_path, monkeypatch, capsys, fault):
    calls = {"left": 0}

    def failing(real):
        def call(*arguments, **options):
            calls["left"] -= 1
            if calls["left"] == 0:
                raise fault
            return real(*arguments, **options)

        return call

    for step in (20, 40):
        seal(write(tmp_path, step), step, "this")
    for owner, name in [
        (os, "fsync"),
        (os, "replace"),
        (os, "fdopen"),
        (Path, "rename"),
        (Path, "unlink"),
        (shutil, "rmtree"),
        (checkpoints, "sha256"),
    ]:
        monkeypatch.setattr(owner, name, failing(getattr(owner, name)))
    reached, failures = 40, 0
    while True:
        step, failures = reached + 20, failures + 1
        written = write(tmp_path, step)
        calls["left"] = failures
        try:
            seal(written, step, "this")
        except type(fault):
            calls["left"] = 0
            found = newest_whole(tmp_path, "this")
            assert found is not None and found.name in (f"step-{reached}", f"step-{step}"), f"failure {failures}"
            reached = int(found.name[5:])
            continue
        break
    assert failures > 30
    assert "damaged" not in capsys.readouterr().err


def test_only_two_checkpoints_are_kept(folder):
    seal(write(folder, 60), 60, "this")
    assert sorted(p.name for p in folder.iterdir()) == ["latest", "step-40", "step-60"]


def test_a_disk_that_would_not_hold_two_more_stops_the_stage_before_it_writes(folder, monkeypatch):
    check_space(folder)
    size = sum(p.stat().st_size for p in (folder / "step-40").rglob("*") if p.is_file())
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size - 1))
    with pytest.raises(TrainError, match="make room and run again, it goes on from step-40"):
        check_space(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2 * size))
    check_space(folder)
    check_space(folder / "nothing saved yet")


def test_a_checkpoint_is_due_by_time_where_it_fits(folder, monkeypatch, capsys):
    clock, free = [0.0], [10**12]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free[0]))
    trainer = SimpleNamespace(
        settings=SftConfig(), is_world_process_zero=lambda: True, model=torch.nn.Linear(10, 10), metrics_path=folder
    )
    args = SimpleNamespace(output_dir=str(folder))
    seals = checkpoints.SealCheckpoints(trainer, "this")

    def is_saved(at, step=3, log=True):
        clock[0] = at
        control = SimpleNamespace(should_save=False, should_log=log)
        seals.on_step_end(args, SimpleNamespace(global_step=step, max_steps=9), control)
        return control.should_save

    assert not is_saved(599)
    assert not is_saved(600, log=False), "a checkpoint ends at a line of the curve"
    assert not is_saved(600, step=9), "the last step is the model itself"
    assert is_saved(600)
    assert not is_saved(1199)
    free[0] = 1000
    assert not is_saved(1200) and "training goes on without" in capsys.readouterr().err
    trainer.settings = SftConfig(save_every_s=0)
    assert not is_saved(10_000)
    assert checkpoints.first_size(trainer.model) == 110 * 20


def test_the_curve_is_cut_back_to_the_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": n, "loss": 1.0}) + "\n" for n in (1, 2, 3, 4)]
    path.write_text("".join(lines) + '{"step": 5, "lo')
    keep_metrics(path, tmp_path / "step-3")
    assert path.read_text() == "".join(lines[:3])
    keep_metrics(path, tmp_path / "step-30")
    assert path.read_text() == "".join(lines[:3])
    keep_metrics(path, None)
    assert path.read_text() == ""


def test_another_start_or_another_deepspeed_file_is_another_training(tmp_path):
    start, file = tmp_path / "student", tmp_path / "ds.json"
    start.mkdir()

    def identity(weights="a", stage=2, **fields):
        (start / "model.safetensors").write_text(weights)
        file.write_text(json.dumps({"zero_optimization": {"stage": stage}}))
        config = SftConfig(deepspeed=str(file), **fields)
        args = SimpleNamespace(world_size=1, seed=0)
        trainer = SimpleNamespace(settings=config, data=TokenData(), args=args, steps=[[[0]]])
        return training_identity(trainer, "sft", start)

    first = identity()
    assert identity(save_every=7) == identity(save_every_s=5) == first
    changed = [identity(weights="another"), identity(stage=3), identity(learning_rate=1.0)]
    assert len({first, *changed}) == 4


def test_the_last_loss_is_the_curves_also_where_no_step_was_left_to_do(tmp_path):
    curve = tmp_path / "metrics.jsonl"
    curve.write_text('{"step": 5, "loss": 2.0}\n{"step": 8, "loss": 1.5}\n')
    assert final_loss(SimpleNamespace(metrics_path=curve)) == 1.5
