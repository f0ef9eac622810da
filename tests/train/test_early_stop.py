"""What early stopping remembers over a kill."""

import json
from types import SimpleNamespace

import pytest

from rdistill.config import EarlyStopConfig
from rdistill.errors import DataError
from rdistill.train.data import TokenData
from rdistill.train.early_stop import EarlyStop

LOOKS = [[2, 3.0], [4, 2.0], [6, 2.5]]


def resumed(folder, step, looks=LOOKS):
    """An EarlyStop that goes on from `step` in a folder where `looks` were seen."""
    (folder / "best").mkdir()
    (folder / "best.json").write_text(json.dumps({"looks": looks, "saved": {"tensors": 3}}))
    trainer = SimpleNamespace(
        settings=SimpleNamespace(early_stop=EarlyStopConfig()),
        accelerator=SimpleNamespace(wait_for_everyone=lambda: None),
        is_world_process_zero=lambda: True,
        state=SimpleNamespace(global_step=step),
    )
    stop = EarlyStop(trainer, None, folder / "best")
    stop.control = SimpleNamespace(should_training_stop=False)
    stop.on_train_begin(None, trainer.state, stop.control)
    return stop


@pytest.mark.parametrize(("step", "looks"), [(6, LOOKS), (5, LOOKS[:2])])
def test_a_resumed_training_knows_what_was_seen_until_its_checkpoint(tmp_path, step, looks):
    stop = resumed(tmp_path, step)
    assert [list(look) for look in stop.looks] == looks
    assert stop.best_step == 4 and stop.saved == {"tensors": 3}
    assert stop.best == tmp_path / "best"


@pytest.mark.parametrize("step", [0, 3])
def test_a_best_model_from_beyond_the_checkpoint_is_forgotten(tmp_path, step):
    stop = resumed(tmp_path, step)
    assert stop.looks == [] and stop.best is None
    assert not (tmp_path / "best").exists() and not (tmp_path / "best.json").exists()


@pytest.mark.parametrize(("later", "stops"), [([2.6, 2.7], True), ([2.6], False)])
def test_a_training_killed_after_it_was_to_end_ends(tmp_path, later, stops):
    looks = LOOKS + [[8 + 2 * n, loss] for n, loss in enumerate(later)]
    assert resumed(tmp_path, looks[-1][0], looks).control.should_training_stop is stops


def test_the_last_step_needs_no_model_from_before(tmp_path):
    assert resumed(tmp_path, 4, LOOKS[:2]).best is None


def test_rows_are_held_out_by_cluster():
    data = TokenData(groups=[[]] * 400, clusters=[f"c{row // 4}" for row in range(400)])
    data.hold_out(0.2)
    held = {data.clusters[row] for row in data.held_out}
    assert len(data.held_out) == 4 * len(held) and 10 <= len(held) <= 30
    assert set(data.training) | data.held_out == set(range(400)) and not set(data.training) & data.held_out
    with pytest.raises(DataError, match=r"early_stop.share=1e-06 holds out 0 of 400"):
        data.hold_out(1e-6)
