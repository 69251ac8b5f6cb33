"""Hugging Face folders in and out: weights from safetensors, a fresh head, the same bytes again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shipworthy.core import locale
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.locale.libraries import translated
from shipworthy.model.checkpoint import (
    CONFIG,
    INFO,
    TOKENIZER,
    TORCH_KINDS,
    VOCABULARIES,
    RuntimeInfo,
    companions,
    read_config,
    read_info,
    weight_files,
    write_info,
)

if TYPE_CHECKING:
    import torch

# What a tokenizer notes about where and how it was last used; no part of the model.
_TOKENIZER_STATE = (
    "name_or_path", "is_local", "local_files_only", "max_length", "stride",
    "truncation_strategy", "pad_to_multiple_of",
)  # fmt: skip
# These count positions from behind the padding token's number.
_OFFSET_POSITIONS = ("camembert", "roberta", "xlm-roberta", "xlm-roberta-xl")
_ANY_TEXT = "a \N{SNOWMAN}"
"""A known letter and an unlikely one: a tokenizer that cannot cut this cannot cut texts."""
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def load_pretrained(
    folder: Path | str, *, classes: tuple[str, ...], max_length: int, seed: int
) -> tuple[torch.nn.Module, Any]:
    """Return an fp32 classifier in eval mode and its tokenizer, to start a fine-tune from.

    folder: any Hugging Face folder of an encoder with safetensors and a fast tokenizer. The head is
    drawn with `seed`, unless the folder already tells exactly these classes apart, in this order.
    max_length: tokens of the longest input.
    Raises ModelError where the folder is incomplete, unsafe or of an unknown kind, or `max_length`
    is more than the model reads.
    """
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    stored = read_config(folder)
    weight_files(folder)
    tokenizer = _load_tokenizer(folder)
    with quiet_transformers(folder):
        config = AutoConfig.from_pretrained(
            folder, **_LOCAL, id2label=dict(enumerate(classes)), problem_type=None,
            label2id={name: i for i, name in enumerate(classes)}, num_labels=len(classes),
        )  # fmt: skip
    _check_length(config, max_length, folder)
    if config.pad_token_id is None:
        config.pad_token_id = tokenizer.pad_token_id
    if config.pad_token_id is None:
        raise ModelError(locale.text("error.pretrained.padding"), folder=folder)
    tokenizer.model_max_length = max_length
    with quiet_transformers(folder), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module, found = AutoModelForSequenceClassification.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True,
            ignore_mismatched_sizes=True, output_loading_info=True, **_LOCAL,
        )  # fmt: skip
        new = {str(k[0] if isinstance(k, tuple) else k) for k in found["mismatched_keys"]}
        new |= set(found["missing_keys"])
        _check_new(module, new, folder)
        names = list((stored.get("id2label") or {}).values())
        if names != list(classes):
            torch.manual_seed(seed)
            _redraw_head(module, new)
    return module.eval(), tokenizer


def load_language_pretrained(folder: Path | str, *, max_length: int) -> tuple[torch.nn.Module, Any]:
    """Return an fp32 language model in eval mode and its tokenizer, to start a fine-tune from.

    folder: any Hugging Face folder of a causal language model with safetensors and a fast
    tokenizer. max_length: tokens of the longest input.
    Raises ModelError where the folder is incomplete, unsafe or of an unknown kind, or `max_length`
    is more than the model reads.
    """
    import torch

    read_config(folder)
    weight_files(folder)
    tokenizer = _load_tokenizer(folder)
    module = _language_module(folder, torch.float32)
    _check_length(module.config, max_length, folder)
    tokenizer.model_max_length = max_length
    return module.eval(), tokenizer


def load_chat_tokenizer(folder: Path | str) -> Any:
    """Return the tokenizer of a folder as one of transformers, with its chat template."""
    return _load_tokenizer(folder)


def save_model(
    folder: Path | str, module: torch.nn.Module, tokenizer: Any, info: RuntimeInfo
) -> None:
    """Write a candidate's folder of the runtime `torch`, `torch-bf16` or `torch-fp16`.

    It opens in plain transformers too, with the class names in its config. The same weights and
    tokenizer give the same bytes. `runtime.json` is written last.
    module: a transformers model for classification or language whose floating-point weights are
    of the kind that the runtime names, fp32 for `torch`.
    Raises ModelError where weights, number of classes or runtime don't fit together.
    """
    root = _save_weights(folder, module, info)
    _save_tokenizer(root, tokenizer, info.max_length)
    write_info(root, info)


def save_variant(
    folder: Path | str,
    module: torch.nn.Module,
    info: RuntimeInfo,
    *,
    parent: Path | str,
    changed: Mapping[str, bytes | None] | None = None,
) -> None:
    """Write a candidate of other weights; tokenizer and decision are the parent's files.

    changed: files that take the place of the parent's, by name; None leaves a file out. Otherwise
    as `save_model`.
    """
    beside = companions(parent) | dict(changed or {})
    root = _save_weights(folder, module, info)
    for name, content in beside.items():
        if name != CONFIG and content is not None:
            write_atomically(root / name, content)
    write_info(root, info)


def load_module(folder: Path | str) -> torch.nn.Module:
    """Return the model of a candidate's torch folder, in eval mode, with its own precision.

    Raises ModelError where the folder is incomplete, unsafe or not of a torch runtime.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    info = read_info(folder)
    if info.runtime in ("torch-int8", "torch-int4"):
        return _packed_module(folder)
    if info.runtime not in TORCH_KINDS:
        raise ModelError(
            locale.text("error.runtime.other", runtime=info.runtime, wanted="torch"), folder=folder
        )
    read_config(folder)
    weight_files(folder)
    dtype = getattr(torch, TORCH_KINDS[info.runtime])
    if info.does != "classify":
        language: torch.nn.Module = _language_module(folder, dtype).eval()
        return language
    with quiet_transformers(folder):
        module, found = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
        )
    lacking = sorted(found["missing_keys"])
    if lacking:
        raise ModelError(locale.text("error.pretrained.weight", name=lacking[0]), folder=folder)
    if module.config.num_labels != len(info.classes):
        raise ModelError(
            locale.text(
                "error.pretrained.head_info",
                outputs=module.config.num_labels,
                file=INFO,
                classes=len(info.classes),
            ),
            folder=folder,
        )
    result: torch.nn.Module = module.eval()
    return result


def load_tokenizer(folder: Path | str) -> Any:
    """Return the tokenizer of a folder as a `tokenizers.Tokenizer`, without transformers."""
    from tokenizers import Tokenizer

    file = Path(folder) / TOKENIZER
    if not file.is_file():
        raise ModelError(locale.text("error.checkpoint.absent", file=TOKENIZER), folder=folder)
    with _tokenizer_errors(folder):
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.encode(_ANY_TEXT)
        return tokenizer


def _save_weights(folder: Path | str, module: torch.nn.Module, info: RuntimeInfo) -> Path:
    """Write config and weights, with `runtime.json` taken away."""
    import torch

    if info.runtime not in TORCH_KINDS:
        raise ModelError(locale.text("error.pretrained.save", runtime=info.runtime), folder=folder)
    expected = getattr(torch, TORCH_KINDS[info.runtime])
    kinds = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if kinds != {expected}:
        found = ", ".join(sorted(str(k) for k in kinds)) or "none"
        raise ModelError(
            locale.text(
                "error.pretrained.kind", runtime=info.runtime, expected=expected, found=found
            ),
            folder=folder,
        )
    model: Any = module
    if info.does == "classify":
        if model.config.num_labels != len(info.classes):
            outputs = model.config.num_labels
            raise ModelError(
                locale.text("error.pretrained.head", outputs=outputs, classes=len(info.classes)),
                folder=folder,
            )
        model.config.id2label = dict(enumerate(info.classes))
        model.config.label2id = {name: i for i, name in enumerate(info.classes)}
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    (root / INFO).unlink(missing_ok=True)
    with quiet_transformers(folder):
        model.save_pretrained(root)
    return root


@contextmanager
def quiet_transformers(folder: Path | str) -> Iterator[None]:
    """Keep transformers quiet, and turn what it raises about a folder into one line."""
    from safetensors import SafetensorError
    from transformers import utils

    logging: Any = utils.logging  # its functions carry no types
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            locale.text("error.pretrained.damaged", error=translated(str(error))), folder=folder
        ) from error
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ModelError(
            locale.text("error.pretrained.unusable", reason=translated(first.strip())),
            folder=folder,
        ) from error
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load_tokenizer(folder: Path | str) -> Any:
    from transformers import AutoTokenizer

    # Where all of these are absent, transformers makes up an empty vocabulary.
    if not any((Path(folder) / name).is_file() for name in VOCABULARIES):
        raise ModelError(
            locale.text("error.pretrained.vocabulary"),
            folder=folder,
            fix=locale.text("error.pretrained.needs", file=TOKENIZER),
        )
    with quiet_transformers(folder), _tokenizer_errors(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, **_LOCAL)
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise ModelError(
            locale.text("error.pretrained.slow_tokenizer"),
            folder=folder,
            fix=locale.text("error.pretrained.needs", file=TOKENIZER),
        )
    with _tokenizer_errors(folder):
        tokenizer.backend_tokenizer.encode(_ANY_TEXT)
    return tokenizer


@contextmanager
def _tokenizer_errors(folder: Path | str) -> Iterator[None]:
    """Turn what tokenizers raises, which is a bare Exception, into one line."""
    try:
        yield
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ModelError(
            locale.text("error.pretrained.tokenizer", file=TOKENIZER, error=translated(str(error))),
            folder=folder,
            fix=locale.text("error.pretrained.tokenizer.fix"),
        ) from error


def _save_tokenizer(root: Path, tokenizer: Any, max_length: int) -> None:
    """Write a tokenizer without the truncation, padding and paths of its last use."""
    from tokenizers import Tokenizer

    tokenizer.save_pretrained(root)
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    (root / TOKENIZER).write_text(backend.to_str(pretty=True), encoding="utf-8")
    file = root / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    settings = {k: v for k, v in settings.items() if k not in _TOKENIZER_STATE}
    settings["model_max_length"] = max_length
    text = json.dumps(settings, indent=2, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")


def _language_module(folder: Path | str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    with quiet_transformers(folder):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, output_loading_info=True, **_LOCAL
        )
    lacking = sorted(loaded[1]["missing_keys"])
    if lacking:
        raise ModelError(locale.text("error.pretrained.weight", name=lacking[0]), folder=folder)
    return loaded[0]


def _packed_module(folder: Path | str) -> torch.nn.Module:
    """Return a language model of few bits, which its matrices stay in."""
    from transformers import AutoConfig, GenerationConfig

    from shipworthy.model.packed import load_packed

    read_config(folder)
    weight_files(folder)
    with quiet_transformers(folder):
        module: Any = load_packed(Path(folder), AutoConfig.from_pretrained(folder, **_LOCAL))
        if (Path(folder) / "generation_config.json").is_file():
            settings: Any = GenerationConfig
            module.generation_config = settings.from_pretrained(folder, local_files_only=True)
    result: torch.nn.Module = module
    return result


def _check_length(config: Any, max_length: int, folder: Path | str) -> None:
    limit = _longest(config)
    if limit is not None and max_length > limit:
        raise ModelError(
            locale.text("error.pretrained.length", limit=limit, max_length=max_length),
            folder=folder,
            fix=locale.text("error.pretrained.length.fix", limit=limit),
        )


def _longest(config: Any) -> int | None:
    """Tokens that the table of positions holds; None where the model has none."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None:
        return None
    taken = (config.pad_token_id or 0) + 1 if config.model_type in _OFFSET_POSITIONS else 0
    return int(positions) - taken


def _check_new(module: Any, new: set[str], folder: Path | str) -> None:
    """Only the head may be new, and a pooler, which some encoders are published without."""
    base = module.base_model_prefix + "."
    absent = sorted(k for k in new if k.startswith(base) and ".pooler." not in k)
    if absent:
        raise ModelError(
            locale.text("error.pretrained.weights", name=absent[0], number=len(absent)),
            folder=folder,
            fix=locale.text("error.pretrained.weights.fix"),
        )


def _redraw_head(module: Any, new: set[str]) -> None:
    """Replace a head that tells other classes apart by the one that an untrained model has."""
    import torch

    base = module.base_model_prefix + "."
    head = {n: p for n, p in module.named_parameters() if not n.startswith(base) and n not in new}
    if not head:
        return
    fresh = dict(type(module)(module.config).named_parameters())
    with torch.no_grad():
        for name, weights in head.items():
            weights.copy_(fresh[name])
