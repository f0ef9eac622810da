"""A run on disk: every file name of a run lives here, with the lock and the stage manifests.

RUN/ config.yaml  ledger.sqlite  stages/STAGE/{manifest.json,metrics.jsonl,result.json}  data/{sft,pairs}.parquet
     data/quarantine.jsonl  models/{sft,dpo}/  evaluation/{scorecard.json,answers.jsonl}  report.html
     logs/attempt_N/  logs/latest
"""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from rdistill.errors import ConfigError, DataError
from rdistill.strict_yaml import loads_yaml

LOCK_WAIT_S = 1.0
"""A killed run's processes are gone within this time; a living one holds the lock longer."""


def write_durable(path: Path, data: str | bytes) -> None:
    """Write a file so that a kill leaves the old one or the new one: temp, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """fsync a file that somebody else wrote."""
    with path.open("rb") as f:
        os.fsync(f.fileno())


def sync_folder(folder: Path) -> None:
    """fsync a folder, so that renames in it are durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class RunFolder:
    """The paths of one run."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()
        self.config = self.root / "config.yaml"
        self.ledger = self.root / "ledger.sqlite"
        self.sft_data = self.root / "data" / "sft.parquet"
        self.pairs_data = self.root / "data" / "pairs.parquet"
        self.quarantine = self.root / "data" / "quarantine.jsonl"
        self.scorecard = self.root / "evaluation" / "scorecard.json"
        self.answers = self.root / "evaluation" / "answers.jsonl"
        self.report = self.root / "report.html"
        self.logs = self.root / "logs"

    def model(self, stage: str) -> Path:
        """Folder of the model that `sft` or `dpo` made."""
        return self.root / "models" / stage

    def stage(self, name: str) -> Path:
        return self.root / "stages" / name

    def manifest(self, stage: str) -> Path:
        """Written last: its presence means that the stage is done."""
        return self.stage(stage) / "manifest.json"

    def metrics(self, stage: str) -> Path:
        """Training curve, one JSON object a line: {"step", "epoch", "loss", "learning_rate", ...}."""
        return self.stage(stage) / "metrics.jsonl"

    def result(self, stage: str) -> Path:
        """What the stage counted, as one JSON object; it becomes the manifest's `result`."""
        return self.stage(stage) / "result.json"

    def outputs(self, stage: str) -> list[Path]:
        """The files and folders that a stage leaves for others, beside rows of the ledger."""
        return {
            "generate": [self.quarantine],
            "select": [self.sft_data],
            "pair": [self.pairs_data],
            "sft": [self.model("sft"), self.result("sft")],
            "dpo": [self.model("dpo"), self.result("dpo")],
            "evaluate": [self.scorecard, self.answers],
            "report": [self.report],
        }.get(stage, [])

    def is_all_in_files(self, stage: str) -> bool:
        """Whether a stage whose files are the same made the same, whatever the ledger holds."""
        return stage not in ("prompts", "generate", "verify")

    def read_manifest(self, stage: str) -> dict[str, Any] | None:
        """The stage's manifest, or None if it is not done (or its manifest is damaged)."""
        return _read_object(self.manifest(stage))

    def write_result(self, stage: str, result: dict[str, Any]) -> None:
        write_durable(self.result(stage), json.dumps(result, indent=1))

    def read_result(self, stage: str) -> dict[str, Any]:
        return _read_object(self.result(stage)) or {}

    def new_attempt(self) -> Path:
        """A fresh folder for this attempt's logs; logs/latest points at it."""
        self.logs.mkdir(parents=True, exist_ok=True)
        taken = [int(p.name[8:]) for p in self.logs.glob("attempt_*") if p.name[8:].isdigit()]
        folder = self.logs / f"attempt_{max(taken, default=0) + 1}"
        folder.mkdir()
        link = self.logs / "latest"
        if link.is_dir() and not link.is_symlink():  # the run was copied by what follows links
            shutil.rmtree(link)
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        return folder

    def is_config(self, path: Path) -> bool:
        """Whether a file is the config of a run that lives here."""
        return path.resolve() == self.config and self.ledger.exists()

    def check_usable(self, name: str | None = None) -> None:
        """Refuse a place that cannot hold a run, or the run of this name, without making anything.

        Raises: ConfigError if it cannot be written or holds something else; DataError if a process is at work in it.
        """
        nearest = next(p for p in (self.root, *self.root.parents) if p.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
            what = "cannot be written" if nearest.is_dir() else "is a file"
            raise ConfigError(
                f"run_dir={str(self.root)!r} cannot be made, since {nearest} {what}; give another run_dir"
            )
        known = (self._lock, self.ledger, self.sft_data)
        if self.config.exists() and not any(path.exists() for path in known):
            raise ConfigError(
                f"run_dir={str(self.root)!r} holds a config.yaml but no run, which would be overwritten; give a folder "
                "of its own"
            )
        if not any(path.exists() for path in known) and (others := self._files()):
            raise ConfigError(
                f"run_dir={str(self.root)!r} holds {others[0]!r} but no run; give a folder that is new or empty"
            )
        if name and (before := self._name()) not in (None, name):
            raise ConfigError(
                f"run_dir={str(self.root)!r} holds the run {before!r} and the config's name is {name!r}, which would "
                f"take its place; give another --run-dir, or name: {before} if it is the same run"
            )
        if self._lock.exists():
            with open(self._lock) as f:
                self._take_lock(f)

    def _files(self) -> list[str]:
        """What stands in the folder, but for hidden files and what every new disk has."""
        names = sorted(path.name for path in self.root.iterdir()) if self.root.is_dir() else []
        return [name for name in names if not name.startswith(".") and name != "lost+found"]

    def _name(self) -> str | None:
        """The name of the run that lives here, as its config says."""
        try:
            tree = loads_yaml(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        name = tree.get("name") if isinstance(tree, dict) else None
        return name if isinstance(name, str) else None

    @contextlib.contextmanager
    def locked(self, name: str | None = None) -> Iterator[int]:
        """Hold the run for this process and the children that inherit the yielded descriptor.

        The kernel frees it when the last of them dies.

        Raises: as check_usable.
        """
        self.check_usable(name)
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self._lock, "a+") as f:
            self._take_lock(f)
            f.truncate(0)
            f.write(str(os.getpid()))
            f.flush()
            yield f.fileno()

    @property
    def _lock(self) -> Path:
        return self.root / ".lock"

    def _take_lock(self, f: IO[str]) -> None:
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
            f.seek(0)
            raise DataError(
                f"run_dir={str(self.root)!r} is in use by process {f.read().strip() or 'unknown'}; wait for it, "
                "or give another --run-dir"
            )


def _read_object(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None if it is not there or damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
