"""Fit the type head again, on the features of the trained network."""

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from meninx._detect.preprocessing import Preprocessing
from meninx._errors import DataError
from meninx._labels import TYPE_NAMES
from meninx._learn.input.dataset import SliceDataset
from meninx._learn.model.network import CellNetwork

# Inverse strength of the penalty on features of unit variance. It is strong because the network was
# trained on these pictures: its features separate them better than new ones.
INVERSE_PENALTY = 0.003


def fit_type_head(
    network: CellNetwork, examples: SliceDataset, preprocessing: Preprocessing
) -> None:
    """Fit the type head by logistic regression; all other weights stay unchanged.

    The features were trained for detection. Fitting types does not change them, so detection is the
    same as before.

    Args:
        network: Network whose type head is changed in place; it is left in evaluation mode.
        examples: Slices at the size of the detector's input; only those of a known type are used.
        preprocessing: Preprocessing of the detector.

    Raises:
        DataError: If the slices lack a type.

    References:
        Kirichenko et al. 2023, Last layer re-training is sufficient for robustness to spurious
        correlations.
    """
    known = torch.nonzero(examples.tumor_type >= 0).flatten()
    missing = set(range(len(TYPE_NAMES))) - set(examples.tumor_type[known].tolist())
    if missing:
        names = ", ".join(TYPE_NAMES[index] for index in sorted(missing))
        raise DataError(
            f"no picture of {names} to learn types from; add some, or train without types"
        )
    network.eval()
    features, types = [], []
    with torch.inference_mode():
        for part in torch.split(known, 64):
            batch = examples.batch(part)
            x = (batch.image - preprocessing.mean) / preprocessing.std
            maps = network.stage_maps(x)
            _, coarse = network.all_cells(maps)
            features.append(network.type_features(maps, coarse).double().numpy())
            types.append(batch.tumor_type.numpy())
    scaler = StandardScaler().fit(np.concatenate(features))
    fitted = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000, class_weight="balanced").fit(
        scaler.transform(np.concatenate(features)), np.concatenate(types)
    )
    # The standardization goes into the weights, since the head reads plain features.
    weight = fitted.coef_ / scaler.scale_
    bias = fitted.intercept_ - weight @ scaler.mean_
    with torch.no_grad():
        network.type_head.weight.copy_(torch.from_numpy(weight))
        network.type_head.bias.copy_(torch.from_numpy(bias))
