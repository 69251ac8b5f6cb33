"""Rows that stand in the training text: the scan's speed, and what meaning finds and mistakes.

Run it with `python benchmarks/contamination.py [--json]`. The corpus is put together from texts of
`builtin:sentiment` and the docstrings of Python's own library, in new orders until it is large
enough; a tenth of the evaluated rows is planted in it. The peer is a plain Python set of n-grams
over the same normalised words; it runs on a part of the corpus, in turn with ours, and other
overlaps than ours end the run with an error.

What meaning finds is counted on paraphrases and translations of built-in texts, written by hand
(`paraphrases.json`), with all built-in texts as training text. False alarms are rows flagged though
nothing alike was planted: against texts of the other domains, and, which is harder, against texts
of other authors in the same domain, near-duplicates left out.
"""

from __future__ import annotations

import ast
import json
import sysconfig
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from method.rounds import options, spread, tell
from shipworthy.data.builtin import sentiment
from shipworthy.data.contamination import overlap
from shipworthy.data.duplicates import find_duplicates
from shipworthy.data.near_meaning import near_meaning
from shipworthy.measure.intervals import wilson
from shipworthy.release.contamination import load_embedding

HERE = Path(__file__).resolve().parent
NGRAM = 8
THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)
GOALS = {"megabytes_per_s": 20.0}


def docstrings() -> Iterator[str]:
    """Yield the paragraphs of the docstrings of Python's own library."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for file in sorted(Path(sysconfig.get_path("stdlib")).rglob("*.py")):
        if "site-packages" in file.parts:
            continue
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, kinds) and (told := ast.get_docstring(node)):
                yield from (part for part in told.split("\n\n") if len(part) > 40)


def corpus(megabytes: float, rows: int) -> tuple[pl.Series, pl.Series]:
    """Return evaluated texts and a corpus in which a tenth of them is planted."""
    generator = np.random.default_rng(0)
    texts = np.array(sentiment()["text"].to_list(), dtype=object)
    generator.shuffle(texts)
    evaluated, others = texts[:rows], texts[rows:]
    pool = np.concatenate([others, np.array(list(docstrings()), dtype=object)])
    parts, size = [], 0.0
    while size < megabytes:
        # Joined in pairs, so that a new order gives new texts.
        mixed = [f"{a} {b}" for a, b in zip(pool, generator.permutation(pool), strict=True)]
        parts += mixed
        size += sum(len(text.encode()) for text in mixed) / 1e6
    for k in range(0, rows, 10):
        parts[int(generator.integers(len(parts)))] += f" {evaluated[k]}"
    return pl.Series(evaluated.tolist()), pl.Series(parts)


class _Plain(dict[int, str]):
    """Letters, marks and digits as they are, all else as a space."""

    def __missing__(self, code: int) -> str:
        kept = unicodedata.category(chr(code))[0] in "LMN"
        return self.setdefault(code, chr(code) if kept else " ")


def peer(evaluated: Sequence[str], texts: Sequence[str]) -> NDArray[np.float64]:
    """Return the overlaps from a set of n-grams in plain Python."""
    table = _Plain()

    def words_of(text: str) -> list[str]:
        plain = unicodedata.normalize("NFKC", text).lower()
        return plain.translate(table).split() or plain.strip().split(" ")

    rows = [words_of(text) if text else [] for text in evaluated]
    wanted = {
        " ".join(words[k : k + NGRAM]) for words in rows for k in range(len(words) - NGRAM + 1)
    }
    short = {" ".join(words) for words in rows if 0 < len(words) < NGRAM}
    found: set[str] = set()
    for text in texts:
        words = words_of(text)
        if len(words) < NGRAM:
            found |= {" ".join(words)} & short
        for k in range(len(words) - NGRAM + 1):
            gram = " ".join(words[k : k + NGRAM])
            if gram in wanted:
                found.add(gram)
    shares = []
    for words in rows:
        if len(words) < NGRAM:
            shares.append(float(bool(words) and " ".join(words) in found))
            continue
        seen = [False] * len(words)
        for k in range(len(words) - NGRAM + 1):
            if " ".join(words[k : k + NGRAM]) in found:
                seen[k : k + NGRAM] = [True] * NGRAM
        shares.append(sum(seen) / len(words))
    return np.array(shares)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, and what it gave."""
    start = perf_counter()
    found = work()
    return perf_counter() - start, found


def scan(megabytes: float, peer_megabytes: float, rows: int, rounds: int) -> dict[str, Any]:
    """Time the scan of the whole corpus, and that of a part beside the peer."""
    evaluated, texts = corpus(megabytes, rows)
    size = float(texts.str.len_bytes().sum()) / 1e6
    speeds = [size / timed(lambda: overlap(evaluated, [texts]))[0] for _ in range(rounds)]
    part = texts[: int(len(texts) * peer_megabytes / size)]
    part_size = float(part.str.len_bytes().sum()) / 1e6
    ours, theirs = [], []
    for _ in range(rounds):
        seconds, found = timed(lambda: overlap(evaluated, [part]))
        ours.append(part_size / seconds)
        seconds, other = timed(lambda: peer(evaluated.to_list(), part.to_list()))
        theirs.append(part_size / seconds)
        if not np.array_equal(found, other):
            raise SystemExit(f"{(found != other).sum()} overlaps differ from the peer's")
    on_part, peer_on_part = spread(ours), spread(theirs)
    return {
        "megabytes": size,
        "texts": len(texts),
        "rows": rows,
        "rounds": rounds,
        "megabytes_per_s": spread(speeds),
        "part_megabytes": part_size,
        "ours_on_part": on_part,
        "peer_on_part": peer_on_part,
        "ratio": on_part["median"] / peer_on_part["median"],
        "values_compared": rows,
    }


def rate(found: NDArray[np.bool_]) -> dict[str, float]:
    """Return a share with its 95 % interval."""
    ends = wilson(np.array([found.sum()]), np.array([found.size]))
    return {
        "count": int(found.sum()),
        "of": found.size,
        "share": float(found.mean()),
        "low": float(ends.low[0]),
        "high": float(ends.high[0]),
    }


def meaning() -> dict[str, Any]:
    """Return the shares of planted texts found and of unrelated rows flagged, by threshold."""
    frame = sentiment()
    embed = load_embedding()
    seconds, vectors = timed(lambda: embed(frame["text"].to_list()))
    known = dict(zip(frame["text"].to_list(), vectors, strict=True))

    def recall(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([known[t] if t in known else embed([t])[0] for t in texts])

    def cosines(rows: pl.DataFrame, train: pl.DataFrame) -> NDArray[np.float32]:
        return near_meaning(rows["text"], [train["text"]], embed=recall).cosine

    planted = json.loads((HERE / "paraphrases.json").read_text(encoding="utf-8"))
    places = {name: k for k, name in enumerate(frame["id"].to_list())}
    result: dict[str, Any] = {"texts_per_s": frame.height / seconds, "thresholds": THRESHOLDS}
    for kind, pairs in planted.items():
        found = near_meaning(pl.Series(list(pairs.values())), [frame["text"]], embed=recall)
        right = found.row == np.array([places[name] for name in pairs])
        words = overlap(pl.Series(list(pairs.values())), [frame["text"]], ngram=NGRAM)
        result[kind] = {
            "found": [rate(found.cosine >= t) for t in THRESHOLDS],
            "right_text": rate(right),
            "found_by_words": rate(words >= 0.7),
        }
    domains = frame["domain"].unique(maintain_order=True).to_list()
    others = np.concatenate(
        [
            cosines(
                frame.filter(pl.col("domain") == domain), frame.filter(pl.col("domain") != domain)
            )
            for domain in domains
        ]
    )
    result["other_domains"] = [rate(others >= t) for t in THRESHOLDS]
    generator = np.random.default_rng(1)
    sources = frame["source_id"].unique(maintain_order=True)
    chosen = sources.sample(fraction=0.2, seed=int(generator.integers(1 << 31)))
    held = frame["source_id"].is_in(chosen.implode())
    duplicates = find_duplicates(frame["text"], similarity=0.5)
    joined = np.isin(duplicates.text, duplicates.pairs.ravel())
    joined |= np.bincount(duplicates.text)[duplicates.text] > 1
    rows, train = frame.filter(held & ~pl.Series(joined)), frame.filter(~held)
    same = cosines(rows, train)
    long = rows["text"].str.split(" ").list.len().to_numpy() >= NGRAM
    result["same_domain"] = [rate(same >= t) for t in THRESHOLDS]
    result["same_domain_long"] = [rate(same[long] >= t) for t in THRESHOLDS]
    result["training_texts"] = train.height
    return result


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    told = result["scan"]
    speed, ours, theirs = (told[k] for k in ("megabytes_per_s", "ours_on_part", "peer_on_part"))
    print(
        f"{told['megabytes']:.0f} MB, {told['rows']:,} rows: {speed['median']:.0f} MB/s "
        f"[{speed['least']:.0f}-{speed['most']:.0f}, {told['rounds']} rounds], "
        f"goal {GOALS['megabytes_per_s']:.0f}"
    )
    print(
        f"{told['part_megabytes']:.0f} MB: ours {ours['median']:.1f} MB/s, a Python set of n-grams "
        f"{theirs['median']:.2f} MB/s [{theirs['least']:.2f}-{theirs['most']:.2f}]; "
        f"ratio {told['ratio']:.0f}; {told['values_compared']:,} overlaps equal"
    )
    found = result.get("meaning")
    if found is None:
        return
    print(f"meaning: {found['texts_per_s']:.0f} texts embedded a second")
    for kind in ("paraphrases", "translations"):
        one = found[kind]
        print(
            f"{kind}: {one['found_by_words']['count']} of {one['found_by_words']['of']} found by "
            f"words; nearest is the right text for {one['right_text']['count']}"
        )
    columns = {
        "paraphrases %": (found["paraphrases"]["found"], 100),
        "translations %": (found["translations"]["found"], 100),
        "alarms /1000, other domains": (found["other_domains"], 1000),
        "same domain": (found["same_domain"], 1000),
        "same domain, 8 words or more": (found["same_domain_long"], 1000),
    }
    print("cosine  " + "  ".join(columns))
    for k, threshold in enumerate(THRESHOLDS):
        cells = [
            f"{scale * rates[k]['share']:.1f} [{scale * rates[k]['low']:.1f}-"
            f"{scale * rates[k]['high']:.1f}]"
            for rates, scale in columns.values()
        ]
        print(f"{threshold:.2f}    " + "  ".join(cells))


def main() -> None:
    """Run both parts and print them."""
    parser = options(__doc__, rounds=3)
    parser.add_argument("--megabytes", type=float, default=200)
    parser.add_argument("--peer-megabytes", type=float, default=30)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--no-meaning", action="store_true", help="time the scan only")
    given = parser.parse_args()
    result: dict[str, Any] = {
        "numpy": np.__version__,
        "polars": pl.__version__,
        "goals": GOALS,
        "scan": scan(given.megabytes, given.peer_megabytes, given.rows, given.rounds),
    }
    if not given.no_meaning:
        result["meaning"] = meaning()
    tell("contamination", result, show, as_json=given.json)


if __name__ == "__main__":
    main()
