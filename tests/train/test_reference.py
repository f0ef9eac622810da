"""Reference values of DPO: of the planned rows alone, and used again only for the same rows and weights."""

from types import SimpleNamespace

import pytest
import torch
from train_helpers import make_run, tiny_model, tiny_tokenizer

from rdistill.config import DpoConfig
from rdistill.run import RunFolder
from rdistill.train.batches import loader
from rdistill.train.data import load_pairs
from rdistill.train.dpo import PairTrainer
from rdistill.train.reference import Reference, planned_rows
from rdistill.train.trainer import planned_steps

TOKENIZER = tiny_tokenizer()
MODEL = tiny_model(len(TOKENIZER))


@pytest.fixture
def run(tmp_path):
    make_run(tmp_path, rows=8)
    MODEL.save_pretrained(tmp_path / "models" / "sft")
    return RunFolder(tmp_path)


def filled(run, **options):
    """The trainer of a DPO that was just started, with its reference filled."""
    config = DpoConfig(dtype="float32", batch_size=2, micro_batch_size=2, **options)
    data = load_pairs(run.pairs_data, TOKENIZER, config)
    trainer = object.__new__(PairTrainer)
    trainer.is_world_process_zero = lambda: True
    trainer.accelerator = SimpleNamespace(reduce=lambda values, how: values)
    trainer.args = SimpleNamespace(world_size=1, process_index=0, device="cpu", gradient_accumulation_steps=1)
    trainer.state, trainer.model_wrapped = SimpleNamespace(global_step=0), MODEL
    trainer.plan(data, config, planned_steps(data, config, 0), run.metrics("dpo"))
    trainer.reference = Reference(run, config, data)
    trainer.reference.fill(trainer)
    return trainer


def test_more_of_an_epoch_needs_more_of_the_reference(run):
    half = filled(run, epochs=0.5)
    rows = planned_rows(half.steps)
    assert len(rows) == 4 and half.reference.values_B2.isnan().all(1).sum() == 4
    assert not half.reference.values_B2[rows].isnan().any()
    assert filled(run, epochs=0.5).reference.reused
    whole = filled(run, epochs=1)
    assert not whole.reference.reused and not whole.reference.values_B2.isnan().any()
    whole.totals = {}
    for step, batch in enumerate(loader(whole.data.groups, whole.batches)):
        whole.state.global_step = step
        _, margin_B = whole.preferences(whole.sums(MODEL, batch), batch.rows)
        assert margin_B.abs().max() < 1e-5, "no update was made yet"
    assert filled(run, epochs=2).reference.reused, "the same rows again"


@pytest.mark.parametrize("options", [{"lora": {"quantize": "nf4"}}, {"ld_alpha": 0.5}])
def test_other_weights_or_another_measure_need_their_own(run, options):
    before = filled(run)
    reference = Reference(run, DpoConfig(dtype="float32", batch_size=2, micro_batch_size=2, **options), before.data)
    assert reference.fingerprint(before.steps) != before.reference.fingerprint(before.steps)
    assert torch.isnan(reference.values_B2).all()
