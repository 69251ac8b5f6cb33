"""Trainer of transformers, a pass at a time; run by training.py.

Its argument is a JSON object (model, rows, train, rows_a_step, strong, threads, again_s,
max_length, out): the first `train` rows are trained on, the others tell the accuracy at the end;
`strong` groups texts by length and computes in bf16. The
line `pass` on stdin is answered by one JSON line on stdout, and any other ends it. Only what
decides no speed differs from the defaults: nothing is saved or reported. The first pass is not
counted.
"""

import json
import os
import resource
import sys
from time import perf_counter, process_time
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


class Passes(TrainerCallback):
    """Waits for an order before each pass over the texts, and answers with its time after it."""

    def __init__(self, given: dict[str, Any], channel: Any) -> None:
        self.given, self.channel = given, channel
        self.trainer: Any = None
        self.held: list[dict[str, Any]] = []
        self.passes = self.tokens = self.steps = 0

    def say(self, values: dict[str, Any]) -> None:
        """Answer one line."""
        self.channel.write(json.dumps(values) + "\n")
        self.channel.flush()

    def held_out(self) -> None:
        """Answer with the peak of memory, and with accuracy on rows that were not trained on."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        model = self.trainer.model.eval()
        right = 0
        with torch.inference_mode():
            for row in self.held:
                ids = torch.tensor([row["input_ids"]])
                logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
                right += int(logits.argmax(-1) == row["label"])
        self.say({"peak_memory_mb": peak, "accuracy": right / max(1, len(self.held))})

    def seen(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Count the tokens of a batch as the model gets it."""
        self.tokens += int(kwargs["attention_mask"].sum())

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait for the order, compute gradients that are thrown away, start the clock."""
        size = args.per_device_train_batch_size
        if self.passes == 1:
            about = {"torch": torch.__version__, "transformers": transformers.__version__}
            precision = "bf16" if self.given["strong"] else "fp32"
            self.say({**about, "precision": precision, "rows_a_step": size})
        if self.passes and sys.stdin.readline().strip() != "pass":
            self.held_out()
            raise SystemExit(0)
        trainer = self.trainer
        batch = trainer.data_collator([trainer.train_dataset[i] for i in range(size)])
        begun = perf_counter()
        while perf_counter() - begun < self.given["again_s"]:
            trainer.compute_loss(trainer.model, dict(batch)).backward()
        trainer.model.zero_grad()
        self.tokens = self.steps = 0
        self.begun, self.used = perf_counter(), process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count."""
        self.steps += 1

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Answer, unless this was the pass that warms up."""
        taken, used = perf_counter() - self.begun, process_time() - self.used
        if self.passes:
            counts = {"steps": self.steps, "tokens": self.tokens}
            self.say({**counts, "seconds": taken, "processor_seconds": used})
        self.passes += 1


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
    every = [{"input_ids": i, "label": row["label"]} for i, row in zip(ids, rows, strict=True)]
    data, held = every[: given["train"]], every[given["train"] :]
    passes = Passes(given, channel)
    passes.held = held
    module.register_forward_pre_hook(passes.seen, with_kwargs=True)
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
            bf16=given["strong"],
            train_sampling_strategy="group_by_length" if given["strong"] else "random",
        ),
        train_dataset=data,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[passes],
    )
    passes.trainer = trainer
    trainer.train()


if __name__ == "__main__":
    main()
