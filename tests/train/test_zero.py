"""DeepSpeed settings: ours, the user's, and the files in configs/deepspeed."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdistill.config import SftConfig
from rdistill.errors import ConfigError
from rdistill.train.zero import deepspeed_settings, small_groups, take_norms_in_pieces

FILES = sorted((Path(__file__).parents[2] / "configs" / "deepspeed").glob("*.json"))


def test_there_are_files_for_every_stage():
    assert {f.stem for f in FILES} == {"cpu", "zero1", "zero2", "zero3", "zero3_offload"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_file_is_taken_and_deepspeed_knows_its_keys(path):
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    settings = deepspeed_settings(SftConfig(deepspeed=str(path), dtype="bfloat16"), 2)
    assert settings["bf16"] == {"enabled": True}
    DeepSpeedZeroConfig(**settings["zero_optimization"])
    known = {name for key, f in DeepSpeedZeroConfig.model_fields.items() for name in (key, f.alias)}
    assert set(settings["zero_optimization"]) <= known


def test_zero3_always_gathers_what_is_saved(tmp_path):
    path = tmp_path / "z3.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    settings = deepspeed_settings(SftConfig(deepspeed=str(path)), 1)
    assert settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True


def test_what_contradicts_the_stage_is_refused(tmp_path):
    path = tmp_path / "ds.json"
    for text, message in [
        ('{"train_batch_size": 8}', "train_batch_size must be"),
        ('{"fp16": {"enabled": true}}', "fp16 must not be enabled; set dtype"),
        ('{"bf16": {"enabled": true}}', "bf16 must not be enabled"),
        ('{"bf16": true}', "bf16 must not be enabled"),
        ("[1]", "holds list"),
        ("{", "not a readable JSON"),
    ]:
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            deepspeed_settings(SftConfig(deepspeed=str(path)), 1)
    with pytest.raises(ConfigError, match="not a readable JSON"):
        deepspeed_settings(SftConfig(deepspeed=str(tmp_path / "none.json")), 1)


def test_gradients_are_added_up_in_float32_and_a_single_one_is_left_as_it_is(tmp_path):
    def sums_in(passes, stage=2, **fields):
        path = tmp_path / "ds.json"
        path.write_text(json.dumps({"zero_optimization": {"stage": stage}}))
        return deepspeed_settings(SftConfig(**{"deepspeed": str(path), "dtype": "bfloat16"} | fields), passes)[
            "data_types"
        ]["grad_accum_dtype"]

    assert (sums_in(1), sums_in(2), sums_in(1, dtype="float32"), sums_in(1, stage=1)) == (
        "bf16",
        "fp32",
        "fp32",
        "fp32",
    )
    assert deepspeed_settings(SftConfig(dtype="bfloat16"), 1)["data_types"] == {"grad_accum_dtype": "bf16"}


@given(st.lists(st.integers(1, 30), min_size=1, max_size=30), st.integers(1, 40))
def test_small_groups_hold_every_parameter_once_and_none_alone(sizes, most):
    parameters = [torch.empty(n) for n in sizes]
    groups = [{"params": parameters, "lr": 0.1}, {"params": [torch.empty(1)], "lr": 0.2}]
    small = small_groups(groups, most)
    assert [id(p) for g in small[:-1] for p in g["params"]] == [id(p) for p in parameters]
    assert small[-1] == groups[1] and all(g["lr"] == 0.1 for g in small[:-1])
    assert all(len(g["params"]) > 1 for g in small[:-2])
    assert all(sum(p.numel() for p in g["params"][:-1]) <= most or len(g["params"]) == 2 for g in small)


def test_a_norm_taken_in_pieces_is_the_norm(monkeypatch):
    from deepspeed.runtime.zero import stage_1_and_2

    monkeypatch.setattr(
        stage_1_and_2.DeepSpeedZeroOptimizer,
        "get_grad_norm_direct",
        stage_1_and_2.DeepSpeedZeroOptimizer.get_grad_norm_direct,
    )
    monkeypatch.setattr(stage_1_and_2.dist, "all_reduce", lambda *args, **kwargs: None)
    monkeypatch.setattr("rdistill.train.zero.PIECE", 100)
    take_norms_in_pieces()
    take_norms_in_pieces()
    one_rank = SimpleNamespace(
        dp_process_group=None, model_parallel_rank=0, device="cpu", _model_parallel_all_reduce=lambda **kwargs: None
    )
    torch.manual_seed(0)
    gradients = [torch.randn(30, 31, dtype=torch.bfloat16), torch.randn(7), torch.ones(50)]
    gradients[2]._zero_padding = True
    found = stage_1_and_2.DeepSpeedZeroOptimizer.get_grad_norm_direct(one_rank, gradients, [torch.ones(1)] * 2)
    expected = torch.cat([g.double().flatten() for g in gradients[:2]]).norm()
    assert float(found) == pytest.approx(float(expected), rel=1e-6)
