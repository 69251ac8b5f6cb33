"""The search beside the documented recipes of ONNX Runtime, NNCF and torchao, in one run.

Run it with `python benchmarks/search.py [--minutes 10] [--json]`. One parent is fine-tuned on the
built-in texts. Our search then has so many minutes to try recipes, which it judges on validation
rows; the other tools make theirs with the defaults of their documentation, each in a process of its
own. What the search ends with and each recipe of the others are asked about the same test rows, one
text at a time, and three numbers are taken of each:

    size       bytes of what holds the weights, over the parent's
    latency    p95 at batch 1 from text on, over the parent's in eager PyTorch fp32, which is timed
               in turn with it in the same process; median of all rounds
    loss       points of accuracy that the domain loses that loses most; 0 where none loses

The hypervolume is the share of the box between (0, 0, 0) and the parent's size, the parent's
latency and `--worst` points that a set is better than in all three. Each recipe of another tool
stands alone, and all of a tool and all of all tools as sets. A recipe that cannot be made here is
told in the tool's own words, and the rest goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from method.rounds import in_turn, options, spread, tell
from method.sides import PEERS, Side, how_to_make, peer_python
from shipworthy.measure.quick_speed import paired_p95_ms
from shipworthy.model import TextClassifier, load_classifier, size_bytes

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.release.project import Project

RECIPES = (
    "onnxruntime: quantize_dynamic",
    "onnxruntime: quant_pre_process, quantize_dynamic",
    "onnxruntime: quant_pre_process, quantize_dynamic QUInt8",
    "onnxruntime: optimize_model, quantize_dynamic",
    "onnxruntime: quant_pre_process, quantize_static",
    "onnxruntime: quant_pre_process, quantize_static QUInt8",
    "nncf: quantize, in OpenVINO",
    "nncf: quantize, in ONNX Runtime",
    "nncf: compress_weights, in OpenVINO",
    "torchao: int8 dynamic",
    "torchao: int8 dynamic, compiled",
    "torchao: int8 weights",
    "torchao: int8 weights, compiled",
    "torchao: int4 weights, compiled",
)
"""As peers/compressors_side.py names them; what stands before the colon is the tool."""
CALIBRATED = 300
"""Texts that the others measure ranges on: the default of nncf.quantize."""
FEWEST_ROWS = 20
"""Test rows below which what a domain loses would be chance; as in the search."""

PROJECT = """\
name: search-benchmark
task: text-classification
model: builtin:minilm
data:
  source: builtin:sentiment
  text: text
  label: label
  id: id
  unit: source_id
  groups: [domain]
  shares: {{test: 0.3, validation: 0.15, calibration: 0.1}}
train: {{epochs: 2, rows: {rows}}}
compress: {{search: true, budget_minutes: {minutes}, keep: 20, recipes: []}}
speed: {{threads: {threads}}}
objective: latency
policy:
  - {{measure: accuracy, relative_to: parent, at_least: -0.02, owner: benchmark}}
  - {{measure: accuracy, slice: {{each: domain}}, relative_to: parent, at_least: -0.04,
     owner: benchmark}}
"""


# -- hypervolume ---------------------------------------------------------------------------------

Point = tuple[float, float, float]


def hypervolume(points: Sequence[Point]) -> float:
    """Return the volume of [0, 1]³ in which some point is at most as large in all three numbers.

    Slabs along the last number: in each, the area under the staircase of the first two.
    """
    inside = sorted((p for p in points if max(p) < 1), key=lambda p: p[2])
    volume = 0.0
    for k, point in enumerate(inside):
        top = inside[k + 1][2] if k + 1 < len(inside) else 1.0
        area, reached = 0.0, 1.0
        for x, y, _ in sorted(inside[: k + 1]):
            if y < reached:
                area += (1 - x) * (reached - y)
                reached = y
        volume += area * (top - point[2])
    return volume


def checked(points: Sequence[Point]) -> float:
    """Return the hypervolume; raise SystemExit where Optuna's is another."""
    from optuna._hypervolume import compute_hypervolume

    found, corner = hypervolume(points), np.ones(3)
    inside = [p for p in points if max(p) < 1]
    other = float(compute_hypervolume(np.array(inside), corner)) if inside else 0.0
    if abs(found - other) > 1e-9:
        raise SystemExit(f"hypervolume of {len(points)} points: {found} here, {other} by Optuna")
    return found


# -- what is compared ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Right:
    """Share of right answers, of all rows and of each domain with enough of them."""

    all: float
    domains: dict[str, float]

    @classmethod
    def of(cls, told: np.ndarray[Any, Any], classes: Sequence[str], rows: pl.DataFrame) -> Right:
        """told: a number for each class, shape (n, k)."""
        right = np.array(classes)[told.argmax(axis=1)] == rows["label"].to_numpy()
        domain = rows["domain"].to_numpy()
        by_domain = {
            str(name): float(right[domain == name].mean())
            for name in sorted(set(domain))
            if (domain == name).sum() >= FEWEST_ROWS
        }
        return cls(float(right.mean()), by_domain)


@dataclass(frozen=True)
class Numbers:
    """What is known of a recipe. Changes are in points of accuracy; latencies over the parent's."""

    size_mb: float
    size_share: float
    latency_share: dict[str, float]
    p95_ms: float
    parent_p95_ms: float
    accuracy: float
    accuracy_change: float
    worst_domain: str
    worst_domain_change: float

    def point(self, worst: float) -> Point:
        """Return size, latency and loss, where 1 is the corner of the box."""
        loss = max(0.0, -self.worst_domain_change)
        return self.size_share, self.latency_share["median"], loss / worst


def numbers(
    size: int, whole: int, times: Sequence[tuple[float, float]], right: Right, parent: Right
) -> Numbers:
    """Return the numbers of a recipe. times: of the parent and of the recipe, by round, ms."""
    change = {name: 100 * (right.domains[name] - parent.domains[name]) for name in parent.domains}
    worst = min(change, key=lambda name: change[name])
    return Numbers(
        size / 1e6,
        size / whole,
        spread([own / theirs for theirs, own in times]),
        statistics.median(own for _, own in times),
        statistics.median(theirs for theirs, _ in times),
        right.all,
        100 * (right.all - parent.all),
        worst,
        change[worst],
    )


# -- ours ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Searched:
    """The parent's folder, those of what the search ended with, and what it tried."""

    parent: Path
    chosen: dict[str, Path]
    document: dict[str, Any]
    rows: dict[str, pl.DataFrame]
    project: Project


def search(given: argparse.Namespace, root: Path) -> Searched:
    """Train the parent and search, as `shipworthy compress` does."""
    from shipworthy.release.artefacts import PARENT, Workshop
    from shipworthy.release.candidate_stages import make_candidates
    from shipworthy.release.failures import Failures
    from shipworthy.release.made import made, part
    from shipworthy.release.project import load_project
    from shipworthy.release.search_rows import search_document

    file = root / "shipworthy.yaml"
    file.write_text(
        PROJECT.format(rows=given.train_rows, minutes=given.minutes, threads=given.threads)
    )
    project = load_project(file)
    shop = Workshop(project, root / "cache")
    data = shop.rows()
    parent = made(shop.train(data), PARENT, "train", seed=project.seed)
    failures = Failures()
    candidates, _ = make_candidates(shop, data, parent, failures)
    failures.stop()
    stage = next(stage for stage in shop.stages if stage.name == "search")
    return Searched(
        parent.folder,
        {one.candidate.name: one.folder for one in candidates},
        search_document(stage.folder),
        {name: part(data, name) for name in ("calibration", "test")},
        project,
    )


def graph(parent: Path, out: Path) -> Path:
    """Write the parent as a graph in fp32, which others start from."""
    from shipworthy.compress import CompressSettings, expand, make

    (recipe,) = expand(CompressSettings(recipes=("onnx",)))
    make(recipe, parent, out)
    return out / "model.onnx"


# -- theirs --------------------------------------------------------------------------------------


def started(
    given: argparse.Namespace, parent: TextClassifier, files: dict[str, str], root: Path
) -> tuple[dict[str, Side], dict[str, str]]:
    """Let each recipe be made in a process of its own; return those, and why others were not."""
    sides: dict[str, Side] = {}
    failed: dict[str, str] = {}
    for number, name in enumerate(RECIPES):
        if given.only and not name.startswith(tuple(given.only)):
            continue
        work = root / f"peer-{number}"
        work.mkdir()
        asked = {
            **files,
            "name": name,
            "recipe": name,
            "parent": str(parent.folder),
            "work": str(work),
            "max_length": parent.info.max_length,
            "threads": given.threads,
        }
        command = [str(given.peer), str(PEERS / "compressors_side.py")]
        environment = {
            "HF_HUB_OFFLINE": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"),
        }
        try:
            side = Side(command, asked, root / f"peer-{number}.log", **environment)
        except SystemExit as ended:  # a process that fell over takes no other with it
            failed[name] = str(ended)
            continue
        if "failed" in side.about:
            failed[name] = side.about["failed"]
            side.close()
        else:
            sides[name] = side
    return sides, failed


# -- the run -------------------------------------------------------------------------------------


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Search, let the others make theirs, and ask and time everyone."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        found = search(given, root)
        rows = found.rows["test"]
        if given.eval_rows is not None:
            rows = rows.sample(min(given.eval_rows, rows.height), seed=1, shuffle=True)
        texts = rows["text"].to_list()
        parent = load_classifier(found.parent, threads=given.threads, batch="one")
        ours = {
            name: load_classifier(folder, threads=given.threads, batch="one")
            for name, folder in found.chosen.items()
        }
        right = {
            name: Right.of(model.log_probabilities(rows), model.classes, rows)
            for name, model in {"parent": parent, **ours}.items()
        }
        sizes = {name: size_bytes(folder) for name, folder in found.chosen.items()}
        sides: dict[str, Side] = {}
        failed: dict[str, str] = {}
        if given.peer.exists():
            sides, failed = started(given, parent, _files(given, found, texts, root), root)
        for name, side in list(sides.items()):
            try:
                told = np.load(side.ask("answers")["file"])
            except SystemExit as ended:  # made, but it cannot answer every text
                failed[name] = str(ended)
                del sides[name]
                continue
            right[name] = Right.of(told, parent.classes, rows)
            sizes[name] = side.about["bytes"]
        times = _times(parent, ours, sides, texts, given.rounds)
        for side in sides.values():
            side.close()
        whole = size_bytes(found.parent)
        known = {
            name: numbers(sizes[name], whole, times[name], right[name], right["parent"])
            for name in times
        }
        versions = {k: v for side in sides.values() for k, v in side.about["versions"].items()}
    return {
        "train_rows": given.train_rows,
        "minutes": given.minutes,
        "threads": given.threads,
        "rounds": given.rounds,
        "test_rows": rows.height,
        "worst_points": given.worst,
        "parent": {"size_mb": whole / 1e6, "accuracy": right["parent"].all,
                   "accuracy_by_domain": right["parent"].domains},
        "tried": len(found.document["trials"]),
        "search_seconds": found.document["seconds"],
        "versions": versions,
        "ours": {name: asdict(known[name]) for name in ours},
        "theirs": {name: asdict(known[name]) for name in sides},
        "failed": failed,
        "hypervolume": _volumes(
            {name: known[name].point(given.worst) for name in known}, list(ours), list(sides)
        ),
    }  # fmt: skip


def _files(
    given: argparse.Namespace, found: Searched, texts: list[str], root: Path
) -> dict[str, str]:
    calibration = found.rows["calibration"]
    drawn = calibration.sample(min(given.calibrated, calibration.height), seed=1, shuffle=True)
    for name, told in (("calibration", drawn["text"].to_list()), ("texts", texts)):
        (root / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")
    return {
        "calibration": str(root / "calibration.json"),
        "texts": str(root / "texts.json"),
        "graph": str(graph(found.parent, root / "graph")),
    }


def _times(
    parent: TextClassifier,
    ours: dict[str, TextClassifier],
    sides: dict[str, Side],
    texts: list[str],
    rounds: int,
) -> dict[str, list[tuple[float, float]]]:
    """Return p95 of the parent and of each, ms, by round; a round draws the same texts for all."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*ours, *sides)}
    for name in in_turn(list(times), rounds):
        seed = len(times[name])
        if name in ours:
            times[name].append(paired_p95_ms(parent, ours[name], texts, seed=seed))
        else:
            told = sides[name].ask(f"time {seed}")
            times[name].append((told["parent_ms"], told["own_ms"]))
    return times


def _volumes(
    points: dict[str, Point], ours: Sequence[str], theirs: Sequence[str]
) -> dict[str, Any]:
    """Return hypervolumes of each alone and of sets."""
    tools = sorted({name.split(":")[0] for name in theirs})
    alone = {name: checked([point]) for name, point in points.items()}
    return {
        "search": checked([points[name] for name in ours]),
        "best_of_search_alone": max(alone[name] for name in ours),
        "best_of_others_alone": max((alone[name] for name in theirs), default=None),
        "alone": alone,
        "tools": {
            tool: checked([points[name] for name in theirs if name.startswith(f"{tool}:")])
            for tool in tools
        },
        "all_tools": checked([points[name] for name in theirs]),
        "not_beaten": [name for name in theirs if not any(
            all(a <= b for a, b in zip(points[one], points[name], strict=True)) for one in ours
        )],
    }  # fmt: skip


def show(result: dict[str, Any]) -> None:
    """Print the result as lines for people."""
    volumes = result["hypervolume"]
    print(
        f"{result['test_rows']:,} test rows; {result['threads']} threads, {result['rounds']} "
        f"rounds; {result['tried']} recipes tried in {result['search_seconds'] / 60:.1f} minutes"
    )
    print(
        f"parent: {result['parent']['size_mb']:.1f} MB, accuracy "
        f"{100 * result['parent']['accuracy']:.1f} %, {_parents(result)}"
    )
    if result["versions"]:
        print(", ".join(f"{name} {version}" for name, version in result["versions"].items()))
    print(
        f"{'recipe':62}{'MB':>6}{'share':>7}{'p95, ms':>9}{'of the parent’s':>24}"
        f"{'accuracy':>10}  {'worst domain':24}{'volume':>7}"
    )
    for side in ("ours", "theirs"):
        for name, m in result[side].items():
            share = m["latency_share"]
            told = f"{share['median']:.2f} [{share['least']:.2f}-{share['most']:.2f}]"
            worst = f"{m['worst_domain_change']:+.1f} {m['worst_domain']}"
            print(
                f"{name:62}{m['size_mb']:6.1f}{m['size_share']:7.3f}{m['p95_ms']:9.2f}{told:>24}"
                f"{m['accuracy_change']:+10.1f}  {worst:24}{volumes['alone'][name]:7.3f}"
            )
    for name, why in result["failed"].items():
        print(f"{name}: not made: {why}")
    corner = f"the parent's size and latency, {result['worst_points']:g} points"
    print(f"hypervolume up to {corner}: {volumes['search']:.3f} of the search")
    if not result["theirs"]:
        if not result["failed"]:
            print(f"the others: not run; {how_to_make('compressors')}")
        return
    best = volumes["best_of_others_alone"]
    more = "more" if volumes["search"] > best else "NOT more"
    print(
        f"{more} than each recipe of the others alone ({best:.3f} at most); the best of the search "
        f"alone {volumes['best_of_search_alone']:.3f}"
    )
    sets = {**volumes["tools"], "all of them together": volumes["all_tools"]}
    print("as sets:", ", ".join(f"{tool} {volume:.3f}" for tool, volume in sets.items()))
    left = volumes["not_beaten"]
    print("recipes of the others that none of ours equals or beats in all three numbers at once:",
          "; ".join(left) or "none")  # fmt: skip


def _parents(result: dict[str, Any]) -> str:
    """Return the parent's p95 in our process and in theirs, where each is timed anew."""
    told = []
    for side, words in (("ours", "here"), ("theirs", "beside the others")):
        found = [m["parent_p95_ms"] for m in result[side].values()]
        if found:
            told.append(f"{statistics.median(found):.1f} ms {words}")
    return "p95 " + " and ".join(told)


def main() -> None:
    """Run and print."""
    parser = options(__doc__, rounds=5)
    parser.add_argument("--train-rows", type=int, default=4000, help="rows the parent learns from")
    parser.add_argument("--minutes", type=float, default=10.0, help="budget of the search")
    parser.add_argument("--eval-rows", type=int, default=None, help="test rows; all of them")
    parser.add_argument("--calibrated", type=int, default=CALIBRATED, help="texts of the others")
    parser.add_argument("--worst", type=float, default=10.0, help="points of the box's corner")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[], help="recipes that begin so")
    parser.add_argument(
        "--peer", type=Path, default=peer_python("compressors"), help="python with the other tools"
    )
    given = parser.parse_args()
    tell("search", run(given), show, as_json=given.json)


if __name__ == "__main__":
    main()
