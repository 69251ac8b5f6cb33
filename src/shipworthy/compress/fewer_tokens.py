"""A tokenizer with fewer tokens: which it cannot do without, and its files with new numbers.

Three kinds are known. WordPiece takes the longest token that fits, BPE joins neighbours in a fixed
order, Unigram takes the likeliest cut. In each, a text that was cut into tokens which all stay is
cut as before, since what went was not chosen; BPE needs, besides, the parts that a token is joined
from, and Unigram the lowest score, which an unknown character is measured by.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.checkpoint import TOKENIZER, VOCABULARIES
from shipworthy.model.pretrained import load_tokenizer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

KINDS = ("WordPiece", "BPE", "Unigram")


def read_tokenizer(folder: Path | str) -> dict[str, Any]:
    """Return `tokenizer.json` as plain values.

    Raises ModelError where it is absent, damaged or of a kind that is not known.
    """
    found: dict[str, Any] = json.loads(load_tokenizer(folder).to_str())
    kind = found["model"].get("type")
    if kind not in KINDS:
        raise ModelError(
            text("error.vocabulary.kind", kind=kind), folder=folder,
            fix=text("error.vocabulary.kind.fix", kinds=", ".join(KINDS)),
        )  # fmt: skip
    return found


def numbers(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of each token, added ones among them."""
    return _own(tokenizer["model"]) | {t["content"]: t["id"] for t in tokenizer["added_tokens"]}


def needed(tokenizer: Mapping[str, Any]) -> set[int]:
    """Return the tokens that always stay: special and added ones, and the alphabet.

    So a character that had a token of its own is as well known as before, wherever it stands.
    """
    model = tokenizer["model"]
    own = _own(model)
    found = {token["id"] for token in tokenizer["added_tokens"]}
    found |= set(_named(tokenizer["post_processor"]))
    if tokenizer["padding"] is not None:
        found.add(tokenizer["padding"]["pad_id"])
    if model["type"] == "BPE":
        made = {_joined(model, merge) for merge in model["merges"]}
        found |= {number for token, number in own.items() if token not in made}
    elif model["type"] == "WordPiece":
        found |= _letters(own, model["continuing_subword_prefix"])
    else:
        found |= _letters(own, None)
        found |= {own[t] for t in own if model["byte_fallback"] and _is_byte(t)}
        scores = [score for _, score in model["vocab"]]
        found |= {scores.index(min(scores))} if scores else set()
        found |= {model["unk_id"]} - {None}
    if model.get("unk_token") in own:
        found.add(own[model["unk_token"]])
    return found


def parts(tokenizer: Mapping[str, Any]) -> dict[int, set[int]]:
    """Return what each token is joined from directly; empty but for BPE."""
    model = tokenizer["model"]
    own = _own(model)
    found: dict[int, set[int]] = {}
    for merge in model.get("merges", ()):
        found.setdefault(own[_joined(model, merge)], set()).update(own[part] for part in merge)
    return found


def renumbered(tokenizer: Mapping[str, Any], number: Mapping[int, int]) -> dict[str, Any]:
    """Return the tokenizer with the tokens that have a new number, and no others.

    number: new numbers by old ones; they rise as the old ones do.
    """
    model = dict(tokenizer["model"])
    own = _own(model)
    if model["type"] == "Unigram":
        model["vocab"] = [pair for k, pair in enumerate(model["vocab"]) if k in number]
        model["unk_id"] = number.get(model["unk_id"])
    else:
        model["vocab"] = {t: number[k] for t, k in own.items() if k in number}
    if model["type"] == "BPE":
        model["merges"] = [
            merge
            for merge in model["merges"]
            if all(t in model["vocab"] for t in (*merge, _joined(model, merge)))
        ]
    padding = tokenizer["padding"]
    if padding is not None:
        padding = padding | {"pad_id": number[padding["pad_id"]]}
    return {
        **tokenizer,
        "added_tokens": [t | {"id": number[t["id"]]} for t in tokenizer["added_tokens"]],
        "post_processor": _with(tokenizer["post_processor"], number),
        "padding": padding,
        "model": model,
    }


def files(
    tokenizer: Mapping[str, Any], number: Mapping[int, int], beside: Mapping[str, bytes]
) -> dict[str, bytes | None]:
    """Return the files that take the place of a parent's; None for one that goes.

    tokenizer: with new numbers. number: new numbers by old ones. beside: the parent's files. A
    file of SentencePiece goes: `tokenizer.json` holds all that it says.
    """
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(json.dumps(tokenizer))
    model = tokenizer["model"]
    found: dict[str, bytes | None] = dict.fromkeys(set(beside) & {*VOCABULARIES, "merges.txt"})
    found[TOKENIZER] = backend.to_str(pretty=True).encode()
    own = sorted(_own(model).items(), key=lambda item: item[1])
    if "vocab.txt" in beside and model["type"] == "WordPiece":
        found["vocab.txt"] = "".join(f"{token}\n" for token, _ in own).encode()
    if "vocab.json" in beside and model["type"] == "BPE":
        found["vocab.json"] = _json(dict(own), indent=None)
    if "merges.txt" in beside and model["type"] == "BPE":
        lines = ["#version: 0.2", *(" ".join(merge) for merge in model["merges"])]
        found["merges.txt"] = "".join(f"{line}\n" for line in lines).encode()
    if "added_tokens.json" in beside:
        added = json.loads(beside["added_tokens.json"])
        found["added_tokens.json"] = _json({t: number[k] for t, k in added.items()})
    if "tokenizer_config.json" in beside:
        settings = json.loads(beside["tokenizer_config.json"])
        if "added_tokens_decoder" in settings:
            decoder = settings["added_tokens_decoder"].items()
            settings["added_tokens_decoder"] = {str(number[int(k)]): v for k, v in decoder}
            found["tokenizer_config.json"] = _json(settings)
    if "generation_config.json" in beside:
        found["generation_config.json"] = _json(
            config_numbers(json.loads(beside["generation_config.json"]), number)
        )
    return found


def config_numbers(values: Mapping[str, Any], number: Mapping[int, int]) -> dict[str, Any]:
    """Return settings whose keys end in `_token_id`, with new numbers; others as they are.

    A number that no row of the table has stays what it is.
    """
    found = dict(values)
    for key, value in values.items():
        if key.endswith("_token_id") and value is not None:
            several = isinstance(value, list)
            new = [number.get(k, k) for k in (value if several else [value])]
            found[key] = new if several else new[0]
    return found


def _own(model: Mapping[str, Any]) -> dict[str, int]:
    """Return the tokens of the model itself and their numbers."""
    if model["type"] == "Unigram":
        return {token: k for k, (token, _) in enumerate(model["vocab"])}
    found: dict[str, int] = model["vocab"]
    return found


def _joined(model: Mapping[str, Any], merge: Iterable[str]) -> str:
    left, right = merge
    return left + right.removeprefix(model["continuing_subword_prefix"] or "")


def _letters(own: Mapping[str, int], prefix: str | None) -> set[int]:
    """Return tokens of one character, and those with a character that has no token of its own.

    prefix: of tokens inside a word, where a character needs another token than at its beginning.
    """

    def signs(token: str) -> list[tuple[bool, str]]:
        if prefix and token.startswith(prefix) and token != prefix:
            return [(True, sign) for sign in token.removeprefix(prefix)]
        return [(prefix is not None and k > 0, sign) for k, sign in enumerate(token)]

    spelled = {number: signs(token) for token, number in own.items()}
    alone = {each[0] for each in spelled.values() if len(each) == 1}
    return {n for n, each in spelled.items() if len(each) == 1 or not alone.issuperset(each)}


def _is_byte(token: str) -> bool:
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _named(part: Any) -> Iterator[int]:
    """Yield the token numbers that a post-processor holds."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "ids":
                yield from value
            elif key in ("sep", "cls"):
                yield value[1]
            else:
                yield from _named(value)
    elif isinstance(part, list):
        for value in part:
            yield from _named(value)


def _with(part: Any, number: Mapping[int, int]) -> Any:
    """Return a post-processor with new numbers."""
    if isinstance(part, dict):
        return {
            key: [number[k] for k in value]
            if key == "ids"
            else [value[0], number[value[1]]]
            if key in ("sep", "cls")
            else _with(value, number)
            for key, value in part.items()
        }
    return [_with(value, number) for value in part] if isinstance(part, list) else part


def _json(values: Any, indent: int | None = 2) -> bytes:
    return (json.dumps(values, indent=indent, ensure_ascii=False) + "\n").encode()
