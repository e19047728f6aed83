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

    A stratum of `SamplingRecipe.strata` gets its share of each epoch, of which a fixed part shows
    tumors; examples in no stratum get the share of their kind. Within these every person weighs the
    same, within a person every sequence, and within that every slice: a head of 90 slices is one
    head.

    Args:
        facts: Facts of each example, n of them.
        sampling: Shares of the kinds and strata.

    Returns:
        Probabilities, summing to 1, shape (n,); 0 for examples of no share and for context.
    """
    kinds = _kind_shares(facts, sampling)
    shares: dict[tuple[str, int], float] = {}
    cells: dict[tuple[str, int], list[int]] = defaultdict(list)
    for index, one in enumerate(facts):
        if one.kind == CONTEXT:
            continue
        stratum = _stratum(one, sampling.strata)
        if stratum is None:
            key = ("", one.kind)
            shares[key] = kinds[one.kind]
        else:
            has_tumor = one.kind != TUMOR_FREE
            key = (stratum, int(has_tumor))
            part = sampling.tumor_share if has_tumor else 1 - sampling.tumor_share
            shares[key] = sampling.strata[stratum] * part
        cells[key].append(index)
    for name, side in list(cells):
        # Where a stratum has one kind alone, that kind gets all of its share.
        if name and (name, 1 - side) not in cells:
            shares[name, side] = sampling.strata[name]
    weights = torch.zeros(len(facts), dtype=torch.float64)
    for key, members in cells.items():
        own = _shared_by_people([facts[index] for index in members])
        weights[torch.tensor(members)] = shares[key] * own
    return weights / weights.sum().clamp_min(1e-12)


def _kind_shares(facts: Sequence[Facts], sampling: SamplingRecipe) -> dict[int, float]:
    """Return the share of each kind; tumors with and without a mask stand in for each other."""
    shares = {
        MASKED: sampling.masked,
        TUMOR_FREE: sampling.tumor_free,
        SIMULATED: sampling.simulated,
        UNMASKED: sampling.unmasked,
    }
    there = {one.kind for one in facts}
    for kind, other in ((MASKED, UNMASKED), (UNMASKED, MASKED)):
        if kind not in there and shares[other]:
            shares[other] += shares[kind]
    return shares


def _stratum(one: Facts, strata: Mapping[str, float]) -> str | None:
    """Return the first pattern that fits a real example's source and sequence."""
    if one.kind == SIMULATED:
        return None
    name = f"{one.source} {one.sequence}".strip()
    return next((pattern for pattern in strata if fnmatchcase(name, pattern)), None)


def _shared_by_people(facts: Sequence[Facts]) -> Tensor:
    """Return weights, sum 1: equal for people, for each one's sequences, for their slices."""
    # A slice of an unknown person stands alone, and so does each of a simulated head: these differ
    # even where one person's head was augmented.
    people = [
        one.person if one.person and one.kind != SIMULATED else f"#{number}"
        for number, one in enumerate(facts)
    ]
    sequences = [(person, one.sequence) for person, one in zip(people, facts, strict=True)]
    slices = Counter(sequences)
    of_person = Counter(person for person, _ in slices)
    count = len(of_person)
    return torch.tensor(
        [1 / (count * of_person[key[0]] * slices[key]) for key in sequences], dtype=torch.float64
    )


class ShareSampler:
    """A sampler that draws the examples of each epoch by their weight.

    The draw depends on the seed and the epoch alone, so a resumed run draws what an unbroken run
    draws.

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
        # Counted here, because Lightning reports an epoch too few after a resume.
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
