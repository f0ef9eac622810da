"""Examples and pairs from random and worked verdict tables: the contract holds, and catches what breaks it."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdistill.config import Config, SelectConfig
from rdistill.errors import DataError
from rdistill.ledger import Ledger
from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.run import RunFolder, write_durable
from rdistill.select import (
    build_pairs,
    export_run,
    gold_samples,
    pair_faults,
    select_examples,
    write_pairs,
    write_sft,
)
from rdistill.select.completions import complete
from rdistill.select.contract import span_fault
from rdistill.select.sealed import read_sealed
from rdistill.tools import result_turn

MODES = ["explain", "direct", "tool"]
SOURCES = ["best_of_n", "revision", "tool_trace", "concise", "student"]
CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "3 + 4"}}</tool_call>'


def make_config(**changes):
    return Config(
        name="t",
        prompts={"sources": [{"task": "word_problems", "size": 1}]},
        teacher={"model": "m", "mode": "tool_trace"},
        student={"model": "m"},
        select={
            "modes": MODES,
            "max_per_problem": changes.pop("max_per_problem", 2),
            "prefer": changes.pop("prefer", "shortest"),
        },
        pair={"sources": SOURCES, **changes},
    )


def make_problem(question="What is 3 + 4?", split="train"):
    messages = [{"role": "user", "content": question}]
    return Problem(id=Problem.make_id(messages, "7", None), messages=messages, gold="7", cluster=question, split=split)


def make_sample(problem, index, rationale="Add 3 and 4.", answer="7", **fields):
    text = f"{rationale}\n#### {answer}" if answer else rationale
    return Sample.create(
        **{
            "problem_id": problem.id,
            "messages": [{"role": "assistant", "content": text}],
            "rationale": rationale or None,
            "answer": answer,
            "finish_reason": "stop",
            "usage": {},
            "sampling": {"index": index},
            "engine": "scripted",
            **fields,
        }
    )


def make_trace(problem, index, last="So it is 7.\n#### 7", **fields):
    call = {"role": "assistant", "content": "I add. " + CALL}
    turns = [call, {"role": "tool", "content": fields.pop("result", "7")}, {"role": "assistant", "content": last}]
    return make_sample(problem, index, "So it is 7.", "7", mode="tool_trace", messages=turns, **fields)


def judge(sample, status, reason=None):
    reason = reason or (Reason.OK if status is Status.PASS else Reason.WRONG_ANSWER)
    return Verdict(sample_id=sample.id, verifier="math", version="1", status=status, reason=reason)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def fill(ledger, problems, samples, verdicts):
    """Make these the ledger's only rows; returns status_of."""
    ledger.replace(Problem, problems)
    ledger.replace(Sample, samples)
    ledger.replace(Verdict, verdicts)
    return {v.sample_id: v.status for v in verdicts}


TEXT = st.text(st.sampled_from("ab 1.\n#<é🙂"), max_size=12)
VERDICT = st.sampled_from(
    [(Status.PASS, Reason.OK), (Status.UNVERIFIABLE, Reason.TIMEOUT)]
    + [(Status.FAIL, r) for r in (Reason.WRONG_ANSWER, Reason.FORMAT, Reason.NO_ANSWER, Reason.TRUNCATED, Reason.OK)]
)


@st.composite
def tables(draw):
    """Problems of all splits, samples of all roles and modes, and any verdicts."""
    problems, samples, verdicts = [], {}, {}
    for number in range(draw(st.integers(1, 3))):
        problem = make_problem(f"Question {number}?", draw(st.sampled_from(["train", "train", "test"])))
        problems.append(problem)
        parent = None
        for index in range(draw(st.integers(0, 7))):
            rationale, answer = draw(TEXT), draw(st.none() | st.sampled_from(["7", "8", " 7", "9 or so"]))
            fields = {"finish_reason": draw(st.sampled_from(["stop", "stop", "stop", "length"])), "parent_id": parent}
            if draw(st.integers(0, 3)) == 0:
                sample = make_trace(
                    problem, index, draw(st.sampled_from(["#### 7", "it is 8", CALL, "", "x #### 7\n"])), **fields
                )
            else:
                fields["role"] = draw(st.sampled_from(["answer", "draft", "critique", "revision", "student"]))
                fields["sampling"] = {"index": index, "mode": draw(st.sampled_from(["explain", "direct"]))}
                sample = make_sample(problem, index, rationale, answer, **fields)
            parent = sample.id
            samples[sample.id] = sample
            if draw(st.integers(0, 5)):
                verdicts[sample.id] = judge(sample, *draw(VERDICT))
    return problems, list(samples.values()), list(verdicts.values())


relaxed = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(tables())
def test_the_pair_contract_holds_on_any_verdict_table(ledger, table):
    status_of = fill(ledger, *table)
    config = make_config()
    pairs, rows, report = build_pairs(ledger, config, status_of)
    assert pair_faults(rows, ledger, config, status_of) == []
    assert [p.id for p in pairs] == [r["id"] for r in rows] and report["pairs"] == len(rows)
    for p in pairs:
        assert status_of[p.chosen_id] is Status.PASS and p.margin > 0
        assert status_of[p.rejected_id] is (Status.PASS if p.source == "concise" else Status.FAIL)
    fill(ledger, table[0], table[1][::-1], table[2][::-1])
    assert build_pairs(ledger, config, status_of)[1] == rows, "the order of arrival must not matter"


@relaxed
@given(tables(), st.sampled_from(["shortest", "confident", "first"]))
def test_examples_are_verified_whole_and_covered_by_their_spans(ledger, table, prefer):
    status_of = fill(ledger, *table)
    config = make_config(prefer=prefer)
    examples, report = select_examples(ledger, config, status_of)
    train = {p.id for p in table[0] if p.split == "train"}
    for example in examples:
        sample = ledger.get(Sample, example.sample_id)
        assert status_of[sample.id] is Status.PASS and sample.problem_id in train and sample.finish_reason == "stop"
        assert span_fault(example.messages, [s.model_dump() for s in example.spans], 2) is None
    assert len({e.id for e in examples}) == len(examples) == report["examples"]
    fill(ledger, table[0], table[1][::-1], table[2])
    assert select_examples(ledger, config, status_of)[0] == examples


@given(TEXT, st.none() | TEXT.filter(str.strip))
def test_spans_cover_every_character(rationale, answer):
    sample = make_sample(make_problem(), 0, rationale, answer)
    for mode in MODES:
        for made in (complete(sample, mode, "####"), complete(make_trace(make_problem(), 0, rationale), mode, "####")):
            if made is not None:
                assert span_fault(made.messages, [s.model_dump() for s in made.spans], 0) is None


def test_the_thinking_before_a_turn_of_a_trace_is_learned_as_its_rationale():
    trace = make_trace(make_problem(), 0)
    thoughts = ("Three and four: I need a sum.", None, "It says 7.")
    said = [m | ({"reasoning": t} if t else {}) for m, t in zip(trace.messages, thoughts, strict=True)]
    made = complete(trace.model_copy(update={"messages": said}), "tool", "####")
    assert [m["content"] for m in made.messages] == [
        f"{thoughts[0]}\nI add. {CALL}",
        result_turn("7")["content"],
        f"{thoughts[2]}\nSo it is 7.\n#### 7",
    ]
    pieces = [(s.role, made.messages[s.message]["content"][s.start : s.end]) for s in made.spans]
    assert pieces[:3] == [("rationale", f"{thoughts[0]}\n"), ("rationale", "I add. "), ("tool_call", CALL)]
    assert pieces[-3:] == [("rationale", "It says 7.\n"), ("rationale", "So it is 7."), ("answer", "\n#### 7")]


@pytest.mark.parametrize("thought", ["#### 8", CALL, "ends </tool_call>", " "])
def test_thinking_that_reads_as_a_call_or_an_answer_is_left_out_of_a_trace(thought):
    trace = make_trace(make_problem(), 0)
    said = [m | {"reasoning": thought} for m in trace.messages]
    assert complete(trace.model_copy(update={"messages": said}), "tool", "####") == complete(trace, "tool", "####")


def test_each_mode_says_what_it_should():
    problem = make_problem()
    explain = complete(make_sample(problem, 0), "explain", "####")
    assert explain.messages == [{"role": "assistant", "content": "Add 3 and 4.\n#### 7"}]
    assert [(s.start, s.end, s.role) for s in explain.spans] == [(0, 12, "rationale"), (12, 19, "answer")]
    direct = complete(make_sample(problem, 0), "direct", "####")
    assert direct.messages == [{"role": "assistant", "content": "7"}]
    trace = complete(make_trace(problem, 0), "tool", "####")
    assert [(s.message, s.role) for s in trace.spans] == [
        (0, "rationale"), (0, "tool_call"), (1, "tool_result"), (2, "rationale"), (2, "answer")
    ]  # fmt: skip
    assert trace.messages[0]["content"] == "I add. " + CALL and trace.messages[1] == result_turn("7")
    assert complete(make_sample(problem, 0), "tool", "####") is None
    assert complete(make_sample(problem, 0, ""), "explain", "####") is None


def test_preference_limit_and_distinct_texts(ledger):
    problem = make_problem()
    long, short = (
        make_sample(problem, 0, "A long way to add 3 and 4.", confidence=-0.1),
        make_sample(problem, 1, "Add."),
    )
    same = make_sample(problem, 2, "Add. ", confidence=-9.0)
    verdicts = [judge(s, Status.PASS) for s in (long, short, same)]
    status_of = fill(ledger, [problem], [long, short, same], verdicts)

    def chosen(**changes):
        examples, _ = select_examples(ledger, make_config(**changes), status_of)
        return [(e.mode, e.sample_id) for e in examples]

    assert chosen() == [("explain", short.id), ("explain", long.id), ("direct", short.id)]
    assert chosen(max_per_problem=1) == [("explain", short.id), ("direct", short.id)]
    assert chosen(prefer="confident", max_per_problem=1) == [("explain", long.id), ("direct", long.id)]
    assert chosen(prefer="first", max_per_problem=1)[0] == ("explain", long.id)
    _, report = select_examples(ledger, make_config(), status_of)
    assert report["problems_passed"] == 1 and report["domains"] == {"before": {"general": 1}, "after": {"general": 1}}
    assert any("'tool'" in warning for warning in report["warnings"])


def test_each_source_builds_its_pair(ledger):
    problem = make_problem()
    right, wordy = make_sample(problem, 0), make_sample(problem, 1, "Add 3 and 4, that is to say count on from 3.")
    wrong, ill_formed = make_sample(problem, 2, "Add 3 to 4.", "8"), make_sample(problem, 3, "It is seven.", None)
    draft = make_sample(problem, 4, "Take 3 from 4.", "1", role="draft")
    critique = make_sample(problem, 5, "No, add.", None, role="critique", parent_id=draft.id)
    revision = make_sample(problem, 6, "Adding, it is 7", "7", role="revision", parent_id=critique.id)
    good_trace, bad_trace = make_trace(problem, 7), make_trace(problem, 8, "So it is 8.\n#### 8")
    passed, failed = [right, wordy, revision, good_trace], [wrong, draft, bad_trace]
    verdicts = [judge(s, Status.PASS) for s in passed] + [judge(s, Status.FAIL) for s in failed]
    verdicts.append(judge(ill_formed, Status.FAIL, Reason.NO_ANSWER))
    samples = [*passed, *failed, ill_formed, critique]
    status_of = fill(ledger, [problem], samples, verdicts)
    pairs, _, report = build_pairs(ledger, make_config(), status_of)
    made = {(p.source, p.mode, p.chosen_id, p.rejected_id, p.reason) for p in pairs}
    assert ("revision", "explain", revision.id, draft.id, "WRONG_ANSWER") in made
    assert ("tool_trace", "tool", good_trace.id, bad_trace.id, "WRONG_ANSWER") in made
    assert ("concise", "explain", right.id, wordy.id, "LONGER") in made
    assert ("best_of_n", "direct", right.id, wrong.id, "WRONG_ANSWER") in made
    assert not any(p.mode == "direct" and p.rejected_id == ill_formed.id for p in pairs)
    best = [p for p in pairs if (p.source, p.mode) == ("best_of_n", "explain")]
    assert len(best) == 2 and {p.rejected_id for p in best} >= {wrong.id} and len({p.chosen_id for p in best}) == 2
    assert report["sources"]["best_of_n"] == 3 and 0 < report["length_ratio"]["concise"] < 0.75


def test_the_students_mistakes_stand_against_the_teachers_answers_in_their_own_mode(ledger):
    problem = make_problem()
    right, wrong = make_sample(problem, 0), make_sample(problem, 1, "Take 3 from 4.", "1")

    def own(index, mode, rationale, answer, **fields):
        sampling = {"index": index, "mode": mode}
        return make_sample(problem, index, rationale, answer, role="student", sampling=sampling, **fields)

    slip, cut = own(0, "explain", "Add 3 and 5.", "8"), own(1, "explain", "Add", "3", finish_reason="length")
    blurted, fine = own(0, "direct", "", "9"), own(1, "direct", "", "7")
    verdicts = [judge(right, Status.PASS), judge(fine, Status.PASS)]
    verdicts += [judge(s, Status.FAIL) for s in (wrong, slip, cut, blurted)]
    status_of = fill(ledger, [problem], [right, wrong, slip, cut, blurted, fine], verdicts)
    pairs, rows, report = build_pairs(ledger, make_config(), status_of)
    made = {(p.mode, p.chosen_id, p.rejected_id) for p in pairs if p.source == "student"}
    assert made == {("explain", right.id, slip.id), ("direct", right.id, blurted.id)}
    assert {p.rejected_id for p in pairs if p.source == "best_of_n"} == {wrong.id}, (
        "the student's are not the teacher's"
    )
    assert report["sources"] == {"best_of_n": 2, "student": 2}
    assert pair_faults(rows, ledger, make_config(), status_of) == []
    examples, _ = select_examples(ledger, make_config(), status_of)
    assert {e.sample_id for e in examples} == {right.id}, "what the student got right is no example"


def test_what_nobody_solved_is_set_right_by_the_student_or_in_direct_by_the_gold_answer(ledger):
    problem = make_problem(split="pair")
    own = {
        name: make_sample(problem, n, "Add 3 and 4." if mode == "explain" else "", answer, role="student",
                          sampling={"index": n, "mode": mode})
        for n, (name, mode, answer) in enumerate(
            [("right", "explain", "7"), ("slip", "explain", "8"), ("blurted", "direct", "9")]
        )
    }  # fmt: skip
    gold, false_gold = Sample.of_gold(problem, "7", "7"), Sample.of_gold(problem, "9", "9")
    verdicts = [judge(s, Status.PASS if name == "right" else Status.FAIL) for name, s in own.items()]
    status_of = fill(ledger, [problem], [*own.values(), gold], verdicts)
    with_gold = make_config().model_copy(update={"select": SelectConfig(modes=MODES, gold=True)})
    made = {(p.mode, p.chosen_id, p.rejected_id) for p in build_pairs(ledger, make_config(), status_of)[0]}
    explained = ("explain", own["right"].id, own["slip"].id)
    assert made == {explained}, "gold answers are learned where the config says so"
    pairs, rows, _ = build_pairs(ledger, with_gold, status_of)
    assert {(p.mode, p.chosen_id, p.rejected_id) for p in pairs} == {explained, ("direct", gold.id, own["blurted"].id)}
    assert pair_faults(rows, ledger, with_gold, status_of) == []
    (found,) = pair_faults(rows, ledger, make_config(), status_of)
    assert found["fault"] == "chosen is not verified right"
    ledger.write([false_gold])
    (swapped,) = [
        row | {"chosen_id": false_gold.id, "chosen": row["chosen"].replace("7", "9")}
        for row in rows
        if row["mode"] == "direct"
    ]
    assert pair_faults([swapped], ledger, with_gold, status_of)[0]["fault"] == "chosen is not verified right"
    assert select_examples(ledger, with_gold, status_of)[0] == [], "the student is not fine-tuned on them"


def test_the_reason_is_the_required_verifiers(ledger):
    problem = make_problem()
    right, wrong = make_sample(problem, 0), make_sample(problem, 1, "Hm.", "8")
    advice = Verdict(sample_id=wrong.id, verifier="style", version="1", status=Status.FAIL, reason=Reason.FORMAT)
    status_of = fill(ledger, [problem], [right, wrong], [judge(right, Status.PASS), advice, judge(wrong, Status.FAIL)])
    pairs, _, _ = build_pairs(ledger, make_config(), {**status_of, wrong.id: Status.FAIL})
    assert {p.reason for p in pairs} == {"WRONG_ANSWER"}


BREAKAGES = {
    "equal": ({"rejected": "same"}, "rejected is not what its sample says"),
    "margin": ({"margin": 0.0}, "margin 0.0 is not above 0"),
    "swapped": ({"swap": True}, "is not what its sample says"),
    "reason": ({"reason": "FORMAT"}, "reason 'FORMAT' is not what its verdicts say"),
    "prompt": ({"prompt": '[{"content":"x","role":"user"}]'}, "prompt is not the problem's"),
    "other": ({"problem_id": "0" * 32}, "problem is not one to learn from"),
    "spans": ({"chosen_spans": "[]"}, "covered to character 0 only"),
}


@pytest.mark.parametrize("name", BREAKAGES)
def test_a_broken_pair_is_found(ledger, name):
    changes, fault = BREAKAGES[name]
    problem = make_problem()
    right, wrong = make_sample(problem, 0), make_sample(problem, 1, "Guess.", "8")
    status_of = fill(ledger, [problem], [right, wrong], [judge(right, Status.PASS), judge(wrong, Status.FAIL)])
    _, [row, *_], _ = build_pairs(ledger, make_config(), status_of)
    changes = dict(changes)
    if changes.pop("swap", False):
        changes = {"chosen_id": row["rejected_id"], "rejected_id": row["chosen_id"]}
    if changes.get("rejected") == "same":
        changes["rejected"] = row["chosen"]
    (found,) = pair_faults([row | changes], ledger, make_config(), status_of)
    assert fault in found["fault"]
    (found,) = pair_faults([row], ledger, make_config(), {**status_of, wrong.id: Status.UNVERIFIABLE})
    assert found["fault"] == "rejected is not verified wrong"
    assert pair_faults([row, row], ledger, make_config(), status_of)[0]["fault"] == "id stands twice"


def test_sealed_files_repeat_and_export_in_every_format(ledger, tmp_path):
    problem = make_problem()
    right, wrong = make_sample(problem, 0), make_sample(problem, 1, "Guess.", "8")
    status_of = fill(ledger, [problem], [right, wrong], [judge(right, Status.PASS), judge(wrong, Status.FAIL)])
    run = RunFolder(tmp_path / "run")
    with pytest.raises(DataError, match=r"/run is no run's folder; name one that"):
        export_run(run, "trl", tmp_path / "out")
    examples, _ = select_examples(ledger, make_config(), status_of)
    _, rows, _ = build_pairs(ledger, make_config(), status_of)
    sealed = write_sft(run.sft_data, examples, ledger), write_pairs(run.pairs_data, rows)
    assert sealed == (write_sft(run.sft_data, examples, ledger), write_pairs(run.pairs_data, rows))
    assert sealed[0]["rows"] == len(examples) == 2 and read_sealed(run, run.pairs_data) == rows
    assert write_pairs(tmp_path / "none.parquet", [])["rows"] == 0

    write_durable(run.manifest("select"), json.dumps({"fingerprint": "s1", "inputs": {}}))
    for known, why in {"s0": "stage select ran again after stage pair", None: "stage pair is not done"}.items():
        run.manifest("pair").unlink(missing_ok=True)
        if known:
            write_durable(run.manifest("pair"), json.dumps({"fingerprint": "p", "inputs": {"select": known}}))
        with pytest.raises(DataError, match=rf"pairs.parquet is not of the run as it is now, since {why}; run: rdisti"):
            export_run(run, "trl", tmp_path / "old")
    assert not (tmp_path / "old").exists()
    write_durable(run.manifest("pair"), json.dumps({"fingerprint": "p", "inputs": {"select": "s1"}}))
    sft, dpo = export_run(run, "trl", tmp_path / "trl")
    (first, _), (pair, *_) = ([json.loads(line) for line in path.read_text().splitlines()] for path in (sft, dpo))
    assert first["prompt"] + first["completion"] == examples[0].messages
    assert [m["role"] for m in first["completion"]] == ["assistant"]
    assert (first["id"], first["mode"]) == (examples[0].id, examples[0].mode) and len(first) == 4
    assert set(pair) == {"id", "mode", "prompt", "chosen", "rejected"}
    assert pair["chosen"][0]["role"] == "assistant"
    paths = export_run(run, "jsonl", tmp_path / "jsonl") + export_run(run, "parquet", tmp_path / "parquet")
    assert [p.name for p in paths] == ["sft.jsonl", "pairs.jsonl", "sft.parquet", "pairs.parquet"]
    assert paths[2].read_bytes() == run.sft_data.read_bytes()
    with pytest.raises(DataError, match="format 'csv'"):
        export_run(run, "csv", tmp_path)


def test_gold_stands_in_where_no_sample_passed_and_in_direct_alone(tmp_path):
    solved, unsolved, left_out, listed = (make_problem(f"What is {n} + 4?") for n in range(4))
    listed = listed.model_copy(update={"gold": ["7"]})
    held_out = make_problem("What is 9 + 4?", split="test")
    right, wrong = make_sample(solved, 0), make_sample(unsolved, 0, answer="8")
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.write([solved, unsolved, left_out, listed, held_out, right, wrong])
        golds = gold_samples(ledger.rows(Problem, split="train"), {left_out.id})
        ledger.write(golds.values())
        statuses = {right.id: Status.PASS, wrong.id: Status.FAIL}
        examples, report = select_examples(ledger, make_config(), statuses, golds)
        plain, _ = select_examples(ledger, make_config(), statuses)
    assert set(golds) == {solved.id, unsolved.id}
    (added,) = [e for e in examples if e not in plain]
    assert (added.sample_id, added.mode, added.messages[-1]["content"]) == (golds[unsolved.id].id, "direct", "7")
    assert report["gold"] == 1 and {e.sample_id for e in plain} == {right.id}


def test_what_the_student_got_right_stands_in_where_the_teachers_reply_has_nothing_to_say_in_a_mode(ledger):
    problem = make_problem()
    bare = make_sample(problem, 0, "")
    own = [
        make_sample(problem, n, "Add 3 and 4.", answer, role="student", sampling={"index": n, "mode": "explain"})
        for n, answer in enumerate(["7", "8"])
    ]
    verdicts = [judge(bare, Status.PASS), judge(own[0], Status.PASS), judge(own[1], Status.FAIL)]
    status_of = fill(ledger, [problem], [bare, *own], verdicts)
    pairs, _, _ = build_pairs(ledger, make_config(), status_of)
    found = [(p.chosen_id, p.rejected_id) for p in pairs if (p.source, p.mode) == ("student", "explain")]
    assert found == [(own[0].id, own[1].id)]
