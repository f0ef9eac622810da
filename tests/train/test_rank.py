"""A rank's last words: what failed, by its exit code and as the last error in its log."""

import pytest
from train_helpers import make_run

from rdistill.errors import DataError
from rdistill.process import last_error_line
from rdistill.run import RunFolder
from rdistill.train import rank


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


def test_a_curve_outlives_a_restart_by_hand(tmp_path, monkeypatch):
    config = make_run(tmp_path)
    curve = tmp_path / "stages" / "sft" / "metrics.jsonl"
    curve.parent.mkdir(parents=True)
    curve.write_text('{"step": 1}\n')
    monkeypatch.setattr(rank, "prepare_process", lambda: monkeypatch.setenv("RANK", "0"))
    monkeypatch.setattr(rank.signal, "signal", lambda *_: None)
    assert rank.main("sft", lambda run, config: None, [str(config)]) == 0
    assert curve.exists(), "only the stage knows from which step it goes on"
