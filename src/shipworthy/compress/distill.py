"""A smaller student that learns from the model that it is made of.

The student starts as a copy of some blocks of its teacher, with fewer neurons and a narrower hidden
width where that is asked for, and is then trained on what the teacher says of the training rows
besides their labels. The teacher's logits are computed once and kept; its hidden states and
relations, which are thousands of times as large, are computed beside each step where they count.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from shipworthy.compress.anatomy import blocks_of
from shipworthy.compress.blocks import repeated
from shipworthy.compress.layers import keep_layers
from shipworthy.compress.lever_settings import NeuronSettings
from shipworthy.compress.narrower import narrow
from shipworthy.compress.neurons import prune_neurons
from shipworthy.compress.parents import require_fp32
from shipworthy.compress.recover import adapted, train_on
from shipworthy.compress.teacher import teacher_logits
from shipworthy.core.digest import digest_folder
from shipworthy.core.errors import ModelError
from shipworthy.core.locale import text
from shipworthy.model.pretrained import load_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from shipworthy.compress.lever_settings import DistillSettings
    from shipworthy.compress.material import Material
    from shipworthy.train.distillation import Distillation, Inside, Mixture, Site
    from shipworthy.train.microbatches import LabelledRows
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import Caller

PROJECTION = "lesson_projection"
"""Name in the student, while it is trained, of what brings its hidden states to another width."""


@dataclass(frozen=True)
class Student:
    """Where a student lies, and what of its teacher it is.

    blocks: number in the teacher of each of its blocks. kept: numbers of the teacher's hidden
    dimensions that it has; None for all.
    """

    folder: Path
    blocks: tuple[int, ...]
    kept: tuple[int, ...] | None


def distill(
    parent: Path | str, out: Path | str, settings: DistillSettings, material: Material
) -> None:
    """Write a smaller candidate that was trained on what its parent says.

    Goes on after a kill from what lies in `material.work`.
    Raises ModelError where the parent is of another runtime or cannot be made smaller so, and what
    training raises.
    """
    from shipworthy.train.distillation import Mixture

    info = require_fp32(parent, "shaped")
    keys = ("labels", "logits", "hidden_states", "attention", "temperature")
    mixture = Mixture(**{key: getattr(settings, key) for key in keys})
    material.work.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=material.work, prefix=".student-") as place:
        student = begin_student(parent, Path(place), settings, material)
        # A second pass over a row, under other dropout, has no answer of the teacher.
        training = adapted(material.training, settings)
        once = training.regularization.model_copy(update={"r_drop": 0.0})
        training = training.model_copy(update={"regularization": once})
        answers = (material.cache or material.work) / "teacher"
        train_on(
            student.folder, out, training, settings.balance, material, classes=info.classes,
            work="distill", lesson=Learning(Path(parent), student, mixture, answers),
        )  # fmt: skip


def begin_student(
    parent: Path | str, place: Path, settings: DistillSettings, material: Material
) -> Student:
    """Make the student that training starts from, in folders below `place`."""
    folder = Path(parent)
    _, _, blocks = repeated(load_module(parent), parent)
    chosen = chosen_blocks(settings.layers, len(blocks), parent)
    kept = None
    if len(chosen) < len(blocks):
        keep_layers(folder, place / "layers", chosen)
        folder = place / "layers"
    if settings.neurons is not None:
        options = NeuronSettings(share=settings.neurons, balance=settings.balance)
        prune_neurons(folder, place / "neurons", options, material)
        folder = place / "neurons"
    if settings.hidden is not None:
        found = narrow(folder, place / "narrow", settings.hidden, settings.balance, material)
        kept, folder = tuple(found.tolist()), place / "narrow"
    return Student(folder, chosen, kept)


def chosen_blocks(
    layers: tuple[int, ...] | int | None, count: int, folder: Path | str
) -> tuple[int, ...]:
    """Return the numbers of the blocks that the student has: those named, or so many, evenly.

    Raises ModelError where there are not as many; a named one that is absent is told of later.

    >>> chosen_blocks(3, 6, ""), chosen_blocks(1, 6, ""), chosen_blocks(None, 2, "")
    ((0, 2, 5), (5,), (0, 1))
    """
    if isinstance(layers, tuple):
        return layers
    wanted = count if layers is None else layers
    if wanted > count:
        raise ModelError(
            text("error.distill.layers", wanted=wanted, count=count),
            folder=folder,
            fix=text("error.distill.layers.fix", count=count),
        )
    # The last block is what the head was trained on; it stays whatever goes.
    places = np.linspace(0 if wanted > 1 else count - 1, count - 1, wanted)
    return tuple(int(place) for place in places)


@dataclass(eq=False)
class Learning:
    """The lesson that a student is given. work: folder of the teacher's answers."""

    parent: Path
    student: Student
    mixture: Mixture
    work: Path
    _inside: Inside | None = None

    @property
    def identity(self) -> Mapping[str, Any]:
        """The teacher, what the student has of it, and how the parts of the loss are weighed."""
        return {
            "distill": asdict(self.mixture),
            "teacher": digest_folder(self.parent),
            "blocks": list(self.student.blocks),
            "kept": None if self.student.kept is None else list(self.student.kept),
        }

    def begin(
        self, module: nn.Module, caller: Caller, train: LabelledRows, plain: Classification
    ) -> Distillation:
        """Ask the teacher, and make hidden states of both comparable where they are compared."""
        import torch

        from shipworthy.core.device import compute_device
        from shipworthy.train.distillation import Distillation

        teacher = load_module(self.parent).requires_grad_(False)
        teacher.to(torch.device(compute_device()))
        table = teacher_logits(teacher, digest_folder(self.parent), caller, train, self.work)
        if self.mixture.looks_inside:
            self._inside = self._compared(module, teacher, caller)
        return Distillation(plain, table, self.mixture, self._inside)

    def _compared(self, module: nn.Module, teacher: nn.Module, caller: Caller) -> Inside:
        from shipworthy.train.distillation import Inside

        theirs = sites_of(teacher, self.parent)
        sites = (
            sites_of(module, self.student.folder),
            [theirs[number] for number in self.student.blocks],
        )
        projection = None
        if self.mixture.hidden_states and self.student.kept is not None:
            whole: Any = teacher
            projection = selection(self.student.kept, int(whole.config.hidden_size))
            module.add_module(PROJECTION, projection)
        return Inside(module, teacher, caller, sites, self.mixture, projection)

    def end(self, module: nn.Module) -> None:
        """Take the projection and all hooks out of the student."""
        if hasattr(module, PROJECTION):
            delattr(module, PROJECTION)
        if self._inside is not None:
            self._inside.stop()


def sites_of(module: nn.Module, folder: Path | str) -> Sequence[Site]:
    """Return the names of the blocks, and of what makes their queries, keys and values."""
    from shipworthy.train.distillation import Site

    names = {id(part): name for name, part in module.named_modules()}
    found = []
    for block in blocks_of(module, folder):
        query, key, value = (names[id(block.linear(name))] for name in block.attention[:3])
        found.append(Site(names[id(block.module)], (query, key, value)))
    return found


def selection(kept: tuple[int, ...], whole: int) -> nn.Linear:
    """Return the matrix that puts each kept dimension where the teacher has it; it is learned."""
    import torch
    from torch import nn

    projection = nn.Linear(len(kept), whole, bias=False)
    with torch.no_grad():
        projection.weight.zero_()
        projection.weight[torch.tensor(kept), torch.arange(len(kept))] = 1.0
    return projection
