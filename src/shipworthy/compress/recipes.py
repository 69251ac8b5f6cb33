"""Recipes by name: what a project's `compress:` asks for, and how each is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from shipworthy.compress.lever_settings import plain
from shipworthy.compress.settings import (
    AUTO,
    CompressSettings,
    GgufKind,
    GgufRecipe,
    Int4Recipe,
    Int8Recipe,
    PruneRecipe,
    PruneSettings,
    QuantizeSettings,
    StepsRecipe,
)
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic import BaseModel

    from shipworthy.compress.settings import FloatPart, NamedRecipe
    from shipworthy.model.checkpoint import RuntimeInfo


LEVERS = (
    "neurons", "heads", "low_rank", "vocabulary", "recover", "distill", "quantization_aware",
    "threshold",
)  # fmt: skip
"""Keys of the recipes that look at rows."""
TRAINED = ("recover", "distill", "quantization_aware")
"""Those of them that train."""
_OF_CLASSIFIERS = ("layers", "runtime", "ranges", "channels", "activations")
"""Further keys of settings that only classifiers can have."""
_ONE_WORD = ("rounding", "ranges", "channels", "activations", "balance")
"""Keys of the long form of a way to store weights whose value is one word."""
_LEVER_OF = {
    "neurons": "prune", "heads": "prune", "layers": "prune", "low_rank": "low_rank",
    "recover": "train", "vocabulary": "vocabulary", "distill": "distill",
    "quantization_aware": "quantize", "threshold": "threshold",
}  # fmt: skip
_NAMED = ("hidden", "temperature", "labels", "logits", "hidden_states", "attention")
"""Options that stand in a name with what they are set to."""


@dataclass(frozen=True)
class Recipe:
    """One candidate to make.

    name: of the candidate, as `prune-30` or `int8-keep-embeddings-0`. lever: one of
    `core.records.LEVERS`; of several steps the first. settings: of that lever, plain values; of the
    levers in `LEVERS` one key, the lever's, and of several steps `steps`, each as a project file
    writes it.
    """

    name: str
    lever: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def expand(settings: CompressSettings) -> tuple[Recipe, ...]:
    """Return the recipes that settings name, in their order; `auto` is written out.

    >>> from shipworthy.compress.settings import CompressSettings
    >>> [recipe.name for recipe in expand(CompressSettings())]
    ['bf16', 'int8', 'prune-30', 'prune-50']
    """
    named = AUTO if settings.recipes == "auto" else settings.recipes
    return tuple(_recipe(one) for one in named)


def steps_of(recipe: Recipe) -> tuple[Recipe, ...]:
    """Return the recipes that lead from the parent to the candidate, each named after all so far.

    >>> from shipworthy.compress.settings import CompressSettings
    >>> asked = {"recipes": [{"steps": [{"layers": [0, 2]}, "int8"]}]}
    >>> (recipe,) = expand(CompressSettings.model_validate(asked))
    >>> [step.name for step in steps_of(recipe)]
    ['layers-0-2', 'layers-0-2+int8']
    """
    if "steps" not in recipe.settings:
        return (recipe,)
    steps = [_recipe(one) for one in StepsRecipe.model_validate(recipe.settings).steps]
    names = [step.name for step in steps]
    return tuple(
        Recipe("+".join(names[: k + 1]), step.lever, step.settings) for k, step in enumerate(steps)
    )


def check_recipes(settings: CompressSettings, folder: Path | str, info: RuntimeInfo | None) -> None:
    """Raise ModelError for a recipe that this model cannot have, before hours go into training.

    folder: of the model that training starts from. info: how it runs; None for a classifier.
    """
    if settings.search and info is not None:
        raise ModelError(
            text("error.recipes.search"), folder=folder, fix=text("error.compressing.task.fix")
        )
    for recipe in (step for one in expand(settings) for step in steps_of(one)):
        if info is not None and (
            {*LEVERS, *_OF_CLASSIFIERS} & set(recipe.settings)
            or recipe.settings.get("weights") == "fp16"
        ):
            raise ModelError(
                text("error.recipes.language", recipe=written(recipe)),
                folder=folder,
                fix=text("error.recipes.language.fix"),
            )
        if "gguf" in recipe.settings:
            from shipworthy.compress.gguf import check_gguf

            check_gguf(folder, info)
        elif recipe.settings.get("rounding") == "compensated" and info is None:
            raise ModelError(
                text("error.weight_only.classifier"),
                folder=folder,
                fix=text("error.weight_only.classifier.fix"),
            )


def looks_at_rows(recipe: Recipe) -> bool:
    """Say whether a recipe, or one of its steps, looks at rows."""
    return any(
        step.settings.get("rounding") == "compensated"
        or step.settings.get("method") == "wanda"
        or step.settings.get("ranges") == "static"
        or set(LEVERS) & set(step.settings)
        for step in steps_of(recipe)
    )


def trains(recipe: Recipe) -> bool:
    """Say whether a recipe, or one of its steps, is a training."""
    return any(set(TRAINED) & set(step.settings) for step in steps_of(recipe))


def written(recipe: Recipe) -> str:
    """Return a recipe as one line of YAML, as a project lists it under `compress.recipes`.

    >>> written(Recipe("int8-keep-embeddings-0", "quantize",
    ...                {"weights": "int8", "keep_float": ["embeddings", 0]}))
    '{int8: {keep_float: [embeddings, 0]}}'
    """
    settings = recipe.settings
    if "runtime" in settings:
        return str(settings["runtime"])
    if {*LEVERS, "gguf", "layers", "steps"} & set(settings):
        return _flow(settings)
    if recipe.lever == "quantize":
        kept, group = settings.get("keep_float", ()), settings.get("group")
        told = [f"group: {group}"] if group else []
        told += [f"{key}: {settings[key]}" for key in _ONE_WORD if key in settings]
        told += [f"keep_float: {_listed(kept)}"] if kept else []
        weights = str(settings["weights"])
        return f"{{{weights}: {{{', '.join(told)}}}}}" if told else weights
    return _flow({"prune": {k: v for k, v in settings.items() if v}})


def as_asked(recipe: Recipe) -> Any:
    """Return a recipe as plain values, as a project file lists it.

    >>> as_asked(Recipe("int8-static", "quantize", {"weights": "int8", "ranges": "static"}))
    {'int8': {'ranges': 'static'}}
    """
    from shipworthy.core.yaml import parse_yaml

    return parse_yaml(f"[{written(recipe)}]").data[0]


def named(recipe: Any) -> Recipe:
    """Return the recipe that a project file writes so."""
    (found,) = expand(CompressSettings.model_validate({"recipes": [recipe]}))
    return found


def kind_of(step: Recipe) -> str:
    """Return which lever a recipe of one step is, as a project file calls it.

    >>> kind_of(Recipe("int8", "quantize", {"weights": "int8"}))
    'int8'
    """
    for key in (*LEVERS, "layers", "gguf"):
        if key in step.settings:
            return key
    return str(step.settings.get("weights") or step.settings.get("runtime") or "prune")


def nearer(recipe: Recipe, *, classifies: bool = False) -> Recipe | None:
    """Return the recipe of the same kind whose weights mostly stay nearer to the parent's, if any.

    classifies: whether it is of a classifier.

    >>> nearer(Recipe("gguf-q4-k-m", "quantize", {"gguf": "Q4_K_M"})).name
    'gguf-q5-k-m'
    """
    settings = recipe.settings
    if "gguf" in settings:
        kinds: tuple[GgufKind, ...] = get_args(GgufKind)
        place = kinds.index(settings["gguf"])
        return _gguf(kinds[place - 1]) if place else None
    if settings.get("channels") == "tensor":
        return _quantize(QuantizeSettings(**{**settings, "channels": "channel"}))
    if settings.get("weights") != "int4" or settings.get("rounding") == "compensated":
        return None
    if classifies:
        kept = settings.get("keep_float", ())
        more = QuantizeSettings(weights="int8", activations="float", keep_float=tuple(kept))
        return _quantize(more)
    return _quantize(QuantizeSettings(**{**settings, "rounding": "compensated"}))


def fixed_ranges(recipe: Recipe) -> Recipe | None:
    """Return the recipe whose ranges are fixed beforehand, where those of this one are not.

    >>> fixed_ranges(Recipe("int8", "quantize", {"weights": "int8"})).name
    'int8-static'
    """
    steps = list(steps_of(recipe))
    for place, step in enumerate(steps):
        settings = step.settings
        fixed = settings.get("ranges") == "static" or settings.get("activations") == "float"
        if settings.get("weights") == "int8" and not fixed:
            static = _quantize(QuantizeSettings(**{**settings, "ranges": "static"}))
            asked = [as_asked(one) for one in (*steps[:place], static, *steps[place + 1 :])]
            return named(asked[0] if len(asked) == 1 else {"steps": asked})
    return None


def _recipe(named: NamedRecipe) -> Recipe:
    if named == "onnx":
        return Recipe("onnx", "runtime", {"runtime": "onnx"})
    if isinstance(named, str):
        return _quantize(QuantizeSettings(weights=named))
    if isinstance(named, GgufRecipe):
        return _gguf(named.gguf)
    if isinstance(named, Int8Recipe):
        return _quantize(QuantizeSettings(weights="int8", **named.int8.model_dump()))
    if isinstance(named, Int4Recipe):
        return _quantize(QuantizeSettings(weights="int4", **named.int4.model_dump()))
    if isinstance(named, PruneRecipe):
        asked = named.prune
        return _prune(asked if isinstance(asked, PruneSettings) else PruneSettings(share=asked))
    settings = plain(named)
    if isinstance(named, StepsRecipe):
        steps = [_recipe(step) for step in named.steps]
        return Recipe("+".join(step.name for step in steps), steps[0].lever, settings)
    (key,) = settings
    return Recipe(_name(key, settings[key]), _LEVER_OF[key], settings)


def _name(key: str, options: Any) -> str:
    if key == "layers":
        return "-".join(["layers", *map(str, options)])
    parts = [key.replace("_", "-")]
    if "words" in options:
        parts.append(str(options["words"]))
    if "seen" in options:
        parts.append(f"seen-{options['seen']}")
    if "share" in options:
        parts.append(f"{options['share'] * 100:.10g}")
    if "layers" in options:
        layers = options["layers"]
        parts += ["of", str(layers)] if isinstance(layers, int) else ["layers", *map(str, layers)]
    if "neurons" in options:
        parts.append(f"neurons-{options['neurons'] * 100:.10g}")
    if "epochs" in options:
        parts.append(str(options["epochs"]) if len(parts) == 1 else f"epochs-{options['epochs']}")
    if "learning_rate" in options:
        parts.append(f"at-{options['learning_rate']:.10g}")
    if options.get("embeddings"):
        parts.append("embeddings")
    parts += [f"{k.replace('_', '-')}-{options[k]:.10g}" for k in _NAMED if k in options]
    parts += [str(options[k]) for k in ("score", "balance") if k in options]
    return "-".join(parts) + _suffix(options.get("keep_float") or options.get("keep", ()))


def _quantize(settings: QuantizeSettings) -> Recipe:
    group = "" if settings.group == 32 else f"-group-{settings.group}"
    how = "-compensated" if settings.rounding == "compensated" else ""
    how += "-static" if settings.ranges == "static" else ""
    how += "-tensor" if settings.channels == "tensor" else ""
    how += "-weights" if settings.activations == "float" else ""
    how += "-groups" if settings.balance == "groups" else ""
    name = settings.weights + group + how + _suffix(settings.keep_float)
    return Recipe(name, "quantize", _said(settings))


def _gguf(kind: GgufKind) -> Recipe:
    return Recipe(f"gguf-{kind.lower().replace('_', '-')}", "quantize", {"gguf": kind})


def _prune(settings: PruneSettings) -> Recipe:
    how = "-wanda" if settings.method == "wanda" else ""
    how += "" if settings.pattern == "none" else f"-{settings.pattern.replace(':', '-')}"
    name = f"prune-{settings.share * 100:.10g}{how}{_suffix(settings.keep)}"
    return Recipe(name, "prune", _said(settings))


def _said(settings: BaseModel) -> dict[str, Any]:
    # What is left at its default is left out: a new option makes no new candidate of an old recipe.
    return settings.model_dump(mode="json", exclude_defaults=True)


def _suffix(kept: Sequence[FloatPart]) -> str:
    return "".join(["-keep", *(f"-{part}" for part in kept)]) if kept else ""


def _flow(value: Any) -> str:
    """Return plain values as YAML in one line; a share that stands alone in its short form."""
    if isinstance(value, dict):
        if set(value) == {"share"}:
            return _flow(value["share"])
        return f"{{{', '.join(f'{key}: {_flow(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, str) and ":" in value:
        return f'"{value}"'  # YAML would take 2:4 for a number of base 60
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _listed(parts: Sequence[FloatPart]) -> str:
    return f"[{', '.join(map(str, parts))}]"
