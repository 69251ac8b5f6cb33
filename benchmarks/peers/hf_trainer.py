"""Trainer of transformers with its defaults, a window of steps at a time; run by training.py.

Its argument is a JSON object (model, rows, rows_a_step, threads, warm_up_s, again_s, max_length,
out). Lines on stdin are seconds to train for; each is answered by one JSON line on stdout, and 0
ends it. Only what decides no speed differs from the defaults: nothing is saved or reported.
"""

import json
import os
import resource
import sys
from time import perf_counter
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)


class Windows(TrainerCallback):
    """Counts steps and tokens between two clock readings, and asks what to do next."""

    def __init__(self, given: dict[str, Any], channel: Any) -> None:
        self.given, self.channel = given, channel
        self.rows = self.tokens = self.steps = 0
        self.answered = False  # whether the window that runs is one to answer
        self.until = 0.0

    def seen(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Count a batch as the model gets it."""
        mask = kwargs["attention_mask"]
        self.rows += len(mask)
        self.tokens += int(mask.sum())

    def start(self, seconds: float) -> None:
        """Begin a window."""
        self.rows = self.tokens = self.steps = 0
        self.begun = perf_counter()
        self.until = self.begun + seconds

    def say(self, values: dict[str, Any]) -> None:
        """Answer one line."""
        self.channel.write(json.dumps(values) + "\n")
        self.channel.flush()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Warm up first."""
        self.start(self.given["warm_up_s"])
        self.window: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look at the clock; at the end of a window answer, and wait for the next order."""
        self.steps += 1
        if perf_counter() < self.until:
            return
        if self.window is not None and not self.answered:
            self.answered = True
            self.start(self.window)
            return
        if self.window is None:
            about = {"torch": torch.__version__, "transformers": transformers.__version__}
            size = args.per_device_train_batch_size
            self.say({**about, "precision": "fp32", "rows_a_step": size})
        else:
            taken = perf_counter() - self.begun
            counts = {"steps": self.steps, "rows": self.rows, "tokens": self.tokens}
            self.say({**counts, "seconds": taken})
        self.window = float(sys.stdin.readline() or 0)
        self.answered = False
        if self.window == 0.0:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            self.say({"peak_memory_mb": peak})
            control.should_training_stop = True
            return
        self.start(self.given["again_s"])


def main() -> None:
    """Train until told to stop."""
    given = json.loads(sys.argv[1])
    # Trainer prints to stdout; answers go out on a copy that only we hold.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(given["threads"])
    transformers.set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(given["model"])
    module = AutoModelForSequenceClassification.from_pretrained(given["model"], num_labels=2)
    with open(given["rows"], encoding="utf-8") as file:
        rows = json.load(file)
    texts = [row["text"] for row in rows]
    ids = tokenizer(texts, truncation=True, max_length=given["max_length"])["input_ids"]
    data = [{"input_ids": i, "label": row["label"]} for i, row in zip(ids, rows, strict=True)]
    windows = Windows(given, channel)
    module.register_forward_pre_hook(windows.seen, with_kwargs=True)
    trainer = Trainer(
        model=module,
        args=TrainingArguments(
            output_dir=given["out"],
            per_device_train_batch_size=given["rows_a_step"],
            num_train_epochs=1000,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=data,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[windows],
    )
    trainer.train()


if __name__ == "__main__":
    main()
