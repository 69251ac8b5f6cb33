"""What a model lacks is named before it is used."""

from __future__ import annotations

import numpy as np
import pytest

from shipworthy.core.errors import ModelError
from shipworthy.model.capabilities import Classifier, Encodes, Regressor, missing, require


class Constant:
    """Every class is as likely as any other."""

    classes = ("no", "yes")

    def log_probabilities(self, rows: object) -> np.ndarray:
        return np.log(np.full((1, 2), 0.5))


def test_a_model_that_has_it_comes_back() -> None:
    model = Constant()
    assert require(model, Classifier, purpose="accuracy") is model
    assert missing(model, Classifier) == ()


def test_what_is_missing_is_named() -> None:
    assert missing(object(), Classifier) == ("classes", "log_probabilities")
    with pytest.raises(ModelError, match=r"speed: Constant is no Encodes; it lacks encode, score"):
        require(Constant(), Encodes, purpose="speed")
    with pytest.raises(ModelError, match="it lacks predict"):
        require(Constant(), Regressor, purpose="residuals")
