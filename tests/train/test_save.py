"""A saved model is read again and compared; one that is not the trained one is refused."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from train_helpers import make_run, tiny_model, tiny_tokenizer

from rdistill.config import SftConfig
from rdistill.errors import TrainError
from rdistill.train.data import load_sft
from rdistill.train.packing import forward_logps, pack
from rdistill.train.save import _compare

TOKENIZER = tiny_tokenizer()


@pytest.fixture
def saved(tmp_path):
    """(the model's tensors, its folder, a probe batch, the probe's log-probabilities before it was saved)"""
    make_run(tmp_path)
    model, folder = tiny_model(len(TOKENIZER), tied=False), tmp_path / "models" / "sft"
    model.save_pretrained(folder)
    data = load_sft(tmp_path / "data" / "sft.parquet", TOKENIZER, SftConfig())
    probe = pack(data.groups[:2])
    with torch.no_grad():
        return model.state_dict(), folder, probe, forward_logps(model, probe)


def harm(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def test_a_whole_model_passes(saved):
    found = _compare(*saved)
    assert found["tensors"] == len(saved[0]) and found["reload_drift"] < 1e-5


def test_one_changed_tensor_is_refused(saved):
    harm(saved[1], lambda tensors: tensors["lm_head.weight"][3].add_(1e-3))
    with pytest.raises(TrainError, match="gave 0 lost and 1 changed tensors"):
        _compare(*saved)


def test_a_lost_tensor_is_refused(saved):
    """transformers draws what it does not find; the draw is another value."""
    harm(saved[1], lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(TrainError, match="gave 0 lost and 1 changed tensors"):
        _compare(*saved)
    tensors, *rest = saved
    with pytest.raises(TrainError, match="gave 1 lost and"):
        _compare(tensors | {"model.layers.2.mlp.up_proj.weight": torch.zeros(1)}, *rest)


def test_a_model_that_computes_something_else_is_refused(saved):
    """The tensors are the same, the config beside them is not."""
    path = saved[1] / "config.json"
    path.write_text(path.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 0.5'))
    with pytest.raises(TrainError, match=r"log-probabilities differ by \d.* nats on average"):
        _compare(*saved)
