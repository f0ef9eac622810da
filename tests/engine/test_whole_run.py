"""The product on its real parts: vLLM, two-rank DeepSpeed, the 135M student, through the command line.

One small run is made once for all tests here; each test looks at, or changes, one thing of it.
"""

import json
import shutil
from pathlib import Path

import pytest
from engine_helpers import ITEMS, SMALL, again, rdistill

from rdistill.ledger import Ledger
from rdistill.records import Example, Pair, Problem, Sample
from rdistill.run import RunFolder

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("run") / "small"
    done = rdistill("run", str(checkout / "configs/quickstart.yaml"), *SMALL, "--run-dir", str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    return RunFolder(folder)


def test_leaves_every_file_of_the_contract(finished: RunFolder) -> None:
    for path in (finished.config, finished.ledger, finished.sft_data, finished.pairs_data, finished.report):
        assert path.is_file(), path
    for stage in ("sft", "dpo"):
        assert (finished.model(stage) / "model.safetensors").is_file()
        assert finished.read_result(stage)["ranks"] == 2
    assert finished.read_result("dpo")["step0_drift"] < 0.01


def test_scorecard_has_the_contract_s_shape(finished: RunFolder) -> None:
    card = json.loads(finished.scorecard.read_text())
    assert set(card["models"]) == {"base", "sft", "dpo", "teacher"}
    for model, modes in card["models"].items():
        assert set(modes) == ({"explain"} if model == "teacher" else {"explain", "direct"})
        for score in modes.values():
            low, high = score["accuracy_ci"]
            assert score["n"] == ITEMS and 0 <= low <= score["accuracy"] <= high <= 1
            assert score["output_tokens_mean"] > 0 and set(score["latency_s"]) == {"p50", "p95", "p99"}
    assert card["pairs_invalid"] == 0 and card["leakage"] == 0


def test_trains_on_verified_train_rows_only(finished: RunFolder) -> None:
    with Ledger(finished.ledger, read_only=True) as ledger:
        train = {p.id for p in ledger.rows(Problem, split="train")}
        samples = {s.id: s for s in ledger.rows(Sample)}
        examples = list(ledger.rows(Example))
        assert examples and {samples[e.sample_id].problem_id for e in examples} <= train
        assert {p.problem_id for p in ledger.rows(Pair)} <= train


def test_second_run_does_nothing(finished: RunFolder, checkout: Path) -> None:
    ran, seconds = again(finished, checkout)
    assert ran == [] and seconds < 10  # 2 to 3 s where nothing else runs


def test_show_walks_from_a_pair_to_its_problem(finished: RunFolder) -> None:
    with Ledger(finished.ledger, read_only=True) as ledger:
        pair = next(ledger.rows(Pair))
    shown = rdistill("show", str(finished.root), pair.id[:12], "--json")
    family = json.loads(shown.stdout)
    assert family["problem"]["id"] == pair.problem_id
    assert pair.id in [p["id"] for p in family["pairs"]]


def test_ask_answers_with_the_answer_alone(finished: RunFolder) -> None:
    questions = "\n".join(
        json.dumps(
            {"id": f"q{i}", "question": f"Tom has {i} pens and buys 4 more. How many pens has he?", "mode": mode}
        )
        for i, mode in enumerate(("concise", "hidden", "explain"), 3)
    )
    asked = rdistill("ask", str(finished.root), "-", "--json", input=questions)
    assert asked.returncode == 0, asked.stderr[-2000:]
    answers = [json.loads(line) for line in asked.stdout.splitlines()]
    assert [a["id"] for a in answers] == ["q3", "q4", "q5"]
    concise, hidden, explain = answers
    assert concise["answer"] and 0 < concise["confidence"] <= 1 and concise["tokens"] > 0
    assert hidden["answer"] and explain["answer"] and explain["tokens"] > 0


def test_the_students_own_mistakes_become_pairs(finished: RunFolder, checkout: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.root, tmp_path / "own", ignore=shutil.ignore_patterns("dpo"))
    run = RunFolder(folder)
    ran, _ = again(run, checkout, "pair.sources=[student]", "pair.student_samples=2", until="pair")
    assert ran == ["pair"], "the student of the run is asked"
    with Ledger(run.ledger, read_only=True) as ledger:
        roles = {s.id: s.role for s in ledger.rows(Sample)}
        pairs = list(ledger.rows(Pair))
    assert pairs and {p.source for p in pairs} == {"student"}
    assert {(roles[p.chosen_id], roles[p.rejected_id]) for p in pairs} == {("answer", "student")}
    drawn = run.read_manifest("pair")["result"]["student_samples"]  # type: ignore[index]
    assert drawn == sum(role == "student" for role in roles.values()) > 0


def test_late_option_reruns_the_late_stages_alone(finished: RunFolder, checkout: Path) -> None:
    ran, _ = again(finished, checkout, "dpo.beta=0.2")
    assert ran == ["dpo", "evaluate", "report"]
