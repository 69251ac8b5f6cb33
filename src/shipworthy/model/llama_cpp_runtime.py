"""A causal language model that llama.cpp runs: a GGUF file, asked with the model's own tokenizer.

Sequences are read in one batch by their numbers; choices of one prompt share what was read of it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.branches import begin_alike
from shipworthy.model.checkpoint import GGUF, artefact_files, read_info
from shipworthy.model.language_model import CausalLanguageModel, Timed, ends_answer
from shipworthy.model.llama_cpp import AT_ONCE, GgufModel, Piece, Reader
from shipworthy.model.pretrained import load_chat_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.dialogues import Predicted

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]
    IntArray: TypeAlias = NDArray[np.int64]

SIDE_BY_SIDE = 32
"""Sequences that share the memory of a reader, at most."""


class LlamaCppLanguageModel(CausalLanguageModel):
    """A language model of the runtime `llama.cpp`."""

    def __init__(
        self, file: Path, tokenizer: Any, info: RuntimeInfo, *, threads: int | None = None
    ) -> None:
        """Open a GGUF file; `load_language_model` opens a folder.

        Raises ModelError where the file or the library cannot be used.
        """
        super().__init__(tokenizer, info, threads=threads)
        self.model = GgufModel(file)
        self._together: Reader | None = None
        self._apart: Reader | None = None
        self._ends = _ends(file.parent, tokenizer)

    @property
    def parameters(self) -> int:
        """Weights of the model."""
        return self.model.parameters

    def sequence_losses(self, found: Predicted, rows: IntArray) -> tuple[FloatArray, BoolArray]:
        """Score sequences side by side; see `CausalLanguageModel`."""
        read = [_Sequence.of(found, int(row)) for row in rows]
        losses: list[FloatArray] = []
        tops: list[BoolArray] = []
        for part in _parts(read):
            reader = self._shared(sum(len(one.given) + len(one.wanted) for one in part))
            reader.forget()
            pieces = [Piece(k, 0, one.read, one.told) for k, one in enumerate(part)]
            found_here = _losses(reader.read(pieces), np.concatenate([o.wanted for o in part]))
            losses.append(found_here[0])
            tops.append(found_here[1])
        return np.concatenate(losses), np.concatenate(tops)

    def grouped_log_likelihoods(self, found: Predicted, groups: Sequence[range]) -> FloatArray:
        """Read what a group begins with once; see `CausalLanguageModel`."""
        values = np.zeros(len(found.counts))
        for group in groups:
            if len(group) > 1 and begin_alike(found, group):
                values[list(group)] = self._after_one_beginning(found, group)
            elif len(group):
                rows = np.array(group, dtype=np.int64)
                losses, _ = self.sequence_losses(found, rows)
                owners = np.repeat(np.arange(len(rows)), found.counts[rows])
                values[rows] = -np.bincount(owners, losses, minlength=len(rows))
        return values

    def continuations(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        until: Sequence[str] = (),
        sampling: Mapping[str, Any] | None = None,
    ) -> list[list[int]]:
        """Answer prompts side by side, the likeliest token each time; see `CausalLanguageModel`.

        Raises ModelError where the settings ask for other tokens than the likeliest.
        """
        if sampling is not None and (sampling.get("do_sample") or sampling.get("num_beams", 1) > 1):
            raise ModelError(text("error.llama_cpp.greedy"), fix=text("error.llama_cpp.greedy.fix"))
        said: list[list[int]] = [[] for _ in prompts]
        going = list(range(len(prompts)))
        for tokens in self._said(prompts, max_new_tokens):
            for k in going:
                said[k].append(tokens[k])
            going = [
                k for k in going
                if said[k][-1] not in self._ends and not ends_answer(self.tokenizer, said[k], until)
            ]  # fmt: skip
            if not going:
                break
        return said

    def timed(self, prompts: Sequence[str], new_tokens: int) -> Timed:
        """Answer one call of llama.cpp a token; see `CausalLanguageModel`."""
        # As a server does, memory is taken before a prompt comes.
        reader = self._side_by_side(self.info.max_length, len(prompts))
        stamps = [time.perf_counter_ns()]
        for _ in self._said(self.fitted(self.read(prompts), new_tokens), new_tokens):
            stamps.append(time.perf_counter_ns())
        return Timed(stamps, reader.held_bytes() / 1e6)

    def _said(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Iterator[list[int]]:
        """Give the likeliest next token of each prompt, time after time."""
        reader = self._side_by_side(max(map(len, prompts)) + new_tokens, len(prompts))
        reader.forget()
        pieces = [
            Piece(k, 0, prompt, [False] * (len(prompt) - 1) + [True])
            for k, prompt in enumerate(prompts)
        ]
        for number in range(new_tokens):
            tokens = np.concatenate([part.argmax(axis=1) for part in reader.read(pieces)]).tolist()
            yield tokens
            pieces = [
                Piece(k, len(prompt) + number, [tokens[k]], [True])
                for k, prompt in enumerate(prompts)
            ]

    def _after_one_beginning(self, found: Predicted, group: range) -> FloatArray:
        read = [_Sequence.of(found, row) for row in group]
        given = read[0].given
        reader = self._shared(len(given) + sum(len(one.wanted) for one in read))
        reader.forget()
        last = Piece(0, 0, given, [False] * (len(given) - 1) + [True])
        (first,) = (part for part in reader.read([last]) if len(part))
        begins = np.array([one.wanted[0] for one in read])
        values = _losses(iter([np.repeat(first, len(read), axis=0)]), begins)[0].tolist()
        for start in range(0, len(read), SIDE_BY_SIDE - 1):
            some = read[start : start + SIDE_BY_SIDE - 1]
            pieces, rows, wanted = [], [], []
            for k, one in enumerate(some):
                if len(one.wanted) > 1:
                    reader.copy(0, k + 1)
                    said = one.wanted[:-1].tolist()
                    pieces.append(Piece(k + 1, len(given), said, [True] * len(said)))
                    rows += [start + k] * len(said)
                    wanted.append(one.wanted[1:])
            if pieces:
                losses, _ = _losses(reader.read(pieces), np.concatenate(wanted))
                for row, loss in zip(rows, losses.tolist(), strict=True):
                    values[row] += loss
                for piece in pieces:
                    reader.drop(piece.sequence)
        return -np.array(values)

    def _shared(self, tokens: int) -> Reader:
        """Return a reader with room for so many tokens, all sequences together."""
        if self._together is None or self._together.tokens < tokens:
            room = max(tokens, AT_ONCE)
            self._together = Reader(
                self.model, room, SIDE_BY_SIDE, threads=self.threads, shared=True
            )
        return self._together

    def _side_by_side(self, tokens: int, sequences: int) -> Reader:
        """Return a reader with room for so many tokens in each of so many sequences."""
        found = self._apart
        if found is None or found.sequences != sequences or found.tokens < tokens:
            found = Reader(self.model, tokens, sequences, threads=self.threads, shared=False)
            self._apart = found
        return found


class _Sequence:
    """Tokens that are given and tokens that are wanted after them."""

    def __init__(self, tokens: NDArray[Any], start: int) -> None:
        self.given, self.wanted = tokens[:start].tolist(), tokens[start:]

    @classmethod
    def of(cls, found: Predicted, row: int) -> _Sequence:
        offsets = found.encoded.offsets
        tokens = found.encoded.token_ids[offsets[row] : offsets[row + 1]]
        return cls(tokens, int(found.starts[row]))

    @property
    def read(self) -> list[int]:
        """What the model reads: the last token is only predicted."""
        said: list[int] = self.wanted[:-1].tolist()
        return [*self.given, *said] if len(self.wanted) else self.given

    @property
    def told(self) -> list[bool]:
        """After which of the read tokens something is predicted."""
        wanted = len(self.wanted)
        return [False] * (len(self.read) - wanted) + [True] * wanted


def _parts(read: Sequence[_Sequence]) -> Iterator[list[_Sequence]]:
    """Put sequences together that are read in one call, in their order."""
    part: list[_Sequence] = []
    tokens = 0
    for one in read:
        size = len(one.read)
        if part and (tokens + size > AT_ONCE or len(part) == SIDE_BY_SIDE):
            yield part
            part, tokens = [], 0
        part.append(one)
        tokens += size
    if part:
        yield part


def _losses(
    parts: Iterator[NDArray[np.float32]], wanted: NDArray[Any]
) -> tuple[FloatArray, BoolArray]:
    """Return the loss of each wanted token, and whether it was the likeliest one."""
    losses, tops, start = [np.zeros(0)], [np.zeros(0, dtype=bool)], 0
    for logits in parts:
        said = wanted[start : start + len(logits)]
        start += len(logits)
        highest = logits.max(axis=1, keepdims=True)
        total = np.log(np.exp(logits - highest).sum(axis=1, dtype=np.float64)) + highest[:, 0]
        losses.append(total - logits[np.arange(len(said)), said])
        tops.append(logits.argmax(axis=1) == said)
    return np.concatenate(losses).astype(np.float64), np.concatenate(tops)


def _ends(folder: Path, tokenizer: Any) -> set[int]:
    """Return the tokens that end an answer."""
    file = folder / "generation_config.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    ends = told.get("eos_token_id")
    if ends is None:
        ends = tokenizer.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends} - {None}


def open_llama_cpp(folder: Path | str, *, threads: int | None = None) -> LlamaCppLanguageModel:
    """Open the folder of a candidate that llama.cpp runs.

    Raises ModelError where the folder is incomplete, or file or library cannot be used.
    """
    info = read_info(folder)
    artefact_files(folder)
    tokenizer = load_chat_tokenizer(folder)
    return LlamaCppLanguageModel(Path(folder) / GGUF, tokenizer, info, threads=threads)
