"""Losses of the two training stages: span-weighted cross-entropy and DPO.

Shapes: N target tokens, V vocabulary, B pairs. Log-probabilities are in nats.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

import torch
import torch.nn.functional as F

ROWS_AT_ONCE = 256  # float32 scratch is ROWS_AT_ONCE x V


class _TokenLogps(torch.autograd.Function):
    """log softmax at one index per row, in float32 scratch of a few rows. For models that head.py leaves alone."""

    @staticmethod
    def forward(ctx: Any, logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
        at_least_float = torch.promote_types(logits_NV.dtype, torch.float32)
        lse_N = torch.cat([rows.to(at_least_float).logsumexp(-1) for rows in logits_NV.split(ROWS_AT_ONCE)])
        ctx.save_for_backward(logits_NV, targets_N, lse_N)
        return logits_NV.gather(1, targets_N[:, None])[:, 0].to(at_least_float) - lse_N

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        (grad_N,) = grads
        logits_NV, targets_N, lse_N = ctx.saved_tensors
        grad_NV = torch.empty_like(logits_NV)
        for i in range(0, len(targets_N), ROWS_AT_ONCE):
            rows = slice(i, i + ROWS_AT_ONCE)
            soft = torch.exp(logits_NV[rows].to(lse_N.dtype) - lse_N[rows, None])
            soft *= -grad_N[rows, None]
            soft.scatter_add_(1, targets_N[rows, None], grad_N[rows, None])
            grad_NV[rows] = soft.to(grad_NV.dtype)
        return grad_NV, None


def token_logps(logits_NV: torch.Tensor, targets_N: torch.Tensor) -> torch.Tensor:
    """Log-probability of each target token, (N,), float32 or wider.

    Equals `log_softmax(logits.float()).gather(targets)`, without a float32 copy of the logits.
    """
    if not len(targets_N):
        return logits_NV.float().sum(-1)
    return _TokenLogps.apply(logits_NV, targets_N)


def span_loss(logps_N: torch.Tensor, weights_N: torch.Tensor, total_weight: torch.Tensor | float) -> torch.Tensor:
    """Weighted cross-entropy: sum(w * -logp) / total_weight, nats per unit of weight.

    `total_weight` is sum(w) over the whole optimizer step (every rank, every micro-batch), so that the sum of the
    parts is the loss of the global batch. All weights 1: plain completion-only cross-entropy.
    """
    return -(weights_N * logps_N).sum() / total_weight


def normalized_weights(
    weights: Sequence[float], roles: Sequence[str | None], normalize: Literal["token", "span", "example"]
) -> list[float]:
    """Weights of one example's tokens by which `span_loss` is a mean over tokens, over spans or over examples.

    weights, roles: of each token, (T,); a weight depends on its role alone. `span` divides by the tokens of the span,
    an unbroken run of one role; `example` by the sum of the example's weights. Batches may then be cut anywhere.
    """
    if normalize == "token":
        return list(weights)
    if normalize == "example":
        total = sum(weights)
        return [w / total for w in weights]
    spans = [list(span) for _, span in groupby(zip(roles, weights, strict=True))]
    return [w / len(span) for span in spans for _, w in span]


def sequence_sums(values_N: torch.Tensor, owners_N: torch.Tensor, num_sequences: int) -> torch.Tensor:
    """Sum the token values of each sequence, (num_sequences,); `owners_N` names the sequence of each token."""
    return values_N.new_zeros(num_sequences).index_add(0, owners_N, values_N)


def dpo_loss(
    policy_chosen_B: torch.Tensor,
    policy_rejected_B: torch.Tensor,
    ref_chosen_B: torch.Tensor,
    ref_rejected_B: torch.Tensor,
    *,
    beta: float,
    kind: Literal["sigmoid", "robust", "ipo"] = "sigmoid",
    label_smoothing: float = 0.0,
    chosen_tokens_B: torch.Tensor | None = None,
    rejected_tokens_B: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """DPO loss of each preference pair.

    Shapes: every tensor (B,) float32. Units: nats, summed over completion tokens (not averaged); `ipo` divides each
    side by its number of tokens, as TRL does on the IPO authors' advice, and needs `*_tokens_B`.
    `label_smoothing` is the assumed share of pairs that are the wrong way round: `sigmoid` spreads the label
    (conservative DPO), `robust` corrects for it, so that its mean over such pairs is the loss of the right ones.
    Returns: loss_B, and margin_B, beta-scaled, nats.
    Raises: ValueError if the shapes differ, beta <= 0, or `ipo` has no token counts or is smoothed.
    Source: Rafailov et al. 2023, arXiv:2305.18290, eq. 7; Azar et al. 2023, arXiv:2310.12036, eq. 17; conservative:
    Mitchell 2023; robust: Chowdhury et al. 2024, arXiv:2403.00409.
    """
    shapes = {tuple(t.shape) for t in (policy_chosen_B, policy_rejected_B, ref_chosen_B, ref_rejected_B)}
    if len(shapes) > 1:
        raise ValueError(f"log-probabilities have shapes {sorted(shapes)}, expected one; pass four tensors of (B,)")
    if beta <= 0:
        raise ValueError(f"beta={beta} must be above 0")
    chosen_B, rejected_B = policy_chosen_B - ref_chosen_B, policy_rejected_B - ref_rejected_B
    margin_B = beta * (chosen_B - rejected_B)
    if kind != "ipo":
        return label_nll(margin_B, label_smoothing, robust=kind == "robust"), margin_B
    if chosen_tokens_B is None or rejected_tokens_B is None or label_smoothing:
        raise ValueError("loss 'ipo' needs chosen_tokens_B and rejected_tokens_B, and takes no label smoothing")
    per_token_B = chosen_B / chosen_tokens_B.clamp(min=1) - rejected_B / rejected_tokens_B.clamp(min=1)
    return (per_token_B - 1 / (2 * beta)) ** 2, margin_B


def label_nll(score_B: torch.Tensor, label_smoothing: float, robust: bool = False) -> torch.Tensor:
    """-log sigmoid(score) where labels are wrong with probability `label_smoothing`, spread or corrected (`robust`)."""
    clean_B = -F.logsigmoid(score_B)
    if not label_smoothing:
        return clean_B
    flipped_B = -F.logsigmoid(-score_B) * label_smoothing
    if robust:
        return (clean_B * (1 - label_smoothing) - flipped_B) / (1 - 2 * label_smoothing)
    return clean_B * (1 - label_smoothing) + flipped_B


def simpo_loss(
    policy_chosen_B: torch.Tensor,
    policy_rejected_B: torch.Tensor,
    chosen_tokens_B: torch.Tensor,
    rejected_tokens_B: torch.Tensor,
    *,
    beta: float,
    gamma: float,
    label_smoothing: float = 0.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """SimPO loss of each preference pair: no reference, mean log-probability per token, a margin of `gamma` to reach.

    Shapes: every tensor (B,) float32. Units: nats, summed over completion tokens.
    Returns: loss_B, and margin_B, beta-scaled, gamma not taken off.
    Source: Meng et al. 2024, arXiv:2405.14734, eq. 6.
    """
    chosen_B = policy_chosen_B / chosen_tokens_B.clamp(min=1)
    margin_B = beta * (chosen_B - policy_rejected_B / rejected_tokens_B.clamp(min=1))
    return label_nll(margin_B - gamma, label_smoothing), margin_B


def length_weights(owners_N: torch.Tensor, num_sequences: int, alpha: float) -> torch.Tensor:
    """Weight of each token in length-desensitised DPO, (N,): 1 up to the length of the shorter side, `alpha` beyond.

    Sequences are (chosen, rejected) in turn, and `owners_N`, the sequence of each token, ascends.
    Source: Liu et al. 2024, arXiv:2409.06411.
    """
    tokens_S = torch.bincount(owners_N, minlength=num_sequences)
    shorter_S = tokens_S.view(-1, 2).amin(1).repeat_interleave(2)
    starts_S = tokens_S.cumsum(0) - tokens_S
    place_N = torch.arange(len(owners_N), device=owners_N.device) - starts_S[owners_N]
    return torch.where(place_N < shorter_S[owners_N], 1.0, alpha)


def nll_anchor(policy_chosen_B: torch.Tensor, chosen_tokens_B: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood per token of each chosen answer, (B,): keeps its likelihood from collapsing.

    Source: Pang et al. 2024, arXiv:2404.19733, eq. 1.
    """
    return -policy_chosen_B / chosen_tokens_B.clamp(min=1)
