"""Take a run's training sets elsewhere.

trl      sft.jsonl {"id", "mode", "prompt", "completion"}, dpo.jsonl {"id", "mode", "prompt", "chosen", "rejected"}:
         TRL's conversational format; of the first its SFT trainer learns the completion alone
jsonl    sft.jsonl, pairs.jsonl: every column, JSON ones as values
parquet  the sealed files themselves
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from rdistill.errors import ConfigError, DataError
from rdistill.outputs import why_stale
from rdistill.run import RunFolder, write_durable
from rdistill.select.sealed import read_sealed

Format = Literal["trl", "parquet", "jsonl"]
FORMATS = ("trl", "parquet", "jsonl")
JSON_COLUMNS = ("messages", "spans", "prompt", "chosen", "rejected", "chosen_spans", "rejected_spans")
TRL_COLUMNS = ("id", "mode", "prompt", "completion", "chosen", "rejected")


def export_run(run: RunFolder, format: Format, out: Path) -> list[Path]:
    """Write a run's training sets to a folder; returns the files. A run without pairs gives the first file alone.

    Raises: DataError if there is no run, it has no training set, or one that is not of its stages as they are now, or
    the format is unknown; ConfigError if the folder cannot be written.
    """
    if format not in FORMATS:
        raise DataError(f"format {format!r} is not one of {', '.join(FORMATS)}; name one of them")
    if not run.config.exists() and not run.sft_data.exists():
        raise DataError(f"{run.root} is no run's folder; name one that `rdistill run` made")
    if not run.sft_data.exists():
        raise DataError(f"{run.root} has no {run.sft_data.relative_to(run.root)}; run: rdistill run {run.config}")
    for sealed, stage in ((run.sft_data, "select"), (run.pairs_data, "pair")):
        if sealed.exists() and (why := why_stale(run, stage)):
            raise DataError(f"{sealed} is not of the run as it is now, since {why}; run: rdistill run {run.config}")
    names = {run.sft_data: "sft", run.pairs_data: "dpo" if format == "trl" else "pairs"}
    written = []
    for sealed, name in names.items():
        if sealed.exists():
            path = Path(out) / f"{name}.{'parquet' if format == 'parquet' else 'jsonl'}"
            rows = read_sealed(run, sealed)
            data = sealed.read_bytes() if format == "parquet" else _lines(rows, SHAPES[format])
            try:
                write_durable(path, data)
            except OSError as error:
                raise ConfigError(f"{path} cannot be written ({error.strerror}); name a folder with --out") from None
            written.append(path)
    return written


def _lines(rows: list[dict[str, Any]], shape: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    return "".join(json.dumps(shape(row), ensure_ascii=False) + "\n" for row in rows)


def _decoded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: json.loads(v) if k in JSON_COLUMNS else v for k, v in row.items()}


def _conversational(row: dict[str, Any]) -> dict[str, Any]:
    found = _decoded(row)
    if "messages" in found:
        messages, start = found["messages"], min(span["message"] for span in found["spans"])
        found |= {"prompt": messages[:start], "completion": messages[start:]}
    return {k: found[k] for k in TRL_COLUMNS if k in found}


SHAPES = {"trl": _conversational, "jsonl": _decoded}
