"""How a model is called: with documents end to end, or with texts of like length side by side.

Both ways give the same logits; packing computes no padding. `choose` asks the model itself: what it
says of a few rows laid end to end must be what it says of them one by one.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.data.batches import buckets, pad
from shipworthy.data.packs import cut_packs, make_pack
from shipworthy.train.attention import CannotAttendError, documents, trained_attention
from shipworthy.train.dropout import document_keys, keyed, token_keys
from shipworthy.train.heads import document_logits, token_of
from shipworthy.train.microbatches import MicroBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.train.microbatches import LabelledRows

Name = Literal["packed", "buckets"]

# Rows that the model is asked about, and how far the two answers may lie apart: fp32 rounding is
# near 1e-6, a document that sees its neighbour near 1e-1.
_PROBED_ROWS = 6
_TOLERANCE = 1e-4
# These models count positions from behind the padding token's number.
_OFFSET_POSITIONS = ("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl")


@dataclass(frozen=True)
class Reason:
    """Why something is done as it is: a text of the catalogue and what stands in it."""

    key: str
    values: dict[str, Any] = field(default_factory=dict)

    def told(self) -> str:
        """Return it in the language in use."""
        return text(self.key, **self.values)


class Caller(Protocol):
    """A way of calling a model with rows of a set."""

    name: Name

    def cut(
        self, data: LabelledRows, rows: NDArray[np.int64], *, tokens: int, per_device: int | None
    ) -> list[NDArray[np.int64]]:
        """Cut rows into parts of at most `tokens` tokens and `per_device` rows."""

    def micro_batch(
        self,
        data: LabelledRows,
        rows: NDArray[np.int64],
        *,
        seed: int,
        visit: int,
        copies: int = 1,
        pad_to: int | None = None,
    ) -> MicroBatch:
        """Lay rows out; `copies` times each, with masks of their own. pad_to: tokens of a pack."""

    def logits(self, module: nn.Module, micro: MicroBatch) -> Tensor:
        """Return the logits of the rows, (copies * d, k), or of each predicted token."""


class Padded:
    """Texts of like length side by side, padded to the longest."""

    name: Name = "buckets"

    def cut(
        self, data: LabelledRows, rows: NDArray[np.int64], *, tokens: int, per_device: int | None
    ) -> list[NDArray[np.int64]]:
        """Cut rows into parts, longest rows first; padding counts as tokens."""
        chosen = data.encoded.lengths[rows]
        longest = max(1, int(chosen.max(initial=1)))
        budget = max(tokens, longest) if per_device is None else longest * max(1, len(rows))
        places = buckets(chosen, token_budget=budget, seed=None, max_rows=per_device)
        return [rows[place] for place in places]

    def micro_batch(
        self,
        data: LabelledRows,
        rows: NDArray[np.int64],
        *,
        seed: int,
        visit: int,
        copies: int = 1,
        pad_to: int | None = None,
    ) -> MicroBatch:
        """Lay rows side by side."""
        keys = _document_keys(rows, seed=seed, visit=visit, copies=copies)
        batch = pad(data.encoded, np.tile(rows, copies), pad_token_id=data.pad_token_id)
        count, longest = batch.input_ids.shape
        document = np.repeat(np.arange(count), longest).reshape(count, longest)
        position = np.broadcast_to(np.arange(longest), (count, longest))
        places, targets = np.arange(count), None
        if data.starts is not None:
            starts = np.tile(data.starts[rows], copies)
            predicted = (position >= starts[:, None]) & (batch.attention_mask == 1)
            # Each is read from the token before it.
            places = np.flatnonzero(predicted) - 1
            targets = torch.from_numpy(batch.input_ids[predicted])
        arguments = {
            "input_ids": torch.from_numpy(batch.input_ids),
            "attention_mask": torch.from_numpy(batch.attention_mask),
        }
        return MicroBatch(
            rows,
            arguments,
            torch.from_numpy(data.labels[rows]),
            torch.from_numpy(token_keys(keys, document, position)),
            torch.from_numpy(keys),
            None,
            places,
            targets,
        )

    def logits(self, module: nn.Module, micro: MicroBatch) -> Tensor:
        """Call the model with a rectangle."""
        with keyed(micro.token_keys, micro.document_keys):
            logits: Tensor = module(**micro.arguments).logits
        if micro.targets is None:
            return logits
        return logits.flatten(0, 1)[torch.from_numpy(micro.places).to(logits.device)]


class Packed:
    """Documents end to end, without padding."""

    name: Name = "packed"

    def __init__(self, module: nn.Module) -> None:
        config: Any = module.config
        self._first_position = 0
        if config.model_type in _OFFSET_POSITIONS:
            self._first_position = int(config.pad_token_id or 0) + 1
        model: Any = module
        known = signature(model.base_model.forward).parameters
        self._types = "token_type_ids" in known and bool(getattr(config, "type_vocab_size", 0))
        self._cached = "use_cache" in known
        self._token = token_of(module)

    def cut(
        self, data: LabelledRows, rows: NDArray[np.int64], *, tokens: int, per_device: int | None
    ) -> list[NDArray[np.int64]]:
        """Cut rows into packs, about equally full."""
        lengths = data.encoded.lengths
        if per_device is not None:
            tokens = max(tokens, int(lengths[rows].sum()))
        return cut_packs(lengths, rows, token_budget=tokens, max_rows=per_device)

    def micro_batch(
        self,
        data: LabelledRows,
        rows: NDArray[np.int64],
        *,
        seed: int,
        visit: int,
        copies: int = 1,
        pad_to: int | None = None,
    ) -> MicroBatch:
        """Lay rows end to end."""
        pack = make_pack(
            data.encoded, np.tile(rows, copies), pad_to=pad_to, pad_token_id=data.pad_token_id
        )
        # Equal lengths keep their order, so that a row's first place in the pack is its first copy.
        order = np.argsort(-data.encoded.lengths[np.tile(rows, copies)], kind="stable")
        places = np.argsort(order, kind="stable")
        keys = _document_keys(rows, seed=seed, visit=visit, copies=copies)
        filled = np.concatenate([keys[order], np.zeros(1, np.int64)])  # the last is the filler's
        tokens = token_keys(filled, pack.document, pack.position_ids)
        arguments = {
            "input_ids": torch.from_numpy(pack.input_ids)[None],
            "position_ids": torch.from_numpy(pack.position_ids + self._first_position)[None],
        }
        targets = None
        if self._token == "every":
            given = np.ones(len(data), np.int64) if data.starts is None else data.starts
            # The filler's document is the last of these, and nothing of it is predicted.
            starts = np.append(given[pack.rows], np.iinfo(np.int64).max)
            predicted = np.flatnonzero(pack.position_ids >= starts[pack.document])
            places = predicted - 1
            targets = torch.from_numpy(pack.input_ids[predicted])
        return MicroBatch(
            rows,
            arguments,
            torch.from_numpy(data.labels[rows]),
            torch.from_numpy(tokens)[None],
            torch.from_numpy(keys),
            pack,
            places,
            targets,
        )

    def logits(self, module: nn.Module, micro: MicroBatch) -> Tensor:
        """Call the model with a pack, and its head with the token of each document."""
        with self.inside(micro):
            return self.head(module, self.hidden(module, micro), micro)

    @contextmanager
    def inside(self, micro: MicroBatch) -> Iterator[None]:
        """Let attention and dropout know of this pack inside the block."""
        assert micro.pack is not None
        with documents(micro.pack.runs), keyed(micro.token_keys, micro.document_keys):
            yield

    def arguments(self, micro: MicroBatch) -> dict[str, Any]:
        """Return what the body of the model is called with."""
        arguments: dict[str, Any] = dict(micro.arguments)
        if self._types:
            arguments["token_type_ids"] = torch.zeros_like(arguments["input_ids"])
        if self._cached:
            arguments["use_cache"] = False
        return arguments

    def hidden(self, module: nn.Module, micro: MicroBatch) -> Tensor:
        """Return the last hidden values of the tokens, (t, h)."""
        model: Any = module
        found: Tensor = model.base_model(**self.arguments(micro)).last_hidden_state
        return found.squeeze(0)

    def head(self, module: nn.Module, hidden: Tensor, micro: MicroBatch) -> Tensor:
        """Return the logits of hidden values, (t, h): a row a document, or a predicted token."""
        assert micro.pack is not None
        if self._token == "every":
            model: Any = module
            read = torch.from_numpy(micro.places).to(hidden.device)
            logits: Tensor = model.lm_head(hidden.index_select(0, read))
            return logits
        of = micro.pack.first if self._token == "first" else micro.pack.last
        picked = torch.from_numpy(of[micro.places]).to(hidden.device)
        return document_logits(module, hidden.index_select(0, picked))


def choose(
    module: nn.Module, data: LabelledRows, wanted: Literal["auto", "packed", "buckets"]
) -> tuple[Caller, Reason]:
    """Return how this model is called with these rows, and why.

    Raises ModelError where `packed` is wanted of a model that cannot.
    """
    if wanted == "buckets":
        return Padded(), Reason("packing.asked")
    reason = why_not_packed(module, data)
    if reason is None:
        return Packed(module), Reason("packing.packed")
    if wanted == "packed":
        raise ModelError(
            text("error.packing.cannot", reason=reason.told()), fix=text("error.packing.cannot.fix")
        )
    return Padded(), reason


def why_not_packed(module: nn.Module, data: LabelledRows) -> Reason | None:
    """Return why the model cannot be called with packs, None where it can."""
    kind = type(module).__name__
    if token_of(module) is None:
        return Reason("packing.no_head", {"model": kind})
    if token_of(module) == "every" and data.starts is None:
        data = replace(data, starts=np.ones(len(data), np.int64))
    rows = _probed(data.encoded.lengths)
    training = module.training
    module.eval()
    try:
        with torch.inference_mode(), trained_attention(module):
            packed = Packed(module)
            together = packed.logits(module, packed.micro_batch(data, rows, seed=0, visit=0))
            padded = Padded()
            each = [
                padded.logits(module, padded.micro_batch(data, rows[[i]], seed=0, visit=0))
                for i in range(len(rows))
            ]
            apart = _apart(packed, together, each, data, rows)
    except CannotAttendError as error:
        return Reason("packing.attention", {"model": kind, "what": str(error)})
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return Reason("packing.failed", {"model": kind, "error": str(error).partition("\n")[0]})
    finally:
        module.train(training)
    if not apart <= _TOLERANCE:
        return Reason("packing.differs", {"model": kind, "difference": apart})
    return None


def on_device(micro: MicroBatch, device: torch.device) -> MicroBatch:
    """Return the micro-batch with its tensors on a device."""
    if device.type == "cpu":
        return micro
    return replace(
        micro,
        arguments={name: value.to(device) for name, value in micro.arguments.items()},
        labels=micro.labels.to(device),
        token_keys=micro.token_keys.to(device),
        document_keys=micro.document_keys.to(device),
        targets=None if micro.targets is None else micro.targets.to(device),
    )


def _document_keys(
    rows: NDArray[np.int64], *, seed: int, visit: int, copies: int
) -> NDArray[np.int64]:
    return np.concatenate(
        [document_keys(seed=seed, visit=visit, rows=rows, copy=copy) for copy in range(copies)]
    )


def _probed(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a few rows of different lengths, the shortest and the longest among them."""
    order = np.argsort(lengths, kind="stable")
    places = np.linspace(0, len(order) - 1, min(_PROBED_ROWS, len(order))).round().astype(int)
    chosen: NDArray[np.int64] = order[places].astype(np.int64)
    return chosen


def _apart(
    packed: Packed,
    together: Tensor,
    each: list[Tensor],
    data: LabelledRows,
    rows: NDArray[np.int64],
) -> float:
    """Return the largest difference of logits, relative to the largest where that is over 1."""
    if packed._token == "every":
        micro = packed.micro_batch(data, rows, seed=0, visit=0)
        assert micro.pack is not None
        order = [int(np.flatnonzero(rows == row)[0]) for row in micro.pack.rows]
        parts = torch.split(together, [len(each[k]) for k in order])
        pairs = [(part, each[k]) for part, k in zip(parts, order, strict=True) if len(part)]
    else:
        pairs = [(together[i], one[0]) for i, one in enumerate(each)]
    scale = max(1.0, *(float(one.abs().max()) for _, one in pairs))
    return max(float((a - b).abs().max()) for a, b in pairs) / scale
