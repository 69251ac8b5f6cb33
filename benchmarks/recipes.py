"""What each recipe does to each domain of the built-in texts, over several seeds.

Run it with `python benchmarks/recipes.py [--json] [--markdown FILE] [--work DIR]`. With each seed
the built-in encoder is fine-tuned anew and every recipe is made of it, so that what is said is
about the recipe and not about one model. All are asked about the same test rows, each paired with
its own parent. A change comes with the interval that holds the scatter of the seeds and that of the
rows, by unit (Satterthwaite's degrees of freedom); domains are claimed together, at 1 - 0.05 / 4
each.

What is finished lies in the work folder, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from method.rounds import options, tell
from shipworthy.compress import CompressSettings, Recipe, expand, make
from shipworthy.compress.material import Material
from shipworthy.core.files import write_atomically
from shipworthy.core.progress import progress
from shipworthy.data import minilm
from shipworthy.data.rows import Rows, load_rows
from shipworthy.data.settings import DataSettings
from shipworthy.model import load_classifier, size_bytes
from shipworthy.train import TrainSettings, fit
from shipworthy.train.race import DEFAULT, Standing, compare

COLUMNS: dict[str, Any] = {
    "source": "builtin:sentiment", "text": "text", "label": "label", "id": "id",
    "unit": "source_id", "groups": ["domain"],
    "shares": {"test": 0.25, "validation": 0.05, "calibration": 0.1},
}  # fmt: skip
OVERALL, DOMAIN = -0.015, -0.025
"""The margins of the demo's policy: of all rows, and of each domain."""


def mended(*steps: Any, balance: str = "rows") -> dict[str, Any]:
    """Return a recipe of steps and a training that makes good for them."""
    return {"steps": [*steps, {"recover": {"balance": balance}}]}


RECIPES: tuple[Any, ...] = (
    "bf16",
    "int8",
    {"int8": {"ranges": "static"}},
    {"int8": {"ranges": "static", "balance": "groups"}},
    {"int8": {"ranges": "static", "channels": "tensor"}},
    {"steps": [{"int8": {"ranges": "static", "channels": "tensor"}}, {"threshold": {}}]},
    {"steps": [{"quantization_aware": {}}, "int8"]},
    {"prune": 0.3},
    {"prune": 0.5},
    {"prune": {"share": 0.5, "method": "wanda"}},
    {"prune": {"share": 0.5, "method": "wanda", "pattern": "2:4"}},
    {"neurons": 0.25},
    {"neurons": {"share": 0.25, "balance": "groups"}},
    mended({"neurons": 0.5}),
    mended({"neurons": {"share": 0.5, "balance": "groups"}}, balance="groups"),
    {"heads": 0.25},
    {"heads": {"share": 0.25, "balance": "groups"}},
    {"low_rank": 0.5},
    {"vocabulary": {"words": 8000}},
    mended({"layers": [0, 2, 3, 5]}),
    {"distill": {"layers": 3}},
)


def parts(test_rows: int) -> tuple[Rows, dict[str, pl.DataFrame]]:
    """Read the built-in texts; the rows are the same for every seed of a training.

    test_rows: that are asked about, at least; whole units.
    """
    rows = load_rows(DataSettings.model_validate(COLUMNS), seed=0)
    names = ("train", "calibration", "test")
    part = {name: rows.frame.filter(rows.splits.split == name) for name in names}
    units = part["test"]["source_id"].unique(maintain_order=True).shuffle(seed=0).to_list()
    sizes = dict(part["test"]["source_id"].value_counts().iter_rows())
    last = int(np.searchsorted(np.cumsum([sizes[unit] for unit in units]), test_rows)) + 1
    part["test"] = part["test"].filter(pl.col("source_id").is_in(units[:last]))
    return rows, part


def right(folder: Path, test: pl.DataFrame) -> NDArray[np.int64]:
    """Return for each row whether it is answered rightly, as 0 or 1."""
    model = load_classifier(folder, threads=1)
    told = np.array(model.classes)[model.log_probabilities(test).argmax(axis=1)]
    return (told == test["label"].to_numpy()).astype(np.int64)


def one_seed(seed: int, given: argparse.Namespace, work: Path) -> None:
    """Train a parent and make and ask every recipe of it; what is there already is left alone."""
    rows, part = parts(given.test_rows)
    place = work / f"seed-{seed}"
    training = TrainSettings(epochs=1, rows=given.train_rows)
    wanted = [recipe for recipe in expand(CompressSettings(recipes=RECIPES))]
    files = {
        name: place / "right" / f"{name}.json" for name in [DEFAULT, *(r.name for r in wanted)]
    }
    if all(file.is_file() for file in files.values()):
        return
    parent = place / "parent" / "model"
    if not files[DEFAULT].is_file():
        shutil.rmtree(place, ignore_errors=True)
        parent.parent.mkdir(parents=True)
        fit(
            minilm(), part["train"], part["calibration"], text="text", label="label",
            classes=rows.classes, settings=training, seed=seed, out=parent, work=place / "training",
            unit="source_id",
        )  # fmt: skip
        _keep(files[DEFAULT], parent, part["test"])
    with progress(f"recipes, seed {seed}", total=len(wanted), unit="recipes") as step:
        for recipe in wanted:
            if not files[recipe.name].is_file():
                folder = place / "made"
                shutil.rmtree(folder, ignore_errors=True)
                _make(recipe, parent, folder, part, training, seed, place)
                _keep(files[recipe.name], folder / "model", part["test"])
            step(1, recipe.name)


def _make(
    recipe: Recipe, parent: Path, folder: Path, part: dict[str, pl.DataFrame],
    training: TrainSettings, seed: int, place: Path,
) -> None:  # fmt: skip
    train = part["train"]
    if training.rows is not None:
        train = train.sample(min(training.rows, train.height), seed=seed)
    material = Material(
        train, part["calibration"], text="text", label="label", groups=("domain",),
        training=training.model_copy(update={"rows": None}), seed=seed, work=folder / "work",
        cache=place / "cache", unit="source_id",
    )  # fmt: skip
    folder.mkdir(parents=True)
    make(recipe, parent, folder / "model", material=material)


def _keep(file: Path, folder: Path, test: pl.DataFrame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {"right": right(folder, test).tolist(), "bytes": size_bytes(folder)}
    write_atomically(file, json.dumps(told))


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Do what is not done yet and compare."""
    for seed in range(given.seeds) if given.only is None else (given.only,):
        one_seed(seed, given, given.work)
    if given.only is not None:
        return {}
    _, part = parts(given.test_rows)
    test = part["test"]
    names = [DEFAULT, *(recipe.name for recipe in expand(CompressSettings(recipes=RECIPES)))]
    told = {
        name: [
            json.loads((given.work / f"seed-{seed}" / "right" / f"{name}.json").read_text("utf-8"))
            for seed in range(given.seeds)
        ]
        for name in names
    }
    answers = {name: np.stack([one["right"] for one in found]) for name, found in told.items()}
    units = np.unique(test["source_id"].to_numpy(), return_inverse=True)[1]
    domains = sorted(test["domain"].unique().to_list())
    by = {"all": _standings(answers, units, np.ones(test.height, bool), 0.95)}
    for domain in domains:
        here = test["domain"].to_numpy() == domain
        by[domain] = _standings(answers, units, here, 1 - 0.05 / len(domains))
    rows = {"all": test.height, **{d: int((test["domain"] == d).sum()) for d in domains}}
    accuracy = {
        name: float(answers[DEFAULT][:, _here(test, name)].mean()) for name in ("all", *domains)
    }
    return {
        "seeds": given.seeds,
        "train_rows": given.train_rows,
        "rows": rows,
        "margins": {"all": OVERALL, "domain": DOMAIN},
        "parent": {"accuracy": accuracy, "size_mb": told[DEFAULT][0]["bytes"] / 1e6},
        "recipes": [
            {
                "name": name,
                "size_mb": float(np.mean([one["bytes"] for one in told[name]])) / 1e6,
                "changes": {group: _change(found[name]) for group, found in by.items()},
                **_claims({group: found[name] for group, found in by.items()}),
            }
            for name in names[1:]
        ],
    }


def _here(test: pl.DataFrame, name: str) -> NDArray[np.bool_]:
    if name == "all":
        return np.ones(test.height, bool)
    found: NDArray[np.bool_] = test["domain"].to_numpy() == name
    return found


def _standings(
    answers: dict[str, NDArray[np.int64]], units: NDArray[np.int64], here: NDArray[np.bool_],
    confidence: float,
) -> dict[str, Standing]:  # fmt: skip
    told = compare(
        {name: table[:, here] for name, table in answers.items()},
        tokens=0, units=units[here], confidence=confidence,
    )  # fmt: skip
    return {one.recipe: one for one in told.standings}


def _change(one: Standing) -> dict[str, float]:
    return {"value": one.change, "low": one.low, "high": one.high, "df": one.df}


def _claims(by: dict[str, Standing]) -> dict[str, Any]:
    """Return what may be claimed of a recipe: on the average, and of which domains."""
    overall = by["all"]
    domains = {name: one for name, one in by.items() if name != "all"}
    return {
        "average": _answer(overall, OVERALL),
        "domains": {name: _answer(one, DOMAIN) for name, one in domains.items()},
        "hurt": [name for name, one in domains.items() if one.high < 0],
        "helped": [name for name, one in domains.items() if one.low > 0],
    }


def _answer(one: Standing, margin: float) -> str:
    if one.low >= margin:
        return "pass"
    return "fail" if one.high < margin else "cannot tell"


def show(result: dict[str, Any]) -> None:
    """Print the table for people."""
    print(table(result))


def table(result: dict[str, Any]) -> str:
    """Return the table as Markdown: a recipe a line, points against its parent."""
    groups = list(result["rows"])
    head = ["recipe", "MB", *groups, "average", "domains that fail", "lose", "gain"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    parent = result["parent"]
    cells = [f"{100 * parent['accuracy'][group]:.1f} %" for group in groups]
    lines.append(
        "| " + " | ".join(["the parent", f"{parent['size_mb']:.1f}", *cells, *[""] * 4]) + " |"
    )
    for one in result["recipes"]:
        cells = [_points(one["changes"][group]) for group in groups]
        lists = (_failing(one), one["hurt"], one["helped"])
        told = [one["average"], *(", ".join(names) for names in lists)]
        lines.append(
            "| " + " | ".join([f"`{one['name']}`", f"{one['size_mb']:.1f}", *cells, *told]) + " |"
        )
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    """Return the page of the table: how it came about, the table, and what it says."""
    recipes, rows = result["recipes"], result["rows"]
    said = {
        "pass on the average and fail a domain": [
            f"`{one['name']}` ({', '.join(_failing(one))})"
            for one in recipes
            if one["average"] == "pass" and _failing(one)
        ],
        "pass on the average, and for one domain or more the rows cannot tell": [
            f"`{one['name']}` ({', '.join(_open(one))})"
            for one in recipes
            if one["average"] == "pass" and not _failing(one) and _open(one)
        ],
        "pass on the average and in every domain": [
            f"`{one['name']}`"
            for one in recipes
            if one["average"] == "pass" and not _failing(one) and not _open(one)
        ],
        "fail on the average": [f"`{one['name']}`" for one in recipes if one["average"] == "fail"],
        "take answers from a domain": [
            f"`{one['name']}` ({', '.join(one['hurt'])})" for one in recipes if one["hurt"]
        ],
        "help a domain": [
            f"`{one['name']}` ({', '.join(one['helped'])})" for one in recipes if one["helped"]
        ],
    }
    margins = {name: f"{100 * x:g}".replace("-", "−") for name, x in result["margins"].items()}
    counts = ", ".join(f"{name} {count:,}" for name, count in rows.items() if name != "all")
    told = f"""# What each recipe does to each domain

Made by `python benchmarks/recipes.py --markdown docs/results/recipes.md`.

The built-in encoder, fine-tuned on {result["train_rows"]:,} of the built-in texts with
{result["seeds"]} seeds; every recipe made anew of each of the {result["seeds"]} parents;
{rows["all"]:,} test rows, the same for all ({counts}). Accuracy in points against the recipe's own
parent, mean over seeds. The interval holds the scatter of the seeds and of the rows, by source of
the text: 95 % for all rows, and 95 % together for the domains (Bonferroni). `average` holds all
rows against a margin of {margins["all"]} points; a domain fails where its whole interval lies below
{margins["domain"]}. A domain loses or gains where its interval leaves out 0. Figures of one kind of
model on one kind of text: measure yours.
"""
    lines = [
        told,
        table(result),
        "",
        "## What it says",
        "",
        "Of these recipes",
        "",
    ]
    for what, who in said.items():
        lines.append(f"* {what}: {', '.join(who) if who else 'none'}")
    return "\n".join(lines) + "\n"


def _failing(one: dict[str, Any]) -> list[str]:
    return [name for name, answer in one["domains"].items() if answer == "fail"]


def _open(one: dict[str, Any]) -> list[str]:
    return [name for name, answer in one["domains"].items() if answer == "cannot tell"]


def _points(change: dict[str, float]) -> str:
    value, low, high = (100 * change[key] + 0.0 for key in ("value", "low", "high"))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]".replace("-", "−")


def main() -> None:
    """Run and print; write the table where it is asked for."""
    parser = options(__doc__, rounds=1)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", type=int, default=None, help="make this seed, compare nothing")
    parser.add_argument("--train-rows", type=int, default=3000)
    parser.add_argument("--test-rows", type=int, default=3000)
    parser.add_argument("--work", type=Path, default=Path(".shipworthy/recipes"))
    parser.add_argument("--markdown", type=Path, default=None, help="write the table to this file")
    given = parser.parse_args()
    found = run(given)
    if not found:
        return
    if given.markdown is not None:
        write_atomically(given.markdown, page(found))
    tell("recipes", found, show, as_json=given.json)


if __name__ == "__main__":
    main()
