"""The rows of a split that stand in the training text, and the figure that a limit looks at.

A row counts where its words stand there (`data.contamination`) or, where the settings ask for it,
where its meaning does (`data.near_meaning`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.core.locale import number
from shipworthy.measure.estimates import Estimate, Fact, Unmeasured
from shipworthy.release.judgement import Phrase

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.data.near_meaning import Embed
    from shipworthy.data.settings import DataSettings
    from shipworthy.release.policy import Policy

MEASURE = "contaminated_share"
FILE = "contamination.parquet"
"""In a run's folder: split, row (its place in the split, from 1), id, overlap (share of its words);
meaning (cosine of the nearest training text, null where it wasn't looked for), and where that one
is: meaning_source ("train" or a corpus's name), meaning_row (from 1)."""
SPLITS = ("validation", "test")
MODEL = "builtin:minilm"
# Tokens that the model was taught with; it could read 512.
_MOST_TOKENS = 256
_TOKENS_A_BATCH = 4096


@dataclass(frozen=True, eq=False)
class Overlaps:
    """How far each of n texts stands in the training text.

    words: float64, shape (n,), shares of its words. meaning: float32, shape (n,), cosines, NaN for
    a blank text; None where meaning was not looked for. source, row: the training text nearest in
    meaning, None where there is none; row counts from 1.
    """

    words: NDArray[np.float64]
    meaning: NDArray[np.float32] | None = None
    source: tuple[str | None, ...] = ()
    row: tuple[int | None, ...] = ()

    def by_words(self, settings: DataSettings) -> NDArray[np.bool_]:
        """Return which texts count by their words."""
        return self.words >= settings.contamination.share

    def by_meaning(self, settings: DataSettings) -> NDArray[np.bool_]:
        """Return which texts count by their meaning."""
        least = settings.contamination.meaning
        if least == "off" or self.meaning is None:
            return np.zeros(len(self.words), dtype=bool)
        return self.meaning >= np.float32(least)


def asks(policy: Policy) -> bool:
    """Say whether a policy limits it."""
    return any(MEASURE in (limit.measure, limit.bound) for limit in policy.limits)


def embedding(settings: DataSettings) -> str | None:
    """Return the digest of the model that meanings are compared by; None where they aren't."""
    from shipworthy.data.builtin import describe

    return None if settings.contamination.meaning == "off" else describe(MODEL).sha256


def overlaps(settings: DataSettings, train: pl.Series, texts: pl.Series) -> Overlaps:
    """Return how far texts stand in the training text and the corpora of the settings."""
    from shipworthy.data.contamination import overlap
    from shipworthy.data.corpus import read_texts
    from shipworthy.data.near_meaning import near_meaning

    names, rows = [], []

    def corpus() -> Iterator[pl.Series]:
        names.append("train")
        rows.append(len(train))
        yield train
        for source in settings.contamination.corpora:
            names.append(Path(source).name)
            rows.append(0)
            for part in read_texts(source, settings.text):
                rows[-1] += len(part)
                yield part

    words = overlap(texts, corpus(), ngram=settings.contamination.ngram)
    if settings.contamination.meaning == "off":
        return Overlaps(words)
    names.clear()
    rows.clear()
    nearest = near_meaning(texts, corpus(), embed=load_embedding())
    begins = np.cumsum([0, *rows])
    places = np.searchsorted(begins, nearest.row, side="right") - 1
    told = list(zip(nearest.row.tolist(), places.tolist(), strict=True))
    return Overlaps(
        words,
        nearest.cosine,
        tuple(None if row < 0 else names[place] for row, place in told),
        tuple(None if row < 0 else row - int(begins[place]) + 1 for row, place in told),
    )


def load_embedding() -> Embed:
    """Return the built-in encoder as texts -> vectors of length 1, mean-pooled; shape (n, 384).

    Raises InputError where it cannot be fetched, ModelError where its folder is damaged.
    """
    import torch
    from transformers import AutoModel

    from shipworthy.core.device import threads
    from shipworthy.data.batches import buckets, encode, pad
    from shipworthy.data.builtin import builtin_model
    from shipworthy.model.pretrained import load_tokenizer, quiet_transformers
    from shipworthy.model.torch_runtime import torch_threads

    folder = builtin_model(MODEL)
    tokenizer = load_tokenizer(folder)
    with quiet_transformers(folder):
        model = AutoModel.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, local_files_only=True,
            trust_remote_code=False,
        ).eval()  # fmt: skip

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        encoded = encode(tokenizer, texts, max_length=_MOST_TOKENS)
        vectors = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
        with torch_threads(threads()), torch.inference_mode():
            for rows in buckets(encoded.lengths, token_budget=_TOKENS_A_BATCH, seed=None):
                batch = pad(encoded, rows, pad_token_id=model.config.pad_token_id)
                mask = torch.from_numpy(batch.attention_mask)
                ids = torch.from_numpy(batch.input_ids)
                hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
                kept = mask[..., None].float()
                pooled = (hidden * kept).sum(1) / kept.sum(1)
                vectors[rows] = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors

    return embed


def write_overlaps(settings: DataSettings, rows: dict[str, pl.DataFrame], folder: Path) -> None:
    """Write the overlap of each row of the splits that verdicts rest on; rows: frames by split."""
    import polars as pl

    ids = pl.col(settings.id).cast(pl.String) if settings.id else pl.lit(None, pl.String)
    # Together, so that corpora are read once.
    frame = pl.concat(
        rows[split].select(
            pl.lit(split).alias("split"),
            pl.int_range(1, pl.len() + 1).alias("row"),
            ids.alias("id"),
            pl.col(settings.text).alias("text"),
        )
        for split in SPLITS
    )
    found = overlaps(settings, rows["train"][settings.text], frame["text"])
    none = [None] * frame.height
    meaning = pl.Series(none if found.meaning is None else found.meaning, dtype=pl.Float32)
    frame.drop("text").with_columns(
        pl.Series("overlap", found.words),
        meaning.fill_nan(None).alias("meaning"),
        pl.Series("meaning_source", found.source or none, dtype=pl.String),
        pl.Series("meaning_row", found.row or none, dtype=pl.Int64),
    ).write_parquet(folder / FILE)


def share_of(found: Overlaps, settings: DataSettings) -> Estimate:
    """Return the share of rows that count by their words or by their meaning."""
    if not found.words.size:
        return Unmeasured("no_data")
    return Fact(np.array([float(np.mean(found.by_words(settings) | found.by_meaning(settings)))]))


def read_share(folder: Path, split: str, settings: DataSettings) -> Estimate:
    """Return the share of the rows of a split, from what `write_overlaps` wrote."""
    return share_of(_read(folder, split), settings)


def contamination_note(folder: Path, split: str, settings: DataSettings) -> Phrase:
    """Return how many rows of the split were found, for people."""
    found, search = _read(folder, split), settings.contamination
    words, meaning = found.by_words(settings), found.by_meaning(settings)
    told = {
        "rows": number(int((words | meaning).sum())),
        "of": number(len(words)),
        "share": f"{100 * search.share:g}",
        "ngram": search.ngram,
        "corpora": len(search.corpora),
        "file": FILE,
    }
    if search.meaning == "off":
        return Phrase("run.note.contamination", told)
    both = {
        "by_words": number(int(words.sum())),
        "by_meaning": number(int(meaning.sum())),
        "cosine": f"{search.meaning:g}",
        "model": MODEL,
    }
    return Phrase("run.note.contamination_meaning", told | both)


def _read(folder: Path, split: str) -> Overlaps:
    import polars as pl

    frame = pl.read_parquet(folder / FILE).filter(pl.col("split") == split)
    return Overlaps(
        frame["overlap"].to_numpy(), frame["meaning"].fill_null(float("nan")).to_numpy()
    )
