"""The numbers of a model are those of its weights."""

from __future__ import annotations

import pytest
import transformers

from shipworthy.plan.workload import flops_per_token, workload_of


@pytest.mark.parametrize(
    ("config", "model"),
    [
        ("BertConfig", "BertModel"),
        ("LlamaConfig", "LlamaForCausalLM"),
        ("Qwen2Config", "Qwen2ForCausalLM"),
    ],
)
def test_parameters_are_counted(config: str, model: str) -> None:
    made = getattr(transformers, config)(
        vocab_size=2000, hidden_size=128, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=512, max_position_embeddings=256, num_key_value_heads=2,
        tie_word_embeddings=False, architectures=[model],
    )  # fmt: skip
    if config == "BertConfig":
        made.num_key_value_heads = None
    module = getattr(transformers, model)(made)
    counted = sum(p.numel() for name, p in module.named_parameters() if "pooler" not in name)
    assert workload_of(made.to_dict()).parameters == pytest.approx(counted, rel=0.02)


def test_a_token_costs_six_operations_a_weight() -> None:
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    work = workload_of(config.to_dict())
    # The published count of the encoder's weights without its tables: 10.6 million.
    assert work.layers * work.layer_parameters == pytest.approx(10.6e6, rel=0.01)
    assert flops_per_token(work, 0) == pytest.approx(64e6, rel=0.01)
    assert flops_per_token(work, 100) - flops_per_token(work, 0) == 12 * 6 * 384 * 100


def test_a_number_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="hidden_size"):
        workload_of({"num_hidden_layers": 2})
