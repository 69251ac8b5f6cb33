"""From prompts, responses and documents to token ids, and which of the tokens are predicted.

A prompt is put into a template: the tokenizer's own (chat), or a text with `{prompt}` in it. Prompt
and response are encoded apart and joined, so that what a model is trained on begins with the very
tokens that it is later asked to go on from. A document longer than the window is read in windows;
each of its tokens is predicted once, the first after the token that begins a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shipworthy.core.errors import DataError, ModelError, SettingsError
from shipworthy.core.locale import text
from shipworthy.data.batches import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CHAT = "chat"
AUTO = "auto"
PLAIN = "{prompt}\n"
LONGEST_PART = 1_000_000
"""Characters that a tokenizer is handed at once."""

ROWS_AT_ONCE = 4096
_ASKED, _SAID = "prompt-4f2a", "response-9c1d"


@dataclass(frozen=True, eq=False)
class Predicted:
    """Token sequences, and from which place on their tokens are predicted.

    starts: int64, shape (s,), at least 1: tokens before that place are given. owners: the row of
    each sequence, rising. rows: how many rows there are. cut: rows whose prompt was cut.
    """

    encoded: Encoded
    starts: NDArray[np.int64]
    owners: NDArray[np.int64]
    rows: int
    cut: int = 0

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Predicted tokens of each sequence, shape (s,)."""
        found: NDArray[np.int64] = np.maximum(self.encoded.lengths - self.starts, 0)
        return found


class Template:
    """How prompts become what a model reads.

    tokenizer: of transformers. written: `chat`, `auto` or a text with `{prompt}` in it.
    Raises SettingsError for a text without `{prompt}`, ModelError for a chat template that does not
    tell who speaks or that the tokenizer does not have.
    """

    def __init__(self, tokenizer: Any, written: str = AUTO) -> None:
        self._tokenizer = tokenizer
        own = getattr(tokenizer, "chat_template", None)
        self.written = (CHAT if own else PLAIN) if written == AUTO else written
        if self.written != CHAT and "{prompt}" not in self.written:
            raise SettingsError(
                text("error.dialogues.no_prompt", template=self.written),
                key="data.template",
                fix=text("error.dialogues.no_prompt.fix"),
            )
        if self.written == CHAT:
            if not own:
                raise ModelError(
                    text("error.dialogues.no_template"),
                    fix=text("error.dialogues.no_template.fix"),
                )
            self._check_roles()

    def __call__(self, prompt: str, system: str | None = None) -> str:
        """Return what the model reads before it answers."""
        if self.written != CHAT:
            whole = prompt if not system else f"{system}\n{prompt}"
            return self.written.replace("{prompt}", whole)
        return self._chat(prompt, system)

    def _chat(self, prompt: str, system: str | None = None, response: str | None = None) -> str:
        from jinja2 import TemplateError

        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": prompt})
        if response is not None:
            messages.append({"role": "assistant", "content": response})
        try:
            found: str = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=response is None
            )
        except (TemplateError, ValueError, TypeError, KeyError) as error:
            raise ModelError(
                text("error.dialogues.template", reason=str(error).partition("\n")[0])
            ) from error
        return found

    def _check_roles(self) -> None:
        """A response has to follow the very words that ask for it."""
        asked, said = self._chat(_ASKED), self._chat(_ASKED, response=_SAID)
        before, found, _ = said.partition(_SAID)
        if _ASKED not in asked or not found or before != asked:
            raise ModelError(
                text("error.dialogues.no_roles"), fix=text("error.dialogues.no_roles.fix")
            )


def prefix_token(tokenizer: Any) -> int:
    """Return the token that a text begins after: of the beginning, or else of the end."""
    for name in ("bos_token_id", "eos_token_id"):
        token = getattr(tokenizer, name, None)
        if token is not None:
            return int(token)
    raise ModelError(text("error.dialogues.no_end"))


def encode_documents(
    tokenizer: Any, texts: Sequence[str], *, window: int, end: bool = False
) -> Predicted:
    """Return documents in windows of at most `window` tokens, and one that is only predicted.

    end: whether the token that ends a text is predicted as well, as in training. The last window of
    a document reaches back as far as it may, so that its tokens have the most before them.
    Raises DataError where a text is missing.
    """
    first = prefix_token(tokenizer)
    last = getattr(tokenizer, "eos_token_id", None)
    sequences: list[list[int]] = []
    starts, owners = [], []
    for row, ids in enumerate(_ids(tokenizer, texts)):
        tokens = [first, *ids, int(last)] if end and last is not None else [first, *ids]
        for start in range(1, len(tokens), window):
            stop = min(start + window, len(tokens))
            begin = max(0, stop - window - 1)
            sequences.append(tokens[begin:stop])
            starts.append(start - begin)
            owners.append(row)
    return Predicted(
        _joined(sequences), np.array(starts, np.int64), np.array(owners, np.int64), len(texts)
    )


def encode_responses(
    tokenizer: Any,
    prompts: Sequence[str],
    responses: Sequence[str],
    *,
    window: int,
    end: bool = False,
    long_prompts: Literal["refuse", "cut"] = "refuse",
) -> Predicted:
    """Return each prompt, in its template already, with its response; only the latter is predicted.

    end: whether the token that ends a text is predicted as well, as in training. A response longer
    than the window is cut at its end. long_prompts: see `DataSettings`.
    Raises DataError naming the row of a prompt that leaves its response no room.
    """
    last = getattr(tokenizer, "eos_token_id", None)
    asked, said = _ids(tokenizer, prompts), _ids(tokenizer, responses)
    sequences, starts, cut = [], [], 0
    for row, (prompt, response) in enumerate(zip(asked, said, strict=True)):
        given = prompt or [prefix_token(tokenizer)]
        wanted = [*response, int(last)] if end and last is not None else response
        if len(given) + len(wanted) > window:
            wanted = wanted[: window - 1]
            given, was_cut = fitting(given, window - len(wanted), row, window, long_prompts)
            cut += was_cut
        sequences.append([*given, *wanted])
        starts.append(len(given))
    owners = np.arange(len(sequences), dtype=np.int64)
    return Predicted(_joined(sequences), np.array(starts, np.int64), owners, len(prompts), cut)


def fitting(
    prompt: list[int], room: int, row: int, window: int, long_prompts: Literal["refuse", "cut"]
) -> tuple[list[int], bool]:
    """Return the end of a prompt that fits, and whether it was cut; or refuse it."""
    if len(prompt) <= room:
        return prompt, False
    if long_prompts == "refuse":
        raise DataError(
            text("error.dialogues.long", tokens=len(prompt), room=max(room, 0), window=window),
            row=row + 1,
            fix=text("error.dialogues.long.fix"),
        )
    return prompt[len(prompt) - max(room, 1) :], True


def encode_pairs(
    tokenizer: Any, contexts: Sequence[str], continuations: Sequence[str], *, window: int
) -> Predicted:
    """Return contexts with continuations as the lm-evaluation-harness encodes them.

    White space at the end of a context goes to the continuation, both are encoded as one text, and
    what goes beyond the tokens of the context alone is predicted. What does not fit is cut at its
    start.
    """
    moved = [c[len(c.rstrip()) :] for c in contexts]
    before = [c.rstrip() for c in contexts]
    whole = _ids(
        tokenizer,
        [b + m + c for b, m, c in zip(before, moved, continuations, strict=True)],
    )
    first = prefix_token(tokenizer)
    sequences, starts, cut = [], [], 0
    for ids, context in zip(whole, _ids(tokenizer, before), strict=True):
        given = len(context)
        tokens = ids
        if not given:
            tokens, given = [first, *ids], 1
        over = max(0, len(tokens) - window - 1)
        cut += over > 0
        # As there: the last token is only predicted, never read.
        kept = tokens[over:]
        sequences.append(kept)
        starts.append(max(1, given - over))
    owners = np.arange(len(sequences), dtype=np.int64)
    return Predicted(_joined(sequences), np.array(starts, np.int64), owners, len(contexts), cut)


def taken(found: Predicted, sequences: Sequence[int]) -> Predicted:
    """Return some of the sequences, in the order given."""
    chosen = np.asarray(sequences, dtype=np.int64)
    encoded = found.encoded.take(chosen)
    return Predicted(encoded, found.starts[chosen], found.owners[chosen], found.rows)


def _ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without those that a tokenizer adds by itself."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    try:
        found: list[list[int]] = []
        for start in range(0, len(texts), ROWS_AT_ONCE):
            some = [_parts(one) for one in texts[start : start + ROWS_AT_ONCE]]
            flat = [part for parts in some for part in parts]
            encoded = iter(backend.encode_batch_fast(flat, add_special_tokens=False))
            found += [[t for _ in parts for t in next(encoded).ids] for parts in some]
    except TypeError:
        row = next((k for k, one in enumerate(texts) if not isinstance(one, str)), 0)
        raise DataError(
            text("error.batches.not_text", value=texts[row]),
            row=row + 1,
            fix=text("error.batches.not_text.fix"),
        ) from None
    return found


def _parts(one: str) -> list[str]:
    """Cut a very long text before white space: a tokenizer's own record is 100 times the text."""
    if not isinstance(one, str):
        raise TypeError
    if len(one) <= LONGEST_PART:
        return [one]
    parts, start = [], 0
    while len(one) - start > LONGEST_PART:
        end = one.rfind(" ", start + LONGEST_PART // 2, start + LONGEST_PART)
        end = start + LONGEST_PART if end < 0 else end
        parts.append(one[start:end])
        start = end
    return [*parts, one[start:]]


def _joined(sequences: Sequence[Sequence[int]]) -> Encoded:
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    flat = np.fromiter((t for one in sequences for t in one), np.int32, int(offsets[-1]))
    return Encoded(flat, offsets)
