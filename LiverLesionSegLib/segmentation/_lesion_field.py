"""How much each voxel of a box looks like the lesion: grey-level statistics, a shape prior from the box, and what neighbours say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import FloatArray

_BINS = 48


@dataclass(frozen=True)
class FieldSettings:
    """What turns grey levels into the lesion's posterior probability. Radii are in units of the box's half sides.

    prior_radius: where the prior for lesion is one half. A hand-drawn box is about 1.3 times the lesion, so this lies below 1.
    prior_width: the prior's logistic width. smoothing_mm: of the speckle, fine and coarse. evidence: weight of the grey levels, which is
    below 1 as neighbouring voxels tell much the same. coupling, coupling_mm: weight and reach of the neighbours. rounds: of estimation.
    """

    prior_radius: float = 0.75
    prior_width: float = 0.08
    smoothing_mm: tuple[float, float] = (0.7, 1.6)
    evidence: float = 0.7
    coupling: float = 4.0
    coupling_mm: float = 1.2
    rounds: int = 6
    core_radius: float = 0.55
    shell_radius: float = 1.15


def normalised_gaussian(values: NDArray[np.float32], seen: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian mean over the seen voxels alone; sigma in voxels."""
    from scipy import ndimage

    above = ndimage.gaussian_filter(values * seen, sigma, mode="nearest", truncate=3.0)
    below = ndimage.gaussian_filter(seen, sigma, mode="nearest", truncate=3.0)
    return np.asarray(above / np.maximum(below, 1e-4))


def _log_density(bins: NDArray[np.intp], weights: NDArray[np.float32]) -> FloatArray:
    from scipy import ndimage

    counts = np.bincount(bins, weights, minlength=_BINS).astype(np.float64)
    counts = ndimage.gaussian_filter1d(counts, 1.5, mode="nearest")
    return np.log(counts / max(counts.sum(), 1e-9) + 0.15 / _BINS)


def lesion_posterior(
    values: NDArray[np.float32], seen: NDArray[np.bool_], radius: NDArray[np.float32], spacing_mm: float, settings: FieldSettings
) -> tuple[NDArray[np.float32], float]:
    """(K, J, I) posterior probability of lesion, and the separation of lesion from surroundings (0 none to 1 complete).

    values: grey levels; seen: where they count; radius: distance from the lesion's presumed centre in units of the box's half sides.
    Lesion and surroundings each have a histogram of the smoothed grey levels and of their local spread, so that dark, bright and mixed
    lesions are all described. Both are learnt from a core and a shell first, then from the posterior itself (expectation-maximisation with
    mean-field neighbours, Zhang, Brady and Smith 2001), the box's ellipsoid staying as the prior throughout: where the grey levels tell
    nothing their evidence vanishes and the prior is what remains.
    """
    from scipy import ndimage

    weight = seen.astype(np.float32)
    fine, coarse = (normalised_gaussian(values, weight, mm / spacing_mm) for mm in settings.smoothing_mm)
    spread = np.sqrt(normalised_gaussian((values - coarse) ** 2, weight, settings.smoothing_mm[1] / spacing_mm))
    features = [_binned(f, seen & (radius < 2.0)) for f in (fine, coarse, spread)]
    shares = (0.5, 0.5, 0.25)
    prior = (settings.prior_radius - radius) / settings.prior_width
    prior = np.clip(prior, -12.0, 6.0).astype(np.float32)
    lesion = (radius < settings.core_radius).astype(np.float32)
    other = ((radius > settings.shell_radius) & (radius < 2.0)).astype(np.float32)
    posterior = (1 / (1 + np.exp(-prior))).astype(np.float32)
    separation = _separation(features, shares, seen, lesion, other)
    for turn in range(settings.rounds):
        if turn:
            far = np.where(radius > 1.6, 0.5, 1.0)
            lesion, other = posterior, np.where(radius < 2.0, (1 - posterior) * far, 0.0).astype(np.float32)
        evidence = _evidence(features, shares, seen, lesion, other)
        for _ in range(3):
            neighbours = ndimage.gaussian_filter(posterior, settings.coupling_mm / spacing_mm, mode="nearest", truncate=2.5)
            logit = prior + settings.evidence * evidence + settings.coupling * (2 * neighbours - 1)
            posterior = (1 / (1 + np.exp(-np.clip(logit, -30, 30)))).astype(np.float32)
    return posterior, separation


def _evidence(
    features: list[NDArray[np.intp]], shares: tuple[float, ...], seen: NDArray[np.bool_], lesion: NDArray[np.float32], other: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(K, J, I) log-likelihood ratio of lesion to surroundings, each described by the seen voxels that its weights pick; 0 where unseen."""
    evidence = np.zeros(seen.shape, dtype=np.float32)
    for bins, share in zip(features, shares, strict=True):
        ratio = _log_density(bins[seen], lesion[seen]) - _log_density(bins[seen], other[seen])
        evidence += share * np.clip(ratio, -4, 4)[bins].astype(np.float32)
    evidence[~seen] = 0.0
    return evidence


def _binned(feature: NDArray[np.float32], where: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Index of each voxel's bin; the bins span the middle 98 % of the voxels in question."""
    low, high = np.percentile(feature[where], (1, 99)) if where.any() else (0.0, 1.0)
    return np.clip((feature - low) * (_BINS / max(float(high - low), 1e-3)), 0, _BINS - 1).astype(np.intp)


def _separation(
    features: list[NDArray[np.intp]], shares: tuple[float, ...], seen: NDArray[np.bool_], lesion: NDArray[np.float32], other: NDArray[np.float32]
) -> float:
    """2 AUC - 1 of the evidence between core and shell: how far the grey levels alone tell the two apart.

    Learnt in every other octant about the middle and judged in the rest, and the other way round: judged where it was learnt, even bare
    speckle would seem to be told apart.
    """
    k, j, i = (np.arange(n) >= n / 2 for n in seen.shape)
    parity = k[:, None, None] ^ j[None, :, None] ^ i[None, None, :]
    found = []
    for learnt in (parity, ~parity):
        evidence = _evidence(features, shares, seen, lesion * learnt, other * learnt)
        judged = seen & ~learnt
        inside, outside = evidence[judged & (lesion > 0)], evidence[judged & (other > 0)]
        if not len(inside) or not len(outside):
            return 0.0
        ordered = np.sort(outside)
        ranks = np.searchsorted(ordered, inside, "left") + np.searchsorted(ordered, inside, "right")
        found.append(float(ranks.mean() / len(outside) - 1.0))
    return float(np.mean(found))
