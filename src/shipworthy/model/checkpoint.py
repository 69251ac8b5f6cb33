"""Model folders: what lies in one, what of it ships, and how it is written and read.

A candidate's folder is a Hugging Face folder with one file more, `runtime.json`, which says how to
run it; that file is written last, so a folder that has it is whole. Weights are safetensors, an
ONNX graph or a GGUF file: a pickle is never opened, and code that comes with a model is never run.
The model of a table has `table.json`, which says how columns become numbers, in place of config and
tokenizer; its trees are LightGBM's text.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from shipworthy.core import locale
from shipworthy.core.digest import digest_file, digest_json
from shipworthy.core.errors import ModelError, nearest
from shipworthy.core.files import write_atomically
from shipworthy.core.locale.libraries import translated

if TYPE_CHECKING:
    from collections.abc import Iterator

Runtime: TypeAlias = Literal[
    "torch", "torch-bf16", "torch-fp16", "torch-int8", "torch-int4",
    "onnx", "onnx-int8", "onnx-int8-static", "onnx-int8-weights", "onnx-int4", "llama.cpp",
    "table-onnx", "table-torch", "table-lightgbm",
]  # fmt: skip
RUNTIMES: tuple[str, ...] = get_args(Runtime)
GRAPHS: tuple[str, ...] = (
    "onnx", "onnx-int8", "onnx-int8-static", "onnx-int8-weights", "onnx-int4",
)  # fmt: skip
"""Runtimes whose weights are a graph for ONNX Runtime."""
TORCH_KINDS: dict[str, str] = {
    "torch": "float32", "torch-bf16": "bfloat16", "torch-fp16": "float16",
}  # fmt: skip
"""Runtimes whose weights are plain ones for transformers, and what torch calls their kind."""
TABLES: tuple[str, ...] = ("table-onnx", "table-torch", "table-lightgbm")
"""Runtimes of models of tables."""
Does: TypeAlias = Literal["classify", "predict", "continue", "respond"]
"""What a model does with a row: tell its class or number, go on with a text, answer a prompt."""

INFO = "runtime.json"
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
DECISION = "decision.json"
WEIGHTS = "model.safetensors"
GRAPH = "model.onnx"
GGUF = "model.gguf"
TREES = "model.txt"
TABLE = "table.json"

VOCABULARIES = (
    TOKENIZER, "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
# Besides tokenizer.json, so that the folder opens in transformers as well.
_TOKENIZER_FILES = (
    *VOCABULARIES, "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "merges.txt", "chat_template.jinja", "generation_config.json",
)  # fmt: skip
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle", "*.joblib")


@dataclass(frozen=True)
class RuntimeInfo:
    """How to run a candidate's folder.

    classes: names in the order of the logits; only a classifier has any. max_length: tokens,
    special ones included, that a text is cut to. text: the column of a frame that holds the text or
    prompt. does: what it is for. response, system, choices: further columns of a model that
    answers, "" where there are none; template and long_prompts: as in `DataSettings`. The model of
    a table has neither max_length nor text.
    """

    runtime: Runtime
    classes: tuple[str, ...]
    max_length: int = 0
    text: str = "text"
    does: Does = "classify"
    response: str = ""
    system: str = ""
    choices: str = ""
    template: str = ""
    long_prompts: str = "refuse"

    @property
    def is_table(self) -> bool:
        """Whether rows are those of a table, not texts."""
        return self.runtime in TABLES

    def to_json(self) -> str:
        """Return the content of `runtime.json`; what a classifier has no use for is left out."""
        values = asdict(self)
        if self.does in ("classify", "predict"):
            kept = ["runtime", "classes", *([] if self.is_table else ["max_length", "text"])]
            kept += ["does"] if self.does == "predict" else []
            values = {k: values[k] for k in kept}
        return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def read_info(folder: Path | str) -> RuntimeInfo:
    """Read `runtime.json` of a candidate's folder.

    Raises ModelError where folder or file is absent, or a value is of the wrong kind.
    """
    file = _folder(folder) / INFO
    if not file.is_file():
        raise ModelError(
            locale.text("error.checkpoint.no_info", file=INFO),
            folder=folder,
            fix=locale.text("error.checkpoint.no_info.fix"),
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            locale.text("error.checkpoint.no_json", file=INFO, error=translated(str(error))),
            folder=folder,
        ) from error
    known = [f.name for f in fields(RuntimeInfo)]
    if not isinstance(values, dict):
        raise ModelError(locale.text("error.checkpoint.no_object", file=INFO), folder=folder)
    for key in values:
        if key not in known:
            raise ModelError(
                locale.text("error.checkpoint.unknown_key", file=INFO, key=key),
                folder=folder,
                fix=nearest(key, known),
            )
    _check_info(values, folder)
    return RuntimeInfo(**{**values, "classes": tuple(values["classes"])})


def write_info(folder: Path | str, info: RuntimeInfo) -> None:
    """Write `runtime.json`: the folder is whole from here on."""
    write_atomically(Path(folder) / INFO, info.to_json())


def artefact_files(folder: Path | str) -> dict[str, Path]:
    """Return the files that ship, by name, sorted: weights or graph, config, tokenizer, info.

    `decision.json` is among them where there is one; anything else in the folder does not ship.
    Raises ModelError where one that is needed is absent, or the weights are a pickle.
    """
    root = _folder(folder)
    info = read_info(root)
    weights = weight_files(root, info.runtime)
    names = {file.name: file for file in weights}
    needed = (TABLE,) if info.is_table else (CONFIG, TOKENIZER)
    more = (TABLE,) if info.is_table else (CONFIG, *_TOKENIZER_FILES)
    for name in (INFO, DECISION, *more):
        if (root / name).is_file():
            names[name] = root / name
        elif name in needed:
            raise ModelError(locale.text("error.checkpoint.absent", file=name), folder=folder)
    return dict(sorted(names.items()))


def artefact_digest(folder: Path | str) -> str:
    """Return one digest, 64 hex digits, over names and bytes of all files that ship."""
    return digest_json({name: digest_file(f) for name, f in artefact_files(folder).items()})


def size_bytes(folder: Path | str) -> int:
    """Return the bytes of the weights alone: safetensors (all shards), ONNX graph or GGUF file."""
    return sum(file.stat().st_size for file in weight_files(folder, read_info(folder).runtime))


def weight_files(folder: Path | str, runtime: Runtime = "torch") -> tuple[Path, ...]:
    """Return the files that hold the weights of a folder, sorted.

    Raises ModelError where there is none; a pickle is refused with what to do about it.
    """
    root = _folder(folder)
    if runtime in (*GRAPHS, "table-onnx"):
        found = [f for f in (root / GRAPH, root / f"{GRAPH}.data") if f.is_file()]
        wanted = GRAPH
    elif runtime == "llama.cpp":
        found = [root / GGUF] if (root / GGUF).is_file() else []
        wanted = GGUF
    elif runtime == "table-lightgbm":
        found = [root / TREES] if (root / TREES).is_file() else []
        wanted = TREES
    else:
        index = root / f"{WEIGHTS}.index.json"
        found = [root / WEIGHTS] if (root / WEIGHTS).is_file() else []
        if not found and index.is_file():
            found = [index, *_shards(index)]
        wanted = WEIGHTS
    if found and found[0].name != f"{GRAPH}.data":
        return tuple(sorted(found))
    pickles = sorted(f.name for pattern in _PICKLES for f in root.glob(pattern))
    if pickles:
        raise ModelError(
            locale.text("error.checkpoint.pickle", file=pickles[0]),
            folder=folder,
            fix=locale.text("error.checkpoint.pickle.fix", wanted=wanted),
        )
    raise ModelError(locale.text("error.checkpoint.absent", file=wanted), folder=folder)


def companions(folder: Path | str) -> dict[str, bytes]:
    """Return name and content of what ships beside weights and `runtime.json`, sorted by name.

    A lever copies them as they are: config, tokenizer and the parent's decision stay its own.
    """
    weights = {file.name for file in weight_files(folder, read_info(folder).runtime)}
    files = artefact_files(folder).items()
    return {name: file.read_bytes() for name, file in files if name not in weights | {INFO}}


def read_config(folder: Path | str) -> dict[str, Any]:
    """Read `config.json`; raises ModelError where it is absent, damaged or asks for own code."""
    file = _folder(folder) / CONFIG
    if not file.is_file():
        raise ModelError(
            locale.text("error.checkpoint.absent", file=CONFIG),
            folder=folder,
            fix=locale.text("error.checkpoint.absent.fix"),
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(
            locale.text("error.checkpoint.no_json", file=CONFIG, error=translated(str(error))),
            folder=folder,
        ) from error
    if not isinstance(config, dict):
        raise ModelError(locale.text("error.checkpoint.no_object", file=CONFIG), folder=folder)
    if "auto_map" in config:
        raise ModelError(
            locale.text("error.checkpoint.own_code"),
            folder=folder,
            fix=locale.text("error.checkpoint.own_code.fix"),
        )
    if (file.parent / "adapter_config.json").is_file():
        raise ModelError(
            locale.text("error.checkpoint.adapter"),
            folder=folder,
            fix=locale.text("error.checkpoint.adapter.fix"),
        )
    return config


def _folder(folder: Path | str) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise ModelError(locale.text("error.checkpoint.no_folder"), folder=folder)
    return root


def _shards(index: Path) -> Iterator[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            locale.text("error.checkpoint.damaged", file=index.name), folder=index.parent
        ) from error
    for name in names:
        file = index.parent / Path(str(name)).name
        if not file.is_file() or file.suffix != ".safetensors":
            raise ModelError(
                locale.text("error.checkpoint.no_shard", file=name, index=index.name),
                folder=index.parent,
            )
        yield file


def _check_info(values: dict[str, Any], folder: Path | str) -> None:
    def refuse(key: str, wanted: str) -> ModelError:
        return ModelError(
            locale.text("error.checkpoint.value", file=INFO, key=key, value=values.get(key)),
            folder=folder,
            fix=wanted,
        )

    if values.get("runtime") not in RUNTIMES:
        raise refuse("runtime", nearest(str(values.get("runtime")), RUNTIMES))
    if values.get("does", "classify") not in get_args(Does):
        raise refuse("does", nearest(str(values["does"]), get_args(Does)))
    classes = values.get("classes")
    names = classes if isinstance(classes, list) else []
    classifies = values.get("does", "classify") == "classify"
    if not classifies and classes != []:
        raise refuse("classes", locale.text("error.checkpoint.no_classes.fix"))
    different = {c for c in names if isinstance(c, str)}
    if classifies and (len(different) < 2 or len(set(map(str, names))) < len(names)):
        raise refuse("classes", locale.text("error.checkpoint.classes.fix"))
    if values["runtime"] in TABLES:
        return
    length = values.get("max_length")
    if not isinstance(length, int) or isinstance(length, bool) or length < 2:
        raise refuse("max_length", locale.text("error.checkpoint.max_length.fix"))
    for key in ("text", "response", "system", "choices", "template", "long_prompts"):
        if not isinstance(values.get(key, "" if key != "text" else None), str):
            raise refuse(key, locale.text("error.checkpoint.text.fix"))
