"""What the tests' server of completions needs of a language model, whichever model it is.

A model with no more than the capability `LanguageModel` answers. One that also says where its
tokens begin tells likelihoods, one that gives its answer piece by piece is streamed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from shipworthy.core.errors import ModelError
from shipworthy.data.batches import Encoded
from shipworthy.model.dialogues import Predicted
from shipworthy.model.torch_language_model import TorchLanguageModel

if TYPE_CHECKING:
    import polars as pl

    from shipworthy.model.capabilities import LanguageModel


NO_LIKELIHOODS = "this model does not say where its tokens begin, which logprobs need"


@runtime_checkable
class SaysTokens(Protocol):
    """Says where tokens begin."""

    def token_offsets(self, told: str) -> Sequence[int]:
        """Character at which each token of a text begins, never falling."""
        ...


@runtime_checkable
class Streams(Protocol):
    """Gives an answer piece by piece."""

    def pieces(self, prompt: str, *, max_new_tokens: int, seed: int) -> Iterator[str]:
        """Yield the pieces of what `generate` says; together they are that."""
        ...


class Voice:
    """A language model that reads texts as they are, or as the last of a dialogue.

    Rows have the columns `text`, `prompt` and `response`, or those that the model's `info` names.
    window: tokens that a prompt and its answer may have, None where the model does not say.
    """

    def __init__(self, model: LanguageModel) -> None:
        """Take a model; nothing is asked yet."""
        self.model = model
        info = getattr(model, "info", None)
        self.window: int | None = getattr(info, "max_length", getattr(model, "max_length", None))
        self._columns: tuple[str, str] = (
            getattr(info, "text", "") or "prompt", getattr(info, "response", "") or "response",
        )  # fmt: skip
        self._system: str = getattr(info, "system", "")
        self._does: str | None = getattr(info, "does", None)
        self._torch = model if isinstance(model, TorchLanguageModel) else None

    def offsets(self, told: str) -> Sequence[int] | None:
        """Return the character at which each token begins; None where the model does not say."""
        if self._torch is not None:
            backend = self._torch.tokenizer.backend_tokenizer
            backend.no_truncation()
            return [start for start, _ in backend.encode(told, add_special_tokens=False).offsets]
        return self.model.token_offsets(told) if isinstance(self.model, SaysTokens) else None

    def likelihoods(self, told: str) -> tuple[Sequence[int], list[float | None]]:
        """Return where each token of a text begins, and its log-probability after those before.

        The first has none where the model reads nothing before it.
        Raises ModelError where the model does not say where its tokens begin.
        """
        offsets = self.offsets(told)
        if offsets is None:
            raise ModelError(NO_LIKELIHOODS)
        if not offsets:
            return [], []
        losses = self._losses(told)
        first: list[float | None] = [None] * (len(offsets) - len(losses))
        if len(first) > 1:
            raise ModelError(NO_LIKELIHOODS)
        return offsets, [*first, *(-losses).tolist()]

    def go_on(self, prompt: str, most: int, seed: int) -> Iterator[str]:
        """Yield what follows a text, in pieces where the model has them."""
        if isinstance(self.model, Streams):
            yield from self.model.pieces(prompt, max_new_tokens=most, seed=seed)
        elif self._torch is not None:
            # Not `generate`, which puts its own template around a prompt.
            yield self._torch.go_on([prompt], max_new_tokens=most)[0]
        else:
            yield self.model.generate(self._rows(prompt), max_new_tokens=most, seed=seed)[0]

    def reply(self, messages: Sequence[dict[str, str]], most: int, seed: int) -> Iterator[str]:
        """Yield the answer to the last message.

        A model that answers prompts puts it into its own template, with what a system message says
        where it has a column for that; any other goes on from the messages, a line each.
        """
        if self._does != "respond":
            yield from self.go_on(self.read(messages), most, seed)
            return
        rows = self._rows(messages[-1]["content"])
        if self._system:
            import polars as pl

            told = [m["content"] for m in messages if m["role"] == "system"]
            rows = rows.with_columns(pl.lit(told[-1] if told else None).alias(self._system))
        yield self.model.generate(rows, max_new_tokens=most, seed=seed)[0]

    def read(self, messages: Sequence[dict[str, str]]) -> str:
        """Return the messages as one text, a line each."""
        return "".join(f"{m['content']}\n" for m in messages)

    def _losses(self, told: str) -> Any:
        if self._torch is None:
            return self.model.token_losses(self._rows("", told)).values
        # As OpenAI's servers: nothing stands before the first token.
        backend = self._torch.tokenizer.backend_tokenizer
        ids = np.array(backend.encode(told, add_special_tokens=False).ids, dtype=np.int32)
        encoded = Encoded(ids, np.array([0, len(ids)], dtype=np.int64))
        one, none = np.ones(1, np.int64), np.zeros(1, np.int64)
        return self._torch.score(Predicted(encoded, one, none, rows=1))[0]

    def _rows(self, prompt: str, response: str = "") -> pl.DataFrame:
        import polars as pl

        name, said = self._columns
        if self._does is None:  # it may read either
            return pl.DataFrame({"text": [prompt + response], name: [prompt], said: [response]})
        if self._does == "continue":
            return pl.DataFrame({name: [prompt + response]})
        return pl.DataFrame({name: [prompt], said: [response]})
