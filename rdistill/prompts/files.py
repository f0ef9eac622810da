"""Rows of a data file or a data set, one dict each, with the place each came from.

JSONL, CSV and Parquet (each optionally .gz), and whatever `datasets` loads. A row that cannot be decoded is a BadRow
that its reader may count and leave out; a file that cannot be read at all is a DataError.
"""

import csv
import gzip
import io
import json
import logging
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from rdistill.errors import DataError, PrerequisiteError

SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}
MAX_CELL = 16 << 20
REPEATED = object()
"""The value of a column whose name stands more than once in the header: which one is meant is not known."""


class BadRow(ValueError):
    """A row that cannot be used; the text says why, without its content, so that equal faults count together."""


class Row(NamedTuple):
    """`place` is what a reader would look for: `line 7`, `row 7`. `fault` replaces `values` where decoding failed."""

    place: str
    values: dict[str, Any]
    fault: BadRow | None = None


def find_file(path: str, data_dir: str | None) -> Path:
    """Look for a path under data_dir: whole first, then without its leading folders.

    Raises: DataError naming where it was looked for.
    """
    root = Path(data_dir or ".")
    parts = Path(path).parts
    tries = [root.joinpath(*parts[i:]) for i in range(len(parts))]
    for candidate in tries:
        if candidate.is_file():
            return candidate
    if root.joinpath(path).is_dir():
        raise DataError(f"{path!r} is a folder; name a file in it, or write hub: {path} if `datasets` saved it")
    raise DataError(
        f"no file {path!r} under {root.resolve()}; correct the path, or set data_dir to the folder that holds it"
    )


def read_file(path: Path) -> Iterator[Row]:
    """Rows of a data file, by its suffix. Raises: DataError for an unknown suffix or a damaged file."""
    packed = path.suffix == ".gz"
    suffix = Path(path.stem).suffix if packed else path.suffix
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: suffix {suffix!r} is not one of {', '.join(SUFFIXES)} (each may end in .gz); convert it"
        )
    kind, coding = SUFFIXES[suffix], ""
    try:
        with gzip.open(path) if packed else open(path, "rb") as f:
            coding = _other_coding(f.peek(4)[:4]) if kind != "parquet" else ""
            if not coding:
                yield from READERS[kind](cast(BinaryIO, f))
    except (OSError, EOFError, zlib.error, DataError) as error:
        raise DataError(f"{path}: cannot be read whole ({error}); make or fetch the file again") from None
    if coding:
        raise DataError(f"{path}: is in {coding}, not UTF-8; convert it: iconv -f {coding} -t UTF-8 FILE > NEW")


def _other_coding(head: bytes) -> str:
    """UTF-32 or UTF-16, if a text begins as one: with its mark, or with the zero byte of an ASCII character."""
    if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "UTF-32"
    marked = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    is_wide = head.count(0) == 2 and b"\0\0" in (head[::2], head[1::2])
    return "UTF-16" if marked or is_wide else ""


def _read_jsonl(f: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(f, 1):
        if line.strip():
            yield _json_row(f"line {number}", line.removeprefix(b"\xef\xbb\xbf"))


def _json_row(place: str, line: bytes) -> Row:
    try:
        values = json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        return Row(place, {}, BadRow("not UTF-8"))
    except (ValueError, RecursionError):
        return Row(place, {}, BadRow("not JSON"))
    if not isinstance(values, dict):
        return Row(place, {}, BadRow("not a JSON object"))
    return Row(place, values)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_csv(f: BinaryIO) -> Iterator[Row]:
    csv.field_size_limit(MAX_CELL)
    text = io.TextIOWrapper(f, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.DictReader(text, strict=True)
    rows = iter(reader)
    while True:
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:  # what follows a broken quote cannot be told apart
            raise DataError(f"line {reader.line_num}: {error}") from None
        place, header = f"line {reader.line_num}", Counter(reader.fieldnames or [])
        if None in values or None in values.values():
            mark = other_separator(list(header))
            fault = (
                f"cells separated by {mark!r}, not by commas" if mark else f"not the header's {header.total()} cells"
            )
            yield Row(place, {}, BadRow(fault))
        elif any("\udc80" <= c <= "\udcff" for cell in values.values() for c in cell):
            yield Row(place, {}, BadRow("not UTF-8"))
        else:
            yield Row(place, {name: cell if header[name] == 1 else REPEATED for name, cell in values.items()})


def other_separator(columns: list[str]) -> str:
    """What seems to stand between the columns of a CSV file whose header is a single cell; empty if nothing does."""
    return next((mark for mark in ";\t|" if len(columns) == 1 and mark in columns[0]), "")


def _read_parquet(f: BinaryIO) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(pa.BufferReader(f.read()))
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"row {number}", values)
    except pa.ArrowException as error:
        raise DataError(" ".join(str(error).split())) from None


READERS = {"jsonl": _read_jsonl, "csv": _read_csv, "parquet": _read_parquet}


def read_hub(name: str, subset: str | None, split: str, revision: str | None, data_dir: str | None) -> Iterator[Row]:
    """Rows of a `datasets` data set: a folder under data_dir (saved or plain), or a hub id. Its code is never run.

    Raises: PrerequisiteError without the package; DataError if it cannot be loaded.
    """
    try:
        import datasets
    except ImportError:
        raise PrerequisiteError("a hub data set needs the datasets package: pip install datasets") from None
    folder = Path(data_dir or ".") / name
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of each new try
    try:
        if any((folder / mark).is_file() for mark in ("state.json", "dataset_dict.json")):
            loaded = datasets.load_from_disk(str(folder))
            rows = loaded[split] if isinstance(loaded, datasets.DatasetDict) else loaded
        else:
            source = str(folder) if folder.is_dir() else name
            rows = datasets.load_dataset(source, subset, split=split, revision=revision)
    except ConnectionError as error:
        cause = (str(error).splitlines() or [""])[0][:200]
        raise PrerequisiteError(f"data set {name!r} is no folder here, and the hub does not answer ({cause})") from None
    except Exception as error:  # datasets raises many kinds; each is the same to the user: no data
        cause = (str(error).splitlines() or [""])[0][:200]
        raise DataError(
            f"data set {name!r} (subset {subset!r}, split {split!r}, revision {revision!r}) cannot be loaded "
            f"({type(error).__name__}: {cause}); correct hub, subset or hub_split, or download it first"
        ) from None
    for number, values in enumerate(rows, 1):
        yield Row(f"row {number}", values)
