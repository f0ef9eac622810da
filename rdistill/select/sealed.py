"""Sealed training sets: Parquet files that are there whole or not at all, in a stable order.

sft.parquet    id, sample_id, problem_id, cluster, mode, messages (JSON), spans (JSON)
pairs.parquet  id, problem_id, chosen_id, rejected_id, source, mode, reason, margin, prompt, chosen, rejected (JSON
               messages), chosen_spans, rejected_spans (JSON spans, counted over prompt + completion)
"""

import hashlib
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rdistill.ledger import Ledger
from rdistill.outputs import check_sealed
from rdistill.records import Example, Problem, Sample, canonical_json
from rdistill.run import RunFolder, write_durable

SFT_COLUMNS = ("id", "sample_id", "problem_id", "cluster", "mode", "messages", "spans")
PAIR_COLUMNS = (
    *("id", "problem_id", "chosen_id", "rejected_id", "source", "mode", "reason", "margin"),
    *("prompt", "chosen", "rejected", "chosen_spans", "rejected_spans"),
)


def write_sft(path: Path, examples: Iterable[Example], ledger: Ledger) -> dict[str, Any]:
    """Seal the examples; returns {"rows", "sha256"}."""
    rows = []
    for example in examples:
        sample = ledger.get(Sample, example.sample_id)
        assert sample is not None, f"example {example.id} has no sample"
        problem = ledger.get(Problem, sample.problem_id)
        assert problem is not None, f"sample {sample.id} has no problem"
        row = {"id": example.id, "sample_id": sample.id, "problem_id": problem.id, "cluster": problem.cluster}
        row["mode"] = example.mode
        row["messages"] = canonical_json(example.messages)
        row["spans"] = canonical_json([span.model_dump() for span in example.spans])
        rows.append(row)
    return write_sealed(path, rows, SFT_COLUMNS)


def write_pairs(path: Path, rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Seal the rows of build_pairs; returns {"rows", "sha256"}."""
    return write_sealed(path, list(rows), PAIR_COLUMNS)


def write_sealed(path: Path, rows: list[Any], columns: tuple[str, ...]) -> dict[str, Any]:
    """Write rows in their order as Parquet: text columns, but for `margin`. The same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(c, pa.float64() if c == "margin" else pa.string()) for c in columns])
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), buffer, compression="zstd")
    write_durable(path, buffer.getvalue())
    return {"rows": len(rows), "sha256": hashlib.sha256(buffer.getbuffer()).hexdigest()}


def read_sealed(run: RunFolder, path: Path) -> list[dict[str, Any]]:
    """The rows of one of a run's sealed files, JSON columns still text. Raises DataError if it was altered."""
    import pyarrow.parquet as pq

    check_sealed(run, path)
    return pq.read_table(path).to_pylist()
