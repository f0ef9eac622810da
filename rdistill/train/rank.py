"""What every rank of a training stage does first and last: find its run, join the others, load the model, report.

deepspeed --module rdistill.train.sft RUN/config.yaml
"""

import argparse
import contextlib
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from rdistill.chat_template import try_template
from rdistill.config import Config, TrainConfig, load_config
from rdistill.errors import RdistillError, kind_of
from rdistill.models import load_plain
from rdistill.precision import resolved
from rdistill.process import preloads
from rdistill.run import RunFolder
from rdistill.train.zero import take_norms_in_pieces

WATCH_STDIN = "RDISTILL_WATCH_STDIN"  # set by our launcher: its death closes the ranks' standard input


def main(name: str, stage: Callable[[RunFolder, Config], None], argv: list[str] | None = None) -> int:
    """Parse `CONFIG [key=value ...]`, run one rank of the stage `name`; returns the exit code."""
    parser = argparse.ArgumentParser(description="Train one stage of a run whose data exist.")
    parser.add_argument("config", help="the run's YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    if os.environ.get(WATCH_STDIN):
        threading.Thread(target=_end_with_launcher, daemon=True).start()
    try:
        config = load_config(args.config, args.overrides)
        assert config.run_dir is not None
        prepare_process()
        run = RunFolder(config.run_dir)
        is_first = os.environ["RANK"] == "0"
        by_hand = is_first and not os.environ.get(WATCH_STDIN)
        if by_hand:
            say_what_is_missing()
        config_here = with_dtype(config, name)
        if is_first:
            print(f"numbers: {getattr(config_here, name).dtype}", flush=True)
        with recorded(name, run, config) if by_hand else contextlib.nullcontext():
            stage(run, config_here)
    except RdistillError as error:
        print(f"{kind_of(error)}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception:
        # Told here, so that `leave` ends the process: a failing destructor would have the last word in the log.
        traceback.print_exc()
        return 1
    finally:
        leave_group()
    return 0


def with_dtype(config: Config, name: str) -> Config:
    """The config with the number format that `auto` stands for here in the section `name`."""
    section: TrainConfig = getattr(config, name)
    if (dtype := resolved(section.dtype)) == section.dtype:
        return config
    return config.model_copy(update={name: section.model_copy(update={"dtype": dtype})})


@contextlib.contextmanager
def recorded(name: str, run: RunFolder, config: Config) -> Iterator[None]:
    """Training by hand holds the run's lock and ends as a stage of `rdistill run` does: with a card and a manifest."""
    from rdistill.infer.card import write_card
    from rdistill.stages import BY_NAME, fingerprints, write_manifest

    identity, began = fingerprints(config)[name], time.monotonic()
    with run.locked(config.name):
        yield
        write_card(run.model(name), config)
        write_manifest(BY_NAME[name], run, config, identity, run.read_result(name), time.monotonic() - began)


def say_what_is_missing() -> None:
    """Name what `rdistill run` would preload on a CPU and this process was started without."""
    import torch

    present = os.environ.get("LD_PRELOAD", "").split(":")
    if not torch.cuda.is_available() and (missing := [str(p) for p in preloads() if str(p) not in present]):
        print(f"slower than `rdistill run` on this CPU; start it with LD_PRELOAD={':'.join(missing)}", file=sys.stderr)


def _end_with_launcher() -> None:
    """Exit when standard input closes: the launcher is gone."""
    while os.read(0, 1):
        continue
    os._exit(143)


def prepare_process() -> None:
    """Environment of a rank; a process started without a launcher becomes the only rank."""
    import torch

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("MASTER_PORT", str(free_port()))
    skip_unused_ops()
    take_norms_in_pieces()
    if not torch.cuda.is_available():
        # On CPU accelerate joins the group without DeepSpeed, whose ZeRO-3 would then count one rank.
        import deepspeed

        deepspeed.init_distributed(dist_backend="gloo", auto_mpi_discovery=False, verbose=False)


def skip_unused_ops() -> None:
    """Keep DeepSpeed from compiling its shared-memory all-reduce on CPU: a minute, and only inference uses it."""
    import deepspeed

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def leave_group() -> None:
    """Close the process group, so that no rank warns about or waits for another."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_available() and torch.distributed.is_initialized():
        with contextlib.suppress(RuntimeError):
            torch.distributed.destroy_process_group()


def leave(code: int) -> NoReturn:
    """End the process at once: DeepSpeed's threads may abort a slow teardown after all work is done and on disk."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def load_tokenizer(folder: str | Path) -> Any:
    """The model's tokenizer.

    Raises: SpanError (a DataError) if its chat template cannot be trained with; PrerequisiteError if it never ends.
    """
    from transformers import AutoTokenizer

    from rdistill.train.spans import check_template

    tokenizer = load_plain(AutoTokenizer, folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    try_template(tokenizer)
    check_template(tokenizer)
    return tokenizer


def load_model(folder: str | Path, config: TrainConfig) -> Any:
    """The student with packed attention and no dropout; call after the training arguments exist (ZeRO-3 shards it)."""
    import torch
    from transformers import AutoModelForCausalLM

    from rdistill.train.attention import register_attention
    from rdistill.train.head import fit_head
    from rdistill.train.layers import fit_layers

    dtype = getattr(torch, config.dtype)
    model = load_plain(
        AutoModelForCausalLM,
        folder,
        dtype=dtype,
        attn_implementation=register_attention(),
        quantization_config=quantization_settings(config),
    )
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "attention_dropout"):
            module.attention_dropout = 0.0
        if hasattr(module, "support_avx512bf16_for_cpu"):
            # In eval mode bitsandbytes would repack 4-bit weights for good, in a form that small layers do not have.
            module.support_avx512bf16_for_cpu = False
    fit_layers(model, checkpointing=config.gradient_checkpointing)
    fit_head(model)
    return model


def quantization_settings(config: TrainConfig) -> Any:
    """transformers' settings of QLoRA (Dettmers et al. 2023, arXiv:2305.14314, section 3), or None.

    The 4-bit weights are stored as `dtype`, so that ZeRO-3 can shard them.
    """
    if config.lora is None or config.lora.quantize is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    dtype = getattr(torch, config.dtype)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=config.lora.quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,
    )


def lora_settings(config: TrainConfig) -> Any:
    """PEFT's LoraConfig, or None for full fine-tuning."""
    if config.lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.target_modules,
        task_type="CAUSAL_LM",
    )


def peak_rss_gb() -> float:
    """Largest resident memory of this process so far, in GB."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)
