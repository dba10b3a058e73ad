"""Our nnU-Net trainers. nnU-Net finds them here by name, through the environment variable nnUNet_extTrainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import ImageOnlyTransform
from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

WARM_UP_FRACTION = 0.05
POLY_EXPONENT = 0.9
FRAME_TURN_DEG = 20.0
"""Of single frames: the skin is above in each of them."""


class WarmUpPoly(torch.optim.lr_scheduler.LRScheduler):
    """The rate rises linearly to `peak`, then falls as (1 - t)^0.9. It depends on the epoch alone, so resuming needs nothing."""

    def __init__(self, optimizer: torch.optim.Optimizer, peak: float, epochs: int) -> None:
        self.peak, self.epochs = peak, epochs
        self.warm_up = max(1, round(WARM_UP_FRACTION * epochs))
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        if epoch < self.warm_up:
            return self.peak * (epoch + 1) / (self.warm_up + 1)
        return self.peak * (1 - (epoch - self.warm_up) / max(1, self.epochs - self.warm_up)) ** POLY_EXPONENT

    def step(self, epoch: int | None = None) -> None:
        """Sets the rate of `epoch`; nnU-Net calls this at the start of each."""
        rate = self.rate(epoch or 0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self._last_lr = [rate] * len(self.optimizer.param_groups)


class _RateOfTheWholeTraining(nnUNetTrainer):
    """The number of epochs is known only after nnU-Net has made the optimiser, so the schedule is set when training starts."""

    def on_train_start(self) -> None:
        """Takes the schedule's length from the number of epochs that was asked for."""
        super().on_train_start()
        self.lr_scheduler = WarmUpPoly(self.optimizer, self.initial_lr, self.num_epochs)


class LiverLesionSegPaperTrainer(_RateOfTheWholeTraining, nnUNetTrainerNoDA):
    """The recipe of Natali et al. (2025): Adam at 0.01, polynomial schedule with warm-up, no augmentation, Dice + cross-entropy in equal parts.

    nnU-Net's loss is that already. The length of the warm-up is not in the paper; it is 5 % of the epochs here.
    """

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Adam and its schedule."""
        optimizer = torch.optim.Adam(self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, WarmUpPoly(optimizer, self.initial_lr, self.num_epochs)


class UltrasoundAppearance(ImageOnlyTransform):
    """What differs between scanners, presets and couplings: contrast, compression curve, gain along depth, sharpness, speckle, shadows.

    Takes the z-scored image (1, x, y, z) or (1, x, y), in which exact zeros are what no sweep saw; they stay zero, for they do at
    inference. A second channel, the box, stays as it is.
    """

    def _apply_to_image(self, img: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.cat([self._changed(img[:1]), img[1:]])

    @staticmethod
    def _changed(img: torch.Tensor) -> torch.Tensor:
        seen = img != 0
        if not bool(seen.any()):
            return img
        draw = np.random.uniform
        image = img
        if draw() < 0.3:
            image = _compressed(image, seen, float(np.exp(draw(-0.45, 0.45))))
        if draw() < 0.5:
            image = image * float(np.exp(draw(-0.25, 0.25))) + float(draw(-0.25, 0.25))
        if draw() < 0.3:
            image = image + float(draw(-0.6, 0.6)) * _ramp(img.shape[1:])
        if draw() < 0.15:
            width, through = draw(0.05, 0.2), draw(-0.7, 0.7)
            image = image - float(draw(0.3, 1.2)) * torch.exp(-(((_ramp(img.shape[1:]) - through) / width) ** 2))
        if draw() < 0.25:
            image = _blurred(image, draw(0.4, 0.9))
        if draw() < 0.35:
            noise = _blurred(torch.randn_like(image), draw(0.4, 1.0))
            image = image + float(draw(0.05, 0.4)) * noise / noise.std()
        return torch.where(seen, image, torch.zeros_like(image))


def _compressed(image: torch.Tensor, seen: torch.Tensor, gamma: float) -> torch.Tensor:
    """Another grey-level curve: a power of the grey level, its mean and deviation kept."""
    values = image[seen]
    low, high = values.min(), values.max()
    mean, deviation = values.mean(), values.std()
    curved = ((image - low) / (high - low + 1e-6)).clamp(0, 1) ** gamma
    inside = curved[seen]
    return (curved - inside.mean()) / (inside.std() + 1e-6) * deviation + mean


def _ramp(shape: torch.Size) -> torch.Tensor:
    """(1, x, y, z) or (1, x, y), from -1 to 1 along a random direction."""
    direction = torch.randn(len(shape))
    direction = direction / direction.norm()
    along = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")
    return sum(weight * axis for weight, axis in zip(direction, along, strict=True))[None]


def _blurred(image: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian smoothing of (1, x, y, z) or (1, x, y), sigma in voxels, one axis after the other."""
    taps = torch.exp(-0.5 * (torch.arange(-2, 3) / sigma) ** 2)
    taps = taps / taps.sum()
    result = image[None]
    axes = image.ndim - 1
    convolve = torch.nn.functional.conv3d if axes == 3 else torch.nn.functional.conv2d
    for axis in range(axes):
        shape, padding = [1] * axes, [0] * axes
        shape[axis], padding[axis] = 5, 2
        result = convolve(result, taps.reshape(1, 1, *shape), padding=tuple(padding))
    return result[0]


class LiverLesionSegTrainer(_RateOfTheWholeTraining):
    """The recipe for short trainings on crops and on single frames: AdamW at 0.002, warm-up, light augmentation made for ultrasound.

    Nothing is mirrored at inference. A few thousand iterations are all that a CPU gives: AdamW gets farther in them than nnU-Net's SGD with momentum
    0.99. Crops lie in the frame of the liver's sensor, in which a sweep can have any direction, so turning and mirroring make new cases that could
    have been.
    """

    # nnU-Net notes the arguments by their names, so they must be named here.
    def __init__(self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: torch.device) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr, self.weight_decay = 2e-3, 1e-2

    def configure_optimizers(self) -> tuple[Any, Any]:
        """AdamW and its schedule."""
        optimizer = torch.optim.AdamW(self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay, betas=(0.9, 0.99))
        return optimizer, WarmUpPoly(optimizer, self.initial_lr, self.num_epochs)

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, Any, Any, Any]:
        """nnU-Net's own, but mirrored in training only (at the table one pass has to do), and without the larger patch that it turns within.

        That patch would put a crop anywhere in the tile; at inference a crop lies in the tile's middle, where its edges tell the network the box.
        Single frames (2D), in which depth has a direction, are turned little and mirrored left to right alone.
        """
        rotation, dummy_2d, _, mirror_axes = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        if len(self.configuration_manager.patch_size) == 2:
            turn = float(np.deg2rad(FRAME_TURN_DEG))
            rotation, mirror_axes = (-turn, turn), (1,)
        return rotation, dummy_2d, self.configuration_manager.patch_size, mirror_axes

    @staticmethod
    def get_training_transforms(
        patch_size: Any,
        rotation_for_DA: Any,
        deep_supervision_scales: Any,
        mirror_axes: Any,
        do_dummy_2d_data_aug: bool,
        use_mask_for_norm: Any = None,
        is_cascaded: bool = False,
        foreground_labels: Any = None,
        regions: Any = None,
        ignore_label: Any = None,
    ) -> Any:
        """Turned, scaled, mirrored, and another appearance."""
        spatial = SpatialTransform(
            patch_size,
            patch_center_dist_from_border=0,
            random_crop=False,
            p_elastic_deform=0,
            p_rotation=0.3,
            rotation=rotation_for_DA,
            p_scaling=0.3,
            scaling=(0.8, 1.25),
            p_synchronize_scaling_across_axes=1,
            bg_style_seg_sampling=False,
            border_mode_seg="constant",
            padding_value_seg=-1,
        )
        last = nnUNetTrainer.get_validation_transforms(deep_supervision_scales, is_cascaded, foreground_labels, regions, ignore_label)
        return ComposeTransforms([spatial, MirrorTransform(allowed_axes=mirror_axes), UltrasoundAppearance(), last])
