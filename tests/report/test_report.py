"""The report of a made-up run, and of runs that lack parts or hold hostile text."""

import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up_run import CONFIG, make_run, scorecard, write

from rdistill.ledger import Ledger
from rdistill.report import build_report
from rdistill.report.facts import side_by_side
from rdistill.report.plots import Curve, Point, Scale, accuracy_plot, curve_plot
from rdistill.report.words import duration, headline, p_value, reveal
from rdistill.run import RunFolder


class Tags(HTMLParser):
    """The tags and attribute names of a page, and whether every tag is closed in order."""

    VOID = ("meta", "circle", "line", "rect", "polyline", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: str) -> Tags:
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def page(tmp_path: Path) -> str:
    run, ledger = make_run(tmp_path / "run")
    with ledger:
        assert build_report(run, ledger, CONFIG) == run.report
    return run.report.read_text(encoding="utf-8")


def test_page_says_what_the_run_achieved(page: str) -> None:
    assert "the student gets 37.0% of 200 held-out problems right; the untrained one 5.5%, the teacher 43.5%" in page
    assert "That is a gain of 31.5 points (p &lt; 0.001)." in page
    assert "which may be chance (p = 0.20)" in page
    for expected in ("60 train, 10 dev, 10 test", "math: WRONG_ANSWER", "Reward margin", "Side by side", "torch"):
        assert expected in page
    assert "only" not in page.split("</header>")[0]


def test_page_is_self_contained_and_inert(page: str) -> None:
    found = tags(page)
    assert not found.seen & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert not found.attributes & {"src", "href", "onerror", "onclick", "onload"}
    assert "default-src 'none'" in page


def test_hostile_text_is_shown_not_obeyed(page: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "⟨U+202E⟩right-to-left" in page and "⟨U+D800⟩" in page and "⟨U+001B⟩[31m⟨U+0000⟩" in page
    assert "{{ 7*7 }}" in page
    assert not set(page) & set("\u202e\x1b\x00")


@pytest.mark.parametrize(
    "part",
    [
        "evaluation",
        "evaluation/answers.jsonl",
        "stages",
        "stages/dpo",
        "stages/sft/metrics.jsonl",
        "evaluation/scorecard.json",
    ],
)
def test_missing_parts_are_left_out(part: str, tmp_path: Path) -> None:
    run, ledger = make_run(tmp_path / "run")
    target = run.root / part
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with ledger:
        page = build_report(run, ledger, CONFIG).read_text()
    assert tags(page).open == [] and CONFIG.name in page
    assert ("This run has not been evaluated yet." in page) == (part in ("evaluation", "evaluation/scorecard.json"))


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", '{"models": null}', "[" * 100_000])
def test_damaged_files_are_left_out(text: str, tmp_path: Path) -> None:
    run, ledger = make_run(tmp_path / "run")
    for path in (run.scorecard, run.manifest("sft"), run.metrics("dpo"), run.scorecard.parent / "answers.jsonl"):
        write(path, text)
    with ledger:
        page = build_report(run, ledger, CONFIG).read_text()
    assert tags(page).open == [] and "This run has not been evaluated yet." in page


def test_empty_run_has_a_report(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with Ledger(run.ledger) as ledger:
        page = build_report(run, ledger, CONFIG).read_text()
    assert "This run has not been evaluated yet." in page and "No stage of this run is done." in page


def test_headline_without_dpo_base_or_teacher() -> None:
    card = scorecard()
    for model in ("dpo", "base", "teacher"):
        del card["models"][model]
        assert len(headline(card)) == 2 and "None" not in " ".join(headline(card))
    assert headline(card)[0] == (
        "Explaining its steps, the student gets 35.0% of 200 held-out problems right. It writes 62.4 tokens an answer."
    )
    del card["models"]["sft"]
    assert headline(card) == ["This run has not been evaluated yet."]


def test_headline_calls_a_loss_a_loss() -> None:
    card = scorecard()
    card["paired"] = [{"mode": "explain", "first": "base", "second": "dpo", "difference": -0.05, "p_value": 0.01}]
    assert "That is a loss of 5.0 points (p = 0.010)." in headline(card)[0]


def test_examples_come_from_every_outcome() -> None:
    def rows(problem: str, student: str, base: str) -> list[dict]:
        common = {"problem_id": problem, "question": problem, "gold": 1, "mode": "explain"}
        return [common | {"model": "sft", "status": student}, common | {"model": "base", "status": base}]

    answers = rows("gain 1", "pass", "fail") + rows("gain 2", "pass", "fail") + rows("gain 3", "pass", "fail")
    answers += rows("loss", "fail", "pass") + rows("neither", "fail", "unverifiable")
    chosen = [e["question"] for e in side_by_side(answers, 3)]
    assert set(chosen) == {"gain 1", "loss", "neither"}
    assert len(side_by_side(answers, 99)) == 5


def test_reveal_keeps_ordinary_text_and_cuts_long_text() -> None:
    ordinary = "Zoë paid 3 €:\n\t½ of 6 = 3 ✓ 日本語 😀"
    assert reveal(ordinary) == ordinary
    assert reveal("a\u200bb\u0007\u2028") == "a⟨U+200B⟩b⟨U+0007⟩⟨U+2028⟩"
    assert reveal("x" * 50, limit=10) == "x" * 10 + "\n... (40 more characters)"


def test_numbers_in_words() -> None:
    assert [duration(s) for s in (4.25, 42, 200, 7500, None)] == ["4.2 s", "42 s", "3 min 20 s", "2 h 05 min", "–"]
    assert [p_value(p) for p in (1e-9, 0.0213, 0.5, float("nan"))] == ["p < 0.001", "p = 0.021", "p = 0.50", "–"]


def test_scales_place_ticks_inside_the_range() -> None:
    assert Scale(0, 1, 0, 100).ticks() == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(3, 120, 0, 100, log=True).ticks() == [5, 10, 20, 50, 100]
    assert Scale(1, 100, 0, 100, log=True)(10) == 50


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_plots_of_a_single_extreme_point(accuracy: float) -> None:
    svg = accuracy_plot([Point("base", "direct", 0.0, accuracy, accuracy, accuracy)])
    assert svg.count("<rect") == 1 and "nan" not in svg


def test_curve_of_one_or_equal_values() -> None:
    for values in ([0.0], [3.0], [-1.0, -1.0]):
        assert "nan" not in curve_plot("t", [Curve("train", list(range(len(values))), values)])
