"""A small service that runs code by SandboxFusion's API: in a real sandbox, or with nothing around it."""

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rdistill.sandbox import Sandbox, run_function

MAX_STREAM = 1 << 20
SERVE = '''
import base64, os, subprocess, sys
def serve(request):
    """Files, a run, what it wrote and left: as a service does it in its own sandbox."""
    for name, content in request["files"].items():
        open(name, "wb").write(base64.b64decode(content))
    open("main.py", "w").write(request["code"])
    with open("out", "w+b") as out, open("err", "w+b") as err:
        process = subprocess.Popen([sys.executable, "main.py"], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            code = process.wait(request["run_timeout"])
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            code = None
        texts = [(file.seek(0), file.read(MAX_STREAM))[1].decode("utf-8", "replace") for file in (out, err)]
    files = {}
    for name in request["fetch_files"]:
        if os.path.isfile(name):
            files[name] = base64.b64encode(open(name, "rb").read()).decode()
    return [code, *texts, files]
'''.replace("MAX_STREAM", str(MAX_STREAM))


def answer(code, out="", err="", files=None):
    """SandboxFusion's reply; `code` None: over its time."""
    ended = "TimeLimitExceeded" if code is None else "Finished"
    run = {"status": ended, "execution_time": 0.1, "return_code": code, "stdout": out, "stderr": err}
    return {
        "status": "Success" if code == 0 else "Failed",
        "message": "",
        "compile_result": None,
        "run_result": run,
        "executor_pod_name": None,
        "files": files or {},
    }


def isolated(request):
    """Each run in a box of level strong of its own."""
    box = Sandbox("strong", timeout_s=request["run_timeout"] + 2, memory_mb=512)
    run = run_function(box, SERVE, "serve", [[request]])
    if run.status == "ok" and run.outcomes[0].error is None:
        return answer(*run.outcomes[0].value)
    return answer(None if run.status == "timeout" else 137)


def bare(request):
    """What SandboxFusion calls isolation none."""
    with tempfile.TemporaryDirectory() as name:
        for path, content in request["files"].items():
            Path(name, path).write_bytes(base64.b64decode(content))
        Path(name, "main.py").write_text(request["code"])
        with Path(name, "out").open("w+b") as out, Path(name, "err").open("w+b") as err:
            done = subprocess.run(
                [sys.executable, "main.py"],
                cwd=name,
                env={**os.environ, "SERVICE_API_KEY": "hunter2"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                timeout=request["run_timeout"],
            )
            texts = [(file.seek(0), file.read())[1].decode("utf-8", "replace") for file in (out, err)]
        found = {n: base64.b64encode(Path(name, n).read_bytes()).decode() for n in request["fetch_files"]}
        return answer(done.returncode, *texts, found)


class Service:
    """`run`: from the request to the reply, or, given the handler too, whatever it writes to the socket itself."""

    def __init__(self, run, is_raw=False):
        self.requests, self._stopped = [], threading.Event()
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.requests.append((self.path, request))
                if is_raw:
                    run(self, service._stopped)
                    return
                data = json.dumps(run(request)).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
