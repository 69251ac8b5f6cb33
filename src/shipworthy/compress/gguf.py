"""A language model as a GGUF file of few bits, which llama.cpp runs.

The weights are written as they are, and that file has to say what the model says; then llama.cpp
rounds it, by its own rules, which leave some matrices more bits than others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from shipworthy.compress.parents import require_fp32
from shipworthy.core.device import threads
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale import text
from shipworthy.core.progress import progress
from shipworthy.model.checkpoint import GGUF, INFO, companions, write_info
from shipworthy.model.dialogues import encode_documents
from shipworthy.model.gguf_export import CUTS, check_exportable, export_gguf
from shipworthy.model.llama_cpp import GgufModel, require_llama_cpp, round_gguf
from shipworthy.model.llama_cpp_runtime import LlamaCppLanguageModel
from shipworthy.model.pretrained import load_chat_tokenizer, load_module
from shipworthy.model.torch_language_model import TorchLanguageModel

if TYPE_CHECKING:
    from typing import Any

    from shipworthy.compress.settings import GgufKind
    from shipworthy.model.checkpoint import RuntimeInfo

TELLING = (
    "In 2024 the 3 of us paid $1,234.50 for 12345 shares, didn't we?  I'll say: YES!!!\n\n",
    "def add(a, b):\n    return a+b  # 'sum'\n\tx = [1, 2, 3]\r\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. ¿Qué? — naïve café",
    "这个模型可以发布吗？请在 2026 年 11 月 27 日之前回答。 ありがとう 안녕하세요 🙂",
    "   leading and trailing spaces   and\ttabs \n \n new   lines...  (x^2 + y^2) <= 10e-3",
)
"""Texts that ways to cut words apart take apart differently."""

DRIFT = 0.02
"""Nats that the loss of a token of those texts may differ by on average between runtimes, in fp32.

llama.cpp keeps keys and values in 16 bits.
"""


def quantize_gguf(parent: Path | str, out: Path | str, kind: GgufKind) -> None:
    """Write a candidate of the runtime `llama.cpp`.

    parent: a language model of the runtime `torch`. out: its folder.
    Raises ModelError where the parent is of another runtime, is a classifier, has an architecture
    or a tokenizer that is not known here, or where llama.cpp is not installed.
    """
    info = require_fp32(parent, "gguf")
    check_gguf(parent, info)
    beside = companions(parent)
    root = Path(out)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    with (
        TemporaryDirectory(dir=root, prefix=".gguf-") as temporary,
        progress("quantize", total=3, unit="steps") as step,
    ):
        whole = Path(temporary) / "fp32.gguf"
        module, tokenizer = load_module(parent), load_chat_tokenizer(parent)
        export_gguf(parent, module, whole, _cut(parent, tokenizer, Path(temporary)))
        step(1)
        _check_same(parent, TorchLanguageModel(module, tokenizer, info), whole)
        step(1)
        small = Path(temporary) / GGUF
        round_gguf(whole, small, kind, threads=threads())
        small.replace(root / GGUF)
        step(1)
    for name, content in beside.items():
        write_atomically(root / name, content)
    write_info(root, replace(info, runtime="llama.cpp"))


def check_gguf(folder: Path | str, info: RuntimeInfo | None) -> None:
    """Raise ModelError where no GGUF file can be made of a model.

    info: how it runs; None for a classifier, as is one that only tells a class.
    """
    if info is None or info.does == "classify":
        raise ModelError(
            text("error.gguf_export.classifier"),
            folder=folder,
            fix=text("error.weight_only.classifier.fix"),
        )
    require_llama_cpp()
    check_exportable(folder)


def _cut(folder: Path | str, tokenizer: Any, work: Path) -> str:
    """Return the way to cut texts under which llama.cpp gives the tokens of the tokenizer."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    wanted = [backend.encode(one, add_special_tokens=False).ids for one in TELLING]
    file = work / "words.gguf"
    for cut in CUTS:
        export_gguf(folder, None, file, cut)
        words = GgufModel(file, vocabulary_only=True)
        if all(words.tokens(one) == ids for one, ids in zip(TELLING, wanted, strict=True)):
            return cut
    raise ModelError(
        text("error.gguf_export.tokenizer"),
        folder=folder,
        fix=text("error.gguf_export.tokenizer.fix"),
    )


def _check_same(folder: Path | str, model: TorchLanguageModel, file: Path) -> None:
    """Refuse a file of fp32 weights that does not say what the model says."""
    there = LlamaCppLanguageModel(file, model.tokenizer, model.info)
    found = encode_documents(model.tokenizer, TELLING, window=model.info.max_length)
    losses = [one.score(found)[0] for one in (model, there)]
    drift = float(np.abs(losses[0] - losses[1]).mean())
    if drift > DRIFT:
        raise ModelError(
            text("error.gguf_export.other", drift=f"{drift:.3f}"),
            folder=folder,
            fix=text("error.gguf_export.other.fix"),
        )
