"""`rdistill serve`: one student behind OpenAI's chat completions, until a signal or the engine's end."""

import asyncio
import contextlib
import importlib.util
import os
import shlex
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rdistill.config import VllmConfig
from rdistill.errors import ConfigError, PrerequisiteError, TeacherError
from rdistill.infer.ask import settle_sandbox
from rdistill.infer.card import Card, find_student
from rdistill.infer.chat_body import Offer, modes_of
from rdistill.infer.concise import ASK_MODES, Student
from rdistill.infer.noise import log_file, noise_to
from rdistill.models import check_model
from rdistill.sandbox import Consent
from rdistill.teacher.engine import LocalEngine
from rdistill.teacher.engines import start_vllm
from rdistill.tools import make_tools

if TYPE_CHECKING:
    import uvicorn

KEY = "RDISTILL_API_KEY"
NEEDED = ("uvicorn", "prometheus_client")
GRACE_S = 30
"""Seconds that requests have to end in once the server was told to."""
LOOK_EVERY_S = 0.5
INTERRUPTED = 130


class Place(NamedTuple):
    """Where to listen, and how much to take on: requests answered at once, seconds for one."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_requests: int = 64
    timeout_s: float = 300.0


def serve(run_or_model: str, mode: str, place: Place, consent: Consent = Consent()) -> int:
    """Serve until told to end; returns the exit code: 0 after SIGTERM, 130 after SIGINT.

    Raises: ConfigError for a mode that was not trained, an address that cannot be had, or an open server without a
    key; PrerequisiteError if the extra, vLLM or the model is missing; TeacherError if the engine fails or dies.
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise PrerequisiteError(f"rdistill serve needs {' and '.join(missing)}: pip install 'rdistill[serve]'")
    # Out of the environment: neither vLLM's processes nor tools have any use for it.
    api_key = os.environ.pop(KEY, "").strip() or None
    model, card = find_student(run_or_model)
    offer = make_offer(run_or_model, card, mode)
    with listening_on(place, api_key) as listener:
        check_model(model, "RUN_OR_MODEL")
        card, offer = with_sandbox(card, offer, consent)
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        log = log_file(f"serve-{listener.getsockname()[1]}")
        options = VllmConfig(max_model_len=card.max_model_len, max_num_seqs=max(64, place.max_requests))
        with noise_to(log) as say, asyncio.Runner() as runner:
            try:
                # Longer than any request may take: the server's own limit speaks first.
                engine = runner.run(start_vllm(model, None, options, timeout_s=2 * place.timeout_s))
            except TeacherError as error:
                raise TeacherError(f"{error} ({log})") from None
            try:
                app = make_app(engine, card, offer, place, api_key)
                told = runner.run(_run(app, engine, listener, lambda: say(greeting(offer, listener, api_key))))
            finally:
                runner.run(engine.close())
        if told is None:
            raise TeacherError(f"the engine died, and the server with it; start it again ({log} says more)")
        return INTERRUPTED if told == signal.SIGINT else 0


def make_offer(run_or_model: str, card: Card, mode: str) -> Offer:
    """What is served under which names: that of the run's or model's folder. Raises: ConfigError for the mode."""
    folder = Path(run_or_model)
    name = folder.resolve().name if folder.is_dir() else run_or_model.rpartition("/")[2].rpartition(":")[2]
    if mode not in ASK_MODES:
        raise ConfigError(f"--mode {mode!r}; expected one of {', '.join(ASK_MODES)}")
    modes = modes_of(card)
    if mode not in modes:
        raise ConfigError(f"--mode {mode!r} was not trained; this student has {', '.join(modes)}")
    return Offer(name, modes, mode)


def with_sandbox(card: Card, offer: Offer, consent: Consent) -> tuple[Card, Offer]:
    """See to the sandbox of a student that runs Python; without one, its mode `tool` is not served.

    Raises: PrerequisiteError if that is the default mode.
    """
    if "tool" not in offer.modes:
        return card, offer
    try:
        warnings = settle_sandbox(card, consent)
    except PrerequisiteError as error:
        if offer.default == "tool":
            raise
        warnings = [f"mode tool is not served: {error}"]
        card = card.model_copy(update={"tools": []})
        offer = offer._replace(modes=tuple(mode for mode in offer.modes if mode != "tool"))
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return card, offer


@contextlib.contextmanager
def listening_on(place: Place, api_key: str | None) -> Iterator[socket.socket]:
    """A socket bound to the address before anything is loaded; connections are refused until the server is ready.

    Raises: ConfigError if the address cannot be had, or others could reach it and there is no key.
    """
    from rdistill.infer.server import is_loopback

    at = f"--host {place.host} --port {place.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{at} is no address ({error}); name one of this machine, e.g. 127.0.0.1") from None
    if api_key is None and not is_loopback(str(address[0])):
        raise ConfigError(f"--host {place.host} lets other machines in and there is no key; set {KEY}, or leave it out")
    with socket.socket(family, kind) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
        except OSError as error:
            raise ConfigError(f"{at} cannot be had ({error.strerror}); give another") from None
        yield listener


def make_app(engine: LocalEngine, card: Card, offer: Offer, place: Place, api_key: str | None) -> Any:
    """The application over an engine that runs."""
    from rdistill.infer.server import App

    student = Student(engine, card, make_tools(card.tools, card.sandbox) if "tool" in offer.modes else {})
    return App(student, engine, offer, api_key=api_key, max_requests=place.max_requests, timeout_s=place.timeout_s)


async def _run(app: Any, engine: LocalEngine, listener: socket.socket, ready: Callable[[], object]) -> int | None:
    """Serve until a signal, which is returned, or the engine's death (None). A second signal waits for nothing."""
    server = make_server(app, ready)
    told: list[int] = []

    def end(number: int) -> None:
        told.append(number)
        server.should_exit, server.force_exit = True, len(told) > 1

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    watch = asyncio.create_task(_end_with(engine, server))
    try:
        await server.serve(sockets=[listener])
    except OSError as error:
        raise ConfigError(
            f"the port was taken while the model loaded ({error.strerror}); give another: --port"
        ) from None
    finally:
        watch.cancel()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return told[0] if told else None


async def _end_with(engine: LocalEngine, server: "uvicorn.Server") -> None:
    while engine.is_alive:
        await asyncio.sleep(LOOK_EVERY_S)
    server.should_exit = True


def make_server(app: Any, ready: Callable[[], object]) -> "uvicorn.Server":
    """A uvicorn that writes no log, leaves signals to us, and says when it listens."""
    import uvicorn

    class Server(uvicorn.Server):
        def capture_signals(self) -> Any:
            return contextlib.nullcontext()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            ready()

    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="critical",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config)


def greeting(offer: Offer, listener: socket.socket, api_key: str | None) -> str:
    """The address, the models, and a request to try."""
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"
    body = f'{{"model": "{offer.name}", "messages": [{{"role": "user", "content": "What is 3 + 4?"}}]}}'
    headers = ["-H 'Content-Type: application/json'", *([f'-H "Authorization: Bearer ${KEY}"'] if api_key else [])]
    return (
        f"serving {', '.join(offer.models)} at {url}\n"
        f"try: curl {url}/chat/completions {' '.join(headers)} -d {shlex.quote(body)}"
    )
