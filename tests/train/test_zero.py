"""DeepSpeed settings: ours, the user's, and the files in configs/deepspeed."""

import json
from pathlib import Path

import pytest

from rdistill.config import SftConfig
from rdistill.errors import ConfigError
from rdistill.train.zero import deepspeed_settings

FILES = sorted((Path(__file__).parents[2] / "configs" / "deepspeed").glob("*.json"))


def test_there_are_files_for_every_stage():
    assert {f.stem for f in FILES} == {"cpu", "zero1", "zero2", "zero3", "zero3_offload"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_file_is_taken_and_deepspeed_knows_its_keys(path):
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    settings = deepspeed_settings(SftConfig(deepspeed=str(path)))
    assert settings["bf16"] == {"enabled": True}
    DeepSpeedZeroConfig(**settings["zero_optimization"])
    known = {name for key, f in DeepSpeedZeroConfig.model_fields.items() for name in (key, f.alias)}
    assert set(settings["zero_optimization"]) <= known


def test_zero3_always_gathers_what_is_saved(tmp_path):
    path = tmp_path / "z3.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 3}}))
    settings = deepspeed_settings(SftConfig(deepspeed=str(path)))
    assert settings["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"] is True


def test_what_contradicts_the_stage_is_refused(tmp_path):
    path = tmp_path / "ds.json"
    for text, message in [
        ('{"train_batch_size": 8}', "train_batch_size must be"),
        ("[1]", "holds list"),
        ("{", "not a readable JSON"),
    ]:
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            deepspeed_settings(SftConfig(deepspeed=str(path)))
    with pytest.raises(ConfigError, match="not a readable JSON"):
        deepspeed_settings(SftConfig(deepspeed=str(tmp_path / "none.json")))
