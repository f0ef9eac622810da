"""A LoRA student that is merged when it is saved says, in vLLM, what the adapted model said in transformers."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rdistill.config import VllmConfig
from rdistill.models import resolve_model
from rdistill.teacher.engine import Request
from rdistill.teacher.engines import start_vllm
from rdistill.train.save import _save

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

QUESTIONS = ["What is 7 + 5?", "Name three fruits.", "A farm has 4 cows and 9 hens. How many animals?", "Say hello."]
TOKENS = 24


def adapted(student: Path) -> torch.nn.Module:
    """The student with adapters that change what it says."""
    plain = AutoModelForCausalLM.from_pretrained(student, dtype=torch.float32)
    model = get_peft_model(plain, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def greedy(model: torch.nn.Module, tokenizer: object, question: str) -> str:
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        ids = model.generate(**prompt, max_new_tokens=TOKENS, do_sample=False)
    return tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True).strip()


async def served(folder: Path) -> list[str]:
    engine = await start_vllm(str(folder), None, VllmConfig(max_model_len=256, max_num_seqs=4, dtype="float32"))
    try:
        request = Request(temperature=0, max_tokens=TOKENS)
        return [(await engine.chat([{"role": "user", "content": q}], request)).text.strip() for q in QUESTIONS]
    finally:
        await engine.close()


def test_merged_adapters_give_vllm_the_same_greedy_tokens(tmp_path: Path) -> None:
    student = Path(resolve_model("bundled:smollm2-135m-instruct", None))
    tokenizer, model = AutoTokenizer.from_pretrained(student), adapted(student)
    expected = [greedy(model, tokenizer, q) for q in QUESTIONS]
    with model.disable_adapter():
        assert [greedy(model, tokenizer, q) for q in QUESTIONS] != expected
    _save(model, model.state_dict(), tmp_path)
    tokenizer.save_pretrained(tmp_path)
    # In a process of its own: vLLM binds the one that it starts in to cores and memory, and later engines inherit that.
    done = subprocess.run([sys.executable, __file__, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == expected


if __name__ == "__main__":
    print("\n" + json.dumps(asyncio.run(served(Path(sys.argv[1])))), flush=True)
