import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ROOMS = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]


def _rooms() -> list[str]:
    """Return every room by itself: those in one layer stand on one line."""
    return [room.strip() for layer in ROOMS for room in layer.split("|")]


LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-runtimes.lock")

HEAVY = frozenset({
    "torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime", "polars", "pyarrow",
    "numpy", "scipy", "sklearn", "pydantic", "jinja2", "rich",
})  # fmt: skip


def _tracked() -> list[Path]:
    # A checkout may belong to somebody else than the tester.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in done.stdout.split("\0") if name]
    return [file for file in files if file.is_file()]


TRACKED = _tracked()
SOURCES = [f for f in TRACKED if f.is_relative_to(ROOT / "src") and f.suffix == ".py"]


def _text(file: Path) -> str | None:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        return None


# -- rooms and imports -----------------------------------------------------------------------------


def _lint_imports(config: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).with_name("lint-imports")
    command = [str(tool), "--no-logo", "--no-cache", str(config)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_rooms_import_only_rooms_above_them() -> None:
    done = _lint_imports(ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout
    assert "2 kept, 0 broken" in done.stdout


def test_the_contract_notices_a_breach(tmp_path: Path) -> None:
    upside_down = "\n".join(f'  "{room}",' for room in reversed(ROOMS))
    (tmp_path / "pyproject.toml").write_text(
        '[tool.importlinter]\nroot_package = "shipworthy"\n[[tool.importlinter.contracts]]\n'
        'name = "rooms"\ntype = "layers"\ncontainers = ["shipworthy"]\n'
        f"layers = [\n{upside_down}\n]\n",
        encoding="utf-8",
    )
    done = _lint_imports(tmp_path / "pyproject.toml")
    assert done.returncode != 0
    assert "rooms BROKEN" in done.stdout


def _loaded_by(code: str) -> set[str]:
    """Names of all modules that a fresh interpreter imports for this code."""
    command = [sys.executable, "-X", "importtime", "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    names = re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE)
    assert "shipworthy" in names
    return set(names)


def _heavy(names: set[str], allowed: frozenset[str] = frozenset()) -> list[str]:
    return sorted(n for n in names if n in HEAVY - allowed)


@pytest.mark.parametrize("package", ["shipworthy", *(f"shipworthy.{r}" for r in _rooms())])
def test_importing_a_room_loads_nothing_heavy(package: str) -> None:
    assert _heavy(_loaded_by(f"import {package}")) == []


def test_help_loads_nothing_heavy() -> None:
    code = "from shipworthy.cli.main import run; raise SystemExit(run(['--help']))"
    loaded = _loaded_by(code)
    assert "shipworthy.cli.main" in loaded
    # Typer itself may draw on rich.
    assert _heavy(loaded, frozenset({"rich"})) == []


def test_judging_files_needs_no_model_library(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 2},{i % 2},{i % 3}\n" for i in range(40))
    for name in ("before", "after"):
        (tmp_path / f"{name}.csv").write_text(f"id,y,p,g\n{rows}", encoding="utf-8")
    policy = "selftest: {skip: [biased]}\nlimits: [{measure: accuracy, at_least: 0.6}]\n"
    (tmp_path / "policy.yaml").write_text(policy, "utf-8")
    code = (
        "import shipworthy as sw\n"
        f"folder = {str(tmp_path)!r}\n"
        "found = sw.judge(f'{folder}/before.csv', f'{folder}/after.csv', f'{folder}/policy.yaml',\n"
        "                 label='y', prediction='p', id='id', groups=['g'])\n"
        "assert found.answer == 'ship', found.answer\n"
    )
    models = {"torch", "transformers", "tokenizers", "onnx", "onnxruntime", "sklearn"}
    assert models & _loaded_by(code) == set()


# -- files -----------------------------------------------------------------------------------------


def test_no_source_file_has_two_subjects() -> None:
    long = {str(f.relative_to(ROOT)): len(f.read_text("utf-8").splitlines()) for f in SOURCES}
    assert len(long) > 50
    assert {name: lines for name, lines in long.items() if lines > 400} == {}


FORBIDDEN = [
    # Put together here, so that this file does not hold them.
    "/wor" + "k/", "/roo" + "t/", "/hom" + "e/", "/op" + "t/", "/tmp/" + "notes",
    "pypi" + ".org", "python" + "hosted", "npm" + "js.org", "deb.deb" + "ian",
    "index" + "-url http",
    "statis" + "tics.md", "design" + ".md", "TO" + "DO", "FIX" + "ME", "XX" + "X",
]  # fmt: skip


def test_no_file_names_a_machine_a_registry_or_what_is_not_here() -> None:
    found = []
    for file in TRACKED:
        text = _text(file) or ""
        found += [f"{file.relative_to(ROOT)}: {word}" for word in FORBIDDEN if word in text]
    assert found == []


def test_pages_that_the_sources_name_exist() -> None:
    named = {
        (str(file.relative_to(ROOT)), page)
        for file in SOURCES
        for page in re.findall(r"[\w./-]+\.md\b(?!\.jinja)", file.read_text("utf-8"))
        if not page.endswith(("model_card.md", "README.md"))
    }
    assert ("src/shipworthy/core/openings.py", "docs/method.md") in named
    assert sorted((f, page) for f, page in named if not (ROOT / page).is_file()) == []


DATA = {
    ".arrow", ".bin", ".csv", ".eval", ".gz", ".joblib", ".json", ".jsonl", ".npy", ".npz", ".onnx",
    ".parquet", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".tar", ".tsv", ".txt", ".whl",
    ".zip",
}  # fmt: skip
MOST_BYTES = 200_000


def test_no_data_is_committed() -> None:
    sizes = {str(f.relative_to(ROOT)): f.stat().st_size for f in TRACKED if f.suffix in DATA}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES} == {}
    others = [f for f in TRACKED if _text(f) is None and f.suffix not in {*DATA, ".png", ".svg"}]
    assert others == []


# -- tests and benchmarks --------------------------------------------------------------------------


def _functions(tree: ast.AST) -> dict[str, ast.FunctionDef]:
    return {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}


def _called(node: ast.AST) -> set[str]:
    names = set()
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            if isinstance(call.func, ast.Name):
                names.add(call.func.id)
            elif isinstance(call.func, ast.Attribute):
                names.add(call.func.attr)
    return names


def _strict(node: ast.AST) -> bool:
    """Whether a text is encoded for nothing but the error that it may raise."""
    call = node.value if isinstance(node, ast.Expr) else None
    return isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "encode"


def _can_fail(test: ast.AST, helpers: dict[str, ast.FunctionDef], seen: frozenset[str]) -> bool:
    if any(isinstance(n, ast.Assert | ast.Raise) or _strict(n) for n in ast.walk(test)):
        return True
    called = _called(test)
    if called & {"raises", "warns", "fail"} or any(n.startswith("assert_") for n in called):
        return True
    return any(
        _can_fail(helpers[name], helpers, seen | {name})
        for name in called & helpers.keys()
        if name not in seen
    )


def test_every_test_can_fail() -> None:
    trees = {f: ast.parse(f.read_text("utf-8")) for f in (ROOT / "tests").rglob("*.py")}
    helpers: dict[str, ast.FunctionDef] = {}
    for tree in trees.values():
        helpers |= {k: v for k, v in _functions(tree).items() if not k.startswith("test_")}
    tests = [
        (file, function)
        for file, tree in trees.items()
        for name, function in _functions(tree).items()
        if name.startswith("test_")
    ]
    assert len(tests) > 100
    idle = [f"{f.name}: {t.name}" for f, t in tests if not _can_fail(t, helpers, frozenset())]
    assert idle == []


def test_a_test_without_an_assertion_is_noticed() -> None:
    tree = ast.parse("def test_nothing():\n    print(helper())\n\ndef helper():\n    return 1\n")
    functions = _functions(tree)
    assert not _can_fail(functions["test_nothing"], functions, frozenset())


BENCHMARKS = sorted(ROOT.glob("benchmarks/*.py"))


@pytest.mark.parametrize("script", BENCHMARKS, ids=lambda p: p.name)
def test_a_benchmark_takes_its_options_and_tells_its_machine_as_all_do(script: Path) -> None:
    tree = ast.parse(script.read_text("utf-8"))
    shared = {
        name.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "method.rounds"
        for name in node.names
    }
    assert {"options", "tell"} <= shared & _called(tree)


def test_a_benchmark_has_a_document_for_machines() -> None:
    code = (
        "from method.rounds import options, tell\n"
        "given = options('About it.\\n\\nMore.', rounds=3).parse_args(['--json'])\n"
        "tell('sums', {'rounds': given.rounds}, print, as_json=given.json)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["benchmark"] == "sums" and told["rounds"] == 3
    assert isinstance(told["device_flags"], list)


# -- dependencies ----------------------------------------------------------------------------------


def _locked(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text("utf-8")
    return {canonicalize_name(n): v for n, v in re.findall(r"^([\w.-]+)==(\S+) \\$", text, re.M)}


def _wanted(entries: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(r.name): r for r in map(Requirement, entries)}


RUNS = _wanted(PROJECT["project"]["dependencies"])
EXTRAS = {n: _wanted(e) for n, e in PROJECT["project"]["optional-dependencies"].items()}
CHECKS = {**RUNS, **EXTRAS["dev"], **EXTRAS["lm"]}
RUNTIMES = {n: r for n, r in {**EXTRAS["gguf"], **EXTRAS["qlora"]}.items() if n not in CHECKS}


@pytest.mark.parametrize(
    ("lock", "wanted"), [*zip(LOCKS, (RUNS, CHECKS, RUNTIMES), strict=True)], ids=LOCKS
)
def test_locks_fit_the_ranges(lock: str, wanted: dict[str, Requirement]) -> None:
    locked = _locked(lock)
    misfits = {
        name: locked.get(name)
        for name, requirement in wanted.items()
        if name != "torch" and not requirement.specifier.contains(locked.get(name, "0"))
    }
    assert misfits == {}


def test_locks_agree() -> None:
    runs, checks, runtimes = (_locked(name) for name in LOCKS)
    assert {n: (v, checks.get(n)) for n, v in runs.items() if checks.get(n) != v} == {}
    assert runtimes.keys() & checks.keys() == set()


HASHED = [
    *LOCKS,
    "benchmarks/peers/aif360.txt",
    "benchmarks/peers/compressors.txt",
    "benchmarks/peers/fairlearn.txt",
]


@pytest.mark.parametrize("lock", HASHED)
def test_locks_are_hashed_and_leave_torch_to_the_machine(lock: str) -> None:
    text = (ROOT / lock).read_text("utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(re.findall(r"==", text.replace("fairlearn==0.15.0 | pip", "")))
    assert [e.split()[0] for e in entries if not re.search(r"--hash=sha256:[0-9a-f]{64}", e)] == []
    names = {canonicalize_name(e.split("==")[0]) for e in entries}
    assert [n for n in names if n == "torch" or n.startswith(("nvidia-", "triton"))] == []
    assert "://" not in text


def test_torch_is_pinned_once_and_within_its_range() -> None:
    places = ("Makefile", "scripts/lock.sh")
    pins = {v for p in places for v in re.findall(r"\btorch==([\d.]+)", (ROOT / p).read_text())}
    assert len(pins) == 1
    assert RUNS["torch"].specifier.contains(pins.pop())


# -- make ------------------------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a Makefile that is set up already; pip in it ends with an error."""
    folder = tmp_path / "a checkout"
    tools = folder / ".venv/bin"
    tools.mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", *LOCKS):
        shutil.copyfile(ROOT / name, folder / name)
    _program(tools / "python", "echo python was called with $*; exit 9")
    for stamp in ("locked", "runs", "checks"):
        (folder / ".venv" / stamp).touch()
    return folder


def _program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def _make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("code", "succeeds"), [(0, 1), (3, 1), (4, 1), (1, 0), (2, 0), (130, 0)])
def test_a_verdict_is_no_error_of_make_demo(checkout: Path, code: int, succeeds: int) -> None:
    _program(checkout / ".venv/bin/shipworthy", f'echo "asked for $*"; exit {code}')
    done = _make(checkout, "demo", "ARGS=--full")
    assert "asked for demo --full" in done.stdout
    assert "python was called" not in done.stdout
    assert (done.returncode == 0) == bool(succeeds)


def test_make_sets_up_again_where_a_lock_changed(checkout: Path) -> None:
    _program(checkout / ".venv/bin/shipworthy", "echo ran")
    past = (checkout / "requirements.lock").stat().st_mtime - 1000
    for name in ("locked", "runs"):
        stamp = checkout / ".venv" / name
        stamp.touch()
        os.utime(stamp, (past, past))
    done = _make(checkout, "demo")
    assert "--no-deps --require-hashes -r requirements.lock" in done.stdout
    assert "ran" not in done.stdout.splitlines()
    assert done.returncode != 0


def test_make_help_lists_every_target(checkout: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = _make(checkout, "help").stdout
    assert [t for t in targets.split() if t != "help" and f"make {t} " not in shown] == []


def test_ci_lints_and_tests_from_nothing() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o100
    subprocess.run(["bash", "-n", str(script)], check=True)
    lines = script.read_text("utf-8").splitlines()
    assert {"make lint", "make test"} <= set(lines)


def test_hooks_call_what_lint_calls() -> None:
    from shipworthy.core.yaml import read_yaml

    hooks = read_yaml(ROOT / ".pre-commit-config.yaml").data
    assert [repo["repo"] for repo in hooks["repos"]] == ["local"]
    entries = [hook["entry"].split()[0] for repo in hooks["repos"] for hook in repo["hooks"]]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    recipe = makefile.split("\nlint:", 1)[1].split("\n\n", 1)[0]
    tools = re.findall(r"\$\(BIN\)/([\w-]+)", recipe)
    assert len(tools) >= 4
    assert {Path(entry).name for entry in entries} == set(tools)
