"""A rank's last words: what failed, by its exit code and as the last error in its log."""

from pathlib import Path

import pytest
from train_helpers import make_run

from rdistill.errors import DataError
from rdistill.process import last_error_line
from rdistill.run import RunFolder
from rdistill.train import launch, rank


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("no rows"), DataError("").exit_code, "DataError: no rows"),
        (OSError(28, "No space left on device"), 1, "OSError: [Errno 28] No space left on device"),
        (KeyboardInterrupt(), 130, "nothing"),
    ],
)
def test_any_error_ends_the_rank_by_its_code_and_has_the_last_word(tmp_path, monkeypatch, capsys, error, code, said):
    def stage(run, config):
        raise error

    monkeypatch.setattr(rank, "prepare_process", lambda: monkeypatch.setenv("RANK", "0"))
    monkeypatch.setattr(rank.signal, "signal", lambda *_: None)
    assert rank.main("sft", stage, [str(make_run(tmp_path))]) == code
    log = tmp_path / "rank.log"
    log.write_text(capsys.readouterr().err)
    assert last_error_line(log, "nothing") == said


def test_training_by_hand_takes_the_run(tmp_path, monkeypatch, capsys):
    config = make_run(tmp_path)
    monkeypatch.setattr(rank, "prepare_process", lambda: monkeypatch.setenv("RANK", "0"))
    monkeypatch.setattr(rank.signal, "signal", lambda *_: None)
    with RunFolder(tmp_path).locked():
        assert rank.main("sft", lambda run, config: None, [str(config)]) == DataError("").exit_code
    assert "is in use by process" in capsys.readouterr().err


def test_training_by_hand_names_what_it_was_started_without(monkeypatch, capsys):
    libraries = [Path("/lib/libtcmalloc.so.4"), Path("/venv/libiomp5.so")]
    monkeypatch.setattr(rank, "preloads", lambda: libraries)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("LD_PRELOAD", "/lib/libtcmalloc.so.4")
    rank.say_what_is_missing()
    assert capsys.readouterr().err.endswith("start it with LD_PRELOAD=/venv/libiomp5.so\n")
    monkeypatch.setenv("LD_PRELOAD", ":".join(map(str, libraries)))
    rank.say_what_is_missing()
    assert capsys.readouterr().err == ""


def test_the_head_of_a_log_says_what_was_found(monkeypatch):
    monkeypatch.setattr(launch, "find_tcmalloc", lambda: None)
    monkeypatch.setattr(launch, "find_openmp", lambda: Path("/venv/libiomp5.so"))
    for may_bind in (True, False):
        monkeypatch.setattr(launch, "can_bind", lambda may_bind=may_bind: may_bind)
        notes = launch.hardware_notes(2, on_gpu=False)
        assert notes[0] == "2 ranks on CPU" and "Intel OpenMP: /venv/libiomp5.so" in notes
        assert "tcmalloc: not found; training on CPU is slower without it" in notes
        assert ("numactl: missing or not permitted; ranks are not bound to cores" in notes) != may_bind
        command = launch.deepspeed_command("sft", Path("config.yaml"), 2, on_gpu=False)
        assert ("--bind_cores_to_rank" in command) == may_bind


def test_a_curve_outlives_a_restart_by_hand(tmp_path, monkeypatch):
    config = make_run(tmp_path)
    curve = tmp_path / "stages" / "sft" / "metrics.jsonl"
    curve.parent.mkdir(parents=True)
    curve.write_text('{"step": 1}\n')
    monkeypatch.setattr(rank, "prepare_process", lambda: monkeypatch.setenv("RANK", "0"))
    monkeypatch.setattr(rank.signal, "signal", lambda *_: None)
    assert rank.main("sft", lambda run, config: None, [str(config)]) == 0
    assert curve.exists(), "only the stage knows from which step it goes on"
