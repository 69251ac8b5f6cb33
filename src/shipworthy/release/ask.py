"""The verb `ask`: rows put before a running server, and what it says as a file for `judge`.

server:  where it listens, what it costs      (`model.endpoint_settings`)
data:    rows and their columns               (`data.settings`, all rows are asked)
generate: how answers are scored              (`measure.generation_settings`)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from shipworthy.core.errors import DataError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.core.yaml import load_settings, read_yaml
from shipworthy.data.packages import cache_folder
from shipworthy.data.responses import checked_responses
from shipworthy.data.settings import DataSettings
from shipworthy.data.sources import read_table, require_columns, source_files
from shipworthy.measure.generation_settings import GenerationSettings
from shipworthy.model.checkpoint import RuntimeInfo
from shipworthy.model.endpoint import EndpointLanguageModel
from shipworthy.model.endpoint_settings import EndpointSettings
from shipworthy.model.spoken import ANSWER, EXPECTED, RIGHT, SAID, TEXT, VALUE, WRONG
from shipworthy.release.language import DOES, likelihood_columns, scored

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.model.endpoint_cost import Cost


class AskSettings(BaseModel):
    """What a server is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    task: Literal["instruction", "causal-lm"] = "instruction"
    """`instruction` asks for answers, `causal-lm` for the likelihood of texts."""

    server: EndpointSettings
    """The server and its model."""

    data: DataSettings
    """Rows and their columns; all rows of `source` are asked."""

    generate: GenerationSettings = GenerationSettings()
    """How answers are asked for and scored."""


@dataclass(frozen=True)
class Asked:
    """What was said, and what it cost. out: the file; None after a dry run."""

    rows: int
    cost: Cost
    empty: int
    out: Path | None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON."""
        return {
            "rows": self.rows,
            **asdict(self.cost),
            "empty": self.empty,
            "out": None if self.out is None else str(self.out),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        told = {**asdict(self.cost), "money": f"{self.cost.money:.4f}", "rows": self.rows}
        if self.out is None:
            return [text("ask.would", **told)]
        said = [text("ask.did", out=self.out, **told)]
        if self.empty:
            said.append(text("ask.empty", empty=self.empty))
        return [*said, *self.notes]


def load_ask(path: Path | str) -> AskSettings:
    """Read and check a file of settings; paths are relative to it.

    Raises SettingsError with file, line and key for what does not fit.
    """
    document = read_yaml(path)
    settings = load_settings(AskSettings, document)
    folder = Path(path).resolve().parent
    if settings.data.source is None:
        raise document.error(text("error.ask.source"), ("data", "source"))
    try:
        source_files(settings.data.source, root=folder)
    except DataError as error:
        raise document.error(str(error), ("data", "source")) from error
    responds = settings.task == "instruction"
    data = settings.data
    prompt, wanted = (data.prompt, data.response) if responds else (data.text, data.text)
    found = {
        "source": str(folder / Path(data.source or "").expanduser()), "text": prompt,
        "label": wanted,
    }  # fmt: skip
    return settings.model_copy(update={"data": data.model_copy(update=found)})


def ask_server(settings: AskSettings, out: Path | None, *, cache: Path | None = None) -> Asked:
    """Ask all rows and write what was said; a second call asks only what was not answered.

    out: file to write; None makes a dry run, which asks nothing and tells the cost at most.
    cache: file of answers; the user's cache folder where not given.
    Raises DataError for rows that cannot be asked, ModelError for a server that does not manage.
    """
    rows = _rows(settings)
    kept = cache or cache_folder() / "answers.sqlite"
    model = EndpointLanguageModel(settings.server, info_of(settings), cache=kept)
    most = settings.generate.max_new_tokens
    if out is None:
        return Asked(rows.height, model.estimate(rows, max_new_tokens=most), 0, None)
    said = _said(model, rows, settings)
    write_atomically(out, _bytes(said))
    return Asked(rows.height, model.cost, model.empty, out, tuple(model.notes()))


def info_of(settings: AskSettings) -> RuntimeInfo:
    """Return which columns a server's rows have."""
    data, does = settings.data, DOES[settings.task]
    responds = does == "respond"
    return RuntimeInfo(
        runtime="torch", classes=(), max_length=1 << 20, text=data.text, does=does,
        response=data.label if responds else "", system=data.system or "",
        choices=data.choices or "", template=data.template,
    )  # fmt: skip


def _rows(settings: AskSettings) -> pl.DataFrame:
    data = settings.data
    assert data.source is not None
    frame = read_table(data.source)
    named = [data.text, data.label, data.id, data.unit, data.system, data.choices, *data.groups]
    require_columns(frame, [name for name in named if name is not None], data.source)
    empty = (frame[data.text].fill_null("").str.strip_chars() == "").arg_true()
    if len(empty):
        raise DataError(
            text("error.rows.text_missing"), file=data.source, row=int(empty[0]) + 1,
            column=data.text,
        )  # fmt: skip
    responds = settings.task == "instruction"
    return checked_responses(frame, data, data.source) if responds else frame


def _said(model: EndpointLanguageModel, rows: pl.DataFrame, settings: AskSettings) -> pl.DataFrame:
    """Return the table that `judge` reads."""
    import polars as pl

    info, data = model.info, settings.data
    tells = settings.server.likelihoods and settings.server.protocol == "completions"
    columns: dict[str, Any] = {}
    total = rows.height * (1 + tells)
    with progress("ask", total=total, unit="rows") as step:
        if tells:
            columns |= likelihood_columns(model.token_losses(rows, step), rows, info)
        if info.does == "respond" and info.choices:
            found = model.choice_log_likelihoods(rows, normalize=settings.generate.normalize)
            ends = zip(rows[info.choices], found.offsets, found.offsets[1:], strict=False)
            columns[ANSWER] = [c[int(found.values[b:e].argmax())] for c, b, e in ends]
        elif info.does == "respond":
            most = settings.generate.max_new_tokens
            columns[ANSWER] = model.generate(rows, max_new_tokens=most, seed=0, step=step)
    spoken = scored(pl.DataFrame(columns), rows, settings.generate, info)
    kept = [name for name in dict.fromkeys([data.id, data.unit, *data.groups]) if name]
    values = [c for c in spoken.columns if c not in (ANSWER, "right")]
    told = rows.select(kept).with_columns(
        pl.Series(VALUE + name, spoken[name].to_numpy().astype(np.float64)) for name in values
    )
    if info.does != "respond":
        return told.with_columns(pl.lit(TEXT).alias(EXPECTED), pl.lit(TEXT).alias(ANSWER))
    right = spoken["right"] > 0
    return told.with_columns(
        pl.lit(RIGHT).alias(EXPECTED),
        pl.Series(ANSWER, [RIGHT if r else WRONG for r in right]),
        spoken[ANSWER].alias(SAID),
    )


def _bytes(frame: pl.DataFrame) -> bytes:
    from io import BytesIO

    buffer = BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()
