"""Fine-tuning: rows and a model folder become the folder of a candidate.

Steps of a fixed number of rows of like length, AdamW, attention and loss in fp32 under bf16,
dropout keyed by row; the calibration rows decide when to stop. The same settings give the same
training, whatever the layout: processes and parts of a step change nothing but the order in which
floats are added. A run that was killed goes on from its last checkpoint; in one process to the very
weights that it would have had.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from shipworthy.core.digest import digest_folder, digest_json
from shipworthy.data.tokens import encode_cached
from shipworthy.plan.calibrate import calibration
from shipworthy.plan.memory import memory_of
from shipworthy.plan.workload import flops_per_token, workload_of
from shipworthy.train import lora, mesh
from shipworthy.train.batch_size import (
    Found,
    available_bytes,
    find_tokens,
    is_out_of_memory,
    out_of_memory,
)
from shipworthy.train.checkpoints import Checkpoints
from shipworthy.train.execution import OneProcess
from shipworthy.train.fitted import Fitted
from shipworthy.train.language import language_rows
from shipworthy.train.lesson import check_lesson
from shipworthy.train.metrics import FILE as METRICS
from shipworthy.train.metrics import Metrics, memory_mb
from shipworthy.train.microbatches import LabelledRows
from shipworthy.train.objectives import Classification, NextToken
from shipworthy.train.packing import Reason, choose
from shipworthy.train.precision import Precision, autocast, resolve
from shipworthy.train.regularization import hold_zeros, set_dropout
from shipworthy.train.run import Run
from shipworthy.train.run_state import put
from shipworthy.train.selection import class_numbers, require_classes, select

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl
    from torch import nn

    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.train.execution import Execution
    from shipworthy.train.form import Form
    from shipworthy.train.lesson import Lesson
    from shipworthy.train.mesh import Group
    from shipworthy.train.objectives import Objective
    from shipworthy.train.packing import Caller
    from shipworthy.train.settings import TrainSettings

# Folder of tokenised texts inside the work folder.
TOKENS = "tokens"


@dataclass(frozen=True, eq=False)
class Given:
    """What `fit` was called with; settings say how, the rest on what and where."""

    model_folder: Path
    rows: pl.DataFrame
    calibration: pl.DataFrame
    text: str
    label: str
    classes: tuple[str, ...]
    settings: TrainSettings
    seed: int
    out: Path
    work: Path
    unit: str | None
    checkpoint_seconds: float
    cache: Path | None
    tokens: int | None
    language: RuntimeInfo | None
    weight: str | None
    hold_zeros: bool
    form: Form | None = None
    lesson: Lesson | None = None


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
    checkpoint_seconds: float | None = None,
    cache: Path | None = None,
    tokens: int | None = None,
    language: RuntimeInfo | None = None,
    weight: str | None = None,
    hold_zeros: bool = False,
    form: Form | None = None,
    lesson: Lesson | None = None,
) -> Fitted:
    """Fine-tune a model and write it to `out`: a classifier, or what `language` describes.

    rows, calibration: frames with the columns `text` and `label` (values of `classes`), and `unit`
    where `settings.rows` asks for a part. work: folder of the checkpoints, removed at the end; a
    run with the same arguments goes on from what lies there, also under another layout. seed: in
    [0, 2**32); with the same libraries, processor, layout and number of threads it gives the same
    bytes. checkpoint_seconds: in place of the settings' own. cache: folder of tokenised texts that
    outlives the run; without it they lie in `work`. tokens: after which the run ends, in place of
    the settings' epochs. weight: column of `rows` that says how much each counts, above 0, for
    classifiers. hold_zeros: leave weights that are zero at the start zero, in one process. form: of
    a classifier while it is trained, and lesson: another loss or forward pass of one, both in one
    process. A layout of several processes is started here, unless this is one of them already;
    then every process calls it alike.
    Raises DataError, ModelError or SettingsError where something does not fit or the loss diverges.
    """
    layout = mesh.resolve(settings.parallel)
    interval = settings.checkpoints.every_seconds
    given = Given(
        model_folder, rows, calibration, text, label, classes, settings, seed, out, work, unit,
        interval if checkpoint_seconds is None else checkpoint_seconds, cache,
        tokens, language, weight, hold_zeros, form, lesson,
    )  # fmt: skip
    if form is not None and layout.processes > 1:
        raise ValueError(f"the form {form.name!r} is trained in one process")
    check_lesson(lesson, layout.processes, language=language is not None)
    if settings.lora is not None:
        lora.check_layout(layout)
    if layout.processes > 1 and not mesh.inside():
        from shipworthy.model.checkpoint import read_config
        from shipworthy.train.launcher import fit_in_group

        mesh.check_layout(layout, read_config(model_folder), settings.batch_size.global_rows)
        return fit_in_group(given, layout)
    with torch.random.fork_rng(devices=[]), mesh.group(layout) as group:
        if group.processes > 1 and not mesh.handed():
            from shipworthy.train.launcher import hand_over

            hand_over(given, layout)
        return _fit(given, group)


def _fit(given: Given, group: Group) -> Fitted:
    from shipworthy.model.pretrained import save_model

    settings = given.settings
    module, tokenizer = _opened(given)
    train, calibration = _encoded(given, tokenizer, module)
    config: Any = module.config
    mesh.check_layout(group.layout, config.to_dict(), settings.batch_size.global_rows)
    regularization = settings.regularization
    set_dropout(module, regularization.dropout, attention=regularization.attention_dropout)
    precision = resolve(settings.precision)
    identity = fingerprint(given, train, calibration, precision)
    caller, reason = choose(module, train, settings.packing)
    objective = _objective(given, module, caller, train)
    execution = laid_out(
        module, caller, group, train=train, precision=precision, copies=settings.copies
    )
    kept = Checkpoints(
        given.work, identity, interval_seconds=given.checkpoint_seconds,
        keep_last=settings.checkpoints.keep_last, rank=group.rank, processes=group.processes,
    )  # fmt: skip
    kept.sweep()
    run = Run(
        execution, caller, train, calibration,
        objective=objective, settings=settings, seed=given.seed, token_budget=0,
        metrics=_metrics(given, config, train, execution, precision), tokens=given.tokens,
    )  # fmt: skip
    found = _budget(run, config, precision, group)
    run.token_budget = found.tokens
    try:
        run.train(kept)
    except (RuntimeError, MemoryError) as error:
        if run.position.step or not is_out_of_memory(error):
            raise
        raise out_of_memory(train.encoded.lengths, found.tokens) from error
    fitted = Fitted(
        history=run.history.frame(),
        steps=run.position.step,
        rows=len(train),
        tokens=run.position.tokens,
        seconds=run.position.seconds,
        best=run.best,
        precision=precision,
        stopped_early=run.stopped_early,
        batches=caller.name,
        batches_reason=asdict(reason),
        token_budget=run.token_budget,
        token_budget_reason=asdict(found.reason),
        layout=group.layout.model_dump(exclude={"schedule"}),
        zero_share=run.zero_share,
        noise=asdict(run.noise.estimate()) if settings.batch_size.noise_scale else None,
        peak_memory_mb=memory_mb(),
        utilization=run.metrics.utilization(run.position.tokens / max(1e-9, run.position.seconds)),
        throughput=found.curve,
    )
    weights = execution.full_weights()
    if weights is not None:
        whole = module if group.processes == 1 else _opened(given)[0]
        set_dropout(whole, regularization.dropout, attention=regularization.attention_dropout)
        put(dict(whole.named_parameters()), weights)
        if given.lesson is not None:
            given.lesson.end(whole)
        if settings.lora is not None:
            place = given.out.parent / lora.FOLDER
            lora.save_adapter(whole, settings.lora, place, base=str(given.model_folder.name))
            whole = lora.merge_adapters(whole)
        whole = whole.cpu()
        if given.form is not None:
            given.form.finish(whole)
        save_model(given.out, whole, tokenizer, _info(given))
        os.replace(given.work / METRICS, given.out.parent / METRICS)
    if group.rank == 0:
        shutil.rmtree(given.work / TOKENS, ignore_errors=True)
    kept.remove()
    return fitted


def _opened(given: Given) -> tuple[nn.Module, Any]:
    """Return the model to start from, with adapters where only they are trained."""
    from shipworthy.model.pretrained import load_language_pretrained, load_pretrained

    length = given.settings.max_length
    if given.language is None:
        found = load_pretrained(
            given.model_folder, classes=given.classes, max_length=length, seed=given.seed
        )
        if given.form is not None:
            given.form.prepare(found[0])
        if given.hold_zeros:  # of the parameters that are trained
            hold_zeros(found[0])
        return found
    module, tokenizer = load_language_pretrained(given.model_folder, max_length=length)
    if given.settings.lora is not None:
        module = lora.add_adapters(module, given.settings.lora, seed=given.seed)
    return module, tokenizer


def _objective(given: Given, module: nn.Module, caller: Caller, train: LabelledRows) -> Objective:
    """Return what is made small; a lesson may change the model for it."""
    regularization = given.settings.regularization
    if given.language is not None:
        return NextToken(regularization.label_smoothing)
    plain = Classification(regularization.label_smoothing, regularization.r_drop, train.weights)
    return plain if given.lesson is None else given.lesson.begin(module, caller, train, plain)


def _info(given: Given) -> RuntimeInfo:
    """Return how the trained model is run."""
    from shipworthy.model.checkpoint import RuntimeInfo

    if given.language is not None:
        return given.language
    length = given.settings.max_length
    return RuntimeInfo(runtime="torch", classes=given.classes, max_length=length, text=given.text)


def _metrics(
    given: Given, config: Any, train: LabelledRows, execution: Execution, precision: Precision
) -> Metrics:
    """Return where each step is written down, with what the machine's peak would do."""
    known = calibration(measure=execution.share[1] == 1)
    flops = None
    with suppress(KeyError):
        flops = flops_per_token(workload_of(config.to_dict()), train.tokens / max(1, len(train)))
    return Metrics(
        given.work / METRICS if execution.primary else None,
        flops_per_token=flops,
        # Processes on one machine share its peak.
        peak_flops=None if known is None else known.peak_flops.get(precision),
    )


def _budget(run: Run, config: Any, precision: Precision, group: Group) -> Found:
    """Return how many tokens are computed at once: what the settings say, or what memory holds."""
    settings, layout = run.settings, group.layout
    if settings.batch_size.tokens != "auto":
        return Found(settings.batch_size.tokens, Reason("batch_size.given"), None)
    known = calibration(memory=group.processes == 1, measure=group.processes == 1)
    memory = memory_of(
        workload_of(config.to_dict()), precision=precision, length=int(run.lengths.max()),
        attention_dropout=settings.regularization.attention_dropout > 0, shard=layout.shard,
        tensor=layout.tensor, pipeline=layout.pipeline,
        factors=None if known is None else known.factors,
    )  # fmt: skip
    return find_tokens(
        run.trial, lengths=run.lengths, steps=run.order(0), memory=memory,
        available=run.execution.least(available_bytes() / group.processes),
        alone=group.processes == 1,
    )  # fmt: skip


def _encoded(given: Given, tokenizer: Any, module: Any) -> tuple[LabelledRows, LabelledRows]:
    """Return the training and the calibration rows as tokens."""
    chosen = select(given.rows, given.settings.rows, unit=given.unit, seed=given.seed)

    def rows(frame: pl.DataFrame, split: str) -> LabelledRows:
        if given.language is not None:
            return language_rows(frame, tokenizer, given.language, split=split)
        labels = class_numbers(frame, label=given.label, classes=given.classes, split=split)
        ids = encode_cached(
            tokenizer, frame[given.text].to_list(), max_length=given.settings.max_length,
            cache=given.cache or given.work / TOKENS,
        )  # fmt: skip
        weights = None
        if given.weight is not None and split == "train":
            weights = frame[given.weight].cast(float).to_numpy()
        return LabelledRows(ids, labels, int(module.config.pad_token_id), weights=weights)

    train = rows(chosen, "train")
    if given.language is None:
        require_classes(train.labels, label=given.label, classes=given.classes)
    return train, rows(given.calibration, "calibration")


def fingerprint(
    given: Given, train: LabelledRows, calibration: LabelledRows, precision: Precision
) -> str:
    """Identity of a run: everything that its weights depend on, but for the order of sums."""
    return digest_json(
        {
            "model": digest_folder(given.model_folder),
            "settings": given.settings.recipe(),
            "seed": given.seed,
            "tokens": given.tokens,
            **({"hold_zeros": True} if given.hold_zeros else {}),
            **({} if given.form is None else {"form": given.form.name}),
            **({} if given.lesson is None else {"lesson": dict(given.lesson.identity)}),
            "language": None if given.language is None else asdict(given.language),
            "rows": [part.digest for part in (train, calibration)],
            "precision": precision,
            "torch": torch.__version__,
        }
    )


def laid_out(
    module: nn.Module,
    caller: Caller,
    group: Group,
    *,
    train: LabelledRows,
    precision: Precision,
    copies: int = 1,
) -> Execution:
    """Return the model over the processes of a group. copies: passes over each row in a step."""
    context = partial(autocast, precision)
    if group.processes == 1:
        return OneProcess(module, caller, autocast=context)
    if group.layout.pipeline > 1:
        from shipworthy.train.pipeline_execution import PipelineExecution

        return PipelineExecution(module, caller, group, autocast=context)
    from shipworthy.train.mesh_execution import MeshExecution

    shortest = np.argsort(train.encoded.lengths, kind="stable")[:1]
    spare = caller.micro_batch(train, shortest, seed=0, visit=0, copies=copies)
    return MeshExecution(module, caller, group, autocast=context, spare=spare)
