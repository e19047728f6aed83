"""Fit the out-of-distribution (OOD) model: known slices against synthetic outliers, in features.

Legend: b batch, f features, k kinds of pictures to refuse: pictures of no brain, and ghosting.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from meninx._detect.model_card import ModelCard
from meninx._detect.preprocessing import Preprocessing
from meninx._learn.input.augmentation.intensity import exported_again
from meninx._learn.input.dataset import CONTEXT, SIMULATED, Example, Facts, SliceDataset
from meninx._learn.model.network import Backbone
from meninx._synthesis.outliers import synthetic_outliers, with_ghosting
from meninx._synthesis.simulated_scans import brainless_slices

# Features of normalized slices with their neighbors, (b, 3, h, w) to (b, f).
Features = Callable[[Tensor], NDArray[np.float64]]
# Number of stages: the fourth one is trained for tumors only, and its features are worse.
STAGES = 3
# Smallest number of slices for 896 features, which have 400,000 covariances. ResNet-50 has 3584:
# there the covariance is shrunk more, and the thresholds come from held-out slices as ever.
MIN_EXAMPLES = 500
# Largest number of known slices, real and simulated each: more change the figures by less than
# their spread.
_MAX_EXAMPLES = 3000
# Number of synthetic outliers.
OUTLIERS = 1500
# Number of known slices with ghosting.
GHOSTED = 800
# Share of the known slices that is fitted; the others set the thresholds.
_FITTED = 2 / 3
# Share of known slices within the threshold of each measure; smaller for simulated slices, which
# reach to the jaw, where there is hardly any brain.
KEPT_BY_DISTANCE, KEPT_REAL, KEPT_SIMULATED = 0.995, 0.998, 0.95
# Standard deviations at which features are clipped; larger values add no information.
_MAX_FEATURE = 30.0
BATCH = 64
# What the name of a tensor in half precision ends in, in a detector file.
HALVED = "_half"
# Largest width of air that is added on each side, as a share of the picture's side.
_MAX_AIR = 0.3
# Inverse penalty of the logistic regressions: chosen on training folds and simulated slices.
INVERSE_PENALTY = 0.1


@dataclass(frozen=True, eq=False)
class OodModel:
    """The out-of-distribution model: linear measures of features, each 1 at its threshold.

    Args:
        center: Mean features of known slices, shape (f,).
        scale: Standard deviation of their features, shape (f,).
        whitening: Matrix of the Mahalanobis distance, shape (f, f): with z = (features - center) /
            scale, the distance is |z @ whitening|, 1 at its threshold.
        weights: Weights of the logits z @ weights + bias that separate each kind of outlier from
            known slices, shape (f, k); 0 at the median of known slices and 1 at the threshold. One
            logit for all kinds would find fewer of each: slices with ghosting lie close to known
            slices, and far from photographs.
        bias: Biases of these logits, shape (k,).
    """

    center: NDArray[np.float32]
    scale: NDArray[np.float32]
    whitening: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    # Threshold of the largest measure: each one is scaled to be 1 at its own.
    threshold = 1.0

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the out-of-distribution scores of features of shape (n, f), shape (n,)."""
        z = (features - self.center) / self.scale
        distance = np.linalg.norm(z @ self.whitening, axis=1)
        logits = _clipped(z) @ self.weights + self.bias
        return np.asarray(np.maximum(distance, logits.max(axis=1)))


class DetectorGraph(nn.Module):
    """The graph of a detector file: logits of cells and types, and the OOD score.

    Args:
        network: The trained network.
        ood_model: Out-of-distribution model of its features; None to leave the OOD score out.
    """

    def __init__(self, network: Backbone, ood_model: OodModel | None) -> None:
        super().__init__()
        self.network = network
        self.has_ood_score = ood_model is not None
        self.center: Tensor
        self.scale: Tensor
        self.whitening: Tensor
        self.weights: Tensor
        self.bias: Tensor
        if ood_model is not None:
            for name in ("center", "scale", "whitening", "weights", "bias"):
                self.register_buffer(name, torch.from_numpy(getattr(ood_model, name)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return cell logits, type logits and the OOD score of normalized slices.

        Args:
            x: Normalized slices with their neighbors, shape (b, 3, h, w).

        Returns:
            Tensors of shape (b, m, n), (b, 3) and, with an OOD model, (b,).
        """
        maps = self.network.stage_maps(x)
        cells, types = self.network.heads(maps)
        if not self.has_ood_score:
            return cells, types
        z = (early_features(maps) - self.center) / self.scale  # [b, f]
        distance = (z @ self.whitening).square().sum(1).sqrt()
        logits = z.clamp(-_MAX_FEATURE, _MAX_FEATURE) @ self.weights + self.bias  # [b, k]
        return cells, types, torch.maximum(distance, logits.amax(1))


def early_features(stage_maps: Sequence[Tensor]) -> Tensor:
    """Return mean and standard deviation over place of each channel of the first stages.

    Args:
        stage_maps: Maps of the network's stages, as `Backbone.stage_maps` returns them.

    Returns:
        Features, shape (b, f).
    """
    features = []
    for maps in stage_maps[:STAGES]:
        mean = maps.mean((2, 3))
        variance = maps.square().mean((2, 3)) - mean.square()
        features += [mean, variance.clamp_min(0).sqrt()]
    return torch.cat(features, dim=1)


def network_features(network: Backbone) -> Features:
    """Return the features of a network in evaluation mode, for `fit_ood_model`."""

    def features(x: Tensor) -> NDArray[np.float64]:
        with torch.inference_mode():
            return np.asarray(early_features(network.stage_maps(x, STAGES)).double().numpy())

    return features


def fit_ood_model(
    features: Features,
    known: SliceDataset,
    preprocessing: Preprocessing,
    heads: Sequence[Path] = (),
) -> OodModel | None:
    """Fit the out-of-distribution model of a network.

    Args:
        features: Features of the network, in the number format in which it will be computed.
        known: Slices that it learned from, at the size of the detector's input.
        preprocessing: Preprocessing of the detector.
        heads: Files of real heads, for slices without brain.

    Returns:
        The model of real and plausible simulated slices, against synthetic outliers and against
        slices with ghosting; None where there are too few slices.

    References:
        Lee et al. 2018, A simple unified framework for detecting out-of-distribution samples;
        Ledoit and Wolf 2004, A well-conditioned estimator for large-dimensional covariance
        matrices; Hendrycks et al. 2019, Deep anomaly detection with outlier exposure.
    """
    real, simulated = _plausible_slices(known)
    if count_plausible(known) < MIN_EXAMPLES:
        return None
    kinds = _outliers(known, real, simulated, heads)
    parts = [
        (part, kept) for part, kept in ((real, KEPT_REAL), (simulated, KEPT_SIMULATED)) if part
    ]
    torch.manual_seed(0)
    halves = [_split(_known_features(features, known, part, preprocessing)) for part, _ in parts]
    fitted = np.concatenate([half[0] for half in halves])
    center, scale = fitted.mean(0), fitted.std(0) + 1e-6
    z = (fitted - center) / scale
    whitening = _whitening(z)
    held_out = [
        ((half[1] - center) / scale, kept) for half, (_, kept) in zip(halves, parts, strict=True)
    ]
    # The threshold of the distance comes from real slices if there are any: only these are scored.
    distances = np.linalg.norm(held_out[0][0] @ whitening, axis=1)
    ood_threshold = float(np.quantile(distances, KEPT_BY_DISTANCE))
    columns = []
    for kind in kinds:
        outliers = (_features_of_pictures(features, kind, preprocessing) - center) / scale
        columns.append(_scaled(_separated(z, outliers), held_out))
    return OodModel(
        center=center.astype(np.float32),
        scale=scale.astype(np.float32),
        whitening=(whitening / ood_threshold).astype(np.float32),
        weights=np.stack([column.weights for column in columns], axis=1).astype(np.float32),
        bias=np.array([column.bias for column in columns], dtype=np.float32),
    )


def ood_model_in(path: Path, preprocessing: Preprocessing) -> OodModel | None:
    """Return the out-of-distribution model in a detector file, for a network with its features.

    Args:
        path: Detector file in single precision.
        preprocessing: Preprocessing of the network's slices.

    Returns:
        The model, rescaled to be 1 at the threshold in the file's card; None if the file has none,
        or one of slices that were preprocessed otherwise.
    """
    model = onnx.load(path)
    card = ModelCard.from_metadata({entry.key: entry.value for entry in model.metadata_props})
    if card.ood_threshold is None or card.members or card.preprocessing != preprocessing:
        return None
    names = {field.name for field in fields(OodModel)}
    found = {
        name: onnx.numpy_helper.to_array(tensor).astype(np.float32)
        for tensor in model.graph.initializer
        if (name := tensor.name.removesuffix(HALVED)) in names
    }
    for name in ("whitening", "weights", "bias"):
        found[name] = found[name] / np.float32(card.ood_threshold)
    return OodModel(**found)


def refused_share(
    model: OodModel, features: Features, known: SliceDataset, preprocessing: Preprocessing
) -> float:
    """Return the share of the slices that a network learned from which a model refuses, 0..1.

    Args:
        model: The out-of-distribution model.
        features: Features of the network.
        known: Slices that it learned from, at the size of the detector's input.
        preprocessing: Preprocessing of the detector.

    Returns:
        Share of the slices.
    """
    own = [
        _batch_features(features, known.batch(part).image, preprocessing)
        for part in torch.split(torch.nonzero(known.kind != CONTEXT).flatten(), BATCH)
    ]
    return float(np.mean(model.scores(np.concatenate(own)) > model.threshold))


def count_plausible(known: SliceDataset) -> int:
    """Return the number of slices that an out-of-distribution model could be fitted on."""
    return sum(map(len, _plausible_slices(known)))


def _plausible_slices(known: SliceDataset) -> tuple[Sequence[int], Sequence[int]]:
    """Return the positions of plausible slices, real and simulated, not too many of each."""
    plausible = [
        index for index, fact in enumerate(known.facts) if fact.plausible and fact.kind != CONTEXT
    ]
    real = [index for index in plausible if known.facts[index].kind != SIMULATED]
    simulated = [index for index in plausible if known.facts[index].kind == SIMULATED]
    return _thinned(real), _thinned(simulated)


def _outliers(
    known: SliceDataset, real: Sequence[int], simulated: Sequence[int], heads: Sequence[Path]
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Return pictures of no brain, and known slices with ghosting."""
    brainless = [
        *synthetic_outliers(OUTLIERS, _images(known, real or simulated)),
        *brainless_slices(heads),
    ]
    return brainless, list(with_ghosting(GHOSTED, _with_air(_images(known, [*real, *simulated]))))


def _images(known: SliceDataset, indices: Sequence[int]) -> list[NDArray[np.float32]]:
    return [known.image[index].numpy().astype(np.float32) for index in indices]


def _with_air(images: Sequence[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Return pictures with up to 30 % of air on each side, where ghosting is most visible."""
    rng = np.random.default_rng(0)
    return [
        np.pad(image, [(int(share * len(image)),) * 2] * 2)
        for image, share in zip(images, rng.uniform(0, _MAX_AIR, len(images)), strict=True)
    ]


def _known_features(
    features: Features, known: SliceDataset, indices: Sequence[int], preprocessing: Preprocessing
) -> NDArray[np.float64]:
    """Return the features of known slices: unchanged, half of them exported again, and as pictures.

    A slice with coarser pixels and JPEG compression is still in distribution. As a picture, a slice
    has its own crop window and replaces its neighbors, like all outliers: the model must not use
    that to separate them.
    """
    found = []
    for number, part in enumerate(torch.split(torch.tensor(indices), BATCH)):
        image = known.batch(part).image
        found.append(_batch_features(features, image, preprocessing))
        if number % 2 == 0:
            again = exported_again(image)
            found.append(_batch_features(features, again, preprocessing))
    found.append(_features_of_pictures(features, _images(known, indices), preprocessing))
    return np.concatenate(found)


def _features_of_pictures(
    features: Features, pictures: Sequence[NDArray[np.float32]], preprocessing: Preprocessing
) -> NDArray[np.float64]:
    """Return the features of slices without neighbors, shape (n, f)."""
    examples = (Example(picture, None, Facts(SIMULATED)) for picture in pictures)
    slices = SliceDataset(examples, preprocessing)
    return np.concatenate(
        [_batch_features(features, batch.image, preprocessing) for batch in slices.batches(BATCH)]
    )


def _batch_features(
    features: Features, image: Tensor, preprocessing: Preprocessing
) -> NDArray[np.float64]:
    return features((image - preprocessing.mean) / preprocessing.std)


def _split(features: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return features to fit, and others for thresholds: fitted features have smaller distances."""
    order = np.random.default_rng(0).permutation(len(features))
    count = round(_FITTED * len(features))
    return features[order[:count]], features[order[count:]]


def _whitening(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an inverse root of the covariance, which is unique up to a rotation."""
    values, vectors = np.linalg.eigh(LedoitWolf().fit(z).covariance_)
    return np.asarray(vectors / np.sqrt(values))


def _clipped(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(z, -_MAX_FEATURE, _MAX_FEATURE)


@dataclass(frozen=True, eq=False)
class _Logit:
    """A linear measure of standardized features.

    Args:
        weights: Weight of each feature, shape (f,).
        bias: Value at features of 0.
    """

    weights: NDArray[np.float64]
    bias: float

    def of(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the measure of features of shape (n, f), shape (n,)."""
        return np.asarray(_clipped(z) @ self.weights + self.bias)

    def between(self, low: float, high: float) -> "_Logit":
        """Return the measure rescaled to be 0 and 1 where it was `low` and `high`."""
        return _Logit(self.weights / (high - low), (self.bias - low) / (high - low))


def _separated(known: NDArray[np.float64], outliers: NDArray[np.float64]) -> _Logit:
    """Return the logit that separates the features of outliers from those of known slices."""
    model = LogisticRegression(C=INVERSE_PENALTY, max_iter=3000, class_weight="balanced")
    both = _clipped(np.concatenate([known, outliers]))
    model.fit(both, np.repeat((0, 1), (len(known), len(outliers))))
    return _Logit(model.coef_[0], float(model.intercept_[0]))


def _scaled(logit: _Logit, known: Sequence[tuple[NDArray[np.float64], float]]) -> _Logit:
    """Return a logit that is 0 at the median of known slices and 1 at the threshold.

    Args:
        logit: The logit.
        known: Features of real and of simulated slices, each shape (n, f), with the share of them
            that the threshold keeps.

    Returns:
        The rescaled logit.
    """
    values = [(logit.of(features), kept) for features, kept in known]
    median = float(np.median(np.concatenate([own for own, _ in values])))
    return logit.between(median, max(float(np.quantile(own, kept)) for own, kept in values))


def _thinned(indices: Sequence[int]) -> Sequence[int]:
    return indices[:: max(1, -(-len(indices) // _MAX_EXAMPLES))]
