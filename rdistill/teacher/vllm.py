"""The in-process vLLM engine: one asynchronous engine that many coroutines share.

The same code on GPU and CPU. On CPU: eager, no chunked prefill (vLLM's CPU generator cannot rewind a seeded draw after
a partial prefill), tcmalloc and OpenMP preloaded by whoever starts the process (rdistill.process). On a small machine
one process schedules and computes (docs/decisions/cpu_engine.md).
"""

import asyncio
import functools
import itertools
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from rdistill.answers import THINK_OPEN, ShownText, normalise_reasoning
from rdistill.chat_template import try_template
from rdistill.config import VllmConfig
from rdistill.errors import PrerequisiteError, TeacherError
from rdistill.models import model_identity, resolve_model
from rdistill.precision import resolved
from rdistill.process import die_with_parent, find_openmp
from rdistill.records import Message, content_id
from rdistill.teacher.engine import FAILED, REFUSED, Completion, Request
from rdistill.teacher.rendering import chat_tokens, control_tokens

SMALL_CPU = 4
"""Cores up to which none is reserved for vLLM's scheduler, which computes itself (docs/decisions/cpu_engine.md)."""
ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""By its full name: on CPU vLLM takes "uni" for "mp", since it would not set OpenMP's variables; this module does."""


def engine_arguments(folder: str, config: VllmConfig, seed: int, *, cores: int | None) -> dict[str, Any]:
    """The vLLM engine's arguments for a config, on so many CPU cores or (None) on GPUs; all can be tested anywhere."""
    arguments: dict[str, Any] = {
        "model": folder,
        "dtype": config.dtype,
        "max_model_len": config.max_model_len,
        "max_num_seqs": config.max_num_seqs,
        "tensor_parallel_size": config.tensor_parallel_size,
        "enforce_eager": cores is not None if config.enforce_eager is None else config.enforce_eager,
        "enable_prefix_caching": True,
        "seed": seed,
    }
    if cores is not None:
        # Small blocks: a shared prompt is cached by whole blocks, and worked examples fill only a few hundred tokens.
        batched = max(config.max_model_len, 4096)
        arguments["dtype"] = resolved(config.dtype)
        binds = "VLLM_CPU_OMP_THREADS_BIND" in os.environ  # the user places the threads of vLLM's worker
        if cores <= SMALL_CPU and config.tensor_parallel_size == 1 and not binds:
            arguments["distributed_executor_backend"] = ONE_PROCESS
        return arguments | {"enable_chunked_prefill": False, "max_num_batched_tokens": batched, "block_size": 32}
    return arguments | {"gpu_memory_utilization": config.gpu_memory_utilization}


def vllm_identity(model: str, revision: str | None, config: VllmConfig) -> str:
    """The engine's identity, without starting it. Raises PrerequisiteError without vLLM or the model."""
    _set_environment(config)
    dtype = resolved(config.dtype) if _on_cpu() else config.dtype
    shape = content_id(dtype, config.max_model_len)[:8]
    return f"vllm:{model_identity(model, revision)}:{shape}"


def _set_environment(config: VllmConfig) -> None:
    """What vLLM reads when it is imported, where the user has not set it."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(config.cpu_kv_cache_gib))
    if _cores() <= SMALL_CPU:
        # vLLM keeps a core free for its scheduler; on a small machine that is up to half of the computing.
        os.environ.setdefault("VLLM_CPU_NUM_OF_RESERVED_CPU", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")


@functools.cache
def _cores() -> int:
    """The physical CPU cores that this process may use, before any engine binds it to some of them."""
    allowed = len(os.sched_getaffinity(0))
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def openmp_variables(cores: int) -> dict[str, str]:
    """OpenMP's variables for the one process that vLLM starts on a small machine.

    They are vLLM's own (vllm.utils.ompmultiprocessing) but for the binding to cores: every thread that Python starts
    there would inherit the first one's core, which halves the tokens/s on 2 cores.
    """
    return {"OMP_NUM_THREADS": str(cores), "KMP_BLOCKTIME": "5", "KMP_TPAUSE": "0"}


def may_fork(arguments: dict[str, Any]) -> bool:
    """Whether the engine's one process may be a copy of this one, which has imported all of vLLM already.

    Not with another OpenMP than Intel's: its threads are lost in the copy, which would wait for them.
    """
    one_process = arguments.get("distributed_executor_backend") == ONE_PROCESS
    return one_process and str(find_openmp()) in os.environ.get("LD_PRELOAD", "").split(":")


@functools.cache
def copies_die_with_this_process() -> None:
    """vLLM gives its process a title, which wipes the mark that the watchdog looks for."""
    os.register_at_fork(after_in_child=lambda: die_with_parent(os.getppid()))


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """What a process started within inherits besides; what the user has set stays."""
    added = {name: value for name, value in variables.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _on_cpu() -> bool:
    """Whether vLLM computes on the CPU here. Raises PrerequisiteError without vLLM."""
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        raise _missing(error) from None
    return current_platform.is_cpu()


def _missing(error: ImportError) -> PrerequisiteError:
    return PrerequisiteError(
        f"the vllm engine needs vLLM ({error}); pip install 'rdistill[gpu]', or on CPU: make setup"
    )


@dataclass
class _Asked:
    """One prompt, how it is sampled, and what vLLM has written after it."""

    prompt: list[int]
    sampling: Any
    started: float = field(default_factory=time.monotonic)
    text: str = ""
    num_tokens: int = 0
    steps: list[Any] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, output: Any) -> None:
        self.text += output.text
        self.num_tokens += len(output.token_ids)
        self.steps += [next(iter(step.values())) for step in output.logprobs or []]
        self.finish_reason = output.finish_reason or self.finish_reason

    def completion(self) -> Completion:
        reasoning, text, finished = normalise_reasoning(self.text)
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=(self.finish_reason or "stop") if finished else "length",
            prompt_tokens=len(self.prompt),
            completion_tokens=self.num_tokens,
            tokens=[step.decoded_token or "" for step in self.steps] or None,
            logprobs=[step.logprob for step in self.steps] or None,
            seconds=time.monotonic() - self.started,
        )


class VllmEngine:
    """An Engine over vLLM's AsyncLLM. Build it with `await VllmEngine.start(...)`."""

    def __init__(
        self,
        engine: Any,
        tokenizer: Any,
        identity: str,
        max_model_len: int,
        timeout_s: float,
        sockets: "tempfile.TemporaryDirectory[str] | None" = None,
    ) -> None:
        self.identity = identity
        self._engine, self._tokenizer, self._sockets = engine, tokenizer, sockets
        self._control = control_tokens(tokenizer)
        self.max_model_len, self._timeout_s = max_model_len, timeout_s
        self._numbers = itertools.count()

    @classmethod
    async def start(
        cls, model: str, revision: str | None, config: VllmConfig, *, seed: int = 0, timeout_s: float = 300
    ) -> "VllmEngine":
        """Load the model.

        Raises: PrerequisiteError without vLLM, or if the chat template never ends; TeacherError if the engine does not
        start.
        """
        folder, identity = resolve_model(model, revision), vllm_identity(model, revision, config)
        arguments = engine_arguments(folder, config, seed, cores=_cores() if _on_cpu() else None)
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise _missing(error) from None
        sockets = tempfile.TemporaryDirectory(prefix="rd-", ignore_cleanup_errors=True)
        inherited = {"VLLM_RPC_BASE_PATH": sockets.name}
        if arguments.get("distributed_executor_backend") == ONE_PROCESS:
            inherited |= openmp_variables(_cores())
        try:
            with environment(inherited):
                # The name stands in metrics: no path of this machine.
                settings = AsyncEngineArgs(**arguments, served_model_name=Path(folder).name).create_engine_config()
                if may_fork(arguments):
                    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"  # on CPU vLLM has just set "spawn"
                    copies_die_with_this_process()
                engine = AsyncLLM.from_vllm_config(settings)
        except Exception as error:
            sockets.cleanup()
            raise TeacherError(f"vLLM cannot start {model!r}: {error}; see the log of this attempt") from error
        started = cls(engine, engine.get_tokenizer(), identity, config.max_model_len, timeout_s, sockets)
        try:
            try_template(started._tokenizer)
        except PrerequisiteError as error:
            await started.close()
            raise PrerequisiteError(f"{model!r}: {error}") from None
        return started

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        asked = self._asked(messages, request)
        if isinstance(asked, Completion):
            return asked
        try:
            async with asyncio.timeout(self._timeout_s):
                async for output in self._outputs(asked, "FINAL_ONLY"):
                    asked.add(output)
        except TimeoutError:
            fault = f"no completion within teacher.timeout_s={self._timeout_s:g} s; raise it"
            return Completion.nothing(FAILED, fault)
        return asked.completion()

    async def stream(self, messages: list[Message], request: Request) -> AsyncGenerator[str | Completion, None]:
        """Pieces of the text as they come, then the Completion whose text they make. No time limit of its own."""
        asked = self._asked(messages, request)
        if isinstance(asked, Completion):
            yield asked
            return
        opens_thinking = self._tokenizer.decode(asked.prompt[-8:]).rstrip().endswith(THINK_OPEN)
        shown = ShownText(THINK_OPEN if opens_thinking else "")
        async with aclosing(self._outputs(asked, "DELTA")) as outputs:
            async for output in outputs:
                asked.add(output)
                if piece := shown.add(output.text):
                    yield piece
        completion = asked.completion()
        if rest := shown.rest(completion.text):
            yield rest
        yield completion

    def _asked(self, messages: list[Message], request: Request) -> "_Asked | Completion":
        """What to ask vLLM; a Completion where the conversation is not taken, or fills the model's length."""
        from vllm import SamplingParams

        prompt = self._render(messages)
        if isinstance(prompt, str):
            return Completion.nothing(REFUSED, prompt)
        room = self.max_model_len - len(prompt)
        if room < 1:
            return Completion(text="", finish_reason="length", prompt_tokens=len(prompt), completion_tokens=0)
        sampling = SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            max_tokens=min(request.max_tokens, room),
            seed=None if request.temperature == 0 else request_seed(messages, request),
            stop=request.stop or None,
            logprobs=0,
        )
        return _Asked(prompt, sampling)

    def _render(self, messages: list[Message]) -> list[int] | str:
        """Token ids of a chat, or why the model's template does not take it."""
        try:
            return chat_tokens(self._tokenizer, messages, self._control)
        except Exception as error:  # templates raise what they like: jinja errors, TypeError, ...
            cause = " ".join(str(error).split())[:200]
            return f"the model's chat template refuses the conversation: {cause}"

    async def _outputs(self, asked: "_Asked", kind: str) -> AsyncGenerator[Any, None]:
        """vLLM's outputs for one prompt, each with the text and tokens since the one before (or only the last, whole).

        vLLM stops computing when this is cancelled or closed. Raises: TeacherError if the engine fails.
        """
        from vllm.sampling_params import RequestOutputKind

        asked.sampling.output_kind = RequestOutputKind[kind]
        prompt, number = {"prompt_token_ids": asked.prompt}, f"r{next(self._numbers)}"
        try:
            async with aclosing(self._engine.generate(prompt, asked.sampling, request_id=number)) as outputs:
                async for output in outputs:
                    yield output.outputs[0]
        except Exception as error:
            raise TeacherError(f"vLLM failed: {type(error).__name__}: {error}; see the log of this attempt") from error

    @property
    def is_alive(self) -> bool:
        """False once vLLM's own process has ended: no request will be answered."""
        return self._engine is not None and not self._engine.errored

    async def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.shutdown()
            # vLLM shuts down once more as the interpreter ends, and stumbles over modules that are gone.
            engine.shutdown = lambda *_: None
        if self._sockets is not None:
            self._sockets.cleanup()  # vLLM leaves them behind


def request_seed(messages: list[Message], request: Request) -> int:
    """A 63-bit seed from what is asked and the sample's index: the same request draws the same tokens."""
    return int(content_id(messages, request.seed, request.index)[:15], 16)
