"""Draw the slices of each epoch so that all people weigh the same."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from torch import Tensor

from meninx._learn.input.augmentation.batch import SliceBatch
from meninx._learn.input.dataset import (
    CONTEXT,
    MASKED,
    SIMULATED,
    TUMOR_FREE,
    UNMASKED,
    Facts,
    SliceDataset,
)
from meninx._learn.recipe import SamplingRecipe


def weights_of(facts: Sequence[Facts], sampling: SamplingRecipe) -> Tensor:
    """Return the probability with which each example is drawn.

    A stratum of `SamplingRecipe.strata` has its share of each epoch, and a fixed part of it shows
    tumors; examples in no stratum have the share of their kind. Within a share all people weigh the
    same, within a person all sequences, and within a sequence all slices.

    Args:
        facts: Facts of each example, n of them.
        sampling: Shares of the kinds and strata.

    Returns:
        Probabilities, summing to 1, shape (n,); 0 for examples of no share and for context.
    """
    kinds = _kind_shares(facts, sampling)
    shares: dict[tuple[str, int], float] = {}
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, fact in enumerate(facts):
        if fact.kind == CONTEXT:
            continue
        stratum = _stratum(fact, sampling.strata)
        if stratum is None:
            key = ("", fact.kind)
            shares[key] = kinds[fact.kind]
        else:
            has_tumor = fact.kind != TUMOR_FREE
            key = (stratum, int(has_tumor))
            part = sampling.tumor_share if has_tumor else 1 - sampling.tumor_share
            shares[key] = sampling.strata[stratum] * part
        cells[key].append(index)
    for name, side in list(cells):
        # If a stratum has only one class, that class gets its whole share.
        if name and (name, 1 - side) not in cells:
            shares[name, side] = sampling.strata[name]
    weights = torch.zeros(len(facts), dtype=torch.float64)
    for key, members in cells.items():
        own = _shared_by_people([facts[index] for index in members])
        weights[torch.tensor(members)] = shares[key] * own
    return weights / weights.sum().clamp_min(1e-12)


def _kind_shares(facts: Sequence[Facts], sampling: SamplingRecipe) -> dict[int, float]:
    """Return the share of each kind; a missing kind of tumor gives its share to the other one."""
    shares = {
        MASKED: sampling.masked,
        TUMOR_FREE: sampling.tumor_free,
        SIMULATED: sampling.simulated,
        UNMASKED: sampling.unmasked,
    }
    present = {fact.kind for fact in facts}
    for kind, substitute in ((MASKED, UNMASKED), (UNMASKED, MASKED)):
        if kind not in present and shares[substitute]:
            shares[substitute] += shares[kind]
    return shares


def _stratum(fact: Facts, strata: Mapping[str, float]) -> str | None:
    """Return the first pattern that fits a real example's source and sequence."""
    if fact.kind == SIMULATED:
        return None
    name = f"{fact.source} {fact.sequence}".strip()
    return next((pattern for pattern in strata if fnmatchcase(name, pattern)), None)


def _shared_by_people(facts: Sequence[Facts]) -> Tensor:
    """Return weights, sum 1: equal for people, for sequences of a person, for slices of these."""
    # A slice of an unknown person counts as a person, and so does each slice of a simulated head,
    # even if several were made from one real head.
    people = [
        fact.person if fact.person and fact.kind != SIMULATED else f"#{number}"
        for number, fact in enumerate(facts)
    ]
    sequences = [(person, fact.sequence) for person, fact in zip(people, facts, strict=True)]
    slices = Counter(sequences)
    of_person = Counter(person for person, _ in slices)
    count = len(of_person)
    return torch.tensor(
        [1 / (count * of_person[key[0]] * slices[key]) for key in sequences], dtype=torch.float64
    )


class ShareSampler:
    """A sampler that draws the examples of each epoch by their weight.

    The draw depends only on the seed and the epoch, so a resumed run draws the same as an unbroken
    one.

    Args:
        weights: Weight of each example, 0 and more, shape (n,).
        count: Number of pictures an epoch, over all processes.
        seed: Seed of the recipe.
        rank: Number of this process, from 0; the processes take turns in one common draw.
        processes: Number of processes that train together.
    """

    def __init__(
        self, weights: Tensor, count: int, seed: int, rank: int = 0, processes: int = 1
    ) -> None:
        self.weights = weights
        self.count = count
        self.seed = seed
        # Counted here, because after a resume Lightning reports one epoch too few.
        self.epoch = 0
        self.rank, self.processes = rank, processes

    def __len__(self) -> int:
        """Return the number of pictures of an epoch in this process."""
        return self.count // self.processes

    def __iter__(self) -> Iterator[int]:
        """Draw one epoch's indices; the next call draws the next epoch's."""
        generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        self.epoch += 1
        drawn = torch.multinomial(self.weights, self.count, replacement=True, generator=generator)
        return iter(drawn[self.rank :: self.processes][: len(self)].tolist())


class TrainingLoader(Iterable[SliceBatch]):
    """A loader of each epoch's batches, gathered on the device of the data set.

    Args:
        dataset: Data set on the CPU or a GPU.
        sampler: Sampler that draws each epoch.
        batch_size: Number of examples a step; an incomplete last batch is dropped.
    """

    def __init__(self, dataset: SliceDataset, sampler: ShareSampler, batch_size: int) -> None:
        self.dataset, self.sampler = dataset, sampler
        self.batch_size = min(batch_size, len(sampler))

    def __len__(self) -> int:
        """Return the number of steps of an epoch."""
        return len(self.sampler) // self.batch_size

    def __iter__(self) -> Iterator[SliceBatch]:
        """Yield one epoch's batches."""
        drawn = torch.tensor(list(self.sampler), device=self.dataset.image.device)
        for indices in torch.split(drawn[: len(self) * self.batch_size], self.batch_size):
            yield self.dataset.batch(indices)
