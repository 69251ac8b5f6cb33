"""A smaller vocabulary: tokens that the texts have no use for go, with their rows of the table.

Half of a small encoder is its table of words, made for all that is written in a language; a team's
texts take a part of it. What is special and the alphabet stay, so that every word is still cut into
known tokens, a rare one into more of them. Texts whose tokens all stay get the answers that they
got before; others are read in smaller pieces, which the model knows less well.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.fewer_tokens import (
    config_numbers,
    files,
    needed,
    numbers,
    parts,
    read_tokenizer,
    renumbered,
)
from shipworthy.compress.importance import members_of
from shipworthy.compress.parents import require_fp32
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.data.batches import CHUNK_ROWS
from shipworthy.data.tokens import encode_cached
from shipworthy.model.checkpoint import companions
from shipworthy.model.pretrained import (
    load_chat_tokenizer,
    load_module,
    load_tokenizer,
    save_variant,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from shipworthy.compress.lever_settings import VocabularySettings
    from shipworthy.compress.material import Material
    from shipworthy.model.checkpoint import RuntimeInfo


def trim_vocabulary(
    parent: Path | str, out: Path | str, settings: VocabularySettings, material: Material
) -> None:
    """Write a candidate with fewer tokens; it opens in plain transformers.

    parent: a classifier of the runtime `torch`.
    Raises ModelError where it is of another runtime, its tokenizer is of a kind that is not known
    or does not go with its table, every token would stay, or no group is large enough.
    """
    info = require_fp32(parent, "shaped")
    tokenizer = read_tokenizer(parent)
    module: Any = load_module(parent)
    tokens = numbers(tokenizer) | load_chat_tokenizer(parent).get_added_vocab()
    rows = _rows(module, max(tokens.values()), parent)
    always = needed(tokenizer) | {tokens[t] for t in tokens.keys() - numbers(tokenizer).keys()}
    always |= _in_config(module, rows)
    counted = _counts(parent, info, settings, material, rows)
    kept = chosen(
        always, counted, set(tokens.values()), parts(tokenizer), words=settings.words,
        seen=settings.seen,
    )  # fmt: skip
    if len(kept) >= len(tokens):
        raise ModelError(
            text("error.vocabulary.all", count=len(tokens)), folder=parent,
            fix=text("error.vocabulary.all.fix"),
        )  # fmt: skip
    number = {int(old): new for new, old in enumerate(kept)}
    changed = files(renumbered(tokenizer, number), number, companions(parent))
    _check_numbers(parent, changed, {t: number[k] for t, k in tokens.items() if k in number})
    shrink_table(module, kept)
    save_variant(out, module, info, parent=parent, changed=changed)


def chosen(
    always: Collection[int],
    counted: NDArray[np.float64],
    tokens: Collection[int],
    parts: Mapping[int, Collection[int]],
    *,
    words: int | None = None,
    seen: int | None = None,
) -> NDArray[np.int64]:
    """Return the numbers of the tokens that stay, rising.

    always: those that stay in any case. counted: how often each stands in the texts. tokens: all
    that there are. parts: what a token is joined from; where it stays, they do. words: how many
    stay at most, most frequent first, of equal ones the first; one that does not fit with its parts
    is passed over. seen: the least count.
    """
    kept: set[int] = set()
    for one in sorted(always):
        kept |= _with_parts(one, kept, parts)
    for one in np.argsort(-counted, kind="stable").tolist():
        if seen is not None and counted[one] < seen:
            break
        if one in tokens:
            more = _with_parts(one, kept, parts)
            if words is None or len(kept) + len(more) <= words:
                kept |= more
    return np.array(sorted(kept), dtype=np.int64)


def _with_parts(
    token: int, kept: Collection[int], parts: Mapping[int, Collection[int]]
) -> set[int]:
    """Return a token and all that it is joined from, but for those that are kept."""
    found: set[int] = set()
    left = [token]
    while left:
        one = left.pop()
        if one not in kept and one not in found:
            found.add(one)
            left += parts.get(one, ())
    return found


def _counts(
    parent: Path | str,
    info: RuntimeInfo,
    settings: VocabularySettings,
    material: Material,
    rows: int,
) -> NDArray[np.float64]:
    """Return how often each token stands in the training and calibration texts, shape (rows,).

    Of groups the counts are those of all texts or, where that is more, what they would be if all
    texts were as those of a group.
    """
    import polars as pl

    by_group = settings.balance == "groups"
    columns = [material.text, *(material.groups if by_group else ())]
    frame = pl.concat([f.select(columns) for f in (material.train, material.calibration)])
    members = np.ones((1, frame.height), dtype=bool)
    if by_group:
        members = np.vstack([members, members_of(frame, material.groups).members])
    texts = encode_cached(
        load_tokenizer(parent),
        frame[material.text].to_list(),
        max_length=info.max_length,
        cache=material.tokens,
    )
    counts = np.zeros((len(members), rows))
    for start in range(0, len(texts), CHUNK_ROWS):
        some = texts.take(np.arange(start, min(start + CHUNK_ROWS, len(texts))))
        for group, inside in enumerate(members[:, start : start + CHUNK_ROWS]):
            ids = some.token_ids[np.repeat(inside, some.lengths)]
            counts[group] += np.bincount(ids, minlength=rows)
    totals = counts.sum(axis=1, keepdims=True)
    scaled: NDArray[np.float64] = (counts * (totals[0] / np.maximum(totals, 1))).max(axis=0)
    return scaled


def _in_config(module: Any, rows: int) -> set[int]:
    """Return the tokens that a model's settings name, and those that its positions count from."""
    import torch

    table = module.get_input_embeddings()
    found: set[int] = set()
    for key, value in module.config.to_dict().items():
        if key.endswith("_token_id") and value is not None:
            found |= {k for k in (value if isinstance(value, list) else [value]) if 0 <= k < rows}
    # RoBERTa and its kin count positions from behind the number of the padding token, which
    # therefore must not change.
    counted_from_padding = any(
        isinstance(part, torch.nn.Embedding) and part is not table and part.padding_idx is not None
        for name, part in module.named_modules()
        if "position" in name
    )
    if counted_from_padding:
        found |= set(range((table.padding_idx or module.config.pad_token_id or 0) + 1))
    return found


def _rows(module: Any, last: int, folder: Path | str) -> int:
    """Return the rows of the table of words. last: the highest number of a token."""
    import torch

    table = module.get_input_embeddings()
    if not isinstance(table, torch.nn.Embedding):
        raise ModelError(text("error.vocabulary.table", model=type(module).__name__), folder=folder)
    if last >= len(table.weight):
        raise ModelError(
            text("error.vocabulary.rows", number=last, rows=len(table.weight)), folder=folder
        )
    return len(table.weight)


def _check_numbers(
    parent: Path | str, changed: Mapping[str, bytes | None], wanted: Mapping[str, int]
) -> None:
    """Raise ModelError where the new files open with other numbers than the table will have.

    Asked of files before a weight is written, and of transformers, which adds tokens on its own.
    """
    with TemporaryDirectory() as place:
        for name, content in (companions(parent) | dict(changed)).items():
            if content is not None:
                (Path(place) / name).write_bytes(content)
        plain = load_tokenizer(place).get_vocab(with_added_tokens=True)
        opened = load_chat_tokenizer(place).get_vocab()
    other = [t for t in opened if wanted.get(t) != opened[t]]
    other += [t for t in plain if wanted.get(t) != plain[t]]
    if other or len(opened) < len(wanted):
        raise ModelError(
            text("error.vocabulary.other", token=min(other, default="")), folder=parent,
            fix=text("error.vocabulary.other.fix"),
        )  # fmt: skip


def shrink_table(module: nn.Module, kept: NDArray[np.int64]) -> None:
    """Leave only some rows of the table of words, and of a head tied to it, in place."""
    import torch
    from torch import nn

    model: Any = module
    rows = torch.from_numpy(kept)
    number = {int(old): new for new, old in enumerate(kept)}
    head = model.get_output_embeddings()
    with torch.no_grad():
        for old in _tables(model):
            new = nn.Parameter(old[rows].clone())
            for part in module.modules():
                for name, weights in list(part.named_parameters(recurse=False)):
                    if weights is old:
                        setattr(part, name, new)
                if isinstance(part, nn.Embedding) and part.weight is new:
                    part.num_embeddings = len(kept)
                    if part.padding_idx is not None:
                        part.padding_idx = number[part.padding_idx]
        if head is not None:
            head.out_features = len(kept)
            if getattr(head, "bias", None) is not None:
                head.bias = nn.Parameter(head.bias[rows].clone())
    model.config.vocab_size = len(kept)
    before = model.config.to_dict()
    for key, value in config_numbers(before, number).items():
        if value != before[key]:
            setattr(model.config, key, value)


def _tables(model: Any) -> Sequence[nn.Parameter]:
    """Return the weights that have a row a token: the table, and a head where it has its own."""
    head = model.get_output_embeddings()
    table = model.get_input_embeddings().weight
    return [table] if head is None or head.weight is table else [table, head.weight]
