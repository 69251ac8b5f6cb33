"""From a recipe to the folder of its candidate: which lever makes what."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from shipworthy.compress.lever_settings import (
    DistillSettings,
    HeadSettings,
    LowRankSettings,
    NeuronSettings,
    QuantizationAwareSettings,
    RecoverSettings,
    ThresholdSettings,
    VocabularySettings,
)
from shipworthy.compress.recipes import LEVERS, looks_at_rows, steps_of
from shipworthy.compress.settings import PruneSettings, QuantizeSettings
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from shipworthy.compress.material import Material
    from shipworthy.compress.recipes import Recipe


def make(
    recipe: Recipe,
    parent_folder: Path | str,
    out_folder: Path | str,
    *,
    material: Material | None = None,
) -> dict[str, tuple[str, ...]]:
    """Write the candidate of a recipe; `load_classifier` or `load_language_model` opens its folder.

    Return the weights that steps left as they were since they do not know them, by the step's name.

    parent_folder: a candidate of the runtime `torch`. material: for recipes that look at rows. The
    same parent, rows and libraries give the same bytes.
    Raises ModelError where the parent is of another runtime or incomplete, or rows are wanted and
    there are none.
    """
    steps = steps_of(recipe)
    if len(steps) == 1:
        _make(recipe, parent_folder, out_folder, material)
        return _left(recipe, parent_folder, out_folder)
    left: dict[str, tuple[str, ...]] = {}
    folder = Path(parent_folder)
    out = Path(out_folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=".steps-") as place:
        for number, step in enumerate(steps):
            target = out if number == len(steps) - 1 else Path(place) / str(number)
            _make(step, folder, target, material)
            left |= _left(step, folder, target)
            folder = target
    return left


def _left(step: Recipe, parent: Path | str, out: Path | str) -> dict[str, tuple[str, ...]]:
    from shipworthy.compress.left import left_as_they_are

    found = left_as_they_are(step, parent, out)
    return {step.name.rpartition("+")[2]: found} if found else {}


def _make(
    recipe: Recipe, parent_folder: Path | str, out_folder: Path | str, material: Material | None
) -> None:
    key = next((k for k in LEVERS if k in recipe.settings), None)
    if key is not None:
        if material is None:
            raise ModelError(text("error.material.none", recipe=recipe.name))
        _make_with(key, recipe.settings[key], parent_folder, out_folder, material)
    elif "layers" in recipe.settings:
        from shipworthy.compress.layers import keep_layers

        keep_layers(parent_folder, out_folder, recipe.settings["layers"])
    elif "runtime" in recipe.settings:
        from shipworthy.compress.graphs import write_graph

        write_graph(parent_folder, out_folder)
    elif "gguf" in recipe.settings:
        from shipworthy.compress.gguf import quantize_gguf

        quantize_gguf(parent_folder, out_folder, recipe.settings["gguf"])
    elif recipe.lever == "quantize":
        from shipworthy.compress.quantize import quantize_weights

        settings = QuantizeSettings(**recipe.settings)
        if settings.ranges == "static" and material is None:
            raise ModelError(text("error.material.none", recipe=recipe.name))
        rows = None if material is None else material.calibration
        quantize_weights(parent_folder, out_folder, settings, calibration=rows, material=material)
    elif recipe.lever == "prune":
        from shipworthy.compress.prune import prune_weights

        if material is None and looks_at_rows(recipe):
            raise ModelError(text("error.material.none", recipe=recipe.name))
        prune_weights(parent_folder, out_folder, PruneSettings(**recipe.settings), material)
    else:
        raise ValueError(f"no lever {recipe.lever!r}")


def _make_with(
    key: str, options: Any, parent: Path | str, out: Path | str, material: Material
) -> None:
    """Make the candidate of a lever that looks at rows."""
    if key == "neurons":
        from shipworthy.compress.neurons import prune_neurons

        prune_neurons(parent, out, NeuronSettings(**options), material)
    elif key == "heads":
        from shipworthy.compress.heads import prune_heads

        prune_heads(parent, out, HeadSettings(**options), material)
    elif key == "vocabulary":
        from shipworthy.compress.vocabulary import trim_vocabulary

        trim_vocabulary(parent, out, VocabularySettings(**options), material)
    elif key == "low_rank":
        from shipworthy.compress.low_rank import low_rank

        low_rank(parent, out, LowRankSettings(**options), material)
    elif key == "threshold":
        from shipworthy.compress.threshold import tune_threshold

        tune_threshold(parent, out, ThresholdSettings(**options), material)
    elif key == "distill":
        from shipworthy.compress.distill import distill

        distill(parent, out, DistillSettings(**options), material)
    elif key == "quantization_aware":
        from shipworthy.compress.quantization_aware import train_quantization_aware

        asked = QuantizationAwareSettings(**options)
        train_quantization_aware(parent, out, asked, material)
    else:
        from shipworthy.compress.recover import recover

        recover(parent, out, RecoverSettings(**options), material)
