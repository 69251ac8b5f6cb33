"""What the lm-evaluation-harness asks of a model, answered by a candidate as the harness would.

Texts are read as they come: whether a chat template is put around them is the harness's choice.
A tokenizer that begins each text with a token of its own does so here too, as it does there, except
where the text begins with it already. What does not fit into the window is cut at its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.dialogues import CHAT, encode_pairs

if TYPE_CHECKING:
    from shipworthy.model.language_model import CausalLanguageModel

TOGETHER = 16
"""Prompts of like length that are answered at once."""

NEW_TOKENS = 256
"""Longest answer where a task does not say, as in the harness."""

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Manner:
    """How an answer is generated.

    until: texts that end it and are no part of it. room: most new tokens. rest: what goes to
    `generate` of transformers as it is.
    """

    until: tuple[str, ...]
    room: int
    rest: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Manner:
        """Read the settings of a task; greedy unless they ask for sampling.

        >>> Manner.of({"until": ["Q:", "Q:"], "temperature": 0.0, "max_gen_toks": 8})
        Manner(until=('Q:',), room=8, rest={'do_sample': False})
        """
        rest = dict(given)
        until = rest.pop("until", None) or []
        stops = [until] if isinstance(until, str) else until
        lengths = [n for n in (rest.pop(name, None) for name in _LENGTHS) if n is not None]
        temperature = float(rest.pop("temperature", None) or 0.0)
        sampled = rest.pop("do_sample", None)
        rest["do_sample"] = temperature > 0 if sampled is None else bool(sampled)
        if rest["do_sample"]:
            rest["temperature"] = temperature
        room = int(lengths[0]) if lengths else NEW_TOKENS
        return cls(tuple(dict.fromkeys(s for s in stops if s)), room, rest)

    def cut(self, answer: str) -> str:
        """Return an answer up to the first text that ends it."""
        for stop in self.until:
            answer = answer.split(stop, 1)[0]
        return answer


class HarnessAnswers:
    """Likelihoods and answers of a language model, by the rules of the harness.

    max_length: tokens that are read at once; None is the window that the candidate was made for.
    """

    def __init__(self, model: CausalLanguageModel, *, max_length: int | None = None) -> None:
        """Take a model that `load_language_model` opened; it is not changed."""
        window = model.info.max_length if max_length is None else max_length
        info = replace(model.info, does="continue", long_prompts="cut", max_length=window)
        self.model = model.with_info(info)

    def likelihoods(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each text after its context, and whether it is greedy.

        pairs: context, continuation. An empty context is the token that a text begins after.
        """
        read = [self._pair(context, continuation) for context, continuation in pairs]
        found = encode_pairs(
            self.model.tokenizer,
            [context for context, _ in read],
            [continuation for _, continuation in read],
            window=self.model.info.max_length,
        )
        values, greedy = self.model.sums(found)
        return list(zip(values.tolist(), greedy.tolist(), strict=True))

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """Return the log-likelihood of whole texts, in windows where they are long."""
        values: list[float] = self.model.log_likelihoods([self._begun(t) for t in texts]).tolist()
        return values

    def answers(self, asked: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
        """Return an answer to each prompt with its settings, cut at the first text that ends it.

        Raises ModelError where the window is no longer than the answers may be.
        """
        manners = [Manner.of(given) for _, given in asked]
        rows: dict[str, list[int]] = {}
        for row, manner in enumerate(manners):
            rows.setdefault(repr(manner), []).append(row)
        found = [""] * len(asked)
        for alike in rows.values():
            alike.sort(key=lambda row: -len(asked[row][0]))
            for start in range(0, len(alike), TOGETHER):
                part = alike[start : start + TOGETHER]
                said = self._generated([asked[row][0] for row in part], manners[part[0]])
                for row, answer in zip(part, said, strict=True):
                    found[row] = answer
        return found

    def chat(self, history: Sequence[Mapping[str, str]], *, answer_next: bool) -> str:
        """Return a conversation in the candidate's template.

        history: of role and content. answer_next: whether the text ends where an answer begins;
        else it ends with the last message, to be gone on with.
        """
        template = self.model.template
        if template.written == CHAT:
            said: str = self.model.tokenizer.apply_chat_template(
                list(history), tokenize=False, add_generation_prompt=answer_next,
                continue_final_message=not answer_next,
            )  # fmt: skip
            return said
        parts, system = [], None
        for place, message in enumerate(history):
            if message["role"] == "system":
                system = message["content"]
            elif message["role"] == "user":
                parts.append(template(message["content"], system))
                system = None
            else:
                ends = answer_next or place < len(history) - 1
                parts.append(message["content"] + ("\n" if ends else ""))
        return "".join(parts)

    @property
    def written_template(self) -> str:
        """The candidate's template, as it is written."""
        template = self.model.template.written
        return str(self.model.tokenizer.chat_template) if template == CHAT else template

    def _pair(self, context: str, continuation: str) -> tuple[str, str]:
        """Begin a context; of a text without one the token that it begins with is the context."""
        if context:
            return self._begun(context), continuation
        first = self._first
        if continuation.startswith(first) and len(continuation) > len(first):
            return first, continuation[len(first) :]
        return "", continuation

    def _begun(self, content: str) -> str:
        return content if content.startswith(self._first) else f"{self._added}{content}"

    @cached_property
    def _first(self) -> str:
        from shipworthy.model.dialogues import prefix_token

        found: str = self.model.tokenizer.decode([prefix_token(self.model.tokenizer)])
        return found

    @cached_property
    def _added(self) -> str:
        """The token that the tokenizer puts before each text, as text; nothing for most."""
        tokenizer = self.model.tokenizer
        found: str = tokenizer.decode(tokenizer("")["input_ids"][:1])
        return found if found == self._first else ""

    def _generated(self, prompts: Sequence[str], manner: Manner) -> list[str]:
        window, model = self.model.info.max_length, self.model
        if manner.room >= window:
            raise ModelError(
                text("error.lm_eval.room", room=manner.room, window=window),
                fix=text("error.lm_eval.room.fix"),
            )
        read = model.fitted(model.read([self._begun(p) for p in prompts]), manner.room)
        found = model.continuations(
            read, max_new_tokens=manner.room, until=manner.until, sampling=manner.rest
        )
        said = [model.tokenizer.decode(tokens, skip_special_tokens=True) for tokens in found]
        return [manner.cut(one) for one in said]


def open_answers(
    folder: Path | str, *, max_length: int | None = None, threads: int | None = None
) -> HarnessAnswers:
    """Open a candidate's folder; see `HarnessAnswers` and `load_language_model`."""
    from shipworthy.model.runtimes import load_language_model

    return HarnessAnswers(load_language_model(folder, threads=threads), max_length=max_length)
