"""Students: what they start as, what they learn from, and that they learn it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tests.compress.test_shapes import (
    ROWS,
    SENTENCES,
    logits,
    material,
    other,
    plain_logits,
    recipe,
)
from tests.model.conftest import CLASSES

from shipworthy.compress import make, written
from shipworthy.compress import teacher as teacher_room
from shipworthy.compress.distill import PROJECTION, Learning, begin_student
from shipworthy.compress.lever_settings import DistillSettings
from shipworthy.compress.material import Material
from shipworthy.compress.recipes import looks_at_rows, trains
from shipworthy.core.errors import ModelError, SettingsError
from shipworthy.core.yaml import parse_yaml
from shipworthy.data.tokens import encode_cached
from shipworthy.model import artefact_digest, size_bytes
from shipworthy.model.pretrained import load_module, load_tokenizer
from shipworthy.train import checkpoints
from shipworthy.train.attention import trained_attention
from shipworthy.train.distillation import (
    Distillation,
    Inside,
    Mixture,
    shared_heads,
    softened_divergence,
)
from shipworthy.train.loop import Given, fingerprint
from shipworthy.train.microbatches import LabelledRows
from shipworthy.train.objectives import Classification
from shipworthy.train.packing import Packed, Padded
from shipworthy.train.run import Run
from shipworthy.train.settings import TrainSettings

__all__ = ["material"]


def encoded(parent: Path, work: Path, *, weights: Any = None) -> LabelledRows:
    ids = encode_cached(load_tokenizer(parent), SENTENCES, max_length=16, cache=work / "tokens")
    labels = np.arange(len(SENTENCES)) % 3
    return LabelledRows(ids, labels, 0, weights=weights)


def learning(parent: Path, work: Path, material: Material, **asked: Any) -> Learning:
    settings = DistillSettings.model_validate(asked)
    keys = ("labels", "logits", "hidden_states", "attention", "temperature")
    mixture = Mixture(**{key: getattr(settings, key) for key in keys})
    return Learning(parent, begin_student(parent, work, settings, material), mixture, work)


def test_the_divergence_is_that_of_the_formula() -> None:
    generator = np.random.default_rng(0)
    student, teacher = generator.normal(size=(2, 7, 4)) * 3
    for temperature in (1.0, 2.5):
        own, wanted = (np.exp(x / temperature) for x in (student, teacher))
        own, wanted = (x / x.sum(1, keepdims=True) for x in (own, wanted))
        expected = temperature**2 * (wanted * (np.log(wanted) - np.log(own))).sum(1)
        found = softened_divergence(*map(torch.from_numpy, (student, teacher)), temperature)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)
    # One class of two: T² KL of Bernoulli(σ(a/T)) and Bernoulli(σ(b/T)); its gradient is T (q - p).
    x = torch.tensor([[0.0, 1.0]], dtype=torch.double, requires_grad=True)
    y = torch.tensor([[0.0, -2.0]], dtype=torch.double)
    softened_divergence(x, y, 3.0).sum().backward()
    q, p = (1 / (1 + np.exp(-v / 3)) for v in (1.0, -2.0))
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), [[3 * (p - q), 3 * (q - p)]], rtol=1e-10)


def test_the_loss_is_the_weighted_sum_of_its_parts(parent: Path, tmp_path: Path) -> None:
    weights = np.linspace(0.5, 1.5, len(SENTENCES))
    data = encoded(parent, tmp_path, weights=weights)
    module = load_module(parent)
    table = np.random.default_rng(1).normal(size=(len(data), 3)).astype(np.float32)
    plain = Classification(0.05, 0.0, weights)
    caller, rows = Packed(module), np.array([4, 1, 7])
    micro = caller.micro_batch(data, rows, seed=0, visit=0)
    said = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    objective = Distillation(plain, table, Mixture(labels=0.3, logits=0.7, temperature=1.5))
    apart = softened_divergence(said, torch.from_numpy(table[rows]), 1.5).numpy()
    expected = 0.3 * float(plain.loss_sum(said, micro)) + 0.7 * float(apart @ weights[rows])
    assert float(objective.loss_sum(said, micro)) == pytest.approx(expected, rel=1e-6)
    assert objective.weight(data, rows) == pytest.approx(weights[rows].sum())
    assert objective.score(said, micro) == plain.score(said, micro)


@pytest.mark.parametrize("call", [Packed, lambda _: Padded()], ids=["packed", "padded"])
def test_hidden_states_and_relations_are_those_of_plain_transformers(
    parent: Path, material: Material, tmp_path: Path, call: Any
) -> None:
    """Computed text by text from what plain transformers calls hidden states, and by hand."""
    weights = np.linspace(0.5, 1.5, len(SENTENCES))
    data = encoded(parent, tmp_path, weights=weights)
    rows = np.array([0, 5, 2, 1])
    lesson = learning(parent, tmp_path / "s", material, layers=[1], hidden=16, hidden_states=1)
    student, teacher = load_module(lesson.student.folder), load_module(parent)
    for mixture in (Mixture(hidden_states=0.5), Mixture(attention=0.5)):
        lesson.mixture, hooks = mixture, count_hooks(student)
        whole = lesson.begin(student, call(student), data, Classification(weights=weights))
        caller = call(student)
        micro = caller.micro_batch(data, rows, seed=0, visit=0)
        assert isinstance(whole.inside, Inside)
        with torch.no_grad(), trained_attention(student):
            caller.logits(student, micro)
            found = float(whole.inside.loss_sum(micro, torch.from_numpy(weights[rows]).float()))
        assert count_hooks(student) > hooks
        lesson.end(student)
        assert not hasattr(student, PROJECTION) and count_hooks(student) == hooks
        with torch.no_grad():
            expected = 0.0
            for row in rows:
                ids = torch.from_numpy(data.encoded.take(np.array([row])).token_ids)[None].long()
                expected += 0.5 * weights[row] * by_hand(student, teacher, ids, mixture, lesson)
        assert found == pytest.approx(expected, rel=1e-4)


def count_hooks(module: torch.nn.Module) -> int:
    return sum(len(part._forward_hooks) for part in module.modules())


def by_hand(student: Any, teacher: Any, ids: Any, mixture: Mixture, lesson: Learning) -> float:
    own, wanted = (m(ids, output_hidden_states=True).hidden_states for m in (student, teacher))
    if mixture.hidden_states:
        # The projection starts by putting each kept dimension in its place, others are zero.
        kept = torch.zeros_like(wanted[2])
        kept[..., list(lesson.student.kept or ())] = own[1]
        return float((kept - wanted[2]).square().mean())
    found = []
    for kind in ("query", "key", "value"):
        tables = []
        for model, states, layer in ((student, own, 0), (teacher, wanted, 1)):
            linear = getattr(model.bert.encoder.layer[layer].attention.self, kind)
            heads = linear(states[layer])[0].chunk(2, dim=-1)
            tables.append([(h @ h.T / h.shape[1] ** 0.5).softmax(-1) for h in heads])
        found += [
            float((t * (t.log() - s.log())).sum(-1).mean())
            for s, t in zip(*tables, strict=True)
        ]  # fmt: skip
    return float(np.mean(found))


def test_a_whole_copy_has_nothing_to_learn(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    data = encoded(parent, tmp_path)
    lesson = learning(
        parent, tmp_path / "s", material, labels=0, logits=1, hidden_states=1, attention=1
    )
    module = load_module(lesson.student.folder)
    caller = Packed(module)
    objective = lesson.begin(module, caller, data, Classification())
    micro = caller.micro_batch(data, np.arange(len(data)), seed=0, visit=0)
    with trained_attention(module):
        total = objective.loss_sum(caller.logits(module, micro), micro)
    assert float(total.detach()) == pytest.approx(0.0, abs=1e-5)
    with torch.no_grad():
        module.get_parameter("bert.encoder.layer.0.output.dense.weight").mul_(1.5)
    with trained_attention(module):
        moved = objective.loss_sum(caller.logits(module, micro), micro)
    assert float(moved.detach()) > 0.01


@pytest.fixture(scope="module")
def planted() -> pl.DataFrame:
    """The class of a text is planted, and of every fifth row it is another one."""
    generator = np.random.default_rng(3)
    texts = [SENTENCES[k] for k in generator.integers(0, len(SENTENCES), 240)]
    shift = np.where(generator.random(240) < 0.2, generator.integers(1, 3, 240), 0)
    classes = [CLASSES[(SENTENCES.index(t) + s) % 3] for t, s in zip(texts, shift, strict=True)]
    return pl.DataFrame({"text": texts, "label": classes, "group": ["a", "b"] * 120})


def test_a_student_comes_nearer_to_its_teacher_than_by_labels_alone(
    parent: Path, planted: pl.DataFrame, tmp_path: Path
) -> None:
    settings = TrainSettings.model_validate(
        {"max_length": 16, "batch_size": {"global": 16}, "precision": "fp32",
         "regularization": {"early_stopping": "off"}}
    )  # fmt: skip
    rows = Material(
        planted, planted[:60], text="text", label="label", seed=1, training=settings,
        work=tmp_path / "work",
    )  # fmt: skip
    taught = {"epochs": 8, "learning_rate": 0.002}
    make(recipe({"recover": taught}), parent, tmp_path / "teacher", material=rows)
    start = {"layers": [1], "hidden": 16, **taught}
    for name, weights in (
        ("labels", {"labels": 1.0, "logits": 0.0}),
        ("student", {"labels": 0.0}),
    ):
        asked = recipe({"distill": {**start, **weights}})
        make(asked, tmp_path / "teacher", tmp_path / name, material=rows)
    wanted = logits(tmp_path / "teacher")

    def apart(name: str) -> float:
        return float((np.exp(wanted) * (wanted - logits(tmp_path / name))).sum(1).mean())

    assert apart("student") < 0.6 * apart("labels")


@pytest.mark.parametrize(
    "asked",
    [
        {"layers": 1, "hidden_states": 0.1, "attention": 0.1},
        {"hidden": 16, "neurons": 0.5, "hidden_states": 1.0},
        {"layers": [0], "hidden": 24, "balance": "groups", "attention": 1.0},
    ],
    ids=str,
)
def test_a_student_opens_in_plain_transformers(
    parent: Path, material: Material, tmp_path: Path, asked: Any
) -> None:
    asked = {"distill": {"epochs": 1, **asked}}
    out = tmp_path / "out"
    make(recipe(asked), parent, out, material=material)
    np.testing.assert_allclose(plain_logits(out), logits(out), atol=1e-5)
    assert size_bytes(out) < 0.9 * size_bytes(parent)
    config: Any = load_module(out).config
    assert config.hidden_size == asked["distill"].get("hidden", 32)
    assert config.num_attention_heads == config.hidden_size // 8
    make(recipe(asked), parent, tmp_path / "again", material=material)
    assert artefact_digest(tmp_path / "again") == artefact_digest(out)


def test_dimensions_that_are_not_needed_go(
    parent: Path, material: Material, tmp_path: Path
) -> None:
    """Of hidden dimensions that nothing reads, none is kept; heads that say nothing go first."""
    from shipworthy.compress.narrower import narrow
    from shipworthy.model import read_info
    from shipworthy.model.pretrained import save_variant

    module: Any = load_module(parent)
    unread = torch.arange(0, 32, 2)
    with torch.no_grad():
        for layer in module.bert.encoder.layer:
            attention = layer.attention
            for part in (attention.self.query, attention.self.key, attention.self.value):
                part.weight[:, unread] = 0.0
            layer.intermediate.dense.weight[:, unread] = 0.0
            for norm in (attention.output.LayerNorm, layer.output.LayerNorm):
                norm.weight[unread], norm.bias[unread] = 0.0, 0.0
            attention.output.dense.weight[:, 8:24] = 0.0
        module.bert.embeddings.LayerNorm.weight[unread] = 0.0
        module.bert.embeddings.LayerNorm.bias[unread] = 0.0
    save_variant(tmp_path / "idle", module, read_info(parent), parent=parent)
    kept = narrow(tmp_path / "idle", tmp_path / "narrow", 16, "rows", material)
    assert kept.tolist() == list(range(1, 32, 2))
    after: Any = load_module(tmp_path / "narrow")
    for old, new in zip(module.bert.encoder.layer, after.bert.encoder.layer, strict=True):
        heads = torch.tensor([*range(8), *range(24, 32)])
        expected = old.attention.self.value.weight[heads][:, torch.from_numpy(kept)]
        assert torch.equal(new.attention.self.value.weight, expected)


@pytest.mark.parametrize("kind", ["distilbert", "llama", "roberta"])
def test_students_of_other_architectures(kind: str, material: Material, tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    other(kind, tmp_path / "start", parent)
    asked = {"layers": 1, "hidden": 16, "epochs": 1, "hidden_states": 1.0, "attention": 1.0}
    make(recipe({"distill": asked}), parent, tmp_path / "out", material=material)
    np.testing.assert_allclose(plain_logits(tmp_path / "out"), logits(tmp_path / "out"), atol=1e-4)
    assert size_bytes(tmp_path / "out") < 0.7 * size_bytes(parent)


def test_the_teacher_is_asked_once(
    parent: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_room, "ROWS", 40)
    asked: list[int] = []
    answers = teacher_room._answers

    def watched(teacher: Any, caller: Any, data: Any, rows: Any) -> Any:
        if len(asked) == 2 and not (tmp_path / "first").exists():
            asked.append(-1)
            raise KeyboardInterrupt
        asked.append(len(rows))
        return answers(teacher, caller, data, rows)

    monkeypatch.setattr(teacher_room, "_answers", watched)
    student = recipe({"distill": {"layers": [1], "epochs": 1}})
    with pytest.raises(KeyboardInterrupt):
        make(student, parent, tmp_path / "first", material=material)
    make_first = replace(material)
    monkeypatch.setattr(teacher_room, "_answers", lambda *a: asked.append(len(a[3])) or answers(*a))
    make(student, parent, tmp_path / "first", material=make_first)
    # What was answered before the interruption is not asked again.
    assert asked == [40, 40, -1, 16]
    make(student, parent, tmp_path / "second", material=material)
    warmer = recipe({"distill": {"layers": [0], "epochs": 1, "temperature": 4.0}})
    make(warmer, parent, tmp_path / "third", material=material)
    assert asked == [40, 40, -1, 16]
    assert artefact_digest(tmp_path / "second") == artefact_digest(tmp_path / "first")
    other_rows = replace(material, train=material.train[:50])
    make(student, parent, tmp_path / "fourth", material=other_rows)
    assert asked[4:] == [40, 10]


def test_after_an_interruption_the_bytes_are_the_same(
    parent: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "_LEAST_WAIT_PER_WRITE", 0.0)
    settings = TrainSettings.model_validate(
        {"max_length": 16, "batch_size": {"global": 16}, "checkpoints": {"every_seconds": 0}}
    )
    material = replace(material, training=settings)
    asked = recipe({"distill": {"layers": 1, "hidden": 16, "epochs": 2, "hidden_states": 1.0}})
    make(asked, parent, tmp_path / "whole", material=material)
    taken: list[int] = []
    step = Run.take_step

    def watched(self: Run, rows: Any, micros: Any) -> None:
        taken.append(self.position.step)
        if len(taken) == 9:
            raise KeyboardInterrupt
        step(self, rows, micros)

    monkeypatch.setattr(Run, "take_step", watched)
    again = replace(material, work=tmp_path / "other")
    with pytest.raises(KeyboardInterrupt):
        make(asked, parent, tmp_path / "again", material=again)
    make(asked, parent, tmp_path / "again", material=again)
    assert 0 < taken[9] <= 8
    assert taken[-1] == 11
    assert artefact_digest(tmp_path / "again") == artefact_digest(tmp_path / "whole")
    assert not [p for p in (tmp_path / "other").iterdir() if p.name.startswith(".")]


def test_another_lesson_is_another_run(parent: Path, material: Material, tmp_path: Path) -> None:
    data = encoded(parent, tmp_path)
    lesson = learning(parent, tmp_path / "s", material, layers=[1])
    narrower = learning(parent, tmp_path / "n", material, layers=[1], hidden=16)
    given = Given(
        parent, ROWS, ROWS, "text", "label", CLASSES, material.training, 1, tmp_path / "out",
        tmp_path / "work", None, 30.0, None, None, None, None, False,
    )  # fmt: skip
    warmer = replace_mixture(lesson, temperature=3.0)
    identities = [
        fingerprint(replace(given, lesson=one), data, data, "fp32")
        for one in (None, lesson, warmer, narrower)
    ]
    assert len(set(identities)) == 4
    again = replace_mixture(lesson, temperature=2.0)
    assert fingerprint(replace(given, lesson=again), data, data, "fp32") == identities[1]


def replace_mixture(lesson: Learning, **changes: Any) -> Learning:
    return Learning(lesson.parent, lesson.student, replace(lesson.mixture, **changes), lesson.work)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({}, "distill"),
        ({"layers": 3}, "distill-of-3"),
        (
            {"layers": [5, 0], "hidden": 256, "neurons": 0.25, "epochs": 5, "labels": 0.0},
            "distill-layers-0-5-neurons-25-epochs-5-hidden-256-labels-0",
        ),
        (
            {"hidden_states": 0.5, "balance": "groups", "learning_rate": 0.001},
            "distill-at-0.001-hidden-states-0.5-groups",
        ),
    ],
    ids=str,
)
def test_recipes_have_names_and_are_written_as_they_are_read(asked: Any, name: str) -> None:
    found = recipe({"distill": asked})
    assert (found.name, found.lever) == (name, "distill")
    assert recipe(parse_yaml(written(found)).data) == found
    assert looks_at_rows(found) and trains(found)


def test_bad_input_is_one_line(parent: Path, material: Material, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def refused(asked: Any, told: str, **changes: Any) -> None:
        with pytest.raises((ModelError, SettingsError), match=told):
            make(recipe({"distill": asked}), parent, out, material=replace(material, **changes))
        assert not (out / "runtime.json").exists()

    refused({"layers": 3}, "3 blocks, and its teacher has 2")
    refused({"layers": [7]}, "no block 7, the model has 2")
    refused({"hidden": 20}, "does not divide into heads, which are 8 wide.*such as 16")
    refused({"hidden": 32}, "not narrower than the 32")
    refused({"hidden": 16}, "too few", calibration=material.calibration[:3])
    refused({"balance": "groups"}, r"data\.groups", groups=())
    several = TrainSettings.model_validate({"max_length": 16, "parallel": {"data": 2}})
    refused({"layers": 1}, "one process, and 2 are asked for", training=several)
    with pytest.raises(ValueError, match="nothing to learn from"):
        recipe({"distill": {"labels": 0, "logits": 0}})
    with pytest.raises(ValueError, match="stands there twice"):
        recipe({"distill": {"layers": [1, 1]}})
    make(recipe("bf16"), parent, tmp_path / "bf16")
    with pytest.raises(ModelError, match="start from the model that was trained"):
        make(recipe({"distill": {}}), tmp_path / "bf16", out, material=material)


def test_relation_heads_fit_both_widths() -> None:
    assert [shared_heads(*sizes) for sizes in ((32, 32, 4), (24, 32, 3), (7, 5, 4))] == [4, 2, 1]
