"""Clusters and splits: no near-duplicates on two sides, explicit splits kept, unrelated rows move nothing."""

import itertools
import json
import random
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdistill.config import Config
from rdistill.errors import DataError
from rdistill.prompts import build_problems, student_messages
from rdistill.prompts.clusters import grams, jaccard, near_duplicates, without_template
from rdistill.prompts.pool import straddling
from rdistill.prompts.splits import place
from rdistill.prompts.word_problems import word_problems

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "1", "2", "+"]), max_size=12).map(" ".join)


def make_config(data_dir, *sources, **changes):
    prompts = {"sources": list(sources), **changes.pop("prompts", {})}
    return Config(
        name="t", data_dir=str(data_dir), prompts=prompts, teacher={"model": "m"}, student={"model": "m"}, **changes
    )


def write(folder, name, texts):
    rows = [{"prompt": text, "gold": str(n)} for n, text in enumerate(texts)]
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@given(st.lists(WORDS, max_size=25), st.floats(0.05, 1))
def test_clusters_are_exactly_the_closure_of_similar_pairs(texts, threshold):
    sets = [grams(text) for text in texts]
    parent = list(range(len(texts)))
    changed = True
    while changed:
        changed = False
        for i, j in itertools.combinations(range(len(texts)), 2):
            if jaccard(sets[i], sets[j]) >= threshold and parent[i] != parent[j]:
                parent[j] = parent[i] = min(parent[i], parent[j])
                changed = True
    assert near_duplicates([grams(t) for t in texts], threshold) == parent


def test_wording_counts_and_case_spacing_and_punctuation_do_not():
    texts = [
        "Tom has 3 red apples, and eats one!",
        "tom  has 3 red apples and eats ONE",
        "What is 5 - 3 * 6?",
        "What is 5 * 3 - 6?",
    ]
    assert near_duplicates([grams(t) for t in texts], 1.0) == [0, 0, 2, 3]


def test_ten_thousand_prompts_are_clustered_in_seconds():
    texts = [row["prompt"] for row in word_problems(9000, 0)]
    texts += [text + " Explain." for text in texts[:1000]]
    start = time.perf_counter()
    first = near_duplicates([grams(t) for t in texts], 0.8)
    assert time.perf_counter() - start < 15
    assert sum(first[9000 + n] == first[n] for n in range(1000)) > 900


def test_a_long_shared_instruction_does_not_slow_the_join():
    rng, shared = random.Random(0), " ".join(f"b{n}" for n in range(90))
    texts = [f"{shared} {' '.join(str(rng.randrange(10**6)) for _ in range(12))}" for _ in range(5000)]
    start = time.perf_counter()
    assert len(set(near_duplicates([grams(t) for t in texts], 0.8))) > 4500
    assert time.perf_counter() - start < 15


def test_a_tasks_own_instructions_make_no_duplicates():
    texts = [f"{'Read the rules with care. ' * 9}What is the square of {n}?" for n in range(100)]
    sets = [grams(t) for t in texts]
    assert len(set(near_duplicates(sets, 0.8))) == 1
    assert len(set(near_duplicates(without_template(sets, texts), 0.8))) == 100
    assert without_template(sets[:20], texts[:20]) == sets[:20]


@given(st.data())
def test_no_cluster_is_on_two_sides_and_every_row_is_placed_or_quarantined(data):
    texts = data.draw(st.lists(WORDS, min_size=1, max_size=40))
    wanted = data.draw(
        st.lists(st.sampled_from(["auto", "train", "dev", "test"]), min_size=len(texts), max_size=len(texts))
    )
    config = make_config(".", {"task": "word_problems", "size": 1}, prompts={"dev_fraction": 0.3, "test_fraction": 0.3})
    clusters = [str(first) for first in near_duplicates([grams(t) for t in texts], 0.5)]
    placed = place(wanted, clusters, texts, config)
    assert len(placed.split) + len(placed.leakage) == len(texts)
    sides = {(clusters[row], split) for row, split in placed.split.items()}
    assert len(sides) == len({cluster for cluster, _ in sides})
    for row, want in enumerate(wanted):
        if want == "test":
            assert placed.split[row] == "test"
        if want in ("train", "dev"):
            assert placed.split.get(row) != "test"


def test_unrelated_rows_move_no_problem_and_fractions_hold(tmp_path):
    texts = [row["prompt"] for row in word_problems(2000, 0)]
    write(tmp_path, "part.jsonl", texts[:1000])
    write(tmp_path, "more.jsonl", texts)
    part, _ = build_problems(make_config(tmp_path, {"path": "part.jsonl"}))
    more, report = build_problems(make_config(tmp_path, {"path": "more.jsonl"}))
    split = {p.messages[0]["content"]: p.split for p in more}
    assert sum(split[p.messages[0]["content"]] != p.split for p in part) <= 2
    assert report["splits"]["test"] == pytest.approx(200, abs=50)
    assert report["splits"]["dev"] == pytest.approx(180, abs=50)
    other, _ = build_problems(make_config(tmp_path, {"path": "more.jsonl"}, seed=1))
    assert {p.id for p in other if p.split == "test"} != {p.id for p in more if p.split == "test"}


def test_leakage_into_an_explicit_test_split_is_quarantined_with_its_match(tmp_path):
    texts = [row["prompt"] for row in word_problems(200, 0)]
    write(tmp_path, "train.jsonl", [*texts[:150], texts[0], texts[160] + " Please?", texts[170].upper()])
    write(tmp_path, "test.jsonl", texts[150:])
    sources = {"path": "train.jsonl", "split": "train"}, {"path": "test.jsonl", "split": "test"}
    problems, report = build_problems(make_config(tmp_path, *sources))
    assert report["splits"]["test"] == 50 and report["splits"]["train"] + report["splits"]["dev"] == 150
    assert report["duplicates"] == 1 and report["conflicting_gold"] == 1 and report["leakage_removed"] == 2
    example = report["leakage_examples"][0]
    assert example["matched_text"] == texts[160] and example["split"] == "train" and example["similarity"] > 0.8
    assert straddling(problems) == 0 and len({p.id for p in problems}) == len(problems)


def test_a_shared_system_text_or_tool_list_makes_no_duplicates(tmp_path):
    system = {"role": "system", "content": "a long system text " * 30}
    rows = [{"prompt": [system, {"role": "user", "content": r["prompt"]}], "gold": "1"} for r in word_problems(60, 0)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems, report = build_problems(make_config(tmp_path, {"path": "d.jsonl"}))
    assert report["clusters"] == 60
    messages = student_messages(problems[0], "explain", make_config(tmp_path, {"path": "d.jsonl"}))
    assert [m["role"] for m in messages] == ["system", "user"]
    assert messages[0]["content"].startswith("Reason step by step") and "a long system text" in messages[0]["content"]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({"test_fraction": 0}, "evaluate.split=test but that split is empty"),
        ({"test_fraction": 1}, "the train split is empty"),
    ],
)
def test_an_empty_split_names_the_field_to_change(tmp_path, prompts, message):
    with pytest.raises(DataError, match=message):
        build_problems(make_config(tmp_path, {"task": "word_problems", "size": 50}, prompts=prompts))


def test_real_data_keeps_its_own_test_split(shared_data):
    sources = [
        {
            "path": f"dss_svamp/{split}.jsonl.gz",
            "fields": {"prompt": "input", "gold": "label"},
            "gold_format": "equation",
            "split": split,
        }
        for split in ("train", "test")
    ]
    problems, report = build_problems(make_config(shared_data, *sources))
    assert report["splits"]["test"] == 200 and Counter(p.split for p in problems) == report["splits"]
    assert all(p.gold.removeprefix("-").replace(".", "", 1).isdigit() for p in problems)
