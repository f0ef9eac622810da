"""The vLLM engine as far as it can be tested without its engine: arguments, seeds, and what it makes of outputs."""

import asyncio
import os
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rdistill.config import VllmConfig
from rdistill.errors import TeacherError
from rdistill.teacher import vllm
from rdistill.teacher.engine import Request
from rdistill.teacher.vllm import ONE_PROCESS, VllmEngine, engine_arguments, environment, openmp_variables, request_seed

pytest.importorskip("vllm", reason="vLLM is not installed")
ASKED = [{"role": "user", "content": "1 + 1?"}]


def test_arguments_for_gpus_and_for_cpu() -> None:
    config = VllmConfig(tensor_parallel_size=8, max_model_len=8192, gpu_memory_utilization=0.8)
    gpu = engine_arguments("/m", config, 3, cores=None)
    assert (gpu["tensor_parallel_size"], gpu["gpu_memory_utilization"], gpu["enforce_eager"]) == (8, 0.8, False)
    assert gpu["max_model_len"] == 8192 and gpu["seed"] == 3 and "enable_chunked_prefill" not in gpu
    cpu = engine_arguments("/m", config, 0, cores=64)
    assert cpu["enforce_eager"] is True and cpu["enable_chunked_prefill"] is False
    assert "gpu_memory_utilization" not in cpu and cpu["max_num_batched_tokens"] >= 8192
    assert engine_arguments("/m", VllmConfig(enforce_eager=False), 0, cores=64)["enforce_eager"] is False


@pytest.mark.parametrize(("cores", "gpus", "expected"), [(2, 1, True), (4, 1, True), (5, 1, False), (2, 2, False)])
def test_a_small_machine_schedules_and_computes_in_one_process(cores: int, gpus: int, expected: bool) -> None:
    arguments = engine_arguments("/m", VllmConfig(tensor_parallel_size=gpus), 0, cores=cores)
    assert (arguments.get("distributed_executor_backend") == ONE_PROCESS) is expected


def test_whoever_places_vllms_threads_gets_vllms_own_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0-1")
    assert "distributed_executor_backend" not in engine_arguments("/m", VllmConfig(), 0, cores=2)


def test_vllm_has_the_executor_and_the_variables_of_the_one_process() -> None:
    from vllm.utils import ompmultiprocessing
    from vllm.utils.import_utils import resolve_obj_by_qualname
    from vllm.v1.executor import Executor

    assert issubclass(resolve_obj_by_qualname(ONE_PROCESS), Executor)
    source = Path(ompmultiprocessing.__file__).read_text()
    assert all(f'"{name}"' in source for name in openmp_variables(2))


@pytest.mark.parametrize(
    ("backend", "found", "preloaded", "expected"),
    [
        (ONE_PROCESS, "/venv/libiomp5.so", "/lib/libtcmalloc.so.4:/venv/libiomp5.so", True),
        (ONE_PROCESS, "/venv/libiomp5.so", "/lib/libtcmalloc.so.4", False),
        (ONE_PROCESS, None, "", False),
        (None, "/venv/libiomp5.so", "/venv/libiomp5.so", False),
    ],
)
def test_the_engine_is_a_copy_of_this_process_only_where_its_threads_survive_that(
    monkeypatch: pytest.MonkeyPatch, backend: str | None, found: str | None, preloaded: str, expected: bool
) -> None:
    monkeypatch.setattr(vllm, "find_openmp", lambda: found and Path(found))
    monkeypatch.setenv("LD_PRELOAD", preloaded)
    assert vllm.may_fork({"distributed_executor_backend": backend} if backend else {}) is expected


def test_what_the_user_set_stays_and_what_was_added_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("KMP_BLOCKTIME", raising=False)
    with pytest.raises(KeyError), environment(openmp_variables(2)):
        assert (os.environ["OMP_NUM_THREADS"], os.environ["KMP_BLOCKTIME"]) == ("7", "5")
        raise KeyError
    assert os.environ["OMP_NUM_THREADS"] == "7" and "KMP_BLOCKTIME" not in os.environ


def test_a_seed_follows_from_what_is_asked() -> None:
    def seed(**fields: Any) -> int:
        return request_seed(ASKED, Request(**{"temperature": 1, "max_tokens": 9, **fields}))

    assert seed() == seed(max_tokens=10) != seed(index=1) != seed(seed=1)
    assert 0 <= seed() < 2**63 and len({seed(index=n) for n in range(1000)}) == 1000


class FakeAsyncLLM:
    """Gives one output, or hangs, or fails; notes what it was asked."""

    def __init__(self, text: str = "#### 2", finish_reason: str = "stop", *, fails: str = "", hangs: bool = False):
        self.text, self.finish_reason, self.fails, self.hangs = text, finish_reason, fails, hangs
        self.sampling: list[Any] = []
        self.aborted: list[str] = []
        self.errored = bool(fails)

    async def generate(self, prompt: dict, sampling: Any, request_id: str) -> Any:
        self.sampling.append(sampling)
        if self.fails:
            raise RuntimeError(self.fails)
        try:
            if self.hangs:
                await asyncio.sleep(60)
            step = {5: SimpleNamespace(decoded_token="####", logprob=-0.5)}
            pieces = [self.text]
            if sampling.output_kind.name == "DELTA":
                pieces = [self.text[i : i + 3] for i in range(0, len(self.text), 3)]
            for number, text in enumerate(pieces, 1):
                reason = self.finish_reason if number == len(pieces) else None
                output = SimpleNamespace(text=text, finish_reason=reason, token_ids=[5, 6], logprobs=[step, step])
                yield SimpleNamespace(outputs=[output])
        except (asyncio.CancelledError, GeneratorExit):  # as vLLM does
            self.aborted.append(request_id)
            raise


class FakeTokenizer:
    def __init__(self, length: int = 10, fails: str = "", prompt_end: str = "") -> None:
        self.length, self.fails, self.prompt_end = length, fails, prompt_end

    def apply_chat_template(self, messages: list, **_: Any) -> dict[str, list[int]]:
        if self.fails:
            raise ValueError(self.fails)
        return {"input_ids": [1] * self.length}

    def decode(self, ids: list[int]) -> str:
        return "<|im_start|>assistant\n" + self.prompt_end


def ask(engine: FakeAsyncLLM, tokenizer: FakeTokenizer | None = None, **request: Any) -> Any:
    served = VllmEngine(engine, tokenizer or FakeTokenizer(), "vllm:x", max_model_len=100, timeout_s=0.2)
    return asyncio.run(served.chat(ASKED, Request(**{"temperature": 0.5, "max_tokens": 50, **request})))


def test_a_reply_with_its_log_probabilities() -> None:
    engine = FakeAsyncLLM("<think>why</think>#### 2")
    found = ask(engine, stop=["x"])
    assert (found.text, found.reasoning, found.finish_reason) == ("#### 2", "why", "stop")
    assert (found.prompt_tokens, found.completion_tokens, found.logprobs) == (10, 2, [-0.5, -0.5])
    (sampling,) = engine.sampling
    assert sampling.max_tokens == 50 and sampling.stop == ["x"] and sampling.seed is not None


def test_greedy_needs_no_seed_and_a_long_prompt_leaves_less_room() -> None:
    engine = FakeAsyncLLM()
    ask(engine, FakeTokenizer(80), temperature=0)
    assert engine.sampling[0].seed is None and engine.sampling[0].max_tokens == 20


def test_a_prompt_that_fills_the_context_is_cut_short_not_an_error() -> None:
    found = ask(FakeAsyncLLM(), FakeTokenizer(100))
    assert (found.text, found.finish_reason, found.completion_tokens) == ("", "length", 0)


def test_unfinished_thinking_is_cut_short() -> None:
    found = ask(FakeAsyncLLM("<think>on and on"))
    assert (found.text, found.reasoning, found.finish_reason) == ("", "on and on", "length")


def test_failures_are_the_engines() -> None:
    with pytest.raises(TeacherError, match="vLLM failed: RuntimeError: engine dead"):
        ask(FakeAsyncLLM(fails="engine dead"))


def test_what_does_not_come_in_time_costs_its_request_alone() -> None:
    hanging = FakeAsyncLLM(hangs=True)
    found = ask(hanging)
    assert (found.finish_reason, found.fault) == ("failed", "no completion within teacher.timeout_s=0.2 s; raise it")
    assert hanging.aborted == ["r0"]


def test_a_conversation_that_the_template_refuses_is_an_empty_completion() -> None:
    found = ask(FakeAsyncLLM(), FakeTokenizer(fails="no\nsystem role"))
    assert (found.text, found.finish_reason) == ("", "refused")
    assert found.fault == "the model's chat template refuses the conversation: no system role"


# A reply that is shown while it grows


def streamed(engine: FakeAsyncLLM, tokenizer: FakeTokenizer | None = None) -> tuple[list[str], Any]:
    served = VllmEngine(engine, tokenizer or FakeTokenizer(), "vllm:x", max_model_len=100, timeout_s=0.2)

    async def read() -> list[Any]:
        return [item async for item in served.stream(ASKED, Request(temperature=0, max_tokens=50))]

    *pieces, completion = asyncio.run(read())
    return pieces, completion


@pytest.mark.parametrize(
    ("text", "prompt_end", "first"),
    [
        ("  One and one\n\n#### 2\n ", "", "O"),
        ("<think>One and one.</think>\n\n#### 2", "", "#"),
        ("One and one.</think>\n\n#### 2", "<think>\n", "#"),
        ("<b> is no thinking", "", "<b>"),
        ("<thi", "", "<thi"),
        ("", "", None),
    ],
)
def test_the_pieces_of_a_stream_make_its_completions_text(text: str, prompt_end: str, first: str | None) -> None:
    pieces, completion = streamed(FakeAsyncLLM(text), FakeTokenizer(prompt_end=prompt_end))
    assert "".join(pieces) == completion.text == ask(FakeAsyncLLM(text)).text
    assert (pieces[0][: len(first)] if first else None) == first
    assert len(completion.tokens or []) == completion.completion_tokens == 2 * -(-len(text) // 3)


def test_a_stream_that_never_stops_thinking_shows_nothing() -> None:
    pieces, completion = streamed(FakeAsyncLLM("<think>on and on"))
    assert (pieces, completion.finish_reason) == ([], "length")


def test_a_stream_that_is_left_stops_vllm() -> None:
    engine = FakeAsyncLLM("one two three")
    served = VllmEngine(engine, FakeTokenizer(), "vllm:x", max_model_len=100, timeout_s=0.2)

    async def leave() -> None:
        async with aclosing(served.stream(ASKED, Request(temperature=0, max_tokens=50))) as pieces:
            await anext(pieces)

    asyncio.run(leave())
    assert engine.aborted == ["r0"] and served.is_alive


def test_a_dead_engine_is_told_apart() -> None:
    engine = FakeAsyncLLM(fails="gone")
    with pytest.raises(TeacherError, match="vLLM failed: RuntimeError: gone"):
        streamed(engine)
    assert not VllmEngine(engine, FakeTokenizer(), "vllm:x", max_model_len=9, timeout_s=1).is_alive
