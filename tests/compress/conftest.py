"""The tiny encoder and the parent of the model room's tests."""

from tests.model.conftest import classes, copy, encoder, parent, texts

__all__ = ["classes", "copy", "encoder", "parent", "texts"]
