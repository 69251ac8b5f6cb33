"""Fine-tuning: rows and a model folder become the folder of a candidate.

One process, AdamW, steps of a fixed number of rows of like length, gradients added up over parts
that fit. Notable: attention weights are never dropped (the fused kernel cannot), attention and loss
stay fp32 under bf16, the calibration rows decide when to stop, and a run that was killed goes on
from its last checkpoint to the very weights that it would have had.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch

from shipworthy.core import locale
from shipworthy.core.digest import digest_bytes, digest_folder, digest_json
from shipworthy.core.errors import DataError, SettingsError
from shipworthy.core.progress import progress
from shipworthy.data.batches import encode
from shipworthy.train import checkpoints
from shipworthy.train.attention import fp32_attention
from shipworthy.train.checkpoints import Checkpoints
from shipworthy.train.evaluation import Evaluation, evaluate
from shipworthy.train.history import History
from shipworthy.train.parts import LabelledRows, accumulate, epoch_steps, steps_per_epoch
from shipworthy.train.precision import Precision, autocast, resolve
from shipworthy.train.regularization import decay_groups, set_dropout, shrink
from shipworthy.train.schedules import step_rates
from shipworthy.train.selection import class_numbers, require_classes, select

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.train.settings import TrainSettings

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True, eq=False)
class Fitted:
    """What became of a training run.

    history: frame with step, epoch, loss (mean since the row before, with smoothing, nats),
    learning_rate, calibration_loss and calibration_accuracy (null where none was taken), at most
    a few hundred rows. steps: optimizer steps done. rows: training rows. tokens: tokens trained on,
    padding not counted, repeats counted. seconds: time spent, over all sittings. best: the
    evaluation of the weights that were kept; None without calibration rows. stopped_early: whether
    the calibration loss ended the run before its last step.
    """

    history: pl.DataFrame
    steps: int
    rows: int
    tokens: int
    seconds: float
    best: Evaluation | None
    precision: Precision
    stopped_early: bool


def fit(
    model_folder: Path,
    rows: pl.DataFrame,
    calibration: pl.DataFrame,
    *,
    text: str,
    label: str,
    classes: tuple[str, ...],
    settings: TrainSettings,
    seed: int,
    out: Path,
    work: Path,
    unit: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Fitted:
    """Fine-tune a classifier and write it to `out`.

    rows, calibration: frames with the columns `text` and `label` (values of `classes`), and `unit`
    where `settings.rows` asks for a part. work: folder of the checkpoint, removed at the end; a run
    with the same arguments goes on from what lies there. seed: in [0, 2**32); with the same
    libraries, processor and number of threads it gives the same bytes.
    Raises DataError, ModelError or SettingsError where something does not fit or the loss diverges.
    """
    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.pretrained import load_pretrained, save_model

    chosen = select(rows, settings.rows, unit=unit, seed=seed)
    length = settings.max_length
    with torch.random.fork_rng(devices=[]):
        module, tokenizer = load_pretrained(
            model_folder, classes=classes, max_length=length, seed=seed
        )

        config: Any = module.config
        padding = int(config.pad_token_id)

        def encoded(frame: pl.DataFrame, split: str) -> LabelledRows:
            labels = class_numbers(frame, label=label, classes=classes, split=split)
            ids = encode(tokenizer, frame[text].to_list(), max_length=length)
            return LabelledRows(ids, labels, padding)

        train = encoded(chosen, "train")
        require_classes(train.labels, label=label, classes=classes)
        run = Run(module, train, encoded(calibration, "calibration"), settings=settings, seed=seed)
        fingerprint = run.fingerprint(digest_folder(model_folder))
        kept = Checkpoints(work, fingerprint, interval_seconds=checkpoint_seconds)
        fitted = run.train(kept)
        save_model(
            out,
            module,
            tokenizer,
            RuntimeInfo(runtime="torch", classes=classes, max_length=length, text=text),
        )
        kept.remove()
    return fitted


@dataclass
class Position:
    """Where a run stands between two steps; JSON values only."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    evaluations_without_gain: int = 0
    stopped: bool = False


class Run:
    """One training run in memory: model, optimizer, rows, and where it stands.

    module: with a head for the classes, fp32, on the processor; it is trained in place. Dropout
    draws from torch's global generator, which `train` seeds.
    """

    def __init__(
        self,
        module: nn.Module,
        train: LabelledRows,
        calibration: LabelledRows,
        *,
        settings: TrainSettings,
        seed: int,
    ) -> None:
        regularization = settings.regularization
        if not len(train):
            raise DataError(locale.text("error.loop.no_rows"))
        if not len(calibration) and regularization.early_stopping != "off":
            raise SettingsError(
                locale.text("error.loop.no_calibration"),
                key="train.regularization.early_stopping",
                fix=locale.text("error.loop.no_calibration.fix"),
            )
        self.module, self.rows, self.calibration = module, train, calibration
        self.settings, self.seed = settings, seed
        self.precision = resolve(settings.precision)
        self.position = Position()
        self.best: Evaluation | None = None
        self._best_weights: dict[str, Tensor] | None = None
        set_dropout(module, regularization.dropout)
        groups = decay_groups(module, regularization.weight_decay)
        self._decayed = groups[0]["params"]
        self._trained = [*groups[0]["params"], *groups[1]["params"]]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        batch = settings.batch_size
        self._per_device = None if batch.per_device == "auto" else batch.per_device
        self.steps_per_epoch = steps_per_epoch(len(train), batch.global_rows)
        self.steps = self.steps_per_epoch * settings.epochs
        self.rates = step_rates(
            settings.schedule.name,
            steps=self.steps,
            peak=settings.learning_rate,
            warmup_ratio=settings.schedule.warmup_ratio,
        )
        self.history = History(self.steps, self.steps_per_epoch)

    def fingerprint(self, model_digest: str) -> str:
        """Identity of the run: everything that its weights depend on, the processor left out."""
        arrays = [
            array
            for part in (self.rows, self.calibration)
            for array in (part.encoded.token_ids, part.encoded.offsets, part.labels)
        ]
        return digest_json(
            {
                "model": model_digest,
                "settings": self.settings.model_dump(mode="json"),
                "seed": self.seed,
                "rows": [digest_bytes(array.tobytes()) for array in arrays],
                "precision": self.precision,
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
            }
        )

    def train(self, kept: Checkpoints) -> Fitted:
        """Train from the checkpoint, or from the start, to the end; the best weights are put in."""
        torch.manual_seed(self.seed)
        self._resume(kept)
        begun = monotonic() - self.position.seconds
        every = self.settings.batch_size.global_rows
        epochs = self.settings.epochs
        left = len(self.rows) * epochs - min(self.position.step * every, len(self.rows) * epochs)
        self.module.train()
        with fp32_attention(self.module), progress("train", total=left, unit="rows") as report:
            while self.position.step < self.steps and not self.position.stopped:
                epoch, first = divmod(self.position.step, self.steps_per_epoch)
                for step_rows in self.order(epoch)[first:]:
                    self.take_step(step_rows)
                    report(len(step_rows))
                    if self._evaluates():
                        self._evaluate()
                    self.position.seconds = monotonic() - begun
                    if kept.due:
                        self._save(kept)
                    if self.position.stopped:
                        break
        if self._best_weights is not None:
            checkpoints.put_weights(self.module, self._best_weights)
        self.module.eval()
        return Fitted(
            history=self.history.frame(),
            steps=self.position.step,
            rows=len(self.rows),
            tokens=self.position.tokens,
            seconds=self.position.seconds,
            best=self.best,
            precision=self.precision,
            stopped_early=self.position.stopped and self.position.step < self.steps,
        )

    def order(self, epoch: int) -> list[NDArray[Any]]:
        """Row numbers of each step of an epoch."""
        return epoch_steps(
            self.rows.encoded.lengths,
            global_rows=self.settings.batch_size.global_rows,
            seed=self.seed,
            epoch=epoch,
        )

    def add_gradient(self, rows: NDArray[Any]) -> float:
        """Add the gradient of the mean loss over these rows; return that loss, nats."""
        return accumulate(
            self.module,
            self.rows,
            rows,
            per_device=self._per_device,
            smoothing=self.settings.regularization.label_smoothing,
            autocast=partial(autocast, self.precision),
        )

    def take_step(self, rows: NDArray[Any]) -> None:
        """Do one optimizer step on these rows, at the rate of the run's position."""
        rate = float(self.rates[self.position.step])
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.add_gradient(rows)
        if not math.isfinite(loss):
            raise SettingsError(
                locale.text("error.loop.loss", loss=loss, step=self.position.step),
                key="train.learning_rate",
                fix=locale.text("error.loop.loss.fix", rate=self.settings.learning_rate),
            )
        if self.settings.max_grad_norm != "off":
            torch.nn.utils.clip_grad_norm_(self._trained, self.settings.max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        shrink(self._decayed, rate * self.settings.regularization.l1)
        self.position.step += 1
        self.position.tokens += int(self.rows.encoded.lengths[rows].sum())
        self.history.add(self.position.step, loss, len(rows), rate)

    def _evaluates(self) -> bool:
        """Whether the step just done ends one of the equal parts of an epoch."""
        if not len(self.calibration):
            return False
        parts = self.settings.evaluations_per_epoch
        inside = (self.position.step - 1) % self.steps_per_epoch + 1
        before = (inside - 1) * parts // self.steps_per_epoch
        return inside * parts // self.steps_per_epoch > before

    def _evaluate(self) -> None:
        found = evaluate(
            self.module,
            self.calibration,
            step=self.position.step,
            autocast=partial(autocast, self.precision),
        )
        self.history.evaluated(found)
        patience = self.settings.regularization.early_stopping
        if patience == "off":
            self.best = found
        elif self.best is None or found.loss < self.best.loss:
            self.best = found
            self._best_weights = {
                name: value.clone() for name, value in checkpoints.weights(self.module).items()
            }
            self.position.evaluations_without_gain = 0
        else:
            self.position.evaluations_without_gain += 1
            self.position.stopped = self.position.evaluations_without_gain >= patience

    def _save(self, kept: Checkpoints) -> None:
        tensors = checkpoints.collect(self.module, self.optimizer)
        for name, value in (self._best_weights or {}).items():
            tensors[f"best/{name}"] = value
        position = {
            "position": asdict(self.position),
            "best": None if self.best is None else asdict(self.best),
            "history": self.history.state(),
        }
        kept.save(tensors, position)

    def _resume(self, kept: Checkpoints) -> None:
        found = kept.load()
        if found is None:
            return
        tensors, state = found
        checkpoints.restore(self.module, self.optimizer, tensors)
        self.position = Position(**state["position"])
        self.best = None if state["best"] is None else Evaluation(**state["best"])
        self._best_weights = checkpoints.part_of(tensors, "best") or None
        self.history.restore(state["history"])
