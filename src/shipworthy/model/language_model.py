"""A causal language model: likelihoods of texts, responses and choices, and answers.

What goes on in tokens is the same for every runtime, the tokenizer included, so that candidates of
all runtimes are asked the very same. Answers are the likeliest token each time (greedy), so that
the same model gives the same answer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast

import numpy as np

from shipworthy.core.device import threads as available_threads
from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.data.batches import buckets
from shipworthy.model.capabilities import Ragged, TokenLosses
from shipworthy.model.dialogues import (
    Predicted,
    Template,
    encode_documents,
    encode_pairs,
    encode_responses,
    fitting,
    prefix_token,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.core.progress import Step
    from shipworthy.model.checkpoint import RuntimeInfo

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]

TOKEN_BUDGET = 2048
"""Tokens of a rectangle, padding included."""

ANSWERED_TOGETHER = 16
"""Prompts of like length that are answered at once."""

Normalize: TypeAlias = Literal["none", "tokens", "bytes"]


@dataclass(frozen=True)
class Timed:
    """When each token of some answers was there.

    stamps: nanoseconds, before the prompts are read and after each token. cache_mb: keys and values
    that were held at the end, in 1e6 bytes.
    """

    stamps: list[int]
    cache_mb: float


class CausalLanguageModel(ABC):
    """A language model with the capability `LanguageModel`.

    Rows have the columns that `info` names. info: what `runtime.json` says. threads: processors.
    """

    def __init__(self, tokenizer: Any, info: RuntimeInfo, *, threads: int | None = None) -> None:
        """Take what all runtimes have."""
        self.tokenizer, self.info = tokenizer, info
        self.threads = available_threads() if threads is None else threads
        self._template: Template | None = None

    # -- what a runtime does ---------------------------------------------------------------------

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Weights of the model, packed ones counted as what they stand for."""

    @abstractmethod
    def sequence_losses(
        self, found: Predicted, rows: NDArray[np.int64]
    ) -> tuple[FloatArray, BoolArray]:
        """Return loss, nats, of each predicted token of some sequences, and whether it was on top.

        Both in the order of `rows`.
        """

    @abstractmethod
    def grouped_log_likelihoods(self, found: Predicted, groups: Sequence[range]) -> FloatArray:
        """Return the log-likelihood of each sequence; those of a group share what is given."""

    @abstractmethod
    def continuations(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        until: Sequence[str] = (),
        sampling: Mapping[str, Any] | None = None,
    ) -> list[list[int]]:
        """Return the tokens that go on from each prompt, those after an end included.

        until: texts that end an answer. sampling: settings of transformers' `generate`; None is
        greedy.
        """

    @abstractmethod
    def timed(self, prompts: Sequence[str], new_tokens: int) -> Timed:
        """Answer prompts side by side with so many tokens each, and say when each was there."""

    def with_info(self, info: RuntimeInfo) -> Self:
        """Return the same model, read by other columns, template or window."""
        other = copy(self)
        other.info, other._template = info, None
        return other

    # -- the capability --------------------------------------------------------------------------

    def token_losses(self, rows: pl.DataFrame, step: Step | None = None) -> TokenLosses:
        """Loss of each predicted token of each row, in nats: of its text, or of its response.

        step: called with the number of sequences after each batch.
        Raises DataError for a column that is absent and a prompt that is too long.
        """
        found = self.encode(rows)
        losses, _ = self.score(found, step)
        # Windows of a row follow one another, so that their tokens are its tokens in order.
        tokens = np.bincount(found.owners, found.counts, minlength=found.rows).astype(np.int64)
        return TokenLosses(losses, np.concatenate([np.zeros(1, np.int64), np.cumsum(tokens)]))

    def choice_log_likelihoods(
        self, rows: pl.DataFrame, *, normalize: Normalize, step: Step | None = None
    ) -> Ragged:
        """Log-likelihood of each choice of each row after its prompt, as it is or per token, byte.

        Raises DataError for a column that is absent.
        """
        offered = self._column(rows, self.info.choices or "choices").to_list()
        return self.choices_after(self.prompts(rows), offered, normalize=normalize, step=step)

    def choices_after(
        self,
        prompts: Sequence[str],
        offered: Sequence[Sequence[str]],
        *,
        normalize: Normalize,
        step: Step | None = None,
    ) -> Ragged:
        """Log-likelihood of each choice after each prompt as it is read; see above."""
        contexts, continuations, sizes = [], [], []
        for prompt, choices in zip(prompts, offered, strict=True):
            contexts += [prompt] * len(choices)
            continuations += list(choices)
            sizes.append(len(choices))
        found = encode_pairs(self.tokenizer, contexts, continuations, window=self.info.max_length)
        ends = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        groups = [range(b, e) for b, e in zip(ends, ends[1:], strict=False)]
        values = self.grouped_log_likelihoods(found, groups)
        if step is not None:
            step(len(continuations))
        if normalize == "tokens":
            values = values / np.maximum(found.counts, 1)
        elif normalize == "bytes":
            values = values / np.maximum([len(c.encode()) for c in continuations], 1)
        return Ragged(values, np.array(ends, dtype=np.int64))

    def generate(
        self, rows: pl.DataFrame, *, max_new_tokens: int, seed: int, step: Step | None = None
    ) -> list[str]:
        """Return the likeliest continuation of each prompt, up to the end or `max_new_tokens`.

        seed: greedy answers do not depend on it.
        Raises DataError for a prompt that leaves no room.
        """
        return self.go_on(self.prompts(rows), max_new_tokens=max_new_tokens, step=step)

    # -- its pieces ------------------------------------------------------------------------------

    def log_likelihoods(self, texts: Sequence[str], step: Step | None = None) -> FloatArray:
        """Return the log-likelihood of whole texts, nats, shape (n,)."""
        found = encode_documents(self.tokenizer, texts, window=self.info.max_length)
        losses, _ = self.score(found, step)
        owners = np.repeat(found.owners, found.counts)
        total = np.bincount(owners, losses, minlength=len(texts))
        return np.asarray(-total, dtype=np.float64)

    def read(self, asked: Sequence[str], systems: Sequence[str | None] | None = None) -> list[str]:
        """Return prompts as the model reads them: in its template, where it answers prompts."""
        if self.info.does == "continue":
            return list(asked)
        given = [None] * len(asked) if systems is None else systems
        return [self.template(p, s) for p, s in zip(asked, given, strict=True)]

    @property
    def template(self) -> Template:
        """How prompts become what the model reads."""
        if self._template is None:
            self._template = Template(self.tokenizer, self.info.template or "auto")
        return self._template

    def prompts(self, rows: pl.DataFrame) -> list[str]:
        """Return what the model reads before it answers each row; texts as they are."""
        system = self.info.system
        return self.read(
            self._column(rows, self.info.text).to_list(),
            self._column(rows, system).to_list() if system else None,
        )

    def encode(self, rows: pl.DataFrame) -> Predicted:
        """Return the tokens of texts in windows, or of prompts with their responses."""
        if self.info.does == "continue":
            texts = self._column(rows, self.info.text).to_list()
            return encode_documents(self.tokenizer, texts, window=self.info.max_length)
        return encode_responses(
            self.tokenizer,
            self.prompts(rows),
            self._column(rows, self.info.response).to_list(),
            window=self.info.max_length,
            long_prompts=self._long_prompts,
        )

    def sums(self, found: Predicted, step: Step | None = None) -> tuple[FloatArray, BoolArray]:
        """Return the log-likelihood of each sequence, and whether each token was the likeliest."""
        losses, likeliest = self.score(found, step)
        owners = np.repeat(np.arange(len(found.counts)), found.counts)
        total = -np.bincount(owners, losses, minlength=len(found.counts))
        misses = np.bincount(owners, ~likeliest, minlength=len(found.counts))
        return np.asarray(total, dtype=np.float64), np.asarray(misses == 0)

    def score(self, found: Predicted, step: Step | None = None) -> tuple[FloatArray, BoolArray]:
        """Return the loss of each predicted token, nats, and whether it was the likeliest one.

        Both of shape (predicted tokens,), in the order of the sequences.
        """
        counts, lengths = found.counts, found.encoded.lengths
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        losses, likeliest = np.zeros(int(starts[-1])), np.zeros(int(starts[-1]), dtype=bool)
        budget = max(TOKEN_BUDGET, int(lengths.max(initial=0)))
        for rows in buckets(lengths, token_budget=budget, seed=None):
            loss, top = self.sequence_losses(found, rows)
            places = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in rows])
            losses[places], likeliest[places] = loss, top
            if step is not None:
                step(len(rows))
        return losses, likeliest

    def go_on(
        self, prompts: Sequence[str], *, max_new_tokens: int, step: Step | None = None
    ) -> list[str]:
        """Return the likeliest continuation of each text, as it is read; see `generate`."""
        encoded = self.fitted(prompts, max_new_tokens)
        answers = [""] * len(encoded)
        order = np.argsort([-len(ids) for ids in encoded], kind="stable")
        for start in range(0, len(order), ANSWERED_TOGETHER):
            rows = order[start : start + ANSWERED_TOGETHER].tolist()
            some = [encoded[row] for row in rows]
            said = self.continuations(some, max_new_tokens=max_new_tokens)
            for row, tokens in zip(rows, said, strict=True):
                answers[row] = self.tokenizer.decode(tokens, skip_special_tokens=True)
            if step is not None:
                step(len(rows))
        return answers

    @property
    def _long_prompts(self) -> Literal["refuse", "cut"]:
        return cast("Literal['refuse', 'cut']", self.info.long_prompts)

    def fitted(self, prompts: Sequence[str], room: int) -> list[list[int]]:
        """Return the token ids of texts, as they are read, that leave some room; see `fitting`."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        window = self.info.max_length
        found = backend.encode_batch_fast(list(prompts), add_special_tokens=False)
        return [
            fitting(
                one.ids or [prefix_token(self.tokenizer)],
                window - room,
                row,
                window,
                self._long_prompts,
            )[0]
            for row, one in enumerate(found)
        ]

    def _column(self, rows: pl.DataFrame, column: str) -> pl.Series:
        if column not in rows.columns:
            raise DataError(
                text("error.text_classifier.column", column=column),
                fix=nearest(column, rows.columns),
            )
        return rows[column]


def ends_answer(tokenizer: Any, said: Sequence[int], until: Sequence[str]) -> bool:
    """Say whether one of the texts stands at the end of what was said so far."""
    if not until:
        return False
    # A text of n bytes comes from n tokens at most; one that begins before these was seen before.
    reach = 2 + max(len(stop.encode()) for stop in until)
    last = tokenizer.decode(said[-reach:])
    return any(stop in last for stop in until)
