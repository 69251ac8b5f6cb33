"""A causal language model in PyTorch, with fp32, bf16 or packed weights.

Likelihoods are computed in rectangles of sequences of like length; of the last layer only the rows
that predict something are computed.
"""

from __future__ import annotations

import time
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from shipworthy.core.device import native_bf16
from shipworthy.data.batches import buckets
from shipworthy.model.branches import branch
from shipworthy.model.checkpoint import artefact_files, read_info
from shipworthy.model.dialogues import prefix_token, taken
from shipworthy.model.language_model import TOKEN_BUDGET, CausalLanguageModel, Timed, ends_answer
from shipworthy.model.likelihoods import sequence_losses, tree_losses
from shipworthy.model.pretrained import load_chat_tokenizer, load_module
from shipworthy.model.torch_runtime import torch_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from shipworthy.model.checkpoint import RuntimeInfo
    from shipworthy.model.dialogues import Predicted

    FloatArray: TypeAlias = NDArray[np.float64]
    BoolArray: TypeAlias = NDArray[np.bool_]


class TorchLanguageModel(CausalLanguageModel):
    """A language model of the runtimes `torch`, `torch-bf16`, `torch-int8` and `torch-int4`.

    module: of transformers, in eval mode, in the precision that it computes in.
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
        super().__init__(tokenizer, info, threads=threads)
        self.module: Any = module

    @property
    def parameters(self) -> int:
        """Weights of the model; packed matrices are not among them."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    def sequence_losses(
        self, found: Predicted, rows: NDArray[np.int64]
    ) -> tuple[FloatArray, BoolArray]:
        """Score some sequences in one rectangle; see `CausalLanguageModel`."""
        with torch_threads(self.threads):
            return sequence_losses(self.module, found, rows)

    def grouped_log_likelihoods(self, found: Predicted, groups: Sequence[range]) -> FloatArray:
        """Read sequences that begin alike as one; see `branch`."""
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

    def continuations(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        until: Sequence[str] = (),
        sampling: Mapping[str, Any] | None = None,
    ) -> list[list[int]]:
        """Answer prompts of like length together; see `CausalLanguageModel`."""
        import torch

        tokens, mask = self._rectangle(prompts)
        start = tokens.shape[1]
        if sampling is None:
            manner = {"generation_config": self._greedy(max_new_tokens)}
        else:
            own = self.tokenizer.pad_token_id
            pad = self.tokenizer.eos_token_id if own is None else own
            manner = {
                "max_new_tokens": max_new_tokens, "pad_token_id": pad, "use_cache": True, **sampling
            }  # fmt: skip
        if until:
            manner["stopping_criteria"] = [_stop(self.tokenizer, until, start)]
        with torch_threads(self.threads), torch.inference_mode():
            found = self.module.generate(input_ids=tokens, attention_mask=mask, **manner)
        said: list[list[int]] = found[:, start:].tolist()
        return said

    def timed(self, prompts: Sequence[str], new_tokens: int) -> Timed:
        """Answer by hand, one call of the model a token; see `CausalLanguageModel`."""
        import torch

        known = signature(self.module.forward).parameters
        # `past_key_values` has a second name.
        name = "cache" if "cache" in known else "past_key_values"
        with torch_threads(self.threads), torch.inference_mode():
            stamps = [time.perf_counter_ns()]
            tokens, mask = self._rectangle(self.fitted(self.read(prompts), new_tokens))
            cache: Any = None
            for _ in range(new_tokens):
                found = self.module(
                    input_ids=tokens, attention_mask=mask, use_cache=True, logits_to_keep=1,
                    **{name: cache},
                )  # fmt: skip
                cache = getattr(found, name)
                tokens = found.logits[:, -1].argmax(-1, keepdim=True)
                mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
                stamps.append(time.perf_counter_ns())
        held = [t for layer in cache.layers for t in (layer.keys, layer.values)]
        return Timed(stamps, sum(t.numel() * t.element_size() for t in held) / 1e6)

    def _rectangle(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return prompts padded on the left, and the mask."""
        import torch

        filler, longest = prefix_token(self.tokenizer), max(map(len, prompts))
        rows = [[filler] * (longest - len(p)) + list(p) for p in prompts]
        mask = [[0] * (longest - len(p)) + [1] * len(p) for p in prompts]
        return torch.tensor(rows), torch.tensor(mask)

    def _greedy(self, max_new_tokens: int) -> Any:
        from transformers import GenerationConfig

        settings: Any = GenerationConfig  # it carries no types
        own = getattr(self.module, "generation_config", None)
        ends = getattr(own, "eos_token_id", None)
        if ends is None:
            ends = self.tokenizer.eos_token_id
        return settings(
            max_new_tokens=max_new_tokens, do_sample=False, num_beams=1, eos_token_id=ends,
            pad_token_id=prefix_token(self.tokenizer), use_cache=True,
        )  # fmt: skip


def _stop(tokenizer: Any, until: Sequence[str], start: int) -> Callable[..., torch.Tensor]:
    """Return a stopping criterion: whether one of the texts stands at the end of an answer."""

    def stopped(tokens: torch.Tensor, scores: object, **_: object) -> torch.Tensor:
        import torch

        done = [ends_answer(tokenizer, said, until) for said in tokens[:, start:].tolist()]
        return torch.tensor(done, device=tokens.device)

    return stopped


def open_torch(folder: Path | str, *, threads: int | None = None) -> TorchLanguageModel:
    """Open the folder of a candidate whose weights PyTorch reads.

    Raises ModelError where the folder is incomplete, unsafe or of another kind.
    """
    info = read_info(folder)
    artefact_files(folder)
    module = load_module(folder)
    if info.runtime == "torch-bf16" and not native_bf16():
        module = module.float()
    return TorchLanguageModel(module, load_chat_tokenizer(folder), info, threads=threads)
