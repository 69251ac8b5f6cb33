"""The metadata at the head of a model card, in the form of the Hugging Face Hub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from shipworthy.core.records import ALL_ROWS
from shipworthy.release.card_facts import Facts

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LICENCES = frozenset({
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bigscience-bloom-rail-1.0", "bsd",
    "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc", "cc-by-2.0", "cc-by-3.0", "cc-by-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "ecl-2.0",
    "epl-2.0", "eupl-1.2", "gemma", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl", "lgpl-3.0",
    "llama2", "llama3", "mit", "mpl-2.0", "openrail", "osl-3.0", "unlicense", "wtfpl", "zlib",
})  # fmt: skip
"""Identifiers of licences that the Hub knows, those of models above all."""

_LEVEL_MEASURES = ("f1", "precision", "recall", "auc")

_PIPELINES = {"causal-lm": "text-generation", "instruction": "text-generation"}
"""Names of our tasks on the Hugging Face hub, where they differ."""


def metadata(facts: Facts) -> str:
    """Return the YAML block of the card, without its fences."""
    from huggingface_hub import ModelCardData

    judgement, named = facts.judgement, facts.named
    origin = {} if facts.origins is None else facts.origins["model"]
    said = facts.documentation
    values: dict[str, Any] = {
        **_licence(said.licence or origin.get("licence") or said.base_licence),
        "language": list(facts.documentation.languages) or None,
        "base_model": origin.get("base_model"),
        "pipeline_tag": _PIPELINES.get(judgement.task, judgement.task),
        "tags": ["shipworthy", f"verdict-{judgement.answer.value}", named.lever],
        "metrics": [facts.main],
        "model_name": _slug(f"{judgement.name}-{named.name}"),
        "eval_results": _results(facts),
    }
    if judgement.kind != "judge":
        values["library_name"] = "transformers"
    data = ModelCardData(**{k: v for k, v in values.items() if v is not None})
    return data.to_yaml()


def _licence(declared: str | None) -> dict[str, str]:
    """Return the fields of a licence; one that the Hub does not know is `other` with its name."""
    if declared is None:
        return {"license": "unknown"}
    short = declared.strip().lower()
    if short in LICENCES:
        return {"license": short}
    return {"license": "other", "license_name": _slug(declared)}


def _results(facts: Facts) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    judgement = facts.judgement
    frame = judgement.measurements
    split = "validation" if judgement.kind == "rehearsal" else "test"
    digests = [d for d in frame["data_digest"].unique(maintain_order=True).to_list() if d]
    where: dict[str, Any] = dict(
        task_type=judgement.task,
        dataset_type=_slug(_data_name(facts)),
        dataset_name=_data_name(facts),
        dataset_split=split,
        dataset_revision=digests[0] if digests else None,
    )
    found = []
    for group in facts.groups:
        on = "" if group.slice == ALL_ROWS else f" on {group.slice}"
        for name, one in (
            (facts.main, group.own),
            (f"change in {facts.main} against the parent", group.change),
        ):
            found.append(
                EvalResult(
                    **where,
                    metric_type=facts.main if name == facts.main else f"{facts.main}_change",
                    metric_name=f"{name}{on}",
                    metric_value=one.value,
                    metric_args={"slice": group.slice.json, "n": one.n, "low": one.low,
                                 "high": one.high},
                )
            )  # fmt: skip
    for measure, one, _ in facts.whole():
        if measure in _LEVEL_MEASURES:
            interval = {"n": one.n, "low": one.low, "high": one.high}
            found.append(
                EvalResult(
                    **where, metric_type=measure, metric_name=measure, metric_value=one.value,
                    metric_args=interval,
                )
            )  # fmt: skip
    return found


def _data_name(facts: Facts) -> str:
    """Return the name of the data: of the first source, else of the judgement."""
    if facts.origins is not None and facts.origins["data"]["sources"]:
        return str(facts.origins["data"]["sources"][0]["name"])
    return facts.judgement.name


def _slug(name: str) -> str:
    """Return a name of letters, digits, dots and hyphens.

    >>> _slug("pruned 30 %")
    'pruned-30'
    """
    return re.sub(r"[^\w.]+", "-", name).strip("-.") or "model"
