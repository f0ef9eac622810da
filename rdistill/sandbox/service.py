"""Level `external`: runs in a service by URL that answers POST {url}/run_code as SandboxFusion does.

What runs there is child.py, started by envoy.py; request, stdin and results travel as files. Nothing of the reply is
trusted: it is read with a byte cap up to a deadline, parsed strictly, and whatever is not a whole, well-formed answer
about this run is a `sandbox_error`. No redirect is followed, no proxy or password of this user's settings is used.
What this cannot know: whether the service ran the program at all. Who runs the service can make any program pass.
"""

import asyncio
import base64
import json
import secrets
import ssl
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from rdistill.sandbox.box import MAX_OUTPUT_BYTES, MAX_VALUES_BYTES, SandboxResult, SandboxStatus
from rdistill.strict_json import loads_strict

ALLOWANCE_S = 15.0
"""Beyond the program's own time: what a service may take to begin, to end and to send."""
PAUSES_S = (0.2, 1.0)
"""Before a run is offered again to a service that did not take it."""
MAX_REPLY_BYTES = 20 << 20
"""Above what a service sends that caps each stream at 1 MiB, with every byte of it escaped, and the most results."""
KILLED = 137


class NotTakenError(Exception):
    """The service did not take the run: it may be offered again."""


class Run(NamedTuple):
    """What is to run: `request` is child.py's, `has_steps` tells whether results are due."""

    request: bytes
    stdin: bytes
    timeout_s: float
    max_tasks: int
    has_steps: bool


def run_there(url: str, run: Run) -> SandboxResult:
    """One run in a service; takes `timeout_s` and ALLOWANCE_S at most, and a moment to read what came.

    Never raises for what the service does. Not to be called where an event loop runs: `Sandbox.arun` uses a thread.
    """
    started, begun = f"started-{secrets.token_hex(8)}", time.monotonic()
    try:
        reply = asyncio.run(_ask(url, _body(run, started), run.timeout_s + ALLOWANCE_S))
        status, code, stdout, stderr, values = read_reply(reply, started, run.has_steps)
    except TimeoutError:
        fault = f"gave no whole answer in {run.timeout_s + ALLOWANCE_S:g} s"
    except (httpx.HTTPError, httpx.InvalidURL, NotTakenError, OSError) as error:
        fault = f"does not answer ({str(error)[:200] or type(error).__name__})"
    except ValueError as error:
        fault = f"gave no usable answer: {str(error)[:300]}"
    else:
        return SandboxResult(status, code, stdout, stderr, values, time.monotonic() - begun, "external")
    return SandboxResult(
        "sandbox_error", -1, "", f"the service {url} {fault}", b"", time.monotonic() - begun, "external"
    )


def _body(run: Run, started: str) -> bytes:
    folder = Path(__file__).parent
    files = {
        "settings": json.dumps({"started": started, "tasks": run.max_tasks}).encode(),
        "child.py": (folder / "child.py").read_bytes(),
        "request": run.request,
        "stdin": run.stdin,
    }
    asked = {
        "code": (folder / "envoy.py").read_text(encoding="utf-8"),
        "language": "python",
        "run_timeout": run.timeout_s,
        "files": {name: base64.b64encode(data).decode() for name, data in files.items()},
        "fetch_files": ["result"],
    }
    return json.dumps(asked).encode()


async def _ask(url: str, body: bytes, wait_s: float) -> bytes:
    async with asyncio.timeout(wait_s):
        for pause_s in PAUSES_S:
            try:
                return await _post(url, body)
            except NotTakenError:
                await asyncio.sleep(pause_s)
        return await _post(url, body)


async def _post(url: str, body: bytes) -> bytes:
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    data = bytearray()
    async with httpx.AsyncClient(verify=_tls(), trust_env=False, timeout=None, headers=headers) as client:
        try:
            async with client.stream("POST", f"{url.rstrip('/')}/run_code", content=body) as response:
                if response.status_code in (429, 503):
                    raise NotTakenError(f"HTTP {response.status_code}")
                if response.status_code != 200:
                    raise ValueError(f"HTTP {response.status_code}")
                async for chunk in response.aiter_raw():
                    data += chunk
                    if len(data) > MAX_REPLY_BYTES:
                        raise ValueError(f"over {MAX_REPLY_BYTES} bytes")
        except httpx.ConnectError as error:
            raise NotTakenError(str(error)) from None
    return bytes(data)


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def read_reply(data: bytes, started: str, has_steps: bool) -> tuple[SandboxStatus, int, str, str, bytes]:
    """Status, exit code, stdout, stderr and results. Raises ValueError for what says nothing about the program.

    `started` is the line that envoy.py writes to stderr; the results begin with child.py's own. Either proves that the
    program began: it may remove its results, and stderr that is no text does not come back.
    """
    reply = loads_strict(data.decode("utf-8"), max_chars=MAX_REPLY_BYTES, max_depth=8)
    if type(reply) is not dict:
        raise ValueError("not a JSON object")
    verdict, run = _field(reply, "status", str), _field(reply, "run_result", dict, type(None))
    if verdict not in ("Success", "Failed") or run is None:
        raise ValueError(f"status {verdict[:40]!r}: {str(reply.get('message'))[-200:]}")
    ended, code = _field(run, "status", str), _field(run, "return_code", int, type(None))
    out, err = (_field(run, name, str, type(None)) or "" for name in ("stdout", "stderr"))
    content = _field(_field(reply, "files", dict), "result", str, type(None))
    if ended not in ("Finished", "TimeLimitExceeded") or (ended == "Finished") != (code is not None):
        raise ValueError(f"run status {ended[:40]!r} with return code {code}")
    if (verdict == "Success") != (code == 0):
        raise ValueError(f"status {verdict!r} with return code {code}")
    before, ready, values = base64.b64decode(content or "", validate=True).partition(b"ready\n")
    has_results = bool(ready) and not before
    is_marked = err.startswith(f"{started}\n")
    err = err[len(started) + 1 :] if is_marked else err
    code = -1 if code is None else code if code >= 0 else 128 - code
    status: SandboxStatus = "timeout" if ended != "Finished" else "ok" if code == 0 else "error"
    sizes = [len(text.encode("utf-8")) > MAX_OUTPUT_BYTES for text in (out, err)]
    if any(sizes) or len(values) > MAX_VALUES_BYTES or values == b"limit\n" or code == KILLED:
        status = "resource_limit"
    elif status != "timeout" and not (has_results or is_marked):
        raise ValueError(f"the program did not start: {err[-200:]}")
    elif status != "timeout" and has_steps and not has_results:
        raise ValueError("the results did not come back")
    return status, code, _cut(out), _cut(err), values[:MAX_VALUES_BYTES]


def _field(table: dict[str, Any], name: str, *kinds: type) -> Any:
    value = table.get(name)
    if type(value) not in kinds:
        raise ValueError(f"{name} is {type(value).__name__}, expected {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def _cut(text: str) -> str:
    return text.encode("utf-8")[:MAX_OUTPUT_BYTES].decode("utf-8", "replace")
