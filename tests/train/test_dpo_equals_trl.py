"""Preference losses equal TRL's own code on random tensors, in float32 to 1e-6."""

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from trl import DPOTrainer
from trl.experimental.cpo import CPOTrainer

from rdistill.train.losses import dpo_loss, length_weights, sequence_sums, simpo_loss

PAIRS, LONGEST = 6, 12
CPU = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)


def draw(seed):
    """Random log-probabilities of padded sides (chosen of every pair, then rejected), and the mask of their replies."""
    torch.manual_seed(seed)
    lengths = torch.randint(3, LONGEST, (2 * PAIRS,))
    starts = torch.randint(1, 3, (2 * PAIRS,))
    places = torch.arange(LONGEST)
    mask = ((places >= starts[:, None]) & (places < lengths[:, None])).long()
    return -2 * torch.rand(2 * PAIRS, LONGEST - 1) * mask[:, 1:], mask


def trl_dpo(kind, logps, mask, reference, **options):
    """The loss that TRL's DPOTrainer computes from these log-probabilities."""
    outputs = SimpleNamespace(
        log_probs=logps, entropy=logps, mean_logits=logps, is_top1=mask[:, 1:].bool(), log_sum_sq_probs=None
    )
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=CPU,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        aux_loss_enabled=False,
        use_weighting=False,
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        _tp_size=1,
        **{"ld_alpha": None, "label_smoothing": 0.0, **options},
    )
    chosen, rejected = reference.chunk(2)
    inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}
    inputs |= {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    return DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, False)


def trl_cpo(kind, chosen, rejected, **options):
    """The losses that TRL's CPOTrainer computes from these log-probabilities."""
    trainer = SimpleNamespace(loss_type=kind, alpha=0.0, accelerator=CPU, simpo_gamma=None)
    trainer.__dict__.update(options)
    return CPOTrainer.cpo_loss(trainer, chosen, rejected)[0]


def ours(logps, mask, alpha=None):
    """Sums and token counts as packed training has them: chosen and rejected of a pair side by side; (B, 2) each."""
    order = torch.arange(2 * PAIRS).view(2, PAIRS).T.flatten()
    kept = mask[order, 1:].bool()
    owners, values = kept.nonzero()[:, 0], logps[order][kept]
    weights = torch.ones_like(values) if alpha is None else length_weights(owners, 2 * PAIRS, alpha)
    sums = sequence_sums(weights * values, owners, 2 * PAIRS)
    return sums.view(-1, 2), sequence_sums(torch.ones_like(values), owners, 2 * PAIRS).view(-1, 2)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "label_smoothing", "alpha"),
    [("sigmoid", 0, None), ("robust", 0.1, None), ("ipo", 0, None), ("sigmoid", 0, 0.3), ("robust", 0.2, 0.0)],
)
def test_dpo_equals_trl(seed, kind, label_smoothing, alpha):
    logps, mask = draw(seed)
    reference = -3 * torch.rand(2 * PAIRS)
    options = {"beta": 0.3, "label_smoothing": label_smoothing}
    expected = trl_dpo(kind, logps, mask, reference, ld_alpha=alpha, **options)
    sums, tokens = ours(logps, mask, alpha)
    counts = {"chosen_tokens_B": tokens[:, 0], "rejected_tokens_B": tokens[:, 1]}
    losses, _ = dpo_loss(*sums.unbind(1), *reference.chunk(2), kind=kind, **counts, **options)
    torch.testing.assert_close(losses.mean(), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.2])
def test_conservative_dpo_and_simpo_equal_trl(label_smoothing):
    logps, mask = draw(7)
    reference = -3 * torch.rand(2 * PAIRS)
    sums, tokens = ours(logps, mask)
    options = {"beta": 2.0, "label_smoothing": label_smoothing}
    conservative, _ = dpo_loss(*sums.unbind(1), *reference.chunk(2), **options)
    chosen, rejected = reference.chunk(2)
    expected = trl_cpo("sigmoid", sums[:, 0] - chosen, sums[:, 1] - rejected, **options)
    torch.testing.assert_close(conservative, expected, atol=1e-6, rtol=1e-6)
    simpo, _ = simpo_loss(*sums.unbind(1), *tokens.unbind(1), gamma=1.2, **options)
    expected = trl_cpo("simpo", *(sums / tokens).unbind(1), simpo_gamma=1.2, **options)
    torch.testing.assert_close(simpo, expected, atol=1e-6, rtol=1e-6)
