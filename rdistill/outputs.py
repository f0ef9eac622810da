"""The files that a stage left for others, as its manifest lists them: are they still what the stage wrote?

"files": {"data/sft.parquet": {"size", "mtime_ns", "sha256"}, ...}     "made": changes where they do
"""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

from rdistill.errors import DataError
from rdistill.records import content_id
from rdistill.run import RunFolder, write_durable


def describe_outputs(run: RunFolder, stage: str) -> dict[str, Any]:
    """The manifest's "files" and "made". A stage that leaves rows in the ledger makes something new each time."""
    paths = [p for output in run.outputs(stage) for p in (sorted(output.rglob("*")) if output.is_dir() else [output])]
    files = {str(p.relative_to(run.root)): _describe(p) for p in paths if p.is_file()}
    contents = {name: found["sha256"] for name, found in files.items() if not name.startswith("stages/")}
    return {"files": files, "made": content_id("made", contents) if run.is_all_in_files(stage) else uuid.uuid4().hex}


def damaged_output(run: RunFolder, stage: str, manifest: dict[str, Any] | None) -> str | None:
    """What became of a done stage's files, e.g. "data/sft.parquet is missing"; None if they are as they were.

    A file of the same size and time is not read, so that gigabytes of weights cost nothing; one of another time only
    (the run was copied) is read once.
    """
    files = (manifest or {}).get("files") or {}
    is_touched = False
    for name, known in files.items():
        path = run.root / name
        try:
            now = path.stat()
        except OSError:
            return f"{name} is missing"
        if now.st_size != known["size"]:
            return f"{name} was altered"
        if now.st_mtime_ns != known["mtime_ns"]:
            if _sha256(path) != known["sha256"]:
                return f"{name} was altered"
            known["mtime_ns"], is_touched = now.st_mtime_ns, True
    if is_touched:
        write_durable(run.manifest(stage), json.dumps(manifest, indent=1, ensure_ascii=False))
    return None


def why_stale(run: RunFolder, stage: str) -> str | None:
    """Why what a stage left is not of the stages before it as they are now, by the manifests alone; None if it is."""
    manifest = run.read_manifest(stage)
    if manifest is None:
        return f"stage {stage} is not done"
    for name, known in (manifest.get("inputs") or {}).items():
        if known is None and run.read_manifest(name) is None:
            continue  # trained by hand, on data that no stage made
        if deeper := why_stale(run, name):
            return deeper
        if is_input_changed(run, manifest, name):
            return f"stage {name} ran again after stage {stage}"
    return None


def is_input_changed(run: RunFolder, manifest: dict[str, Any], name: str) -> bool:
    """Whether stage `name` was done with other settings, or made something else, than when the manifest was written."""
    now = run.read_manifest(name) or {}
    read = (manifest.get("read") or {}).get(name)
    is_same = (manifest.get("inputs") or {}).get(name) == now.get("fingerprint")
    return not is_same or read not in (None, now.get("made"))


def check_sealed(run: RunFolder, path: Path) -> None:
    """Raise DataError if a sealed training set has other bytes than the stage wrote; without a manifest all pass."""
    name = str(path.relative_to(run.root))
    for stage in ("select", "pair"):
        known = ((run.read_manifest(stage) or {}).get("files") or {}).get(name)
        if known and path.exists() and _sha256(path) != known["sha256"]:
            raise DataError(
                f"{path} is not what stage {stage} wrote (its sha256 differs); remove it, then: "
                f"rdistill run {run.config}"
            )


def _describe(path: Path) -> dict[str, Any]:
    found = path.stat()
    return {"size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
