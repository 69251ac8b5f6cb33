"""A running server as a language model: answers, and likelihoods where it tells them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shipworthy.core.errors import DataError, ModelError, nearest
from shipworthy.core.locale import text
from shipworthy.model.capabilities import Ragged, TokenLosses
from shipworthy.model.endpoint_http import Cost, Server, TooLongError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import polars as pl

    from shipworthy.core.progress import Step
    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.endpoint_settings import EndpointSettings

PLAIN = "{prompt}\n"


class EndpointLanguageModel:
    """A server with the capability `LanguageModel`.

    info: which columns hold prompts, responses and choices, and the template that is put around a
    prompt (none for `chat`, where the server has its own). `empty` counts answers without a word.
    """

    def __init__(
        self, settings: EndpointSettings, info: RuntimeInfo, *, cache: Path | None = None
    ) -> None:
        """Read the key; nothing is asked yet. cache: file of answers."""
        self.settings, self.info = settings, info
        self.server = Server(settings, cache)
        self.empty = 0

    @property
    def cost(self) -> Cost:
        """What was asked of the server so far."""
        return self.server.cost

    def generate(
        self, rows: pl.DataFrame, *, max_new_tokens: int, seed: int, step: Step | None = None
    ) -> list[str]:
        """Return the answer to each prompt, greedy; "" where the server gives no word.

        Raises DataError with the row of a prompt that is too long, ModelError for a server that
        does not answer.
        """
        bodies = self._asked(rows, max_new_tokens, seed)
        found = [_answer(one) for one in self._all(self._path, bodies, step)]
        self.empty += sum(not one.strip() for one in found)
        return found

    def estimate(self, rows: pl.DataFrame, *, max_new_tokens: int) -> Cost:
        """Return what asking for answers (and likelihoods) would cost at most; nothing is asked."""
        bodies = self._asked(rows, max_new_tokens, 0)
        if self.settings.likelihoods and self.settings.protocol == "completions":
            bodies += [self._told(p + r) for p, r in self._pairs(rows)]
        parts = [self.server.estimated(body) for body in bodies]
        return Cost(
            len(parts), sum(p.read for p in parts), sum(p.written for p in parts),
            sum(p.money for p in parts),
        )  # fmt: skip

    def token_losses(self, rows: pl.DataFrame, step: Step | None = None) -> TokenLosses:
        """Loss of each token of each text or response, in nats.

        Raises ModelError where the server does not tell the likelihood of given tokens.
        """
        pairs = self._pairs(rows)
        losses = self._losses([(p, r) for p, r in pairs], step)
        lengths = [len(one) for one in losses]
        values = np.concatenate(losses) if losses else np.zeros(0)
        return TokenLosses(values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))

    def choice_log_likelihoods(
        self,
        rows: pl.DataFrame,
        *,
        normalize: Literal["none", "tokens", "bytes"],
        step: Step | None = None,
    ) -> Ragged:
        """Log-likelihood of each choice of each row after its prompt, as it is or per token, byte.

        Raises ModelError where the server does not tell the likelihood of given tokens.
        """
        offered = self._column(rows, self.info.choices or "choices").to_list()
        prompts = self._prompts(rows)
        # White space before a choice is a part of it, as in `dialogues.encode_pairs`.
        pairs = [
            (p.rstrip(), p[len(p.rstrip()) :] + c)
            for p, choices in zip(prompts, offered, strict=True)
            for c in choices
        ]
        losses = self._losses(pairs, step)
        values = np.array([-one.sum() for one in losses])
        if normalize == "tokens":
            values = values / np.maximum([len(one) for one in losses], 1)
        elif normalize == "bytes":
            said = [c for choices in offered for c in choices]
            values = values / np.maximum([len(c.encode()) for c in said], 1)
        sizes = [len(choices) for choices in offered]
        return Ragged(values, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    def _losses(self, pairs: Sequence[tuple[str, str]], step: Step | None) -> list[Any]:
        if not self.settings.likelihoods or self.settings.protocol == "chat":
            raise self._no_likelihoods()
        bodies = [self._told(given + said) for given, said in pairs]
        answers = self._all("/completions", bodies, step)
        return [
            self._after(answer, len(given))
            for (given, _), answer in zip(pairs, answers, strict=True)
        ]

    def _after(self, answer: dict[str, Any], start: int) -> Any:
        """Return the losses of the tokens that end behind a place of the text."""
        told = answer["choices"][0].get("logprobs") or {}
        values, offsets = told.get("token_logprobs"), told.get("text_offset")
        if not values or not offsets or len(values) != len(offsets):
            raise self._no_likelihoods()
        ends = [*offsets[1:], np.inf]
        # The first token of a text has nothing before it, and no likelihood.
        kept = [-v for v, end in zip(values, ends, strict=True) if v is not None and end > start]
        return np.array(kept, dtype=np.float64)

    def _no_likelihoods(self) -> ModelError:
        return ModelError(
            text("error.endpoint.likelihoods", model=self.settings.model),
            fix=text("error.endpoint.likelihoods.fix"),
        )

    def _asked(self, rows: pl.DataFrame, max_new_tokens: int, seed: int) -> list[dict[str, Any]]:
        common: dict[str, Any] = {
            "model": self.settings.model, "max_tokens": max_new_tokens, "temperature": 0,
            "seed": seed,
        }  # fmt: skip
        if self.settings.protocol == "completions":
            return [{**common, "prompt": prompt} for prompt in self._prompts(rows)]
        prompts = self._column(rows, self.info.text).to_list()
        systems = (
            self._column(rows, self.info.system).to_list()
            if self.info.system
            else [None] * len(prompts)
        )
        return [
            {
                **common,
                "messages": [
                    *([{"role": "system", "content": system}] if system else []),
                    {"role": "user", "content": prompt},
                ],
            }
            for prompt, system in zip(prompts, systems, strict=True)
        ]

    def _told(self, whole: str) -> dict[str, Any]:
        return {
            "model": self.settings.model, "prompt": whole, "max_tokens": 0, "echo": True,
            "logprobs": 1, "temperature": 0,
        }  # fmt: skip

    @property
    def _path(self) -> str:
        chat = self.settings.protocol == "chat"
        return "/chat/completions" if chat else "/completions"

    def _prompts(self, rows: pl.DataFrame) -> list[str]:
        asked = self._column(rows, self.info.text).to_list()
        if self.info.does == "continue":
            return asked
        template = PLAIN if self.info.template in ("", "auto", "chat") else self.info.template
        return [template.replace("{prompt}", prompt) for prompt in asked]

    def _pairs(self, rows: pl.DataFrame) -> list[tuple[str, str]]:
        """Return what is given and what is to be predicted, of each row."""
        if self.info.does == "continue":
            return [("", t) for t in self._column(rows, self.info.text).to_list()]
        responses = self._column(rows, self.info.response).to_list()
        return list(zip(self._prompts(rows), responses, strict=True))

    def _all(
        self, path: str, bodies: Sequence[dict[str, Any]], step: Step | None
    ) -> list[dict[str, Any]]:
        """Ask everything, several at once; the first error ends it, and what came is kept."""

        def one(row: int) -> dict[str, Any]:
            try:
                return self.server.post(path, bodies[row])
            except TooLongError as error:
                raise DataError(str(error), row=row + 1) from error

        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            return _in_order(pool, one, len(bodies), step)

    def _column(self, rows: pl.DataFrame, column: str) -> pl.Series:
        if column not in rows.columns:
            raise DataError(
                text("error.text_classifier.column", column=column),
                fix=nearest(column, rows.columns),
            )
        return rows[column]


def _in_order(
    pool: ThreadPoolExecutor,
    one: Callable[[int], dict[str, Any]],
    count: int,
    step: Step | None,
) -> list[dict[str, Any]]:
    waiting = [pool.submit(one, row) for row in range(count)]
    try:
        found = []
        for future in waiting:
            found.append(future.result())
            if step is not None:
                step(1)
        return found
    except BaseException:
        for future in waiting:
            future.cancel()
        raise


def _answer(answer: dict[str, Any]) -> str:
    choice = answer["choices"][0]
    said = choice.get("text")
    if said is None:
        said = (choice.get("message") or {}).get("content")
    return said or ""
