"""The tiny encoder of the model room's tests, and small classifiers of each kind of tokenizer."""

from pathlib import Path

import pytest
from tests.compress.small_vocabularies import KINDS, SIZES, Kind, classifier, fewer, material
from tests.model.conftest import classes, copy, encoder, parent, texts

from shipworthy.compress import make

__all__ = ["classes", "copy", "encoder", "parent", "texts"]


@pytest.fixture(scope="session")
def parents(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Path]:
    return {kind: classifier(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="session")
def trimmed(
    parents: dict[Kind, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[Kind, Path]:
    root = tmp_path_factory.mktemp("trimmed")
    for kind, folder in parents.items():
        make(fewer(words=SIZES[kind]), folder, root / kind, material=material(root / "work"))
    return {kind: root / kind for kind in KINDS}
