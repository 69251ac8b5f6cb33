"""The model that training starts from, opened to be asked as a candidate is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shipworthy.model.runtimes import load_language_model
from shipworthy.release.language import language_info
from shipworthy.release.project import start_folder

if TYPE_CHECKING:
    from pathlib import Path

    from shipworthy.model.language_model import CausalLanguageModel
    from shipworthy.release.project import Project


def model_to_probe(project: Project, folder: Path | None) -> CausalLanguageModel:
    """Return a candidate's model, or for None the one that training starts from.

    Raises ModelError where a folder cannot be opened.
    """
    if folder is not None:
        return load_language_model(folder)
    from shipworthy.model.pretrained import load_language_pretrained
    from shipworthy.model.torch_language_model import TorchLanguageModel

    info = language_info(project)
    assert info is not None
    module, tokenizer = load_language_pretrained(start_folder(project), max_length=info.max_length)
    return TorchLanguageModel(module, tokenizer, info)
