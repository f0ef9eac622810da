"""Loaders: every format gives the same rows, and what is malformed is refused in one sentence."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdistill.config import Config, Source
from rdistill.errors import ConfigError, DataError
from rdistill.prompts import build_problems
from rdistill.prompts.files import find_file
from rdistill.prompts.pool import read_source
from rdistill.prompts.rows import read_gold

ROWS = [{"q": f"How many legs have {n} cats and {n * 7} hens in yard {n}?", "a": str(n)} for n in range(1, 31)]
FIELDS = {"prompt": "q", "gold": "a"}


def make_config(data_dir, *sources, **prompts):
    section = {"sources": list(sources), **prompts}
    return Config(name="t", data_dir=str(data_dir), prompts=section, teacher={"model": "m"}, student={"model": "m"})


def read(data_dir, **source):
    source = {"fields": FIELDS, **source}
    return read_source(Source(**source), make_config(data_dir, source), "prompts.sources.0")


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_jsonl(path):
    path.write_bytes(lines(ROWS))


def write_csv(path):
    path.write_text("q,a\n" + "".join(f'"{r["q"]}",{r["a"]}\n' for r in ROWS))


def write_parquet(path):
    pq.write_table(pa.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("suffix", "write"), [("jsonl", write_jsonl), ("csv", write_csv), ("parquet", write_parquet)])
def test_every_format_gives_the_same_problems(tmp_path, suffix, write, packed):
    path = tmp_path / f"data.{suffix}"
    write(path)
    if packed:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_name(path.name + ".gz")
    drafts, counts = read(tmp_path, path=path.name)
    assert [(d.messages[0]["content"], d.gold) for d in drafts] == [(r["q"], r["a"]) for r in ROWS]
    assert counts["rows"] == counts["used"] == 30 and counts["refused"] == {}


def test_a_saved_data_set_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)}).save_to_disk(str(tmp_path / "saved"))
    drafts, _ = read(tmp_path, hub="saved")
    assert len(drafts) == 30
    with pytest.raises(DataError, match="hub_split"):
        read(tmp_path, hub="saved", hub_split="validation")


def test_a_path_is_found_without_its_leading_folders(tmp_path):
    (tmp_path / "svamp").mkdir()
    (tmp_path / "svamp" / "train.jsonl").write_bytes(b"{}")
    for root in (tmp_path, tmp_path / "svamp"):
        assert find_file("svamp/train.jsonl", str(root)) == tmp_path / "svamp" / "train.jsonl"
    with pytest.raises(DataError, match=r"no file 'x/y.jsonl' under .*data_dir"):
        find_file("x/y.jsonl", str(tmp_path))


BAD_FILES = {
    "empty": ("d.jsonl", b"", "holds no rows"),
    "blank": ("d.jsonl", b"\n\n \n", "holds no rows"),
    "header only": ("d.csv", b"q,a\n", "holds no rows"),
    "not json": ("d.jsonl", b"hello\n" * 5, "5 of 5 rows cannot be used, first line 1: not JSON"),
    "a json array": ("d.jsonl", b"[1, 2]\n", "not a JSON object"),
    "nan": ("d.jsonl", b'{"q": "x", "a": NaN}\n', "not JSON"),
    "deep": ("d.jsonl", b'{"q":' + b"[" * 100_000 + b"\n", "not JSON"),
    "latin-1": (
        "d.jsonl",
        '{"q": "é", "a": "1"}\n'.encode("latin-1"),
        "line 1: not UTF-8; convert the file to UTF-8 (fr",
    ),
    "utf-16": (
        "d.jsonl",
        lines(ROWS).decode().encode("utf-16"),
        "is in UTF-16, not UTF-8; convert it: iconv -f UTF-16",
    ),
    "utf-16 without a mark": ("d.jsonl", lines(ROWS).decode().encode("utf-16-be"), "is in UTF-16, not UTF-8"),
    "utf-32 csv": ("d.csv", "q,a\nx,1\n".encode("utf-32"), "is in UTF-32, not UTF-8"),
    "semicolons": ("d.csv", b"q;a\nx;1\n", "no column 'q'; write the file with commas between the cells"),
    "semicolons and commas": (
        "d.csv",
        b"q;a\nx, y;1\n",
        "cells separated by ';', not by commas; write the file with com",
    ),
    "tabs": ("d.csv", b"q\ta\nx\t1\n", "write the file with commas between the cells"),
    "a column twice": ("d.csv", b"q,a,a\nx,1,7\n", "column 'a' stands more than once in the header; give each column"),
    "nested": ("d.jsonl", b'{"z": {"qu": "x", "b": 1}, "a": "1"}\n', "fields.prompt to one of: z.qu, "),
    "latin-1 csv": ("d.csv", 'q,a\n"é",1\n'.encode("latin-1"), "line 2: not UTF-8"),
    "surrogate": ("d.jsonl", b'{"q": "\\ud800", "a": "1"}\n', "JSON in UTF-8"),
    "wrong column": ("d.jsonl", b'{"zz": 1, "question": "x", "a": "1"}\n', "fields.prompt to one of: question, "),
    "nested list": ("d.jsonl", b'{"z": [{"qu": "x"}], "a": "1"}\n', "z.0.qu"),
    "null prompt": ("d.jsonl", b'{"q": null, "a": "1"}\n', "null in column 'q'"),
    "empty prompt": ("d.jsonl", b'{"q": " ", "a": "1"}\n', "empty prompt"),
    "empty gold": ("d.jsonl", b'{"q": "x", "a": " "}\n', "empty gold; correct prompts.sources.0.gold_format=text"),
    "gold a list": ("d.jsonl", b'{"q": "x", "a": [1]}\n', "gold is list"),
    "short csv row": ("d.csv", b"q,a\nonly\n", "not the header's 2 cells"),
    "open quote": ("d.csv", b'q,a\n"x,1\n', "cannot be read whole"),
    "not gzip": ("d.jsonl.gz", b"{}\n", "cannot be read whole"),
    "cut gzip": ("d.jsonl.gz", gzip.compress(lines(ROWS))[:-20], "cannot be read whole"),
    "not parquet": ("d.parquet", b"PAR1 no", "cannot be read whole"),
    "suffix": ("d.txt", b"x", "suffix '.txt' is not one of .jsonl"),
    "assistant last": ("d.jsonl", lines([{"q": [{"role": "assistant", "content": "x"}], "a": "1"}]), "no user message"),
    "bad role": ("d.jsonl", lines([{"q": [{"role": "bot", "content": "x"}], "a": "1"}]), "role other than"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_malformed_file_is_one_clear_sentence(tmp_path, name):
    file, content, message = BAD_FILES[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read(tmp_path, path=file)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_column_that_is_there_twice_and_not_used_is_none_to_refuse(tmp_path):
    (tmp_path / "d.csv").write_bytes(b"q,x,a,x\nWhy?,1,7,2\n")
    drafts, counts = read(tmp_path, path="d.csv")
    assert (drafts[0].gold, counts["refused"]) == ("7", {})


def test_a_folder_as_path_is_told_of(tmp_path):
    (tmp_path / "saved").mkdir()
    with pytest.raises(DataError, match=r"'saved' is a folder; name a file in it, or write hub: saved"):
        find_file("saved", str(tmp_path))


def test_a_few_bad_rows_are_counted_and_many_are_an_error(tmp_path):
    good, bad = lines(ROWS), b"nonsense\n"
    (tmp_path / "few.jsonl").write_bytes(good + bad * 3)
    drafts, counts = read(tmp_path, path="few.jsonl")
    assert len(drafts) == 30 and counts["refused"] == {"not JSON": 3}
    assert counts["refused_examples"] == [{"place": "line 31", "reason": "not JSON"}]
    (tmp_path / "many.jsonl").write_bytes(good + bad * 4)
    with pytest.raises(DataError, match="4 of 34 rows cannot be used, first line 31: not JSON"):
        read(tmp_path, path="many.jsonl")


@given(st.binary(max_size=300))
def test_random_bytes_never_crash_a_loader(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("random")
    for name in ("d.jsonl", "d.csv", "d.jsonl.gz", "d.parquet"):
        (folder / name).write_bytes(content)
        with pytest.raises(DataError):
            read(folder, path=name, fields={"prompt": "a column that is nowhere", "gold": None})


def test_nested_fields_chat_prompts_tools_and_size(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?", "extra": 1}]
    row = {"x": {"prompt": chat, "answers": [{"text": "yes"}]}, "t": [{"name": "f"}], "kind": "chat"}
    (tmp_path / "d.jsonl").write_bytes(lines([row] * 3))
    fields = {"prompt": "x.prompt", "gold": "x.answers.0.text", "tools": "t", "domain": "kind"}
    drafts, counts = read(tmp_path, path="d.jsonl", fields=fields, size=2)
    assert counts["rows"] == 2 and drafts[0].domain == "chat" and drafts[0].tools == [{"name": "f"}]
    system, question = drafts[0].messages
    assert question == {"role": "user", "content": "Hi?"} and drafts[0].gold == "yes"
    assert '<tool_call>{"name": NAME' in system["content"] and '{"name": "f"}\n\nBe brief.' in system["content"]


def test_tools_stand_in_the_prompt_unless_the_source_says_that_they_do(tmp_path):
    rows = [{"prompt": "Weather in Oslo?", "gold": "1", "tools": tools} for tools in ([{"name": "weather"}], [])]
    (tmp_path / "d.jsonl").write_bytes(lines(rows))
    fields = {"tools": "tools"}
    (told, no_tools), _ = read(tmp_path, path="d.jsonl", fields=fields)
    assert [m["role"] for m in told.messages] == ["system", "user"] and '{"name": "weather"}' in told.messages[0][
        "content"
    ]
    assert [m["role"] for m in no_tools.messages] == ["user"]
    (silent, _), _ = read(tmp_path, path="d.jsonl", fields=fields, show_tools=False)
    assert [m["role"] for m in silent.messages] == ["user"] and silent.tools == [{"name": "weather"}]


@pytest.mark.parametrize(
    ("value", "gold_format", "gold"),
    [
        (42.0, "text", "42"),
        (7, "text", "7"),
        (" a b ", "text", "a b"),
        ("so 12\n#### 1,234", "hashes", "1234"),
        ("( 84.0 / 2.0 )", "equation", "42"),
        ("( 5.0 / 2.0 )", "equation", "2.5"),
        ('{"a": [1]}', "json", {"a": [1]}),
        ([1, 2], "json", [1, 2]),
    ],
)
def test_gold_formats(value, gold_format, gold):
    assert read_gold(value, gold_format) == gold


@pytest.mark.parametrize(
    ("value", "gold_format"), [("12", "hashes"), ("1 / 0", "equation"), ("__import__", "equation")]
)
def test_gold_that_does_not_fit_its_format_is_refused(value, gold_format):
    with pytest.raises(ValueError, match="gold"):
        read_gold(value, gold_format)


def test_unknown_tasks_and_options_name_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match="unknown task 'poems'; known: arithmetic, word_problems, reasoning_gym:NAME"):
        build_problems(make_config(tmp_path, {"task": "poems", "size": 5}))
    for options in ({"max_number": 1}, {"operations": ["divide"]}, {"colour": 1}, {"operations": 5}, {"size": 3}):
        with pytest.raises(ConfigError):
            build_problems(make_config(tmp_path, {"task": "word_problems", "size": 5, "options": options}))
