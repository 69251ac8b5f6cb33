"""The peer of language.py: Trainer with peft on the same tokens, in the same order.

    python peft_trainer.py '{"model": ..., "rows": ..., "rows_a_step": 16, ...}'

Prints one JSON line: seconds and loss of each step after the first, which warms up.
"""

from __future__ import annotations

import json
import os
import sys
from time import perf_counter
from typing import Any

import torch
import transformers
from peft import LoraConfig, get_peft_model
from torch.utils.data import SequentialSampler
from transformers import AutoModelForCausalLM, Trainer, TrainerCallback, TrainingArguments


class Ordered(Trainer):
    """Takes rows as they stand."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


class Steps(TrainerCallback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Note the time."""
        self.ends.append(perf_counter())


def padded(pad: int) -> Any:
    """Return a collator that pads to the longest."""

    def collate(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        longest = max(len(r["input_ids"]) for r in rows)

        def filled(name: str, value: int) -> torch.Tensor:
            return torch.tensor([r[name] + [value] * (longest - len(r[name])) for r in rows])

        mask = [[1] * len(r["input_ids"]) for r in rows]
        for r, m in zip(rows, mask, strict=True):
            r["attention_mask"] = m
        return {
            "input_ids": filled("input_ids", pad),
            "attention_mask": filled("attention_mask", 0),
            "labels": filled("labels", -100),
        }

    return collate


def main() -> None:
    """Train and tell."""
    given = json.loads(sys.argv[1])
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(given["threads"])
    transformers.set_seed(0)
    with open(given["rows"], encoding="utf-8") as file:
        rows = json.load(file)
    model = AutoModelForCausalLM.from_pretrained(given["model"], dtype=torch.float32)
    model.config.use_cache = False
    lora = LoraConfig(
        r=8, lora_alpha=16, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    steps = Steps()
    trainer = Ordered(
        model=get_peft_model(model, lora),
        args=TrainingArguments(
            output_dir=given["out"], per_device_train_batch_size=given["rows_a_step"],
            num_train_epochs=1, save_strategy="no", report_to="none", disable_tqdm=True,
            use_cpu=True, bf16=given["precision"] == "bf16", logging_steps=1,
            learning_rate=given["learning_rate"], lr_scheduler_type="constant",
            weight_decay=0.0, max_grad_norm=1.0,
        ),
        train_dataset=rows,
        data_collator=padded(given["pad"]),
        callbacks=[steps],
    )  # fmt: skip
    trainer.train()
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    seconds = [b - a for a, b in zip(steps.ends, steps.ends[1:], strict=False)]
    print(json.dumps({"seconds": seconds, "losses": losses}), file=channel, flush=True)


if __name__ == "__main__":
    main()
