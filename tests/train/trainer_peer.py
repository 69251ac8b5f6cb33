"""Train in transformers' Trainer on rows in a given order; run by test_trainer.py.

A JSON object on stdin (model, rows, rows_a_step, rate, out); the losses of the steps, unrounded, as
a JSON list on stdout.
"""

import json
import sys
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments

losses: list[float] = []


class Ordered(Trainer):
    """Takes rows as they come, and notes each loss before it is rounded."""

    def _get_train_sampler(self, *arguments: Any) -> Any:
        return list(range(len(self.train_dataset)))

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        loss = super().training_step(*arguments, **options)
        losses.append(float(loss))
        return loss


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pad rows to the longest."""
    longest = max(len(row["input_ids"]) for row in rows)
    ids = [row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows]
    mask = [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows]
    return {
        "input_ids": torch.tensor(ids),
        "attention_mask": torch.tensor(mask),
        "labels": torch.tensor([row["label"] for row in rows]),
    }


def main() -> None:
    """Train, and print the losses."""
    given = json.loads(sys.stdin.read())
    model = AutoModelForSequenceClassification.from_pretrained(given["model"])
    for part in model.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    Ordered(
        model=model,
        args=TrainingArguments(
            output_dir=given["out"],
            per_device_train_batch_size=given["rows_a_step"],
            num_train_epochs=1,
            learning_rate=given["rate"],
            weight_decay=0.01,
            max_grad_norm=1.0,
            lr_scheduler_type="constant",
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        ),
        train_dataset=given["rows"],
        data_collator=collate,
    ).train()
    print(json.dumps(losses))


if __name__ == "__main__":
    main()
