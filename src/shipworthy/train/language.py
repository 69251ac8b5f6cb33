"""What fine-tuning a language model takes besides the loop: its rows, and what it is made to be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from shipworthy.core.errors import DataError
from shipworthy.core.locale import text
from shipworthy.model.dialogues import Template, encode_documents, encode_responses
from shipworthy.train.microbatches import LabelledRows

if TYPE_CHECKING:
    from typing import Literal

    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.dialogues import Predicted


def language_rows(
    frame: pl.DataFrame, tokenizer: Any, info: RuntimeInfo, *, split: str
) -> LabelledRows:
    """Return rows as tokens, of which those of the text, or of the response, are predicted.

    A text longer than the model reads becomes several rows. The end of a text is learned as well.
    Raises DataError where nothing is left to learn from, or a prompt leaves its response no room.
    """
    found = predicted_rows(frame, tokenizer, info)
    kept = found.counts > 0
    if len(frame) and not kept.any():
        raise DataError(text("error.language.nothing", split=split), column=info.text)
    encoded = found.encoded.take(kept.nonzero()[0])
    starts: NDArray[np.int64] = found.starts[kept]
    pad = tokenizer.pad_token_id
    return LabelledRows(
        encoded,
        found.owners[kept],
        int(tokenizer.eos_token_id if pad is None else pad),
        starts,
    )


def predicted_rows(frame: pl.DataFrame, tokenizer: Any, info: RuntimeInfo) -> Predicted:
    """Return the tokens that a language model is trained on."""
    texts = frame[info.text].to_list()
    if info.does == "continue":
        # A window and the token after it are learned from together.
        return encode_documents(tokenizer, texts, window=info.max_length - 1, end=True)
    template = Template(tokenizer, info.template or "auto")
    systems = frame[info.system].to_list() if info.system else [None] * len(texts)
    return encode_responses(
        tokenizer,
        [template(prompt, system) for prompt, system in zip(texts, systems, strict=True)],
        frame[info.response].to_list(),
        window=info.max_length,
        end=True,
        long_prompts=cast("Literal['refuse', 'cut']", info.long_prompts),
    )
