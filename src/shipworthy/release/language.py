"""What a language model says on the rows of a split, kept as a file and read back.

    loss, tokens, bytes    of the text, or of the response that is wanted
    answer                 what the model answered: written out, or the likeliest choice
    <score>                what each score says of the answer

Rows are answered in blocks that are kept, so that a killed run pays for none of them twice.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from shipworthy.core.digest import digest_file
from shipworthy.core.progress import progress
from shipworthy.model.predictions import Predictions
from shipworthy.model.runtimes import load_language_model
from shipworthy.release.answers import ANSWERS, row_keys

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.data.rows import AnswerKind
    from shipworthy.data.settings import DataSettings
    from shipworthy.measure.generation_settings import GenerationSettings
    from shipworthy.model.capabilities import TokenLosses
    from shipworthy.model.checkpoint import Does, RuntimeInfo
    from shipworthy.model.language_model import CausalLanguageModel
    from shipworthy.release.project import Project

    FloatArray: TypeAlias = NDArray[np.float64]

ANSWER = "answer"
CLASSES = ("wrong", "right")
"""What an answer is, where a model answers prompts."""

LIKELIHOODS = ("text",)
"""Stands for the classes of a model that only gives likelihoods."""

BLOCK_ROWS = 128

DOES: dict[str, Does] = {"causal-lm": "continue", "instruction": "respond"}
"""What the model of a task does, for language models."""


def answer_kind(project: Project) -> AnswerKind:
    """Return what the model of a project gives to a row."""
    kinds: dict[str, AnswerKind] = {
        "causal-lm": "none", "instruction": "response", "tabular-regression": "number",
    }  # fmt: skip
    return kinds.get(project.task, "class")


def language_info(project: Project) -> RuntimeInfo | None:
    """Return how the language model of a project runs; None for a classifier."""
    from shipworthy.model.checkpoint import RuntimeInfo

    if project.task not in DOES:
        return None
    data, does = project.data, DOES[project.task]
    responds = does == "respond"
    return RuntimeInfo(
        runtime="torch",
        classes=(),
        max_length=project.train.max_length,
        text=data.text,
        does=does,
        response=data.label if responds else "",
        system=data.system or "" if responds else "",
        choices=data.choices or "" if responds else "",
        template=data.template if responds else "",
        long_prompts=data.long_prompts,
    )


def answer_settings(settings: GenerationSettings) -> dict[str, object]:
    """Return what answers and scores depend on, by content."""
    told = settings.model_dump(mode="json", exclude={"json_schema"})
    schema = settings.json_schema
    return {**told, "json_schema": None if schema is None else digest_file(schema)}


def write_language_answers(
    model_folder: Path, rows: pl.DataFrame, settings: GenerationSettings, out: Path, *, work: Path
) -> None:
    """Write likelihoods, answers and scores of all rows.

    work: folder of the blocks that are done; removed at the end.
    Raises DataError for a prompt that leaves its answer no room.
    """
    import polars as pl

    model = load_language_model(model_folder)
    work.mkdir(parents=True, exist_ok=True)
    parts = []
    with ExitStack() as stack:
        step = stack.enter_context(progress("measure", total=rows.height, unit="texts"))
        for start in range(0, rows.height, BLOCK_ROWS):
            block, file = rows[start : start + BLOCK_ROWS], work / f"{start}.parquet"
            if not file.is_file():
                partial = file.with_suffix(".part")
                answered(model, block, settings).write_parquet(partial)
                partial.replace(file)
            parts.append(pl.read_parquet(file))
            step(block.height)
    found = pl.concat(parts)
    scored(found, rows, settings, model.info).write_parquet(out / ANSWERS)
    shutil.rmtree(work, ignore_errors=True)


def answered(
    model: CausalLanguageModel, rows: pl.DataFrame, settings: GenerationSettings
) -> pl.DataFrame:
    """Return likelihoods and answers of rows, before they are scored."""
    import polars as pl

    info = model.info
    columns: dict[str, object] = dict(likelihood_columns(model.token_losses(rows), rows, info))
    if info.does == "respond":
        columns[ANSWER] = pl.Series(_answers(model, rows, settings), dtype=pl.String)
    return pl.DataFrame(columns)


def likelihood_columns(
    losses: TokenLosses, rows: pl.DataFrame, info: RuntimeInfo
) -> dict[str, FloatArray]:
    """Return loss, tokens and bytes of the text or of the response of each row."""
    owners = np.repeat(np.arange(rows.height), np.diff(losses.offsets))
    said = rows[info.response or info.text].str.len_bytes()
    return {
        "loss": np.bincount(owners, losses.values, minlength=rows.height).astype(np.float64),
        "tokens": np.diff(losses.offsets).astype(np.float64),
        "bytes": said.to_numpy().astype(np.float64),
    }


def scored(
    found: pl.DataFrame, rows: pl.DataFrame, settings: GenerationSettings, info: RuntimeInfo
) -> pl.DataFrame:
    """Return answers with their scores; those with choices are right or wrong, no more."""
    import polars as pl

    if ANSWER not in found.columns:
        return found
    answers, wanted = found[ANSWER].to_list(), rows[info.response].to_list()
    if info.choices:
        right = np.array([a == w for a, w in zip(answers, wanted, strict=True)], dtype=float)
        return found.with_columns(pl.Series("right", right))
    scores = _scores(answers, wanted, rows, settings)
    columns = [pl.Series(name, value) for name, value in scores.items()]
    return found.with_columns(*columns, pl.Series("right", scores[settings.right]))


def read_language_answers(
    folder: Path,
    rows: pl.DataFrame,
    columns: DataSettings,
    *,
    name: str,
    artefact_digest: str,
) -> Predictions:
    """Return what a language model said as predictions on its rows; see `read_answers`."""
    import polars as pl

    found = pl.read_parquet(folder / ANSWERS)
    judged = "right" in found.columns
    right = found["right"].to_numpy() > 0 if judged else np.zeros(rows.height, dtype=bool)
    numbers = [c for c in found.columns if c not in (ANSWER, "right")]
    return Predictions(
        name=name,
        file=name,
        classes=CLASSES if judged else LIKELIHOODS,
        positive=None,
        labels=np.full(rows.height, 1 if judged else 0, dtype=np.int64),
        predicted=right.astype(np.int64),
        scores=None,
        scored=(),
        digest=artefact_digest,
        values={c: found[c].to_numpy().astype(np.float64) for c in numbers},
        form="right" if judged else "likelihood",
        **row_keys(rows, columns),
    )


def _answers(
    model: CausalLanguageModel, rows: pl.DataFrame, settings: GenerationSettings
) -> list[str]:
    if not model.info.choices:
        return model.generate(rows, max_new_tokens=settings.max_new_tokens, seed=0)
    found = model.choice_log_likelihoods(rows, normalize=settings.normalize)
    offered = rows[model.info.choices].to_list()
    return [
        choices[int(found.values[begin:end].argmax())]
        for choices, begin, end in zip(offered, found.offsets, found.offsets[1:], strict=False)
    ]


def _scores(
    answers: list[str], wanted: list[str], rows: pl.DataFrame, settings: GenerationSettings
) -> dict[str, FloatArray]:
    from shipworthy.measure.text_scores import TEXT_SCORES, pattern_match, read_schema, valid_json
    from shipworthy.measure.unit_tests import tests_pass

    found: dict[str, FloatArray] = {
        name: TEXT_SCORES[name](answers, wanted) for name in settings.scores
    }
    if settings.pattern is not None:
        found["pattern_match"] = pattern_match(answers, settings.pattern)
    if settings.valid_json or settings.json_schema is not None:
        schema = None if settings.json_schema is None else read_schema(settings.json_schema)
        found["valid_json"] = valid_json(answers, schema)
    if settings.tests is not None:
        found["tests_passed"] = tests_pass(answers, rows[settings.tests].to_list()).astype(float)
    return found
