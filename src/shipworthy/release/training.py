"""Training alone: the stage of a project that makes its parent, and the curve of its rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import SettingsError
from shipworthy.core.locale import number, text
from shipworthy.release.artefacts import TOKENS
from shipworthy.release.made import MODEL, part
from shipworthy.release.places import CACHE
from shipworthy.release.project import start_folder
from shipworthy.train.settings import ParallelSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from shipworthy.core.stages import Stage
    from shipworthy.data.batches import Texts
    from shipworthy.release.project import Project
    from shipworthy.train.fitted import Fitted

CURVE_WIDTH, CURVE_HEIGHT = 60, 12


@dataclass(frozen=True, eq=False)
class Trained:
    """A finished training. model: its folder in the cache; cached: whether it lay there before."""

    model: Path
    cached: bool
    fitted: Fitted

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "model": str(self.model),
            "metrics": str(self.model.parent / "metrics.jsonl"),
            "cached": self.cached,
            **self.fitted.facts(),
            "history": self.fitted.history.to_dicts(),
            "throughput": (
                None if self.fitted.throughput is None else self.fitted.throughput.to_dicts()
            ),
        }

    def lines(self) -> list[str]:
        """Return it as lines for people."""
        return [*fact_lines(self.fitted.facts()), text("training.model", folder=self.model)]


def fact_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the facts of a training, as `Fitted.facts` gives them, as sentences."""
    layout = ", ".join(f"{axis} {size}" for axis, size in facts["layout"].items() if size > 1)
    reason = facts["batches_reason"]
    told = [
        text("training.did", steps=number(facts["steps"]), rows=number(facts["rows"]),
             tokens=number(facts["tokens"]), seconds=number(facts["seconds"], 1)),
        text("training.speed", rate=number(facts["tokens_per_second"]),
             memory=number(facts["peak_memory_mb"]), precision=facts["precision"]),
        text("training.layout", layout=layout or text("training.one_process")),
        text(f"training.{facts['batches']}", reason=text(reason["key"], **reason["values"])),
    ]  # fmt: skip
    budget = facts["token_budget_reason"]
    told.append(text("training.budget", budget=number(facts["token_budget"]),
                     reason=text(budget["key"], **budget["values"])))  # fmt: skip
    if facts["utilization"] is not None:
        told.append(text("training.utilization", share=f"{100 * facts['utilization']:.1f}"))
    best = facts["best"]
    if best is not None:
        told.append(text("training.best", step=number(best["step"]),
                         loss=number(best["loss"], 4), accuracy=number(best["accuracy"], 4),
                         rows=number(best["rows"])))  # fmt: skip
    if facts["zero_share"] is not None:
        told.append(text("training.zeros", share=f"{100 * facts['zero_share']:.1f}"))
    if facts["noise"] is not None:
        told.append(noise_line(facts["noise"]))
    return told


def noise_line(noise: dict[str, Any]) -> str:
    """Return what the noise of the gradient says of the batch, as a sentence."""
    if noise["rows"] is None:
        return text(
            "training.noise.refused",
            steps=number(noise["steps"]), needed=number(noise["steps_needed"]),
        )  # fmt: skip
    return text(
        "training.noise",
        rows=number(noise["rows"], 1), low=number(noise["low"], 1), high=number(noise["high"], 1),
        steps=number(noise["steps"]), confidence=f"{100 * noise['confidence']:.0f}",
    )  # fmt: skip


def laid_out(project: Project, *, parallel: str | None, nproc: int | None) -> Project:
    """Return the project with the layout of the command line.

    parallel: such as `data=2,tensor=2`. nproc: number of processes; alone it means copies.
    Raises SettingsError where they don't fit together, or name no axis.
    """
    train = project.train
    layout = train.parallel
    if parallel is not None:
        layout = _layout(parallel)
    if nproc is not None:
        if layout == "auto":
            layout = ParallelSettings(data=nproc)
        elif layout.processes != nproc:
            raise SettingsError(
                text("error.training.nproc", nproc=nproc, processes=layout.processes),
                key="--nproc",
                fix=text("error.training.nproc.fix", processes=layout.processes),
            )
    return project.model_copy(update={"train": train.model_copy(update={"parallel": layout})})


def train_project(
    project: Project, root: Path, *, wait: bool = False, tell: Callable[[Stage], None]
) -> Trained:
    """Make the stages of a project up to its training, and return that.

    Raises SettingsError where the layout does not fit the model, also where nothing is left to do.
    """
    from shipworthy.release.pipeline import run_project
    from shipworthy.train.fitted import read_fitted

    _check_layout(project)
    finished = run_project(project, root=root, only="train", wait=wait, tell=tell)
    stage = next(stage for stage in finished.stages if stage.name == "train")
    return Trained(stage.folder / MODEL, stage.cached, read_fitted(stage.folder))


@dataclass(frozen=True, eq=False)
class Preview:
    """The rates of a training that was not done.

    steps, rows, tokens: of the run. rates: (steps,) learning rate of each step. progress: (steps,)
    share of the run that is behind in the middle of the step.
    """

    schedule: str
    steps: int
    rows: int
    tokens: int
    rates: NDArray[np.float64]
    progress: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "schedule": self.schedule,
            "steps": self.steps,
            "rows": self.rows,
            "tokens": self.tokens,
            "curve": [
                {"step": step + 1, "progress": float(p), "learning_rate": float(rate)}
                for step, (p, rate) in enumerate(zip(self.progress, self.rates, strict=True))
            ],
        }

    def lines(self) -> list[str]:
        """Return the curve, drawn in cells."""
        import numpy as np

        columns = np.minimum((self.progress * CURVE_WIDTH).astype(int), CURVE_WIDTH - 1)
        peak = float(self.rates.max())
        cells = [[" "] * CURVE_WIDTH for _ in range(CURVE_HEIGHT)]
        for column in range(CURVE_WIDTH):
            inside = self.rates[columns == column]
            if len(inside):
                height = int(round(float(inside.mean()) / peak * (CURVE_HEIGHT - 1)))
                cells[CURVE_HEIGHT - 1 - height][column] = "•"
        labels = {0: f"{peak:.2e}", CURVE_HEIGHT - 1: "0"}
        drawn = [
            f"{labels.get(k, ''):>9} ┤{''.join(line).rstrip()}" for k, line in enumerate(cells)
        ]
        told = text(
            "training.preview", schedule=self.schedule, steps=number(self.steps),
            rows=number(self.rows), tokens=number(self.tokens),
        )  # fmt: skip
        return [told, *drawn, f"{'':>9} └{'─' * CURVE_WIDTH}"]


def preview(project: Project, root: Path, *, wait: bool = False) -> Preview:
    """Return the rates that a training would have; rows are read and tokenised, nothing is trained.

    Raises SettingsError where the schedule does not fit the run.
    """
    import numpy as np

    from shipworthy.data.order import step_rows
    from shipworthy.data.tokens import encode_cached
    from shipworthy.model.pretrained import load_chat_tokenizer, load_tokenizer
    from shipworthy.release.language import language_info
    from shipworthy.release.pipeline import run_project
    from shipworthy.train.language import language_rows
    from shipworthy.train.schedules import run_rates
    from shipworthy.train.selection import select

    _check_layout(project)
    finished = run_project(project, root=root, only="data", wait=wait)
    data = finished.stages[0]
    settings = project.train
    rows = select(part(data, "train"), settings.rows, unit=project.data.unit, seed=project.seed)
    language = language_info(project)
    found: Texts
    if language is not None:
        tokenizer = load_chat_tokenizer(start_folder(project))
        found = language_rows(rows, tokenizer, language, split="train").encoded
    else:
        found = encode_cached(
            load_tokenizer(start_folder(project)), rows[project.data.text].to_list(),
            max_length=settings.max_length, cache=root / CACHE / TOKENS,
        )  # fmt: skip
    tokens = settings.schedule.progress == "tokens"
    sizes = [
        int(found.lengths[step].sum()) if tokens else len(step)
        for epoch in range(settings.epochs)
        for step in step_rows(
            found.lengths, global_rows=settings.batch_size.global_rows, seed=project.seed,
            epoch=epoch,
        )
    ]  # fmt: skip
    rates = run_rates(settings.schedule, peak=settings.learning_rate, sizes=sizes)
    behind = np.cumsum(sizes) - np.asarray(sizes) / 2
    return Preview(
        settings.schedule.name, len(sizes), len(found) * settings.epochs,
        int(found.lengths.sum()) * settings.epochs, rates, behind / sum(sizes),
    )  # fmt: skip


def _check_layout(project: Project) -> None:
    from shipworthy.model.checkpoint import read_config
    from shipworthy.train.mesh import check_layout

    layout, rows = project.train.parallel, project.train.batch_size.global_rows
    if layout != "auto":
        check_layout(layout, read_config(start_folder(project)), rows)


def _layout(written: str) -> ParallelSettings:
    """Return the layout of `data=2,tensor=2`."""
    from pydantic import ValidationError

    values: dict[str, str] = {}
    for item in written.split(","):
        name, equals, value = item.strip().partition("=")
        if not equals:
            raise SettingsError(text("error.training.parallel", written=item), key="--parallel")
        values[name.strip()] = value.strip()
    try:
        return ParallelSettings.model_validate(values)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else written
        raise SettingsError(
            text("error.training.parallel", written=f"{name}={values.get(name, '')}"),
            key="--parallel",
        ) from error
