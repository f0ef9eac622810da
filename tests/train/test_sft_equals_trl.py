"""With all weights 1, our loss and gradients on a batch are TRL's SFTTrainer's, in float32 to 1e-6."""

import datasets
import torch
from train_helpers import chat, tiny_model, tiny_tokenizer
from trl import SFTConfig, SFTTrainer

from rdistill.config import SpanWeights
from rdistill.records import Span
from rdistill.train.packing import Tokens, forward_logps, pack
from rdistill.train.spans import render

TOKENIZER = tiny_tokenizer()


def rows():
    for i in range(5):
        messages, spans = chat(f"What is {i} + {i}?", f"That is {'so ' * i}{2 * i}.", str(2 * i))
        row = render(TOKENIZER, messages, [Span.model_validate(s) for s in spans], SpanWeights())
        yield Tokens(row.ids, row.weights)


def trl_loss(model, tokens, folder):
    table = datasets.Dataset.from_list(
        [
            {"input_ids": t.ids, "labels": [i if w else -100 for i, w in zip(t.ids, t.weights, strict=True)]}
            for t in tokens
        ]
    )
    args = SFTConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        report_to="none",
        gradient_checkpointing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = SFTTrainer(model=model, args=args, train_dataset=table, processing_class=TOKENIZER)
    batch = trainer.data_collator([table[i] for i in range(len(table))])
    count = batch["labels"][:, 1:].ne(-100).sum()
    loss = trainer.compute_loss(trainer.model, batch, num_items_in_batch=count)
    loss.backward()
    return loss


def test_loss_and_gradients_equal_trl(tmp_path):
    tokens = list(rows())
    ours, theirs = tiny_model(len(TOKENIZER)), tiny_model(len(TOKENIZER), "sdpa")
    batch = pack([[t] for t in tokens])
    loss = -(batch.weights_N * forward_logps(ours, batch)).sum() / batch.weights_N.sum()
    loss.backward()
    expected = trl_loss(theirs, tokens, tmp_path)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-6)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-4)
