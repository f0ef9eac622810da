from pathlib import Path

import pytest
import torch

from rdistill.config import SftConfig, VllmConfig, load_config
from rdistill.precision import fastest_dtype
from rdistill.teacher.vllm import engine_arguments
from rdistill.train.rank import with_dtype


@pytest.fixture
def machine(monkeypatch):
    def pretend(*instructions, gpu=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: gpu)
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(("avx2", *instructions), True))

    return pretend


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16", "bf16"])
def test_bfloat16_where_a_cpu_has_instructions_for_it(machine, instructions):
    machine(instructions)
    assert fastest_dtype() == "bfloat16"


def test_float32_where_it_has_none(machine):
    machine("avx512_f", "avx512_vnni")
    assert fastest_dtype() == "float32"


def test_float32_where_torch_cannot_tell(machine, monkeypatch):
    machine("amx_bf16")
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert fastest_dtype() == "float32"


def test_a_gpu_decides_before_the_cpu_does(machine):
    machine(gpu=True)
    assert fastest_dtype() == "bfloat16"
    machine("amx_bf16", gpu=False)
    assert fastest_dtype() == "float32"


def test_vllm_is_told_what_a_cpu_computes_in_and_on_a_gpu_left_to_choose(machine):
    machine()
    assert engine_arguments("/m", VllmConfig(), 0, cores=2)["dtype"] == "float32"
    assert engine_arguments("/m", VllmConfig(dtype="bfloat16"), 0, cores=2)["dtype"] == "bfloat16"
    assert engine_arguments("/m", VllmConfig(), 0, cores=None)["dtype"] == "auto"


def test_a_stage_trains_in_one_of_the_two_and_the_config_that_is_recorded_stays(machine):
    machine()
    config = load_config(Path(__file__).parents[2] / "configs" / "quickstart.yaml")
    assert with_dtype(config, "sft").sft.dtype == "float32"
    assert (config.sft.dtype, with_dtype(config, "sft").dpo.dtype) == ("auto", "auto")
    half = config.model_copy(update={"sft": SftConfig(dtype="bfloat16")})
    assert with_dtype(half, "sft") is half
