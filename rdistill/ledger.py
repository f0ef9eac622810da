"""The run's ledger: one SQLite file that holds every record from the moment it exists.

One writer thread commits in groups (WAL, synchronous=FULL): `await ledger.put(record)` returns when the record is on
disk, so nothing downstream ever sees a row that a kill could take away. Rows are keyed by content hash: writing one
twice changes nothing. Readers use their own connection and may be other processes.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from rdistill.errors import DataError, is_disk_full, no_space
from rdistill.records import Example, Pair, Problem, Record, Sample, Verdict

SCHEMA_VERSION = 1
MAX_GROUP = 512
REMEDY = "put back a copy of the file, or start again in a new run_dir"

# Beside the record itself, each table has the columns that rows are looked up by.
TABLES: dict[type[Record], tuple[str, tuple[str, ...]]] = {
    Problem: ("problems", ("split", "cluster")),
    Sample: ("samples", ("problem_id", "parent_id", "engine")),
    Verdict: ("verdicts", ("sample_id", "verifier", "version")),
    Example: ("examples", ("sample_id", "mode")),
    Pair: ("pairs", ("problem_id", "chosen_id", "rejected_id")),
}
R = TypeVar("R", bound=Record)
Statement = tuple[str, tuple]


def row_key(record: Record) -> str:
    """The primary key: the record's id, or for a verdict what it judges and by whom."""
    if isinstance(record, Verdict):
        return f"{record.sample_id}:{record.verifier}:{record.version}"
    return record.id  # type: ignore[attr-defined]


def upsert(record: Record) -> Statement:
    """Insert a record, or write it again in its old place, so that the order does not change."""
    table, columns = TABLES[type(record)]
    values = (row_key(record), record.model_dump_json(), *(getattr(record, c) for c in columns))
    places = ", ".join("?" * len(values))
    return f"INSERT INTO {table} VALUES ({places}) ON CONFLICT (key) DO UPDATE SET json = excluded.json", values


class Ledger:
    """Open (or create) a ledger. Use as a context manager; `read_only` takes no writer thread, and writes nothing.

    Raises: DataError if the file is not a ledger of this version, or cannot be opened.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._local = threading.local()
        if read_only and not os.path.exists(self.path):
            raise DataError(f"{self.path}: no ledger here; name the folder of a run")
        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self._address = f"{self.path.absolute().as_uri()}?{self._mode(read_only)}"
        try:
            with contextlib.closing(self._connect()) as db:
                self._refuse_foreign(db)
                if not read_only:
                    self._create(db)
        except sqlite3.Error as error:
            remedy = "name the folder of a run that you can read" if read_only else "move it away to start afresh"
            raise DataError(f"{self.path}: not a usable ledger ({error}); {remedy}") from None
        if not read_only:
            self._writer = threading.Thread(target=self._write_loop, name="ledger-writer", daemon=True)
            self._writer.start()

    def _mode(self, read_only: bool) -> str:
        """How SQLite opens the file. A reader, too, makes files beside it, unless it can hold that nobody writes."""
        if not read_only:
            return "mode=rwc"
        is_still = not os.access(self.path.parent, os.W_OK) and not os.path.exists(f"{self.path}-wal")
        return "mode=ro&immutable=1" if is_still else "mode=rw"

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._address, timeout=30, uri=True)
        db.execute("PRAGMA synchronous=FULL")
        return db

    def _refuse_foreign(self, db: sqlite3.Connection) -> None:
        """A file that another program, or another version, made is left as it is."""
        (version,) = db.execute("PRAGMA user_version").fetchone()
        ours = {"generations", *(table for table, _ in TABLES.values())}
        others = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")} - ours
        if version not in (0, SCHEMA_VERSION) or others:
            what = f"holds the table {min(others)!r}" if others else f"has version {version}, not {SCHEMA_VERSION}"
            raise DataError(f"{self.path} is not a ledger of this rdistill: it {what}; use a new run_dir")

    def _create(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE IF NOT EXISTS generations (key TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID")
        for table, columns in TABLES.values():
            names = "".join(f", {c} TEXT" for c in columns)
            db.execute(f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, json TEXT NOT NULL{names})")
            db.execute(f"CREATE INDEX IF NOT EXISTS {table}_{columns[0]} ON {table} ({columns[0]})")
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")

    # Writing

    def submit(self, *records: Record, generation: tuple[str, str] | None = None) -> Future:
        """Queue records (and a generation as key and JSON) for one transaction; the future is done when durable."""
        insert = [("INSERT OR IGNORE INTO generations VALUES (?, ?)", generation)] if generation else []
        return self._queue_up([*insert, *map(upsert, records)])

    async def put(self, *records: Record, generation: tuple[str, str] | None = None) -> None:
        """Write and wait until it is on disk, without blocking the event loop."""
        await asyncio.wrap_future(self.submit(*records, generation=generation))

    def write(self, records: Iterable[Record]) -> None:
        """Write many records in one transaction and wait."""
        self.submit(*records).result()

    def replace(self, kind: type[R], records: Iterable[R]) -> None:
        """Make `records` the only ones of their kind, in one transaction."""
        self._queue_up([(f"DELETE FROM {TABLES[kind][0]}", ()), *map(upsert, records)]).result()

    def _queue_up(self, statements: list[Statement]) -> Future:
        """Statements are made by the caller, so that a record that cannot be written fails its own caller alone."""
        assert self._writer is not None, "ledger opened read-only, or closed"
        done: Future = Future()
        self._queue.put((statements, done))
        return done

    def _write_loop(self) -> None:
        db = self._connect()
        while (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < MAX_GROUP and not self._queue.empty():
                if (item := self._queue.get()) is None:
                    self._queue.put(None)
                    break
                group.append(item)
            # A caller that was cancelled waits no more, but what it handed over is written all the same.
            waiting = [done for _, done in group if done.set_running_or_notify_cancel()]
            try:
                with db:
                    for statements, _ in group:
                        for sql, values in statements:
                            db.execute(sql, values)
            except Exception as error:  # every waiter learns why; the loop goes on
                failure: Exception = DataError(f"{self.path} cannot be written ({error}); mend that, then run again")
                failure = no_space(self.path.parent) if is_disk_full(error) else failure
                for done in waiting:
                    done.set_exception(failure)
            else:
                for done in waiting:
                    done.set_result(None)
        db.close()

    # Reading

    @property
    def _reader(self) -> sqlite3.Connection:
        if not hasattr(self._local, "db"):
            self._local.db = self._connect()
        return self._local.db

    def generation(self, key: str) -> str | None:
        """The stored completion (JSON) of a generation key."""
        row = self._reader.execute("SELECT json FROM generations WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def rows(self, kind: type[R], **where: str) -> Iterator[R]:
        """Records of a kind in insertion order, filtered by lookup columns: `rows(Sample, problem_id=...)`."""
        table, columns = TABLES[kind]
        assert set(where) <= set(columns), f"{table} cannot be looked up by {set(where) - set(columns)}"
        clause = " AND ".join(f"{c} = ?" for c in where)
        sql = f"SELECT key, json FROM {table}{' WHERE ' + clause if clause else ''} ORDER BY rowid"
        for key, text in self._select(sql, tuple(where.values())):
            yield self._record(kind, key, text)

    def get(self, kind: type[R], key: str) -> R | None:
        """One record by its key."""
        found = self._select(f"SELECT json FROM {TABLES[kind][0]} WHERE key = ?", (key,))
        return next((self._record(kind, key, text) for (text,) in found), None)

    def find(self, prefix: str) -> list[Record]:
        """Every record whose key starts with `prefix` (an id, or the first digits of one)."""
        found: list[Record] = []
        for kind, (table, _) in TABLES.items():
            sql = f"SELECT key, json FROM {table} WHERE key >= ? AND key < ? ORDER BY rowid LIMIT 20"
            found += [self._record(kind, key, text) for key, text in self._select(sql, (prefix, prefix + "\uffff"))]
        return found

    def _select(self, sql: str, values: tuple) -> Iterator[tuple]:
        """Rows of a query. Raises DataError where the file itself is damaged."""
        try:
            yield from self._reader.execute(sql, values)
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.path} cannot be read ({error}); {REMEDY}") from None

    def _record(self, kind: type[R], key: str, text: str) -> R:
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            what = " ".join([".".join(map(str, first["loc"])), first["msg"]]).strip()
            raise DataError(
                f"{self.path}: row {key} of table {TABLES[kind][0]} is damaged ({what}); {REMEDY}"
            ) from None

    def count(self, kind: type[Record]) -> int:
        return self._reader.execute(f"SELECT COUNT(*) FROM {TABLES[kind][0]}").fetchone()[0]

    def close(self) -> None:
        """Commit what is queued, stop the writer, and close this thread's reader."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        if (reader := self._local.__dict__.pop("db", None)) is not None:
            reader.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
