"""The one door from a candidate's folder to answers, and from a model's name to its folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from shipworthy.core.digest import digest_file
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.data.builtin import PREFIX, builtin_model, smollm2
from shipworthy.data.packages import cache_folder
from shipworthy.model.checkpoint import TORCH_KINDS, read_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipworthy.model.language_model import CausalLanguageModel
    from shipworthy.model.table_model import TableModel
    from shipworthy.model.text_classifier import TextClassifier

    Predictor: TypeAlias = TextClassifier | TableModel


def load_predictor(folder: Path | str, *, threads: int | None = None) -> Predictor:
    """Load a candidate's folder, of texts or of a table, that gives classes or numbers."""
    if read_info(folder).is_table:
        return load_table_model(folder, threads=threads)
    return load_classifier(folder, threads=threads)


def load_table_model(folder: Path | str, *, threads: int | None = None) -> TableModel:
    """Load a candidate's folder that is the model of a table; see `load_classifier`."""
    from shipworthy.model import table_model

    kinds: dict[str, Callable[..., TableModel]] = {
        "table-onnx": table_model.LinearTable,
        "table-torch": table_model.NetworkTable,
        "table-lightgbm": table_model.BoostedTable,
    }
    runtime = read_info(folder).runtime
    if runtime not in kinds:
        wanted = ", ".join(kinds)
        raise ModelError(text("error.runtime.other", runtime=runtime, wanted=wanted), folder=folder)
    return kinds[runtime](folder, threads=threads)


def load_classifier(
    folder: Path | str, *, threads: int | None = None, batch: Literal["bucket", "one"] = "bucket"
) -> TextClassifier:
    """Load a candidate's folder with the runtime that its `runtime.json` names.

    threads: processors that answering uses; None takes all that this process may use.
    batch: "bucket" answers texts of like length together, "one" each alone. The runtime `onnx-int8`
    is always answered one by one: its answers would depend on the other texts of a batch. Those of
    `onnx-int8-static` do not.
    Raises ModelError where the folder is incomplete, unsafe or of an unknown kind.
    """
    if read_info(folder).runtime in TORCH_KINDS:
        from shipworthy.model.torch_runtime import TorchClassifier

        return TorchClassifier(folder, threads=threads, batch=batch)
    from shipworthy.model.onnx_runtime import OnnxClassifier

    return OnnxClassifier(folder, threads=threads, batch=batch)


def load_language_model(folder: Path | str, *, threads: int | None = None) -> CausalLanguageModel:
    """Load a candidate's folder that is a language model; see `load_classifier`."""
    if read_info(folder).runtime == "llama.cpp":
        from shipworthy.model.llama_cpp_runtime import open_llama_cpp

        return open_llama_cpp(folder, threads=threads)
    from shipworthy.model.torch_language_model import open_torch

    return open_torch(folder, threads=threads)


def model_folder(name: str, adapter: Path | None = None) -> Path:
    """Return the Hugging Face folder of a model, with an adapter added to it where there is one.

    name: of a builtin, of a GGUF file, or the user's own folder. adapter: a folder of peft.
    A builtin is fetched and a GGUF file widened where that has not been done yet.
    Raises InputError or ModelError where that is not possible.
    """
    if adapter is not None:
        from shipworthy.model.adapters import merged

        return merged(model_folder(name), adapter, cache_folder())
    if name == f"{PREFIX}llama-kjv":
        from shipworthy.data.kjv import kjv, kjv_file
        from shipworthy.model.fresh import fresh_llama

        made = cache_folder() / "fresh" / f"llama-kjv-{digest_file(kjv_file())[:12]}"
        return fresh_llama(made, kjv()["text"].to_list())
    file = smollm2() if name == f"{PREFIX}smollm2" else Path(name)
    if file.suffix == ".gguf":
        from shipworthy.model.gguf_folder import widen_gguf

        name = f"{file.stem}-{digest_file(file)[:12]}"
        return widen_gguf(file, cache_folder() / "widened" / name)
    return builtin_model(name) if name.startswith(PREFIX) else file
