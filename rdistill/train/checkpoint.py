"""Checkpoints inside a training stage: sealed when written, proven before they are used, removed with the stage.

    RUN/stages/STAGE/checkpoints/  step-20/  step-40/{MANIFEST.json, ...}  latest

transformers and DeepSpeed write their files to `checkpoint-N`, which counts for nothing. When every rank is done, rank
0 writes MANIFEST.json (size and SHA-256 of each file, identity, step), syncs it all to the disk, renames the folder to
`step-N` and replaces `latest`. A stage goes on from the newest `step-N` that still is what its manifest says; a
damaged one is set aside, loudly. Only the very same training uses a checkpoint (`training_identity`); one of another
training (another learning rate, say) waits aside until that training comes back, or the stage is done.
"""

import contextlib
import hashlib
import json
import shutil
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rdistill.errors import TrainError
from rdistill.models import folder_digest
from rdistill.records import content_id
from rdistill.run import sync_file, sync_folder, write_durable
from rdistill.train.zero import read_settings

# What may differ between a killed stage and the one that goes on.
FREE = {"log_every", "save_every", "save_every_s", "report_to"}
KEEP = 2
BYTES_A_WEIGHT = 20
"""More than a checkpoint holds of a weight that is trained: itself twice, and AdamW's two moments, in float32."""
MANIFEST = "MANIFEST.json"
LATEST = "latest"
SHORT = 12
"""Characters of an identity that tell apart the trainings of one stage."""


class DamagedCheckpoint(Exception):
    """A checkpoint that is not what its manifest says; the message names the file."""


LAYOUT = 2
"""Of the optimizer's state in a checkpoint; older ones cannot be read."""


def training_identity(trainer: Any, stage: str, start: Path) -> str:
    """Changes with the model in `start`, settings, data, seed and number of ranks (ZeRO's files are cut by rank)."""
    settings = {k: v for k, v in trainer.settings.model_dump(mode="json").items() if k not in FREE}
    if path := settings["deepspeed"]:
        settings["deepspeed"] = read_settings(Path(path))
    tokens = [[list(s) for s in g] for g in trainer.data.groups]
    arguments = [settings, trainer.args.seed, trainer.args.world_size]
    return content_id("training", LAYOUT, stage, folder_digest(start), arguments, tokens, trainer.steps)


def usable_checkpoint(trainer: Any, stage: str, start: Path) -> Path | None:
    """The newest whole checkpoint of this very training, or None; those that it writes from now on are sealed.

    Every rank must call. Rank 0 decides, clears away what is unfinished, and sets aside what is of another training.
    """
    from accelerate.utils import broadcast_object_list

    identity = ""
    found: list[str | None] = [None]
    if trainer.is_world_process_zero():
        identity = training_identity(trainer, stage, start)
        newest = newest_whole(Path(trainer.args.output_dir), identity)
        found = [str(newest) if newest else None]
    broadcast_object_list(found)
    trainer.add_callback(SealCheckpoints(trainer, identity))
    return Path(found[0]) if found[0] else None


class SealCheckpoints(TrainerCallback):
    """Makes whole checkpoints of what transformers and DeepSpeed wrote."""

    def __init__(self, trainer: Any, identity: str) -> None:
        self.trainer, self.identity = trainer, identity
        self.since = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Stop while nothing is written yet if the next checkpoint would not fit; take one where it is time for it."""
        if control.should_save:
            check_space(Path(args.output_dir))
        elif control.should_log and state.global_step < state.max_steps:
            control.should_save = self.is_time(Path(args.output_dir))

    def is_time(self, folder: Path) -> bool:
        """Whether `save_every_s` has passed by rank 0's clock, on every rank alike; all must call.

        Nobody asked for these checkpoints by step, so where one would not fit, training goes on without it.
        """
        from accelerate.utils import broadcast_object_list

        every, answer = self.trainer.settings.save_every_s, [False]
        if not every:
            return False
        if self.trainer.is_world_process_zero() and time.monotonic() - self.since >= every:
            self.since = time.monotonic()
            needed = space_needed(folder) or first_size(self.trainer.model)
            answer[0] = shutil.disk_usage(folder if folder.exists() else folder.parent).free >= needed
            if not answer[0]:
                _warn(f"{folder}: a checkpoint needs {needed / 1e9:.2f} GB; training goes on without: make room")
        broadcast_object_list(answer)
        return answer[0]

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.trainer.accelerator.wait_for_everyone()
        if self.trainer.is_world_process_zero():
            folder = Path(args.output_dir)
            try:
                sync_file(self.trainer.metrics_path)
                seal(folder / f"checkpoint-{state.global_step}", state.global_step, self.identity)
            except OSError as error:
                raise TrainError(
                    f"{folder}: the checkpoint of step {state.global_step} could not be written ({error}); older ones "
                    "are whole: make room and run again"
                ) from None
        self.since = time.monotonic()


def seal(written: Path, step: int, identity: str) -> Path:
    """Turn a complete folder into the checkpoint `step-N` beside it, and keep the newest `KEEP`.

    Durable at every instant: a kill or a full disk leaves the older checkpoints as they were. Raises OSError.
    """
    (written / MANIFEST).unlink(missing_ok=True)
    paths = sorted(p for p in written.rglob("*") if p.is_file())
    files = {str(p.relative_to(written)): {"size": p.stat().st_size, "sha256": sha256(p)} for p in paths}
    for path in paths:
        sync_file(path)
    versions = {name: version(name) for name in ("torch", "transformers", "deepspeed")}
    write_durable(
        written / MANIFEST, _encode({"step": step, "identity": identity, "versions": versions, "files": files})
    )
    for folder in (p for p in written.rglob("*") if p.is_dir()):
        sync_folder(folder)
    final = written.with_name(f"step-{step}")
    if final.exists():
        shutil.rmtree(final)
    written.rename(final)
    sync_folder(final.parent)
    write_durable(final.parent / LATEST, final.name)
    for older in _sealed(final.parent)[KEEP:]:
        shutil.rmtree(older, ignore_errors=True)
    return final


def newest_whole(folder: Path, identity: str) -> Path | None:
    """The newest checkpoint in `folder` that validates and is of this identity, however often it was set aside.

    A damaged one is renamed to `step-N.damaged`, with a line on standard error that says what is wrong with it; one of
    another training to `step-N.` and the beginning of its identity, and back again when that training goes on.
    """
    for unfinished in folder.glob("checkpoint-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    others = _change_places(folder, identity)
    candidates = _sealed(folder)
    pointed = _read(folder / LATEST)
    if pointed and pointed not in [*others, *(c.name for c in candidates)]:
        _warn(f"{folder / pointed} is gone, though {LATEST} names it; trying an older checkpoint")
    for checkpoint in candidates:
        try:
            manifest = validate(checkpoint)
        except DamagedCheckpoint as error:
            _warn(f"{checkpoint} is damaged ({error}); set aside, trying an older one")
            _set_aside(checkpoint, "damaged")
            continue
        print(f"training goes on after step {manifest['step']}, from {checkpoint}", flush=True)
        return checkpoint
    if candidates:
        _warn(f"{folder} holds no whole checkpoint of this training; it starts from step 0")
    return None


def validate(checkpoint: Path) -> dict[str, Any]:
    """The manifest of a checkpoint whose every file is as it was sealed. Raises DamagedCheckpoint."""
    manifest = _manifest(checkpoint)
    present = {str(p.relative_to(checkpoint)) for p in checkpoint.rglob("*") if p.is_file()} - {MANIFEST}
    if odd := sorted(present ^ set(manifest["files"])):
        raise DamagedCheckpoint(f"{odd[0]} is {'unknown to its manifest' if odd[0] in present else 'missing'}")
    for name, expected in manifest["files"].items():
        path = checkpoint / name
        try:
            if (size := path.stat().st_size) != expected["size"]:
                raise DamagedCheckpoint(f"{name} has {size} bytes, expected {expected['size']}")
            if sha256(path) != expected["sha256"]:
                raise DamagedCheckpoint(f"{name} has other content than was written")
        except OSError as error:
            raise DamagedCheckpoint(f"{name} cannot be read: {error}") from None
    return manifest


def check_space(folder: Path) -> None:
    """Raise TrainError unless twice the newest checkpoint's size is free; nothing is known before the first one."""
    needed = space_needed(folder)
    if needed and (free := shutil.disk_usage(folder).free) < needed:
        raise TrainError(
            f"{folder}: {free / 1e9:.2f} GB free, the next checkpoint needs {needed / 1e9:.2f} GB to be safe; "
            f"make room and run again, it goes on from {_sealed(folder)[0].name}"
        )


def space_needed(folder: Path) -> int:
    """Bytes that must be free before the next checkpoint: twice the newest one's; 0 before the first one."""
    return sum(2 * p.stat().st_size for newest in _sealed(folder)[:1] for p in newest.rglob("*") if p.is_file())


def first_size(model: Any) -> int:
    """More bytes than a model's first checkpoint has; ZeRO-3 leaves a rank only parts of the parameters."""
    sizes = ((getattr(p, "ds_numel", p.numel()), p.requires_grad) for p in model.parameters())
    return sum(number * (BYTES_A_WEIGHT if is_trained else 4) for number, is_trained in sizes)


def keep_metrics(path: Path, checkpoint: Path | None) -> None:
    """Cut the curve back to the checkpoint's step, without a torn last line; with no checkpoint it starts anew."""
    last = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
    lines = path.read_text(errors="replace").splitlines() if path.exists() and last else []
    write_durable(path, "".join(f"{line}\n" for line in lines if 0 < _step(line) <= last))


def sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _sealed(folder: Path) -> list[Path]:
    """Checkpoints, newest first."""
    found = [p for p in folder.glob("step-*") if p.name[5:].isdigit() and p.is_dir()]
    return sorted(found, key=lambda p: int(p.name[5:]), reverse=True)


def _change_places(folder: Path, identity: str) -> list[str]:
    """Set the checkpoints of other trainings aside (their names), and put this one's back in their places."""
    others = []
    for checkpoint in _sealed(folder):
        with contextlib.suppress(DamagedCheckpoint):
            if (other := _manifest(checkpoint)["identity"]) != identity:
                _warn(f"{checkpoint} is of a training with other settings or data; set aside until that one goes on")
                _set_aside(checkpoint, other[:SHORT])
                others.append(checkpoint.name)
    for aside in folder.glob(f"step-*.{identity[:SHORT]}"):
        if not aside.with_suffix("").exists():
            aside.rename(aside.with_suffix(""))
    return others


def _set_aside(checkpoint: Path, why: str) -> None:
    aside = checkpoint.with_name(f"{checkpoint.name}.{why}")
    shutil.rmtree(aside, ignore_errors=True)
    checkpoint.rename(aside)


def _encode(manifest: dict[str, Any]) -> str:
    """The only spelling of a manifest, with its own digest: a changed byte shows."""
    body = json.dumps(manifest, indent=1, sort_keys=True)
    return f"{body}\n{hashlib.sha256(body.encode()).hexdigest()}\n"


def _manifest(checkpoint: Path) -> dict[str, Any]:
    try:
        text = (checkpoint / MANIFEST).read_text()
        manifest = json.loads(text[: text.rindex("}") + 1])
    except (OSError, ValueError) as error:
        raise DamagedCheckpoint(f"{MANIFEST} cannot be read: {error}") from None
    if not isinstance(manifest, dict) or text != _encode(manifest):
        raise DamagedCheckpoint(f"{MANIFEST} has other content than was written")
    return manifest


def _step(line: str) -> int:
    """Step of a line of the curve; 0 for half a line."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _warn(message: str) -> None:
    print(f"WARNING: {message}", file=sys.stderr, flush=True)
