"""What a model is, as far as its memory and its work depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAMES = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer"),
    "hidden": ("hidden_size", "dim", "n_embd"),
    "heads": ("num_attention_heads", "n_heads", "n_head"),
    "inner": ("intermediate_size", "hidden_dim", "n_inner"),
    "vocabulary": ("vocab_size",),
    "positions": ("max_position_embeddings", "n_positions"),
}
# Families whose feed-forward part multiplies two projections.
_GATED = ("llama", "qwen", "mistral", "gemma", "smollm", "phi3")
# Families without a table of positions: they turn queries and keys instead.
_ROTARY = (*_GATED, "modernbert")


@dataclass(frozen=True)
class Workload:
    """A transformer by its numbers.

    grouped: heads that keys and values have. gated: whether the feed-forward part multiplies two
    projections. tied: whether a language model's head is its table of words. outputs: of the head.
    """

    layers: int
    hidden: int
    heads: int
    grouped: int
    inner: int
    vocabulary: int
    positions: int
    gated: bool
    tied: bool
    outputs: int
    language_model: bool = False

    @property
    def layer_parameters(self) -> int:
        """Weights of one layer; biases and norms are left out (below 1 %)."""
        keys = 2 * self.hidden * (self.hidden // self.heads) * self.grouped
        attention = 2 * self.hidden * self.hidden + keys
        return attention + (3 if self.gated else 2) * self.hidden * self.inner

    @property
    def embedding_parameters(self) -> int:
        """Weights of the tables of words and positions, and of a language model's own head."""
        tables = (self.vocabulary + self.positions) * self.hidden
        head = self.vocabulary * self.hidden if self.language_model and not self.tied else 0
        return tables + head

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.layers * self.layer_parameters + self.embedding_parameters


def workload_of(config: Mapping[str, Any]) -> Workload:
    """Return the numbers of a configuration as transformers writes it.

    Raises KeyError with the first number that it does not hold.
    """
    found = {name: _number(config, name, options) for name, options in _NAMES.items()}
    kind = str(config.get("model_type", ""))
    language_model = any("CausalLM" in str(a) for a in config.get("architectures") or ())
    labels = config.get("id2label") or {}
    return Workload(
        **{**found, "positions": 0 if kind.startswith(_ROTARY) else found["positions"]},
        grouped=int(config.get("num_key_value_heads") or found["heads"]),
        gated=kind.startswith(_GATED),
        tied=bool(config.get("tie_word_embeddings", True)),
        outputs=found["vocabulary"] if language_model else max(2, len(labels)),
        language_model=language_model,
    )


def flops_per_token(workload: Workload, length: float) -> float:
    """Floating-point operations of forward and backward for one token (Kaplan et al. 2020).

    Six for each weight that a token is multiplied with; tables of words are looked up, not
    multiplied. Attention adds 12 * layers * hidden for each token of the text, `length` on average.
    """
    head = workload.hidden * workload.outputs if workload.language_model else 0
    multiplied = workload.layers * workload.layer_parameters + head
    return 6.0 * multiplied + 12.0 * workload.layers * workload.hidden * length


def _number(config: Mapping[str, Any], name: str, options: tuple[str, ...]) -> int:
    for option in options:
        if isinstance(config.get(option), int):
            return int(config[option])
    if name == "inner":  # GPT-2 leaves it out where it is the usual one
        return 4 * _number(config, "hidden", _NAMES["hidden"])
    raise KeyError(options[0])
