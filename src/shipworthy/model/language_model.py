"""A causal language model in PyTorch: likelihoods of texts, responses and choices, and answers.

Likelihoods are computed in rectangles of sequences of like length; of the last layer only the rows
that predict something are computed. Answers are the likeliest token each time (greedy), so that
the same model gives the same answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np

from shipworthy.core.device import native_bf16
from shipworthy.core.device import threads as available_threads
from shipworthy.core.errors import DataError, nearest
from shipworthy.core.locale import text
from shipworthy.data.batches import buckets
from shipworthy.model.branches import branch
from shipworthy.model.capabilities import Ragged, TokenLosses
from shipworthy.model.checkpoint import artefact_files, read_info
from shipworthy.model.dialogues import (
    Predicted,
    Template,
    encode_documents,
    encode_pairs,
    encode_responses,
    fitting,
    taken,
)
from shipworthy.model.likelihoods import sequence_losses, tree_losses
from shipworthy.model.pretrained import load_chat_tokenizer, load_module
from shipworthy.model.torch_runtime import torch_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl
    import torch
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


class TorchLanguageModel:
    """A language model with the capability `LanguageModel`.

    Rows have the columns that `info` names. info: what `runtime.json` says. threads: processors.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        tokenizer: Any,
        info: RuntimeInfo,
        *,
        threads: int | None = None,
    ) -> None:
        """Take a model as it is in memory; `load_language_model` opens a folder."""
        self.module: Any = module
        self.tokenizer, self.info = tokenizer, info
        self.threads = available_threads() if threads is None else threads
        self._template: Template | None = None

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
        values = self._choices(found, [range(b, e) for b, e in zip(ends, ends[1:], strict=False)])
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
            with torch_threads(self.threads):
                loss, top = sequence_losses(self.module, found, rows)
            places = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in rows])
            losses[places], likeliest[places] = loss, top
            if step is not None:
                step(len(rows))
        return losses, likeliest

    def _choices(self, found: Predicted, groups: Sequence[range]) -> FloatArray:
        """Return the log-likelihood of each sequence; those of a group share what is given."""
        trees = [branch(found, group) if len(group) else None for group in groups]
        values = np.zeros(len(found.counts))
        whole = [tree for tree in trees if tree is not None]
        lengths = np.array([len(tree.input_ids) for tree in whole], dtype=np.int64)
        budget = max(TOKEN_BUDGET, int(lengths.max(initial=0)))
        for rows in buckets(lengths, token_budget=budget, seed=None) if whole else ():
            batch = [whole[k] for k in rows]
            with torch_threads(self.threads):
                losses = tree_losses(self.module, batch)
            sequences = np.concatenate(
                [np.repeat(t.sequences, found.counts[t.sequences]) for t in batch]
            )
            values -= np.bincount(sequences, losses, minlength=len(values))
        apart = [
            k for group, tree in zip(groups, trees, strict=True) if tree is None for k in group
        ]
        if apart:
            alone, _ = self.sums(taken(found, apart))
            values[apart] = alone
        return values

    def go_on(
        self, prompts: Sequence[str], *, max_new_tokens: int, step: Step | None = None
    ) -> list[str]:
        """Return the likeliest continuation of each text, as it is read; see `generate`."""
        encoded = self._fitted(prompts, max_new_tokens)
        answers = [""] * len(encoded)
        order = np.argsort([-len(ids) for ids in encoded], kind="stable")
        for start in range(0, len(order), ANSWERED_TOGETHER):
            rows = order[start : start + ANSWERED_TOGETHER].tolist()
            for row, answer in zip(
                rows, self._answered([encoded[r] for r in rows], max_new_tokens), strict=True
            ):
                answers[row] = answer
            if step is not None:
                step(len(rows))
        return answers

    @property
    def _end(self) -> int:
        from shipworthy.model.dialogues import prefix_token

        return prefix_token(self.tokenizer)

    @property
    def _long_prompts(self) -> Literal["refuse", "cut"]:
        return cast("Literal['refuse', 'cut']", self.info.long_prompts)

    def padded(self, asked: Sequence[str], *, room: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return prompts without their template as a rectangle, padded on the left, and its mask.

        room: tokens that are left for answers.
        """
        return self._rectangle(self._fitted(self.read(asked), room))

    def _fitted(self, prompts: Sequence[str], room: int) -> list[list[int]]:
        """Return the token ids of texts that leave some room; see `fitting`."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        window = self.info.max_length
        found = backend.encode_batch_fast(list(prompts), add_special_tokens=False)
        return [
            fitting(one.ids or [self._end], window - room, row, window, self._long_prompts)[0]
            for row, one in enumerate(found)
        ]

    def _rectangle(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        longest = max(map(len, prompts))
        rows = [[self._end] * (longest - len(p)) + list(p) for p in prompts]
        mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
        return torch.tensor(rows), torch.tensor(mask)

    def _answered(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[str]:
        import torch

        tokens, mask = self._rectangle(prompts)
        with torch_threads(self.threads), torch.inference_mode():
            found = self.module.generate(
                input_ids=tokens,
                attention_mask=mask,
                generation_config=self._greedy(max_new_tokens, self._end),
            )
        return [
            self.tokenizer.decode(one, skip_special_tokens=True)
            for one in found[:, tokens.shape[1] :].tolist()
        ]

    def _greedy(self, max_new_tokens: int, pad: int) -> Any:
        from transformers import GenerationConfig

        settings: Any = GenerationConfig  # it carries no types
        own = getattr(self.module, "generation_config", None)
        ends = getattr(own, "eos_token_id", None)
        if ends is None:
            ends = self.tokenizer.eos_token_id
        return settings(
            max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, eos_token_id=ends,
            pad_token_id=pad, use_cache=True,
        )  # fmt: skip

    def _column(self, rows: pl.DataFrame, column: str) -> pl.Series:
        if column not in rows.columns:
            raise DataError(
                text("error.text_classifier.column", column=column),
                fix=nearest(column, rows.columns),
            )
        return rows[column]


def load_language_model(folder: Path | str, *, threads: int | None = None) -> TorchLanguageModel:
    """Open the folder of a candidate that is a language model.

    Raises ModelError where the folder is incomplete, unsafe or of another kind.
    """
    info = read_info(folder)
    artefact_files(folder)
    module = load_module(folder)
    if info.runtime == "torch-bf16" and not native_bf16():
        module = module.float()
    return TorchLanguageModel(module, load_chat_tokenizer(folder), info, threads=threads)
