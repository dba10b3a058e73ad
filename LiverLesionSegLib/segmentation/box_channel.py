"""Where the box is, as a second image beside the crop, for models that are shown it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..types import Crop

CHANNEL = "box"
"""The name of the second channel in dataset.json of a model that is shown the box."""


def box_channel(crop: Crop) -> NDArray[np.float32]:
    """(K, J, I) float32 on the crop's grid: exp(-r^2 / 2), r = 1 on the ellipsoid inscribed in the box; 0 where nothing was seen.

    A hand draws the box near the lesion, which is a fact that a network cannot read off the tissue. It is smooth, so that the box's faces are a
    hint and no border; unseen voxels are 0, as in the image, so that nnU-Net cuts off and normalises the same voxels with it as without.
    """
    shape, spacing = crop.volume.grid.shape, crop.volume.grid.spacing_mm
    # The crop's grid lies on the box's axes, symmetric about its centre.
    i, j, k = (2 * spacing[axis] / crop.box.size[axis] * (np.arange(shape[2 - axis]) - (shape[2 - axis] - 1) / 2) for axis in range(3))
    squared = k[:, None, None] ** 2 + j[None, :, None] ** 2 + i[None, None, :] ** 2
    return np.where(crop.volume.array != crop.fill, np.exp(-0.5 * squared), 0.0).astype(np.float32)


def network_input(crop: Crop, with_box: bool) -> NDArray[np.float32]:
    """(channels, K, J, I) float32: the crop, and the box where the model is shown it."""
    image = np.array(crop.volume.array[None], dtype=np.float32)
    return np.concatenate([image, box_channel(crop)[None]]) if with_box else image
