"""What DPO minimises, warns about and refuses: every loss however a step is cut up, drift, contradictions."""

import math
from types import SimpleNamespace

import pytest
import torch
from train_helpers import make_run, tiny_model, tiny_tokenizer

from rdistill.config import DpoConfig, load_config
from rdistill.errors import ConfigError, TrainError
from rdistill.train.batches import collate, loader
from rdistill.train.data import load_pairs
from rdistill.train.dpo import PairTrainer, drift_warnings

TOKENIZER = tiny_tokenizer()
BETA = 0.5
KINDS = {
    "sigmoid": {},
    "length": {"loss": "sigmoid", "ld_alpha": 0.25},
    "robust": {"label_smoothing": 0.1},
    "simpo": {"simpo_gamma": 0.3, "label_smoothing": 0.1},
}


def softplus(x):
    return math.log1p(math.exp(x))


def by_hand(kind, chosen, rejected, references):
    """The loss of one pair from its tokens' log-probabilities and its two reference values."""
    if kind == "simpo":
        score = BETA * (sum(chosen) / len(chosen) - sum(rejected) / len(rejected)) - 0.3
        return 0.9 * softplus(-score) + 0.1 * softplus(score)
    if kind == "length":
        shorter = min(len(chosen), len(rejected))
        chosen, rejected = ([v * (1 if i < shorter else 0.25) for i, v in enumerate(s)] for s in (chosen, rejected))
    score = BETA * ((sum(chosen) - references[0]) - (sum(rejected) - references[1]))
    return (0.9 * softplus(-score) - 0.1 * softplus(score)) / 0.8 if kind == "robust" else softplus(-score)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    root = tmp_path_factory.mktemp("pairs")
    make_run(root, rows=6)
    return load_pairs(root / "data" / "pairs.parquet", TOKENIZER, DpoConfig())


def alone(model, tokens):
    """Log-probabilities of a side's target tokens, without packing."""
    logps = model(input_ids=torch.tensor([tokens.ids])).logits[0].log_softmax(-1)
    return [logps[i - 1, tokens.ids[i]].item() for i, w in enumerate(tokens.weights) if w]


@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_of_a_step_gives_the_loss_by_hand(pairs, kind):
    model, plain = tiny_model(len(TOKENIZER)), tiny_model(len(TOKENIZER), "sdpa")
    trainer = object.__new__(PairTrainer)
    trainer.settings = DpoConfig(**{"loss": kind, "beta": BETA, "dtype": "float32"} | KINDS[kind])
    trainer.state = SimpleNamespace(global_step=1)
    with torch.no_grad():
        sides = [[alone(plain, side) for side in group] for group in pairs.groups]
        reference = torch.tensor([[sum(s) + 1.0 + 0.1 * i for s in row] for i, row in enumerate(sides)])
        reference[:, 1] -= 2.0
        trainer.reference = None if kind == "simpo" else SimpleNamespace(values_B2=reference)
        expected = sum(by_hand(kind, *row, reference[i].tolist()) for i, row in enumerate(sides))
        for cut in ([range(6)], [range(2), range(2, 6)], [[4], [1, 0], [5, 3, 2]]):
            trainer.totals = {}
            losses = [trainer.batch_loss(model, collate([(r, pairs.groups[r]) for r in rows])) for rows in cut]
            assert sum(losses).item() == pytest.approx(expected, rel=1e-5)
            metrics = trainer.summarise({k: float(v) for k, v in trainer.totals.items()})
            chosen = [row[0] for row in sides]
            mean = sum(map(sum, chosen)) / sum(map(len, chosen))
            assert metrics["chosen_logp_per_token"] == pytest.approx(mean, rel=1e-5)
            assert ("chosen_logp_drift" in metrics) == (kind != "simpo")


@pytest.mark.parametrize("kind", ["sigmoid", "simpo"])
def test_an_idle_rank_counts_the_same_metrics(pairs, kind):
    model, trainer = tiny_model(len(TOKENIZER)), object.__new__(PairTrainer)
    trainer.settings, trainer.state = DpoConfig(loss=kind), SimpleNamespace(global_step=0)
    trainer.reference = None if kind == "simpo" else SimpleNamespace(values_B2=torch.zeros(6, 2))
    trainer.totals = {}
    (idle,) = loader(pairs.groups, [[]])
    loss = trainer.batch_loss(model, idle)
    loss.backward()
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())
    metrics, trainer.state.global_step = sorted(trainer.totals), 1
    trainer.batch_loss(model, collate([(0, pairs.groups[0])]))
    assert metrics == sorted(trainer.totals)


def test_a_policy_that_is_not_the_reference_stops_before_the_first_update(pairs):
    model, trainer = tiny_model(len(TOKENIZER)), object.__new__(PairTrainer)
    trainer.settings, trainer.totals = DpoConfig(dtype="float32"), {}
    trainer.state = SimpleNamespace(global_step=0)
    batch = collate([(row, pairs.groups[row]) for row in range(6)])
    with torch.no_grad():
        same_B2 = trainer.sums(model, batch).compared_B2
        trainer.reference = SimpleNamespace(values_B2=same_B2)
        trainer.batch_loss(model, batch)
        assert trainer.step0_drift == 0
        for values_B2 in (1.001 * same_B2, torch.full_like(same_B2, torch.nan)):
            trainer.reference = SimpleNamespace(values_B2=values_B2)
            with pytest.raises(TrainError, match=r"differ by .*% before the first update \(margin 0 was expected\)"):
                trainer.batch_loss(model, batch)
        trainer.state.global_step = 1
        trainer.batch_loss(model, batch)


def test_drift_is_warned_about():
    steady = [{"chosen_drift_per_token": d} for d in (0.0, -0.5, -0.02, 0.03)]
    assert drift_warnings(steady) == drift_warnings([]) == []
    (warning,) = drift_warnings([{"chosen_drift_per_token": d} for d in (0.0, -0.1, -0.2, -0.3, -0.4, -0.6)])
    assert warning.startswith("chosen answers lost 0.50 nats a token, so a token of them is 39% less likely")
    assert "raise dpo.nll_weight" in warning


def test_drift_without_a_reference_is_held_against_the_start():
    levels = [-1.0, -1.1, -1.2, -1.4]
    assert "lost 0.40 nats" in drift_warnings([{"chosen_logp_per_token": v} for v in levels])[0]
    assert drift_warnings([{"chosen_logp_per_token": v} for v in reversed(levels)]) == []
    assert drift_warnings([{"chosen_logp_per_token": -9.0}]) == []


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["dpo.loss=robust"], "dpo.loss=robust with dpo.label_smoothing=0 is sigmoid"),
        (["dpo.loss=ipo", "dpo.label_smoothing=0.1"], "dpo.label_smoothing=0.1 means nothing with dpo.loss=ipo"),
        (["dpo.simpo_gamma=1"], "dpo.simpo_gamma=1 means nothing with dpo.loss=sigmoid"),
        (["dpo.loss=simpo", "dpo.ld_alpha=0.5"], "dpo.ld_alpha=0.5 cannot help dpo.loss=simpo"),
        (["pair.student_variations=4"], "pair.student_variations=4 means nothing with pair.sources=.*; add student"),
        (["pair.sources=[student]", "pair.student_variations=4"], "pair.student_variations=4 needs .* an equation"),
        (
            [
                "pair.sources=[student]",
                "pair.student_variations=4",
                "prompts.sources=[{path: a, split: test, gold_format: equation}, {path: b}]",
            ],
            "none of prompts.sources to train on has gold_format: equation",
        ),
    ],
)
def test_settings_that_cannot_both_be_meant_are_refused(tmp_path, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        load_config(make_run(tmp_path), overrides)


@pytest.mark.parametrize("column", ["gold_format: equation", "fields: {hint: equation}"])
def test_the_student_may_be_asked_variations_where_there_is_an_equation(tmp_path, column):
    sources = f"prompts.sources=[{{path: a, {column}}}]"
    config = load_config(make_run(tmp_path), ["pair.sources=[student]", "pair.student_variations=4", sources])
    assert config.asks_student
