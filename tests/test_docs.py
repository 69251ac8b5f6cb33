import ast
import re
from pathlib import Path
from typing import get_args

import polars as pl
import pytest

from shipworthy.core import errors
from shipworthy.core.yaml import parse_yaml
from shipworthy.measure.catalogue import MEASURES, Need
from shipworthy.measure.needed import paired_rows_needed
from shipworthy.measure.power import zero_event_rows, zero_event_rows_rate
from shipworthy.release.judge import judge
from shipworthy.release.policy import LimitSettings, PolicySettings, load_policy

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
POLICY = (ROOT / "docs/policy.md").read_text("utf-8")
METHOD = (ROOT / "docs/method.md").read_text("utf-8")
YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _policies() -> list[object]:
    """Every yaml block of the documentation that is a policy, alone or in a project file."""
    found = []
    for page in PAGES:
        for place, block in enumerate(YAML_BLOCK.findall(page.read_text("utf-8")), start=1):
            data = parse_yaml(block).data
            if isinstance(data, list) or {"limits", "policy"} & set(data):
                found.append(pytest.param(block, id=f"{page.name}-{place}"))
    return found


def _table(page: str, heading: str) -> list[list[str]]:
    """Cells of the first table below a heading, without its two head lines."""
    lines = page.split(f"\n{heading}\n", 1)[1].splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def _numbers(cells: list[str]) -> list[float]:
    return [float(cell.replace(",", "").replace("−", "-")) for cell in cells]


@pytest.mark.parametrize("block", _policies())
def test_every_policy_in_the_documentation_loads(block: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(block, encoding="utf-8")
    assert load_policy(tmp_path / "policy.yaml").limits


def test_the_policy_page_has_policies() -> None:
    blocks = YAML_BLOCK.findall(POLICY)
    assert len(blocks) >= 5
    assert len([p for p in _policies() if p.id.startswith("policy.md")]) == len(blocks)


def test_the_long_form_is_shown_at_its_defaults() -> None:
    shown = next(b for b in YAML_BLOCK.findall(POLICY) if b.startswith("confidence:"))
    data = dict(parse_yaml(shown).data)
    limits = data.pop("limits")
    assert data == {k: PolicySettings.model_fields[k].default for k in data}
    assert load_policy(limits) == load_policy({"limits": limits, **data})


@pytest.mark.parametrize(
    ("heading", "settings"),
    [("## Keys of the long form", PolicySettings), ("## Keys of a limit", LimitSettings)],
)
def test_every_key_is_described(heading: str, settings: type) -> None:
    rows = _table(POLICY, heading)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row[0])}
    assert named == set(settings.model_fields)
    for row in rows:
        for key in re.findall(r"`(\w+)`", row[0]):
            default = settings.model_fields[key].default
            if re.search(r"\w", row[2]) and row[2] != "none" and default is not None:
                told = str(default).lower() if isinstance(default, bool) else str(default)
                assert row[2].strip("`") == told, key


def test_every_measure_is_described_with_what_it_needs() -> None:
    described = {row[0].strip("`"): row[1:] for row in _table(POLICY, "## Measures")}
    assert described.keys() == MEASURES.keys()
    for name, kind in MEASURES.items():
        better, needs, change = described[name]
        assert better == kind.better, name
        named = set(needs.replace(" ", "").split(",")) & set(get_args(Need))
        assert named == set(kind.needs), name
        assert ("groups" in needs) == (kind.kind == "spread"), name
        alone = kind.of_data or kind.alone or name == "preferred_share"
        ratio = kind.kind in ("speed", "fact") and not alone
        assert (change == "ratio", change == "none") == (ratio, alone), name


FLIPS = {"DE": (1400, 14, 20), "FR": (1000, 13, 11), "PT": (300, 6, 2)}
"""Of the worked example: rows, turned wrong, turned right."""


def _answers() -> list[pl.DataFrame]:
    rows = []
    for country, (n, lost, gained) in FLIPS.items():
        for i in range(n):
            before = i >= n // 10
            after = True if i < gained else before and i < n - lost
            label, other = ("yes", "no") if i % 2 else ("no", "yes")
            said = (label if before else other, label if after else other)
            rows.append((f"{country}{i}", country, label, *said))
    frame = pl.DataFrame(rows, schema=["id", "country", "label", "a", "b"], orient="row")
    kept = ("id", "country", "label")
    return [frame.select(*kept, pl.col(name).alias("prediction")) for name in ("a", "b")]


def test_the_worked_example_says_what_the_ruler_says(tmp_path: Path) -> None:
    text = POLICY.split("## A worked example", 1)[1]
    (tmp_path / "policy.yaml").write_text(YAML_BLOCK.findall(text)[0], encoding="utf-8")
    before, after = _answers()
    found = judge(
        before, after, tmp_path / "policy.yaml",
        label="label", prediction="prediction", id="id", groups=["country"],
    )  # fmt: skip
    rows = _table(POLICY, "## A worked example")
    assert len(rows) == len(found.decisions)
    for (limit, where, value, interval, answer, needed), d in zip(
        rows, found.decisions, strict=True
    ):
        assert ("change" in limit) == (d.relative_to == "parent")
        assert _numbers([limit.split("≥")[1]]) == [d.bound]
        assert d.slice == ("{}" if where == "all" else f'{{"country":"{where}"}}')
        assert _numbers([value]) == [pytest.approx(d.value, abs=5.01e-4)]
        assert _numbers(interval.split(" to ")) == pytest.approx([d.low, d.high], abs=5.01e-4)
        assert answer.replace(" ", "_") == str(d.decision)
        assert _numbers([needed] if needed else []) == ([d.n_needed] if d.n_needed else [])
    assert f"The verdict is **{found.answer}**" in text


def test_the_rows_that_margins_need() -> None:
    flat = _table(POLICY, "## Choosing margins")
    (shown,) = (_numbers(row[1:]) for row in flat)
    assert shown == [paired_rows_needed(0.05, m).item() for m in (0.005, 0.01, 0.02, 0.03)]
    for row in _table(METHOD, "## 19. How many rows"):
        flips = float(row[0].split()[0]) / 100
        expected = [paired_rows_needed(flips, m).item() for m in (0.005, 0.01, 0.02, 0.03)]
        assert _numbers(row[1:]) == expected


def test_the_least_rows_of_any_statement() -> None:
    change = zero_event_rows([0.005, 0.01, 0.02, 0.03]).astype(int).tolist()
    rate = zero_event_rows_rate([0.01, 0.02, 0.05, 0.10]).astype(int).tolist()
    assert f"{', '.join(map(str, change))} rows at 0.5, 1, 2, 3 points" in METHOD
    assert f"{', '.join(map(str, rate))} rows at 1, 2, 5, 10 %" in METHOD


def test_exit_codes_are_those_of_the_code() -> None:
    shown = {int(code): meaning for code, meaning in _table(POLICY, "## Exit codes")}
    codes = {v for k, v in vars(errors).items() if k.startswith("EXIT_")}
    assert shown.keys() == codes
    assert (shown[errors.EXIT_SHIP], shown[errors.EXIT_HOLD]) == ("ship", "hold")
    assert shown[errors.EXIT_UNDECIDED] == "undecided"


def _citations() -> set[tuple[str, str]]:
    """(first surname, year) of every source that the room `measure` names in its docstrings."""
    pattern = re.compile(
        r"\b([A-Z][A-Za-z]+)(?:(?:, | & | and |–)[A-Z][\w-]+)*(?: et al\.)?,? "
        r"\(?(1[89]\d\d|20[0-2]\d)\b"
    )
    found = set()
    for file in sorted(ROOT.glob("src/shipworthy/measure/*.py")):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                found |= set(pattern.findall(" ".join((ast.get_docstring(node) or "").split())))
    return found


def test_every_source_that_the_code_names_is_listed() -> None:
    cited = _citations()
    assert {("Tango", "1998"), ("Miettinen", "1985"), ("Woodruff", "1971")} <= cited
    sources = METHOD.split("\n## Sources\n")[1].replace("\n  ", " ").splitlines()
    missing = [
        f"{name} {year}"
        for name, year in sorted(cited)
        if not any(re.match(rf"\* .*\b{name}\b.*\({year}\)", line) for line in sources)
    ]
    assert missing == []


def test_every_listed_source_is_used() -> None:
    body, sources = METHOD.split("\n## Sources\n")
    listed = re.findall(r"^\* (\w+)[^(]*\((\d{4})\)", sources, re.MULTILINE)
    assert len(listed) > 20
    unused = [
        f"{name} {year}"
        for name, year in listed
        if not re.search(rf"{name}(?:[^.]|et al\.){{0,90}}{year}", " ".join(body.split()))
    ]
    assert unused == []


def test_the_place_of_the_gate_table() -> None:
    begin, end = METHOD.index("<!-- gate:begin -->"), METHOD.index("<!-- gate:end -->")
    assert begin < end
    assert METHOD.count("<!-- gate:") == 2


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.strip().lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        headings = (
            re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            if (anchor and file.is_file())
            else []
        )
        if not file.exists() or (anchor and anchor not in map(_anchor, headings)):
            broken.append(target)
    assert broken == []


def test_every_benchmark_is_described() -> None:
    page = (ROOT / "benchmarks/README.md").read_text("utf-8")
    scripts = sorted(file.name for file in ROOT.glob("benchmarks/*.py"))
    assert scripts
    assert [name for name in scripts if f"`{name}`" not in page] == []
