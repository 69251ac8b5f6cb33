"""Which of our own code a stage runs, and a digest of each piece.

The static import closure of a module inside the package: its imports, also those inside functions,
and theirs. Module names in strings count (registries, worker modules), as do data files beside a
module that it names. Comments, docstrings and layout don't count, imports under `TYPE_CHECKING` and
texts for people neither. From a room's lazy `__init__` only the names asked for count.

What is found only while running, such as a module name put together from parts, is not seen.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shipworthy.core.digest import digest_bytes, digest_file, files_below
from shipworthy.core.files import write_atomically

_PACKAGE_FOLDER = Path(__file__).resolve().parents[1]
_FORMAT = f"1 python {sys.version_info.major}.{sys.version_info.minor}"
_SETTLED_NS = 2_000_000_000
_LONGEST_NAME = 200
_FILE_NAME = re.compile(r"(?!.*\.py$)[\w-]+(?:[./][\w-]+)*")


@dataclass(frozen=True)
class _Facts:
    """What one source file says. imports: (module, name or "") pairs, absolute."""

    digest: str
    imports: list[tuple[str, str]] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    table: dict[str, str] | None = None
    """Names of a lazy `__init__` and the modules behind them; None for ordinary code."""


class Sources:
    """The source files of a package, read as seldom as possible.

    memo_file: JSON file that keeps what was found, by size and modification time of each source;
    folder: of the package, whose name is the folder's.
    """

    def __init__(self, memo_file: Path | None = None, folder: Path = _PACKAGE_FOLDER) -> None:
        self.folder = folder
        self.package = folder.name
        self._memo_file = memo_file
        self._memo: dict[str, Any] = {}
        self._read: dict[str, _Facts] = {}
        self._listed: dict[Path, set[str]] = {}
        self._changed = False
        if memo_file is not None:
            with suppress(OSError, ValueError, AttributeError):
                kept = json.loads(memo_file.read_text(encoding="utf-8"))
                if kept.get("format") == self._label():
                    self._memo = kept["files"]

    def closure(self, module: str) -> dict[str, str]:
        """Return module (or data file) -> digest for all that a module may run, sorted.

        Raises ValueError where there is no such module in the package.
        """
        found: dict[str, str] = {}
        self._facts(module)
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in found or self._file(name) is None:
                continue
            facts = self._facts(name)
            found[name] = facts.digest
            waiting.extend(_parents(name))
            waiting.extend(facts.modules)
            for base, wanted in facts.imports:
                waiting.extend(self._imported(base, wanted))
            found.update(self._data_files(name, facts))
        self._save()
        return dict(sorted(found.items()))

    def _imported(self, base: str, wanted: str) -> Iterator[str]:
        if self._file(base) is None:
            return
        if wanted and self._file(f"{base}.{wanted}") is not None:
            yield f"{base}.{wanted}"
            return
        yield base
        table = self._facts(base).table
        if table is not None:
            # `import room` alone may use any of its names.
            yield from [table[wanted]] if wanted in table else table.values()

    def _data_files(self, module: str, facts: _Facts) -> Iterator[tuple[str, str]]:
        """Yield the data files that a module names, and those in folders that it names."""
        file = self._file(module)
        # Texts for people change no result; a corrected word must not start a training again.
        if file is None or file.parent.name == "locale":
            return
        beside = self._beside(file.parent)
        for name in facts.files:
            if name.partition("/")[0] not in beside:
                continue
            place = file.parent / name
            if place.is_file():
                yield f"{module}: {name}", digest_file(place)
            elif place.is_dir() and not (place / "__init__.py").exists():
                for inner, path in files_below(place).items():
                    if "__pycache__" not in path.parts:
                        yield f"{module}: {name}/{inner}", digest_file(path)

    def _beside(self, folder: Path) -> set[str]:
        if folder not in self._listed:
            self._listed[folder] = {path.name for path in folder.iterdir()}
        return self._listed[folder]

    def _file(self, module: str) -> Path | None:
        package, *inside = module.split(".")
        if package != self.package or not all(part.isidentifier() for part in inside):
            return None
        place = self.folder.joinpath(*inside)
        if inside and (file := place.with_suffix(".py")).is_file():
            return file
        file = place / "__init__.py"
        return file if file.is_file() else None

    def _facts(self, module: str) -> _Facts:
        if module in self._read:
            return self._read[module]
        file = self._file(module)
        if file is None:
            raise ValueError(f"no module {module!r} in {self.folder}")
        state = file.stat()
        stamp = [state.st_size, state.st_mtime_ns]
        kept = self._memo.get(module)
        if kept is not None and kept["stamp"] == stamp:
            facts = _Facts(**kept["facts"])
        else:
            facts = self._parse(module, file)
            if time.time_ns() - state.st_mtime_ns > _SETTLED_NS:
                self._memo[module] = {"stamp": stamp, "facts": asdict(facts)}
                self._changed = True
        self._read[module] = facts
        return facts

    def _parse(self, module: str, file: Path) -> _Facts:
        tree = ast.parse(file.read_bytes(), filename=str(file))
        is_package = file.name == "__init__.py"
        here = module if is_package else module.rpartition(".")[0]
        table = self._table(tree, module) if is_package and _is_lazy(tree) else None
        if table is not None:
            tree.body = [node for node in tree.body if not _is_lazy_part(node)]
        _strip_texts(tree)
        strings = set() if table is not None else _strings(tree)
        return _Facts(
            digest=digest_bytes(ast.dump(tree).encode()),
            imports=sorted(set(_imports(tree, here))),
            modules=sorted(s for s in strings if s.startswith(f"{self.package}.")),
            files=sorted(s for s in strings if _FILE_NAME.fullmatch(s)),
            table=table,
        )

    def _table(self, tree: ast.Module, module: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for node in tree.body:
            for name, target in _text_pairs(node):
                absolute = target if target.startswith(f"{self.package}.") else ""
                found[name] = absolute or f"{module}.{target.lstrip('.')}"
        return found

    def _label(self) -> str:
        return f"{_FORMAT} {self.folder}"

    def _save(self) -> None:
        if self._memo_file is not None and self._changed:
            self._changed = False
            content = {"format": self._label(), "files": self._memo}
            write_atomically(self._memo_file, json.dumps(content))


def _parents(module: str) -> Iterator[str]:
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _is_lazy(tree: ast.Module) -> bool:
    return any(isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in tree.body)


def _is_lazy_part(node: ast.stmt) -> bool:
    """Say whether a statement of a lazy `__init__` only serves to find its names."""
    if isinstance(node, ast.FunctionDef):
        return node.name in ("__getattr__", "__dir__")
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and node.module in ("__future__", "importlib", "typing")
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        return names in (["__all__"], ["__version__"]) or any(True for _ in _text_pairs(node))
    return False


def _text_pairs(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield the pairs of an assigned dict literal of texts."""
    if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
        return
    for key, value in zip(node.value.keys, node.value.values, strict=True):
        if (
            isinstance(key, ast.Constant)
            and isinstance(value, ast.Constant)
            and isinstance(key.value, str)
            and isinstance(value.value, str)
        ):
            yield key.value, value.value


def _strip_texts(tree: ast.AST) -> None:
    """Remove docstrings and other texts that stand alone: they run nothing."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                child
                for child in body
                if not (
                    isinstance(child, ast.Expr)
                    and isinstance(child.value, ast.Constant)
                    and isinstance(child.value.value, str)
                )
            ]


def _imports(tree: ast.AST, here: str) -> Iterator[tuple[str, str]]:
    """Yield what is imported as (module, name), absolute; here is the package of the file."""
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ""
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = here.split(".")[: len(here.split(".")) - node.level + 1]
                base = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                yield base, "" if alias.name == "*" else alias.name


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all nodes, less those that only type checkers see."""
    yield node
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(node, ast.If) and _is_type_checking(node.test):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _running(child)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _strings(tree: ast.AST) -> set[str]:
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and 0 < len(node.value) <= _LONGEST_NAME
    }
