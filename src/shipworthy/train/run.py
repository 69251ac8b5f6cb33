"""One training run in memory: the loop over steps, whatever the layout.

A step is: its rows, the rate of its place in the run, the gradient of the mean loss over all of
its rows, one move of the optimizer. Which process computes which rows, and in how many parts, is
left to the execution; it changes nothing but the order in which floats are added.
"""

from __future__ import annotations

import math
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np
import torch

from shipworthy.core import locale
from shipworthy.core.errors import DataError, SettingsError
from shipworthy.core.progress import progress
from shipworthy.data import order
from shipworthy.train import run_state
from shipworthy.train.attention import trained_attention
from shipworthy.train.averaging import Average
from shipworthy.train.evaluation import Evaluation, evaluate
from shipworthy.train.history import History
from shipworthy.train.noise_scale import NoiseScale
from shipworthy.train.optimizer import AdamW, local
from shipworthy.train.prefetch import prefetch
from shipworthy.train.run_state import Position, put
from shipworthy.train.schedules import run_rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.train.checkpoints import Checkpoints
    from shipworthy.train.execution import Execution
    from shipworthy.train.metrics import Metrics
    from shipworthy.train.microbatches import LabelledRows, MicroBatch
    from shipworthy.train.objectives import Objective
    from shipworthy.train.packing import Caller
    from shipworthy.train.settings import TrainSettings

# Equal parts that a step is cut into where the noise of its gradient is measured.
NOISE_PARTS = 4
# Steps whose micro-batches are laid out while an earlier one is computed.
STEPS_AHEAD = 2
MOST_ROWS_NAMED = 8


class Run:
    """A run over the rows of a set, and where it stands.

    execution: the model, laid out; caller: how it is called; objective: what is made small.
    token_budget: tokens of a micro-batch, at most. metrics: where each step is written down.
    tokens: after which the run ends, in place of the settings' epochs; the step that reaches them
    is the last.
    """

    def __init__(
        self,
        execution: Execution,
        caller: Caller,
        train: LabelledRows,
        calibration: LabelledRows,
        *,
        objective: Objective,
        settings: TrainSettings,
        seed: int,
        token_budget: int,
        metrics: Metrics,
        tokens: int | None = None,
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
        self.execution, self.caller, self.objective = execution, caller, objective
        self.rows, self.calibration = train, calibration
        self.settings, self.seed, self.token_budget = settings, seed, token_budget
        self.metrics = metrics
        self.position = Position()
        self.best: Evaluation | None = None
        self.best_weights: dict[str, Tensor] | None = None
        self.parameters = execution.parameters()
        self.optimizer = AdamW(
            self.parameters, settings, factors=execution.rate_factors(regularization.layer_decay)
        )
        self.average = (
            None
            if regularization.averaging == "off"
            else Average(self.parameters, decay=regularization.averaging)
        )
        self.lengths = train.encoded.lengths
        self.steps_per_epoch = order.steps_per_epoch(len(train), settings.batch_size.global_rows)
        self.rates = self._rates(tokens)
        self.steps = len(self.rates)
        self.history = History(self.steps, self.steps_per_epoch)
        self._kept: Checkpoints | None = None
        self._due = False
        self.noise = NoiseScale()
        measured = min(settings.batch_size.noise_scale, self.steps)
        places = np.linspace(0, self.steps - 1, measured) if measured else np.zeros(0)
        self._noisy = frozenset(places.round().astype(int).tolist())

    def train(self, kept: Checkpoints) -> None:
        """Train from the checkpoint, or from the start, to the end; the best weights are put in."""
        self._kept = kept
        found = kept.load()
        if found is not None:
            with found as reader:
                run_state.restore(self, reader)
        self.metrics.resume(self.position.step, self.position.seconds)
        begun = monotonic() - self.position.seconds
        whole, part = divmod(self.steps, self.steps_per_epoch)
        total = whole * len(self.rows) + sum(map(len, self.order(whole)[:part] if part else []))
        left = total - self._rows_behind()
        self.execution.module.train()
        try:
            self._steps(left, begun)
        finally:
            kept.wait()
        if self.best_weights is not None:
            put(self.parameters, self.best_weights)
        elif self.average is not None:
            put(self.parameters, self.average.values)
        self.execution.module.eval()

    def _steps(self, left: int, begun: float) -> None:
        """Take the steps that are left. left: rows; begun: when the run would have, unbroken."""
        with (
            trained_attention(
                self.execution.module, dropout=self.settings.regularization.attention_dropout
            ),
            prefetch(self.upcoming(), ahead=STEPS_AHEAD) as steps,
            progress("train", total=left, unit="rows") as report,
        ):
            for rows, micros in steps:
                self.take_step(rows, micros)
                report(len(rows), self.metrics.latest)
                if self._evaluates():
                    self._evaluate()
                self.position.seconds = monotonic() - begun
                if self._due:
                    self._save()
                if self.position.stopped:
                    break

    def trial(self, rows: NDArray[np.int64], tokens: int) -> None:
        """Do a whole step on these rows, so many tokens at once, and undo it to the last bit."""
        before, self.token_budget = self.token_budget, tokens
        try:
            with trained_attention(
                self.execution.module, dropout=self.settings.regularization.attention_dropout
            ):
                self.execution.module.train()
                self.add_gradient(rows, self.micro_batches(rows, epoch=0))
                self.optimizer.step(0.0)  # takes its memory, and moves nothing at a rate of 0
        finally:
            self.token_budget = before
            self.optimizer.zero_grad()
            self.optimizer.forget()

    @property
    def stopped_early(self) -> bool:
        """Whether the calibration loss ended the run before its last step."""
        return self.position.stopped and self.position.step < self.steps

    @property
    def zero_share(self) -> float | None:
        """Share of exact zeros among the weights that the L1 penalty touches."""
        if self.settings.regularization.l1 == 0:
            return None
        zeros, of = self.execution.count_weights(self.optimizer.zeros(self.execution.writes))
        return zeros / of if of else 0.0

    def upcoming(self) -> Iterator[tuple[NDArray[np.int64], list[MicroBatch]]]:
        """Yield the rows of each step from the position on, and this process's part of them."""
        epoch, first = divmod(self.position.step, self.steps_per_epoch)
        step = self.position.step
        while step < self.steps:
            for rows in islice(self.order(epoch), first, None):
                if step == self.steps:
                    return
                yield rows, self.micro_batches(rows, epoch)
                step += 1
            epoch, first = epoch + 1, 0

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """Row numbers of each step of an epoch."""
        return order.step_rows(
            self.lengths,
            global_rows=self.settings.batch_size.global_rows,
            seed=self.seed,
            epoch=epoch,
        )

    def micro_batches(self, rows: NDArray[np.int64], epoch: int) -> list[MicroBatch]:
        """Return this process's part of these rows as the batches that it computes at once."""
        mine = order.share(rows, self.lengths, *self.execution.share)
        per_device = self.settings.batch_size.per_device
        parts = self.caller.cut(
            self.rows,
            mine,
            tokens=self.token_budget,
            per_device=None if per_device == "auto" else per_device,
        )
        copies = self.settings.copies

        def build(part: NDArray[np.int64], pad_to: int | None) -> MicroBatch:
            return self.caller.micro_batch(
                self.rows, part, seed=self.seed, visit=epoch, copies=copies, pad_to=pad_to
            )

        return self.execution.prepare(
            parts, build, lambda part: copies * int(self.lengths[part].sum())
        )

    def add_gradient(self, rows: NDArray[np.int64], micros: list[MicroBatch]) -> float:
        """Add the gradient of the mean loss over `rows`; return that loss, nats.

        rows: of the whole step. micros: this process's part of them.
        Raises SettingsError that names the rows where the loss is no number.
        """
        weight = self.objective.weight(self.rows, rows)
        losses = self.execution.accumulate(
            micros, lambda logits, micro: self.objective.loss_sum(logits, micro) / weight
        )
        self.execution.reduce_gradients()
        loss, due = self.execution.total([sum(losses), self._asks()])
        self._due = due > 0
        if not math.isfinite(loss):
            bad = [m.rows for m, x in zip(micros, losses, strict=False) if not math.isfinite(x)]
            found = np.isin(rows, np.concatenate(bad)) if bad else np.zeros(len(rows), bool)
            among = np.array(self.execution.total(found.astype(float).tolist())) > 0
            raise self._no_number(loss, rows[among])
        return loss

    def take_step(self, rows: NDArray[np.int64], micros: list[MicroBatch]) -> None:
        """Do one optimizer step on these rows, at the rate of the run's position."""
        rate = float(self.rates[self.position.step])
        self._due = False
        try:
            if self.position.step in self._noisy:
                loss = self._measure_noise(rows)
            else:
                loss = self.add_gradient(rows, micros)
            norm = self.execution.gradient_norm()
            if not math.isfinite(norm):
                raise self._no_number(norm, rows)
        except SettingsError:
            # The weights have not moved: they are the last good ones.
            self.optimizer.zero_grad()
            if self.position.step:
                self._save()
            raise
        limit = self.settings.max_grad_norm
        if limit != "off" and norm > limit:
            scale(self.parameters, limit / norm)
        self.optimizer.step(rate)
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.parameters)
        self.position.step += 1
        self.position.tokens += int(self.lengths[rows].sum())
        self.history.add(self.position.step, loss, len(rows), rate)
        self.metrics.step(
            step=self.position.step,
            epoch=self.position.step / self.steps_per_epoch,
            rows=len(rows),
            tokens=int(self.lengths[rows].sum()),
            loss=loss,
            learning_rate=rate,
            gradient_norm=norm,
        )

    def _asks(self) -> float:
        """Return 1 where this process decides and it is time for a checkpoint."""
        return float(self.execution.decides and self._kept is not None and self._kept.due)

    def _rates(self, tokens: int | None) -> NDArray[np.float64]:
        """Learning rate of each step, by the rows or tokens that are behind it."""
        sizes: list[int] = []
        seen, epoch = 0, 0
        while epoch < self.settings.epochs if tokens is None else seen < tokens:
            for rows in self.order(epoch):
                held = int(self.lengths[rows].sum())
                sizes.append(len(rows) if self.settings.schedule.progress == "rows" else held)
                seen += held
                if tokens is not None and seen >= tokens:
                    break
            epoch += 1
        return run_rates(self.settings.schedule, peak=self.settings.learning_rate, sizes=sizes)

    def _rows_behind(self) -> int:
        epoch, first = divmod(self.position.step, self.steps_per_epoch)
        behind = epoch * len(self.rows)
        return behind + sum(map(len, self.order(epoch)[:first])) if first else behind

    def _measure_noise(self, rows: NDArray[np.int64]) -> float:
        """Add the gradient of a step part by part, and note how far the parts lie apart."""
        epoch = self.position.step // self.steps_per_epoch
        whole: dict[str, Tensor] = {}
        norms, sizes, loss = [], [], 0.0
        for part in np.array_split(rows, min(NOISE_PARTS, len(rows))):
            loss += self.add_gradient(part, self.micro_batches(part, epoch)) * len(part)
            norms.append(self.execution.gradient_norm() ** 2)
            sizes.append(len(part))
            share = len(part) / len(rows)
            for name, parameter in self.parameters.items():
                if parameter.grad is None:
                    continue
                if name in whole:
                    whole[name].add_(parameter.grad, alpha=share)
                else:
                    whole[name] = parameter.grad * share
                parameter.grad = None
        for name, gradient in whole.items():
            self.parameters[name].grad = gradient
        if len(norms) > 1:
            self.noise.add(norms, sizes, self.execution.gradient_norm() ** 2, len(rows))
        return loss / len(rows)

    def _no_number(self, value: float, rows: NDArray[np.int64]) -> SettingsError:
        named = ", ".join(str(row + 1) for row in np.sort(rows)[:MOST_ROWS_NAMED])
        if len(rows) > MOST_ROWS_NAMED:
            named += ", …"
        return SettingsError(
            locale.text("error.loop.loss", loss=value, step=self.position.step, rows=named),
            key="train.learning_rate",
            fix=locale.text("error.loop.loss.fix", rate=self.settings.learning_rate),
        )

    def _evaluates(self) -> bool:
        """Whether the step just done ends one of the equal parts of an epoch."""
        if not len(self.calibration):
            return False
        parts = self.settings.evaluations_per_epoch
        inside = (self.position.step - 1) % self.steps_per_epoch + 1
        before = (inside - 1) * parts // self.steps_per_epoch
        return inside * parts // self.steps_per_epoch > before

    def _evaluate(self) -> None:
        found = self._measured()
        self.history.evaluated(found)
        patience = self.settings.regularization.early_stopping
        if patience == "off":
            self.best = found
        elif self.best is None or found.loss < self.best.loss:
            self.best = found
            source = self.parameters if self.average is None else self.average.values
            self.best_weights = {name: v.detach().clone() for name, v in source.items()}
            self.position.evaluations_without_gain = 0
        else:
            self.position.evaluations_without_gain += 1
            self.position.stopped = self.position.evaluations_without_gain >= patience

    def _measured(self) -> Evaluation:
        """Loss and accuracy on the calibration rows, of the averaged weights if there are any."""
        present = None
        if self.average is not None:
            present = {name: p.detach().clone() for name, p in self.parameters.items()}
            put(self.parameters, self.average.values)
        found = evaluate(
            self.execution,
            self.caller,
            self.calibration,
            objective=self.objective,
            step=self.position.step,
            token_budget=self.token_budget,
        )
        if present is not None:
            put(self.parameters, present)
        return found

    def _save(self) -> None:
        if self._kept is not None:
            tensors, values = run_state.collect(self)
            self._kept.save(tensors, values, step=self.position.step)


@torch.no_grad()
def scale(parameters: Mapping[str, nn.Parameter], factor: float) -> None:
    """Multiply the gradient by a factor."""
    gradients = [local(p.grad) for p in parameters.values() if p.grad is not None]
    if gradients:
        torch._foreach_mul_(gradients, factor)
