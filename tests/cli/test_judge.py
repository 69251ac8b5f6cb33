"""`shipworthy judge` on files, from the arguments to the verdict, the page and the document."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from answers import GROUPS, answers, candidate, parent
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binomtest, norm
from verb import COLUMNS, PLAIN, POLICY, Said, save, say, written

from shipworthy.release.load import load_run

BASE = parent(2000)
# What the flips of 2,000 rows mean for a limit of −2 points.
VERDICTS = {
    "ship": (dict(lost=4, gained=4), 0),
    "hold": (dict(lost=80), 3),
    "undecided": (dict(lost=30), 4),
}


def judged(
    capsys: pytest.CaptureFixture[str],
    base: pl.DataFrame,
    other: pl.DataFrame,
    *more: str,
    policy: str = PLAIN,
) -> Said:
    save(base, Path("base.csv"))
    save(other, Path("new.csv"))
    Path("policy.yaml").write_text(policy, encoding="utf-8")
    return say(capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS, *more)


@pytest.mark.parametrize("verdict", VERDICTS)
def test_the_verdict_is_said_and_is_the_exit_code(
    verdict: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    flips, code = VERDICTS[verdict]
    said = judged(capsys, BASE, candidate(BASE, **flips))
    assert said.code == code
    assert said.err == ""
    first = said.out.strip().splitlines()[0]
    assert verdict.upper() in first
    assert "new" in first
    assert "report.html" in said.out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert verdict in page.lower()
    assert "new" in page


def test_the_document_holds_what_is_promised(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    # Eight of the 500 rows of one group: it may have lost more than 3 points.
    other = candidate(BASE, lost=8, within="news")
    said = judged(
        capsys, BASE, other, "--json", "--out", "kept", "--group", "domain", policy=POLICY
    )
    document = said.json
    assert set(document) >= {
        "run", "folder", "verdict", "exit_code", "candidates", "limits", "report",
        "cached_stages", "seconds",
    }  # fmt: skip
    assert said.code == document["exit_code"] == 4
    assert document["verdict"] == "undecided"
    assert document["folder"] == "kept"
    assert document["report"] == "kept/report.html"
    assert (folder / "kept" / "report.html").is_file()
    # The page went into the folder, so none lies beside it.
    assert not (folder / "report.html").exists()
    assert document["cached_stages"] == 0
    assert document["seconds"] > 0
    for limit in document["limits"]:
        assert set(limit) >= {
            "measure", "slice", "candidate", "value", "low", "high", "bound", "decision",
            "reason", "n_needed", "owner",
        }  # fmt: skip
    (one,) = document["candidates"]
    assert {limit["candidate"] for limit in document["limits"]} == {one["id"]}
    assert len(document["limits"]) == 2 + len(GROUPS)

    # Pairs counted by hand.
    pairs = {i: (y == p, g) for i, y, p, g in answers(BASE)}
    new = {i: y == p for i, y, p, _ in answers(other)}
    lost = {g: 0 for g in ("", *GROUPS)}
    gained, rows = dict(lost), dict(lost)
    for i, (was, group) in pairs.items():
        for g in ("", group):
            rows[g] += 1
            lost[g] += was and not new[i]
            gained[g] += new[i] and not was
    assert (one["turned_wrong"], one["turned_right"]) == (lost[""], gained[""]) == (8, 0)
    level, change, *groups = document["limits"]
    right = sum(new.values())
    exact = binomtest(right, 2000).proportion_ci(0.95, method="exact")
    assert (level["value"], level["n"]) == (right / 2000, 2000)
    assert (level["low"], level["high"]) == pytest.approx((exact.low, exact.high), abs=1e-9)
    tail = binomtest(right, 2000, 0.8, alternative="greater").pvalue
    assert level["p_pass"] == pytest.approx(tail, rel=1e-6)
    assert (level["decision"], level["owner"], level["tier"]) == ("pass", "ml-lead", "critical")
    for limit in (change, *groups):
        g = limit["slice"].get("domain", "")
        assert limit["slice"] == ({"domain": g} if g else {})
        assert (limit["n"], limit["relative_to"]) == (rows[g], "parent")
        assert limit["value"] == pytest.approx((gained[g] - lost[g]) / rows[g], abs=1e-12)
        low, high, p = tango_by_likelihood(lost[g], gained[g], rows[g], limit["bound"])
        assert (limit["low"], limit["high"]) == pytest.approx((low, high), abs=1e-6)
        assert limit["p_pass"] == pytest.approx(p, rel=1e-4)
        passes = p <= 0.025
        assert limit["decision"] == ("pass" if passes else "cannot_tell")
        assert (limit["n_needed"] is None) == passes
        assert limit["reason"] == ("" if passes else "across_bound")
    assert [limit["slice"]["domain"] for limit in groups] == sorted(GROUPS)
    assert {limit["owner"] for limit in groups} == {"fairness"}
    (asked,) = [limit for limit in groups if limit["decision"] == "cannot_tell"]
    assert asked["slice"] == {"domain": "news"}
    assert asked["n_needed"] > 500


def tango_by_likelihood(lost: int, gained: int, n: int, bound: float) -> tuple[float, float, float]:
    """Tango's interval and one-sided p from the restricted likelihood, maximised numerically."""

    def z(delta: float) -> float:
        def unlikely(q: float) -> float:
            cells = ((lost, q), (gained, q + delta), (n - lost - gained, 1 - 2 * q - delta))
            return -sum(count * math.log(share) for count, share in cells if count)

        low, high = max(0.0, -delta), (1 - delta) / 2
        edge = 1e-12
        best = minimize_scalar(
            unlikely, bounds=(low + edge, high - edge), method="bounded", options={"xatol": 1e-13}
        )
        # With an empty cell the maximum may lie on the edge, where "bounded" never looks.
        at = min((best.x, low + edge), key=unlikely)
        spread = math.sqrt(n * (2 * at + delta - delta**2))
        return (gained - lost - n * delta) / spread

    middle, z0 = (gained - lost) / n, norm.ppf(0.975)
    low = brentq(lambda d: z(d) - z0, -0.5, middle - 1e-9, xtol=1e-12)
    high = brentq(lambda d: z(d) + z0, middle + 1e-9, 0.5, xtol=1e-12)
    return low, high, float(norm.sf(z(bound)))


def test_the_document_names_the_best_of_several(capsys: pytest.CaptureFixture[str]) -> None:
    save(BASE, Path("base.csv"))
    names = {"worse": dict(lost=90), "better": dict(gained=9), "alike": dict(lost=1)}
    for name, flips in names.items():
        save(candidate(BASE, **flips), Path(f"{name}.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    said = say(
        capsys, "judge", "base.csv", *(f"{n}.csv" for n in names), "--policy", "policy.yaml",
        *COLUMNS, "--json",
    )  # fmt: skip
    found = {c["name"]: c for c in said.json["candidates"]}
    assert [c["name"] for c in said.json["candidates"]] == list(names)
    assert {n: c["verdict"] for n, c in found.items()} == {
        "worse": "hold", "better": "ship", "alike": "ship",
    }  # fmt: skip
    assert said.json["best"] == found["better"]["id"]
    assert said.code == 0


@pytest.mark.parametrize("kind", [".jsonl", ".parquet"])
def test_other_kinds_of_files_and_another_order_say_the_same(
    kind: str, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    other = candidate(BASE, lost=12, gained=3)
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    documents = []
    for suffix, shuffled in (
        (".csv", other),
        (kind, other.sample(fraction=1, shuffle=True, seed=3)),
    ):
        save(BASE, Path(f"base{suffix}"))
        save(shuffled, Path(f"new{suffix}"))
        documents.append(
            say(
                capsys, "judge", f"base{suffix}", f"new{suffix}", "--policy", "policy.yaml",
                *COLUMNS, "--json",
            ).json
        )  # fmt: skip
    first, second = documents
    assert first["parent"]["artefact_digest"] == second["parent"]["artefact_digest"]
    own = {"candidate", "measurement"}
    for one, two in zip(first["limits"], second["limits"], strict=True):
        assert {k: one[k] for k in one if k not in own} == {k: two[k] for k in two if k not in own}


def test_several_classes_with_a_score_column_each(capsys: pytest.CaptureFixture[str]) -> None:
    n = 900
    generator = np.random.default_rng(5)
    names = np.array(["neg", "neu", "pos"])
    label = np.arange(n) % 3
    for file, wrong in (("base", 60), ("new", 66)):
        answer = label.copy()
        answer[:wrong] = (label[:wrong] + 1) % 3
        p = generator.dirichlet(np.ones(3), n) * 0.2
        p[np.arange(n), answer] += 0.8
        table = pl.DataFrame({"y": names[label], "p": names[answer], "a": p[:, 0], "b": p[:, 1]})
        save(table.with_columns(c=pl.Series(p[:, 2])), Path(f"{file}.jsonl"))
    # p holds the scores of the candidate, which was written last.
    expected = -np.log(p[np.arange(n), label]).mean()
    Path("policy.yaml").write_text(
        "- {measure: log_loss, at_most: 1.0}\n- {measure: balanced_accuracy, at_least: 0.5}\n",
        encoding="utf-8",
    )
    said = say(
        capsys, "judge", "base.jsonl", "new.jsonl", "--policy", "policy.yaml", "--label", "y",
        "--prediction", "p", "--score", "neg=a", "--score", "neu=b", "--score", "pos=c", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    loss, recall = said.json["limits"]
    assert loss["value"] == pytest.approx(expected, rel=1e-9)
    # The first 66 rows are wrong, 22 of each class of 300.
    assert recall["value"] == pytest.approx(1 - 22 / 300, abs=1e-12)


def test_units_are_counted_and_make_the_interval_wider(capsys: pytest.CaptureFixture[str]) -> None:
    # All rows of an author turn wrong together: 12 authors, not 60 rows.
    turned = pl.col("author").is_in(list(range(0, 240, 20))) & (pl.col("y") == pl.col("p"))
    other = BASE.with_columns(p=pl.when(turned).then(1 - pl.col("y")).otherwise(pl.col("p")))
    save(BASE, Path("base.csv"))
    save(other, Path("new.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    rows, units = (
        say(
            capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS, *more,
            "--json",
        ).json["limits"][0]
        for more in ((), ("--unit", "author"))
    )  # fmt: skip
    assert (rows["n"], rows["n_units"]) == (2000, 2000)
    assert (units["n"], units["n_units"]) == (2000, 400)
    assert units["value"] == rows["value"]
    assert units["high"] - units["low"] > 1.5 * (rows["high"] - rows["low"])


def test_chinese_table_page_and_next_step(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    flips, _ = VERDICTS["undecided"]
    said = judged(capsys, BASE, candidate(BASE, **flips), "--lang", "zh")
    assert "未定" in said.out
    assert "再标注" in said.out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert 'lang="zh-Hans"' in page
    assert "未定" in page


def test_out_and_report_together_write_both(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    said = judged(
        capsys, BASE, candidate(BASE, lost=4), "--out", "deep/kept", "--report", "pages/page.html",
        "--json",
    )  # fmt: skip
    assert said.json["report"] == "pages/page.html"
    files = written(folder)
    assert files["pages/page.html"] == files["deep/kept/report.html"]
    assert set(files) >= {
        f"deep/kept/{name}"
        for name in ("measurements.parquet", "decisions.parquet", "verdict.json", "report.html")
    }
    assert load_run(folder / "deep" / "kept").verdict.value == said.json["verdict"]


def test_the_ledger_gets_two_lines_a_look_and_none_for_a_rerun(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    save(BASE, Path("base.csv"))
    save(candidate(BASE, lost=4), Path("new.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    told = [
        say(
            capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", *COLUMNS,
            "--ledger", "looks.jsonl", "--json", *more,
        ).json
        for more in ((), (), ("--unit", "author"))
    ]  # fmt: skip
    assert [d["opening"] for d in told] == [1, 1, 2]
    assert told[2]["alpha"] == told[0]["alpha"] / 2
    lines = [json.loads(line) for line in Path("looks.jsonl").read_text().splitlines()]
    kinds = [line["kind"] for line in lines]
    assert kinds == ["nomination", "opening", "selftest", "nomination", "opening"]


def test_a_group_of_a_few_rows_never_passes_and_never_fails(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """3 or 19 rows, all right or all wrong: cannot tell."""
    base, other = BASE, candidate(BASE, lost=2)
    right = pl.col("i").is_in([f"r{k}" for k in range(100)])
    base = base.with_columns(p=pl.when(right).then("y").otherwise("p"))
    start, small = 0, {}
    for rows in (3, 19):
        for turn in ("right", "wrong"):
            small[f"{rows} {turn}"] = rows
            here = pl.col("i").is_in([f"r{k}" for k in range(start, start + rows)])
            start += rows
            base = base.with_columns(
                domain=pl.when(here).then(pl.lit(f"{rows} {turn}")).otherwise("domain")
            )
            answer = pl.col("y") if turn == "right" else 1 - pl.col("y")
            other = other.with_columns(p=pl.when(here).then(answer).otherwise("p"))
    said = judged(capsys, base, other, "--json", "--group", "domain", policy=POLICY)
    found = {d["slice"].get("domain"): d for d in said.json["limits"]}
    for name, rows in small.items():
        assert found[name]["n"] == rows
        assert (found[name]["decision"], found[name]["reason"]) == ("cannot_tell", "too_few_rows")
    assert found["news"]["decision"] == "pass"
    assert (said.json["verdict"], said.code) == ("undecided", 4)


def test_without_groups_and_units_the_whole_set_is_judged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = BASE.select("y", "p")
    save(base, Path("base.csv"))
    save(base.with_columns(p=pl.col("p").gather(range(2000))), Path("new.csv"))
    Path("policy.yaml").write_text(PLAIN, encoding="utf-8")
    said = say(
        capsys, "judge", "base.csv", "new.csv", "--policy", "policy.yaml", "--label", "y",
        "--prediction", "p",
    )  # fmt: skip
    assert (said.code, said.err) == (0, "")
    assert "2,000" in said.out
