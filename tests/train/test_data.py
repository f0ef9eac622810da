"""Sealed rows become tokens; what cannot be trained on is counted by reason."""

import json

import datasets
import pytest
from train_helpers import chat, make_run, tiny_tokenizer

from rdistill.config import DpoConfig, SftConfig
from rdistill.errors import DataError, TrainError
from rdistill.train.data import TokenData, load_pairs, load_sft
from rdistill.train.packing import Tokens
from rdistill.train.trainer import planned_steps

TOKENIZER = tiny_tokenizer()


def test_rows_become_tokens(tmp_path):
    make_run(tmp_path)
    data = load_sft(tmp_path / "data" / "sft.parquet", TOKENIZER, SftConfig())
    assert (len(data.groups), data.refused.total()) == (12, 0)
    assert data.lengths == [len(g[0].ids) for g in data.groups]
    assert 0 < data.summary()["supervised_share"] < 1


def test_refused_rows_are_counted_by_reason(tmp_path):
    good, spans = chat("2 + 2?", "four", "4")
    forged, _ = chat("2 + 2?<|im_start|>", "four", "4")
    rows = [
        {"id": str(i), "messages": json.dumps(m), "spans": json.dumps(s)}
        for i, (m, s) in enumerate([(good, spans), (forged, spans), (good, []), (good, spans)])
    ]
    datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "sft.parquet"))
    data = load_sft(tmp_path / "sft.parquet", TOKENIZER, SftConfig())
    assert data.ids == ["0", "3"]
    assert data.refused == {"SPECIAL_TOKEN": 1, "NOTHING_SUPERVISED": 1}
    (warning,) = data.summary()["warnings"]
    assert warning.startswith("2 of 4 rows cannot be trained on (1 SPECIAL_TOKEN, 1 NOTHING_SUPERVISED); first row 1: ")


def test_most_rows_refused_is_no_training_and_some_are_told(tmp_path):
    rows = []
    for i in range(200):
        messages, spans = chat("2 + 2?", "four" + " so" * (200 if i < 101 else 0), "4")
        rows.append({"id": str(i), "messages": json.dumps(messages), "spans": json.dumps(spans)})

    def load(count):
        datasets.Dataset.from_list(rows[count:]).to_parquet(str(tmp_path / "sft.parquet"))
        return load_sft(tmp_path / "sft.parquet", TOKENIZER, SftConfig(max_length=200))

    told = r"101 of 200 rows cannot be trained on \(101 TOO_LONG\); first row 0: \d+ tokens, max_length is 200; raise"
    with pytest.raises(TrainError, match=told):
        load(0)
    assert load(99).summary()["warnings"][0].startswith("2 of 101 rows cannot be trained on (2 TOO_LONG); first row 99")
    assert "warnings" not in load(101).summary()


def test_pairs_share_their_prompt(tmp_path):
    make_run(tmp_path)
    data = load_pairs(tmp_path / "data" / "pairs.parquet", TOKENIZER, DpoConfig())
    chosen, rejected = data.groups[0]
    prompt = chosen.weights.index(1.0)
    assert rejected.weights.index(1.0) == prompt
    assert chosen.ids[:prompt] == rejected.ids[:prompt]
    assert set(chosen.weights + rejected.weights) == {0.0, 1.0}


def test_rows_of_a_problem_that_begin_alike_stay_together():
    question = [1, 2, 3, 4]
    ids = [[*question, 5, 6], [1, 9, 9, 9, 9, 9], [*question, 5, 7, 8], [*question, 5], [*question, 5, 9]]
    groups = [[Tokens(i, [0.0, *[1.0] * (len(i) - 1)])] for i in ids]
    data = TokenData(problems=["p", "p", "p", "other", "p"], groups=groups)
    assert data.units(2) == [[0, 2], [1], [3], [4]]
    assert data.units(8) == [[0, 2, 4], [1], [3]]
    assert data.own_lengths(data.units(8)) == [6, 6, 2, 5, 1]
    data.held_out = {0}
    assert data.units(8) == [[1], [2, 4], [3]]


def test_missing_data_are_named(tmp_path):
    with pytest.raises(DataError, match=r"sft\.parquet is missing; run the stages before"):
        load_sft(tmp_path / "sft.parquet", TOKENIZER, SftConfig())


def test_a_step_smaller_than_a_micro_batch_still_has_room_for_every_unit():
    ids = [[1, 2, 3, 4, last] for last in range(3)]
    data = TokenData(problems=["p"] * 3, groups=[[Tokens(i, [0.0] * 4 + [1.0])] for i in ids])
    steps = planned_steps(data, SftConfig(batch_size=2, micro_batch_size=8, epochs=1), seed=0)
    assert sorted(row for step in steps for unit in step for row in unit) == [0, 1, 2]
    assert all(0 < sum(map(len, step)) <= 2 for step in steps)
