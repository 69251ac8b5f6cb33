"""A running server as a language model: answers, and likelihoods where it tells them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shipworthy.core.errors import DataError, ModelError, nearest
from shipworthy.core.locale import text
from shipworthy.model.capabilities import Ragged, TokenLosses
from shipworthy.model.endpoint_cache import question
from shipworthy.model.endpoint_client import Client, said
from shipworthy.model.endpoint_cost import Cost, Request, estimated
from shipworthy.model.endpoint_replies import RefusedError, TooLongError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from shipworthy.core.progress import Step
    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.endpoint_settings import EndpointSettings

PLAIN = "{prompt}\n"

COMPLETIONS, CHAT = "/completions", "/chat/completions"

_ABOUT_LIKELIHOODS = ("echo", "logprob", "max_tokens")
"""Words of a server that refuses to tell likelihoods."""


class EndpointLanguageModel:
    """A server with the capability `LanguageModel`.

    info: which columns hold prompts, responses and choices, and the template that is put around a
    prompt (none for `chat`, where the server has its own). `empty` counts answers without a word.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        info: RuntimeInfo,
        *,
        cache: Path | None = None,
        stream: bool = False,
    ) -> None:
        """Read the key; nothing is asked yet.

        cache: file of answers. stream: whether answers are taken piece by piece, so that `requests`
        has the time to the first piece and those between pieces.
        """
        self.settings, self.info = settings, info
        self.server = Client(settings, cache, stream=stream)
        self.empty = 0

    @property
    def cost(self) -> Cost:
        """What was asked of the server so far."""
        return self.server.purse.cost

    @property
    def requests(self) -> tuple[Request, ...]:
        """Tokens and times of each request that was answered so far, in the order of answers."""
        return tuple(self.server.purse.requests)

    def notes(self) -> list[str]:
        """Return what is to be known of the numbers of `cost`: a line where tokens are guessed."""
        guessed = sum(one.guessed for one in self.requests)
        return [text("endpoint.guessed", count=guessed)] if guessed else []

    def generate(
        self, rows: pl.DataFrame, *, max_new_tokens: int, seed: int, step: Step | None = None
    ) -> list[str]:
        """Return the answer to each prompt, greedy; "" where the server gives no word.

        Raises DataError with the row of a prompt that is too long, ModelError for a server that
        does not answer.
        """
        bodies = self._asked(rows, max_new_tokens, seed)
        found = [said(one) for one in self._all(self._path, bodies, step)]
        self.empty += sum(not one.strip() for one in found)
        return found

    def estimate(self, rows: pl.DataFrame, *, max_new_tokens: int) -> Cost:
        """Return what the rows would cost at most; nothing is asked.

        Counted are answers, or the likelihood of choices where there are some, and the likelihood
        of texts and responses where the server tells it; what is in the cache costs nothing.
        """
        tells = self.settings.likelihoods and self.settings.protocol == "completions"
        continues = self.info.does == "continue"
        if tells and self.info.choices and not continues:
            asked = [(COMPLETIONS, self._told(p + c)) for p, c in self._choices(rows)[0] if c]
        elif tells and continues:
            asked = []
        else:
            asked = [(self._path, body) for body in self._asked(rows, max_new_tokens, 0)]
        if tells:
            asked += [(COMPLETIONS, self._told(p + r)) for p, r in self._pairs(rows) if r]
        cache = self.server.cache
        parts = {}
        for path, body in asked:
            key = question(self.settings.url, path, body)
            if cache is None or key not in cache:
                parts[key] = estimated(self.settings, body)
        return Cost(
            len(parts), sum(p.read for p in parts.values()), sum(p.written for p in parts.values()),
            sum(p.money for p in parts.values()),
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
        pairs, offered = self._choices(rows)
        losses = self._losses(pairs, step)
        values = np.array([-one.sum() for one in losses])
        if normalize == "tokens":
            values = values / np.maximum([len(one) for one in losses], 1)
        elif normalize == "bytes":
            flat = [c for choices in offered for c in choices]
            values = values / np.maximum([len(c.encode()) for c in flat], 1)
        sizes = [len(choices) for choices in offered]
        return Ragged(values, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64))

    def _choices(self, rows: pl.DataFrame) -> tuple[list[tuple[str, str]], list[list[str]]]:
        """Return what is given and what may follow, flat over all choices, and the choices."""
        offered = self._column(rows, self.info.choices or "choices").to_list()
        # White space before a choice is a part of it, as in `dialogues.encode_pairs`.
        pairs = [
            (p.rstrip(), p[len(p.rstrip()) :] + c)
            for p, choices in zip(self._prompts(rows), offered, strict=True)
            for c in choices
        ]
        return pairs, offered

    def _losses(self, pairs: Sequence[tuple[str, str]], step: Step | None) -> list[Any]:
        if not self.settings.likelihoods or self.settings.protocol == "chat":
            raise self._no_likelihoods()
        asked = [k for k, (_, follows) in enumerate(pairs) if follows]
        bodies = [self._told("".join(pairs[k])) for k in asked]
        try:
            answers = self._all(COMPLETIONS, bodies, step)
        except RefusedError as error:
            if any(word in error.said.lower() for word in _ABOUT_LIKELIHOODS):
                raise self._no_likelihoods() from error
            raise
        found = [np.zeros(0) for _ in pairs]
        for k, answer in zip(asked, answers, strict=True):
            given, follows = pairs[k]
            found[k] = self._after(answer, len(given), len(given + follows))
        return found

    def _after(self, answer: dict[str, Any], start: int, stop: int) -> Any:
        """Return the losses of the tokens with a character from one place of the text to another.

        Where several tokens make one character, they all begin at its place.
        """
        told = answer["choices"][0].get("logprobs") or {}
        values, offsets = told.get("token_logprobs"), told.get("text_offset")
        if not values or not offsets or len(values) != len(offsets):
            raise self._no_likelihoods()
        ends = [*offsets[1:], stop]
        # The first token of a text has nothing before it, and no likelihood; what a server adds of
        # its own stands behind the text.
        kept = [
            -value
            for value, begin, end in zip(values, offsets, ends, strict=True)
            if value is not None and begin < stop and (end > start or begin >= start)
        ]
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
        return CHAT if chat else COMPLETIONS

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
        """Return answers in the order of bodies; several are asked at once, the same only once.

        The first error ends it, and what came before is kept.
        """
        keys = [question(self.settings.url, path, body) for body in bodies]
        rows: dict[str, list[int]] = {}
        for row, key in enumerate(keys):
            rows.setdefault(key, []).append(row)
        stop = threading.Event()

        def one(row: int) -> dict[str, Any]:
            try:
                return self.server.post(path, bodies[row], stop=stop)
            except TooLongError as error:
                raise DataError(str(error), row=row + 1) from error

        found: dict[str, dict[str, Any]] = {}
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            waiting = {pool.submit(one, same[0]): key for key, same in rows.items()}
            try:
                for future in as_completed(waiting):
                    found[waiting[future]] = future.result()
                    if step is not None:
                        step(len(rows[waiting[future]]))
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [found[key] for key in keys]

    def _column(self, rows: pl.DataFrame, column: str) -> pl.Series:
        if column not in rows.columns:
            raise DataError(
                text("error.text_classifier.column", column=column),
                fix=nearest(column, rows.columns),
            )
        return rows[column]
