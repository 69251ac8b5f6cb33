"""What a student learns from: the teacher's probabilities, hidden states and relations, and labels.

The loss of a row is the weighted sum of
- the cross entropy of its label;
- T² KL(p_T(teacher) ‖ p_T(student)), probabilities at the temperature T; T² keeps the size of the
  gradient the same at every temperature (Hinton et al. 2015, sec. 2);
- the mean squared difference of hidden states after blocks that belong together, through a matrix
  that is learned where the widths differ (Jiao et al. 2020, "TinyBERT", eq. 8);
- the divergence of relations: softmax(x xᵀ/√w) of queries, keys and values, cut anew into as many
  relation heads on both sides, so that widths and heads may differ (Wang et al. 2021, "MiniLMv2",
  sec. 3.2).
Means are over the tokens of a row, and over the blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import kl_div, log_softmax

from shipworthy.train.attention import trained_attention

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from shipworthy.train.microbatches import LabelledRows, MicroBatch
    from shipworthy.train.objectives import Classification
    from shipworthy.train.packing import Caller


@dataclass(frozen=True)
class Mixture:
    """How much each part of the loss counts, from 0 on, and the temperature, above 0."""

    labels: float = 0.5
    logits: float = 1.0
    hidden_states: float = 0.0
    attention: float = 0.0
    temperature: float = 2.0

    @property
    def looks_inside(self) -> bool:
        """Whether more of the teacher is looked at than its logits."""
        return self.hidden_states > 0 or self.attention > 0


@dataclass(frozen=True)
class Site:
    """Names of a block, and of the layers of it that make queries, keys and values."""

    block: str
    attention: tuple[str, str, str]


class Caught:
    """What parts of a model gave in its latest call; each is handed out once."""

    def __init__(self, module: nn.Module, names: Sequence[str]) -> None:
        self._values: dict[str, Tensor] = {}
        self._hooks = [module.get_submodule(n).register_forward_hook(self._keep(n)) for n in names]

    def _keep(self, name: str) -> Any:
        def keep(_: nn.Module, __: Any, given: Any) -> None:
            self._values[name] = given[0] if isinstance(given, tuple) else given

        return keep

    def take(self, name: str) -> Tensor:
        """Return the values of one part as (tokens, width), fp32."""
        return self._values.pop(name).flatten(0, 1).float()

    def stop(self) -> None:
        """Catch no more."""
        for hook in self._hooks:
            hook.remove()
        self._values.clear()


class Inside:
    """What a student and its teacher have in common inside.

    sites: of the student and of the teacher, block by block. projection: what turns the student's
    hidden states into the teacher's width; None where the widths are the same.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        caller: Caller,
        sites: tuple[Sequence[Site], Sequence[Site]],
        mixture: Mixture,
        projection: nn.Linear | None,
    ) -> None:
        self._teacher, self._caller, self._mixture = teacher, caller, mixture
        self._sites = tuple(zip(*sites, strict=True))
        self._projection = projection
        self._student, self._taught = (
            Caught(module, [name for site in of for name in _names(site, mixture)])
            for module, of in ((student, sites[0]), (teacher, sites[1]))
        )
        heads = getattr(student.config, "num_attention_heads", 1)
        self._heads = int(heads) if isinstance(heads, int) else 1

    def stop(self) -> None:
        """Leave the student alone."""
        self._student.stop()

    def loss_sum(self, micro: MicroBatch, counts: Tensor) -> Tensor:
        """Return the summed loss of the rows whose logits the student just gave."""
        with torch.no_grad(), trained_attention(self._teacher):
            self._caller.logits(self._teacher, micro)
        where = Tokens(micro, counts)
        found = []
        for mine, theirs in self._sites:
            if self._mixture.hidden_states:
                own = self._student.take(mine.block)
                if self._projection is not None:
                    own = self._projection(own)
                apart = (own - self._taught.take(theirs.block)).square().mean(-1)
                found.append(self._mixture.hidden_states * (apart * where.weights).sum())
            if self._mixture.attention:
                pairs = zip(mine.attention, theirs.attention, strict=True)
                parts = [
                    where.relations(self._student.take(a), self._taught.take(b), self._heads)
                    for a, b in pairs
                ]
                found.append(self._mixture.attention * torch.stack(parts).mean())
        return torch.stack(found).sum() / len(self._sites)


class Tokens:
    """Where the tokens of each row are, and how much each counts: its row's weight over its length.

    weights: shape (tokens,), zero for padding.
    """

    def __init__(self, micro: MicroBatch, counts: Tensor) -> None:
        if micro.pack is not None:
            pack = micro.pack
            # Logit row i belongs to the micro-batch's row i; the pack has its own order.
            place = {int(row): k for k, row in enumerate(micro.rows)}
            order = torch.tensor([place[int(row)] for row in pack.rows], device=counts.device)
            lengths = torch.from_numpy(pack.lengths).to(counts.device)
            self.weights = (counts[order] / lengths).repeat_interleave(lengths)
            self._rectangles, self._mask = pack.runs, None
        else:
            self._mask = micro.arguments["attention_mask"].bool()
            each = counts[:, None] / self._mask.sum(1, keepdim=True)
            self.weights = (each * self._mask).flatten()
            rows, length = self._mask.shape
            self._rectangles = ((rows, length),)

    def relations(self, student: Tensor, teacher: Tensor, heads: int) -> Tensor:
        """Return the summed divergence of the relations of two (tokens, width)."""
        heads = shared_heads(student.shape[1], teacher.shape[1], heads)
        found, start = [], 0
        for documents, length in self._rectangles:
            stop = start + documents * length
            own, wanted = (
                _relations(x[start:stop], documents, length, heads, self._mask)
                for x in (student, teacher)
            )
            # (documents, heads, queries)
            apart = kl_div(own, wanted, reduction="none", log_target=True).sum(-1)
            weights = self.weights[start:stop].view(documents, length)
            found.append((apart.mean(1) * weights).sum())
            start = stop
        return torch.stack(found).sum()


def shared_heads(student: int, teacher: int, most: int) -> int:
    """Return the most relation heads, up to a number, that both widths can be cut into.

    >>> shared_heads(256, 384, 8), shared_heads(96, 384, 5)
    (8, 4)
    """
    common = math.gcd(student, teacher)
    return next(n for n in range(max(1, most), 0, -1) if common % n == 0)


@dataclass(frozen=True, eq=False)
class Distillation:
    """The objective of a student in a run of its own.

    plain: of the labels. teacher: logits of the training rows, (n, k). inside: None where only
    logits are looked at.
    """

    plain: Classification
    teacher: NDArray[Any]
    mixture: Mixture
    inside: Inside | None = None

    def weight(self, data: LabelledRows, rows: NDArray[Any]) -> float:
        """Return the number of rows, or the sum of their weights."""
        return self.plain.weight(data, rows)

    def loss_sum(self, logits: Tensor, micro: MicroBatch) -> Tensor:
        """Return the summed loss of the rows."""
        values = logits.float()
        counts = torch.ones(len(micro.rows)).to(values)
        if self.plain.weights is not None:
            counts = torch.from_numpy(self.plain.weights[micro.rows]).to(values)
        found = []
        if self.mixture.labels:
            found.append(self.mixture.labels * self.plain.loss_sum(logits, micro))
        if self.mixture.logits:
            wanted = torch.from_numpy(self.teacher[micro.rows]).to(values)
            apart = softened_divergence(values, wanted, self.mixture.temperature)
            found.append(self.mixture.logits * (apart * counts).sum())
        if self.inside is not None:
            found.append(self.inside.loss_sum(micro, counts))
        return torch.stack(found).sum()

    def score(self, logits: Tensor, micro: MicroBatch) -> tuple[float, float]:
        """Return the summed cross entropy of the labels, and how many rows are right."""
        return self.plain.score(logits, micro)


def softened_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T² KL(teacher ‖ student) of each row of two tables of logits, nats, shape (rows,)."""
    own, wanted = (log_softmax(x / temperature, -1) for x in (student, teacher))
    apart = kl_div(own, wanted, reduction="none", log_target=True).sum(-1)
    return temperature**2 * apart


def _relations(x: Tensor, documents: int, length: int, heads: int, mask: Tensor | None) -> Tensor:
    """Return log-probabilities of the relations, (documents, heads, queries, keys)."""
    cut = x.view(documents, length, heads, -1).transpose(1, 2)
    scores = torch.matmul(cut, cut.transpose(-1, -2)) * cut.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
    return log_softmax(scores, -1)


def _names(site: Site, mixture: Mixture) -> tuple[str, ...]:
    hidden = (site.block,) if mixture.hidden_states else ()
    return hidden + (site.attention if mixture.attention else ())
