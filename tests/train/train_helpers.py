"""A tiny tokenizer, model and run, made on the spot: no network, no download."""

import json
from pathlib import Path

import datasets
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rdistill.config import dump_config, load_config
from rdistill.run import RunFolder
from rdistill.train.attention import register_attention
from rdistill.train.launch import launch

EXACT = {"dtype": "float32", "batch_size": 5, "micro_batch_size": 2, "log_every": 1}
"""Settings with which curves can be compared step by step."""
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
MERGES = [("\u010a", "\u010a"), ("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("o", "n"), ("e", "r")]


def tiny_tokenizer(template: str = CHATML) -> PreTrainedTokenizerFast:
    """Byte-level BPE with a handful of merges, control tokens of ChatML."""
    vocab = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for left, right in MERGES:
        vocab[left + right] = len(vocab)
    raw = Tokenizer(models.BPE(vocab=vocab, merges=MERGES))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    tokenizer.chat_template = template
    return tokenizer


def tiny_model(vocab_size: int, attention: str | None = None, seed: int = 0, tied: bool = True) -> LlamaForCausalLM:
    """Two layers with grouped-query attention, float32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=tied,
        attn_implementation=attention or register_attention(),
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config)


def chat(question: str, rationale: str, answer: str) -> tuple[list[dict], list[dict]]:
    """Messages and spans of one example."""
    text = f"{rationale}\n#### {answer}"
    messages = [
        {"role": "system", "content": "Reason, then answer."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": text},
    ]
    spans = [
        {"message": 2, "start": 0, "end": len(rationale), "role": "rationale"},
        {"message": 2, "start": len(rationale), "end": len(text), "role": "answer"},
    ]
    return messages, spans


def make_run(root: Path, rows: int = 12, **options: dict) -> Path:
    """A run folder with sealed data and a tiny student; returns the config's path. `options`: sft=..., dpo=..."""
    student = root / "student"
    tokenizer = tiny_tokenizer()
    tiny_model(len(tokenizer), "sdpa").save_pretrained(student)
    tokenizer.save_pretrained(student)
    examples, pairs = [], []
    for i in range(rows):
        messages, spans = chat(
            f"What is {i} + {i}?", f"The sum of {i} and {i} is {'so ' * (i % 5)}{2 * i}.", str(2 * i)
        )
        wrong, wrong_spans = chat(f"What is {i} + {i}?", f"I take {i}.", str(i + 1))
        mode = "explain" if i % 3 else "direct"
        texts = {"messages": json.dumps(messages), "spans": json.dumps(spans)}
        examples.append({"id": str(i), "problem_id": str(i // 2), "mode": mode, **texts})
        pairs.append(
            {
                "id": str(i),
                "prompt": json.dumps(messages[:2]),
                "chosen": json.dumps(messages[2:]),
                "rejected": json.dumps(wrong[2:]),
                "chosen_spans": json.dumps(spans),
                "rejected_spans": json.dumps(wrong_spans),
            }
        )
    (root / "data").mkdir(parents=True, exist_ok=True)
    datasets.Dataset.from_list(examples).to_parquet(str(root / "data" / "sft.parquet"))
    datasets.Dataset.from_list(pairs).to_parquet(str(root / "data" / "pairs.parquet"))
    config = {
        "name": "tiny",
        "run_dir": str(root),
        "prompts": {"sources": [{"task": "word_problems", "size": 10}]},
        "teacher": {"model": str(student)},
        "student": {"model": str(student)},
        **options,
    }
    path = root / "config.yaml"
    path.write_text(json.dumps(config))
    return path


def start(root: Path, stage: str, **options: object) -> list[dict]:
    """Launch a stage of a tiny run, which is made where there is none; returns its metrics lines."""
    path = root / "config.yaml"
    if not path.exists():
        make_run(root)
    config = load_config(path, [f"{stage}.{k}={json.dumps(v)}" for k, v in options.items()])
    run = RunFolder(root)
    run.result(stage).unlink(missing_ok=True)
    run.config.write_text(dump_config(config))
    launch(stage, run, config)
    return [json.loads(line) for line in run.metrics(stage).read_text().splitlines()]
