"""What SFT minimises: each normalisation and the multi-task objective, by hand and however a step is cut up."""

import pytest
import torch
from train_helpers import make_run, tiny_model, tiny_tokenizer

from rdistill.config import SftConfig, load_config
from rdistill.errors import ConfigError, DataError
from rdistill.run import RunFolder
from rdistill.train import sft
from rdistill.train.batches import collate, loader, plan_steps, rank_batches
from rdistill.train.data import TokenData, load_sft
from rdistill.train.losses import normalized_weights, span_loss
from rdistill.train.packing import Tokens

TOKENIZER = tiny_tokenizer()
ROLES = [None, "rationale", "rationale", "rationale", "rationale", None, "answer", "answer"]
WEIGHTS = [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 3.0, 3.0]


def trainer_of(data, config):
    """The part of the trainer that knows the loss; TRL's part stays out."""
    trainer = object.__new__(sft.SpanTrainer)
    trainer.data, trainer.settings = data, config
    return trainer


def step_loss(trainer, model, batches):
    """The loss of an optimizer step from its micro-batches, divided as PackedTraining does."""
    total = torch.stack([trainer.batch_size_of(b) for b in batches]).sum(0)
    return sum((trainer.batch_loss(model, b) / (total + (total == 0))).sum() for b in batches)


def test_weights_by_hand():
    assert normalized_weights(WEIGHTS, ROLES, "token") == WEIGHTS
    assert normalized_weights(WEIGHTS, ROLES, "span") == [0, 0.25, 0.25, 0.25, 0.25, 0, 1.5, 1.5]
    assert normalized_weights(WEIGHTS, ROLES, "example") == [0, 0.1, 0.1, 0.1, 0.1, 0, 0.3, 0.3]


def test_two_spans_of_one_role_are_two():
    roles = ["rationale", None, "rationale", "rationale"]
    assert normalized_weights([1.0, 0.0, 1.0, 1.0], roles, "span") == [1, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        # rationale 1, 2, 3, 4 (weight 1) and answer 5, 7 (weight 3); a second row: answer 2 (weight 3)
        ("token", (10 + 3 * 12 + 3 * 2) / (4 + 6 + 3)),
        ("span", (1 * 2.5 + 3 * 6 + 3 * 2) / (1 + 3 + 3)),
        ("example", ((10 + 36) / 10 + 2) / 2),
    ],
)
def test_losses_by_hand(normalize, expected):
    first = normalized_weights(WEIGHTS, ROLES, normalize)
    second = normalized_weights([0.0, 3.0], [None, "answer"], normalize)
    losses = torch.tensor([0.0, 1, 2, 3, 4, 0, 5, 7, 0, 2])
    weights = torch.tensor(first + second)
    assert span_loss(-losses, weights, weights.sum()).item() == pytest.approx(expected)


def expected_loss(rows, normalize, share):
    """The documented equations, from (mode, roles' weights, roles, cross-entropies) of each row on its own."""
    if share is not None:
        tasks = [[r for r in rows if (r[0] == "direct") == is_direct] for is_direct in (True, False)]
        return sum(s * expected_loss(t, normalize, None) for s, t in zip((1.0, share), tasks, strict=True) if t)
    parts = []
    for _, weights, roles, losses in rows:
        spans = [[i for i, r in enumerate(roles) if r == role] for role in ("rationale", "answer")]
        weighed = [(sum(weights[i] * losses[i] for i in s), sum(weights[i] for i in s), len(s)) for s in spans]
        if normalize == "token":
            parts += [(total, weight) for total, weight, _ in weighed]
        elif normalize == "span":
            parts += [(total / size, weight / size) for total, weight, size in weighed]
        else:
            parts.append((sum(w[0] for w in weighed) / sum(w[1] for w in weighed), 1.0))
    return sum(total for total, _ in parts) / sum(weight for _, weight in parts)


def plain_rows(data, weights, model):
    """Each row through the model alone, without packing."""
    for mode, [(ids, _)], (by_role, roles) in zip(data.modes, data.groups, weights, strict=True):
        with torch.no_grad():
            logps = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        losses = [0.0] + [-logps[i - 1, ids[i]].item() for i in range(1, len(ids))]
        yield mode, by_role, roles, losses


@pytest.mark.parametrize("normalize", ["token", "span", "example"])
@pytest.mark.parametrize("share", [None, 0.5])
def test_any_cut_of_a_step_gives_the_documented_loss(tmp_path, monkeypatch, normalize, share):
    make_run(tmp_path, rows=10)
    seen = []

    def keep(weights, roles, how):
        seen.append((weights, roles))
        return normalized_weights(weights, roles, how)

    monkeypatch.setattr("rdistill.train.data.normalized_weights", keep)
    config = SftConfig(weights={"answer": 3.0}, normalize=normalize, multitask_lambda=share)
    data = load_sft(tmp_path / "data" / "sft.parquet", TOKENIZER, config)
    model, trainer = tiny_model(len(TOKENIZER)), trainer_of(data, config)
    rows = list(plain_rows(data, seen, tiny_model(len(TOKENIZER), "sdpa")))
    steps = plan_steps(data.units(2), batch_size=4, epochs=1, seed=0)
    for micro, ranks in [(4, 1), (1, 1), (3, 2), (1, 3)]:
        cut = {"batch_size": 4, "micro_batch_size": micro, "ranks": ranks}
        each = [list(loader(data.groups, rank_batches(steps, data.lengths, **cut, rank=r))) for r in range(ranks)]
        times = len(each[0]) // len(steps)
        for number, step in enumerate(steps):
            batches = [b for e in each for b in e[number * times : (number + 1) * times]]
            with torch.no_grad():
                loss = step_loss(trainer, model, batches).item()
            assert loss == pytest.approx(
                expected_loss([rows[r] for unit in step for r in unit], normalize, share), rel=1e-5
            )


def test_modes_are_mixed_by_weight(tmp_path):
    """A `direct` row as three rows of another mode: in the mean over examples, and in every token's weight."""
    make_run(tmp_path, rows=10)
    path, mixing = tmp_path / "data" / "sft.parquet", {"direct": 3.0}
    config = SftConfig(normalize="example", mode_weights=mixing)
    data, model = load_sft(path, TOKENIZER, config), tiny_model(len(TOKENIZER))
    trainer = trainer_of(data, config)
    with torch.no_grad():
        mixed = step_loss(trainer, model, [collate([*enumerate(data.groups)])]).item()
        alone = [step_loss(trainer, model, [collate([(row, group)])]).item() for row, group in enumerate(data.groups)]
    counts = [3.0 if mode == "direct" else 1.0 for mode in data.modes]
    assert {*counts} == {1.0, 3.0}
    assert mixed == pytest.approx(sum(c * a for c, a in zip(counts, alone, strict=True)) / sum(counts), rel=1e-5)
    tokens = [load_sft(path, TOKENIZER, SftConfig(mode_weights=m)).groups for m in ({}, mixing)]
    for count, [(_, before)], [(_, after)] in zip(counts, *tokens, strict=True):
        assert after == [count * w for w in before]


def test_a_step_with_one_task_only_has_a_loss_and_a_gradient():
    config, groups = SftConfig(multitask_lambda=0.5), [[Tokens([1, 2, 3], [0.0, 1.0, 1.0])]] * 2
    data = TokenData(modes=["explain", "direct"], groups=groups)
    model, trainer = tiny_model(len(TOKENIZER)), trainer_of(data, config)
    explain, direct = (step_loss(trainer, model, [collate([(row, groups[row])])]) for row in (0, 1))
    assert explain.item() == pytest.approx(0.5 * direct.item())
    explain.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_multitask_needs_both_tasks(tmp_path, monkeypatch):
    path = make_run(tmp_path)
    with pytest.raises(ConfigError, match=r"multitask_lambda=0\.5 weighs mode 'direct' .* select.modes=\['explain'\]"):
        load_config(path, ["sft.multitask_lambda=0.5", "select.modes=[explain]"])
    config = load_config(path, ["sft.multitask_lambda=0.5"])
    monkeypatch.setattr(sft, "load_sft", lambda *_: TokenData(modes=["explain"]))
    with pytest.raises(DataError, match=r"needs rows of mode direct and of another, got \['explain'\]"):
        sft.train(RunFolder(tmp_path), config)
