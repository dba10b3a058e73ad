"""Fully convolutional networks: a classifier's features, classes from them by convolutions, brought to full size by interpolation.

Source: Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, CVPR 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ._padded import Padded
from ._torchvision import import_torchvision


def fcn_resnet50(_architecture: Mapping[str, Any], channels: int, classes: int, _deep_supervision: bool = False) -> nn.Module:
    """FCN on ResNet-50, dilated to an output stride of 8, by torchvision."""
    import_torchvision()
    from torchvision.models.segmentation import fcn_resnet50 as by_torchvision

    network = by_torchvision(weights=None, weights_backbone=None, num_classes=classes, aux_loss=False)
    first = network.backbone.conv1
    network.backbone.conv1 = nn.Conv2d(channels, first.out_channels, first.kernel_size, first.stride, first.padding, bias=False)
    return Padded(_Logits(network), 32)


def fcn_vgg16(_architecture: Mapping[str, Any], channels: int, classes: int, _deep_supervision: bool = False) -> nn.Module:
    """FCN-8s on the convolutions of VGG-16 with batch normalisation, which training from random weights needs."""
    import_torchvision()
    from segmentation_models_pytorch.encoders import get_encoder

    return Padded(FCN8s(get_encoder("vgg16_bn", in_channels=channels, weights=None), classes), 32)


class _Logits(nn.Module):
    """torchvision's segmentation networks give a dictionary."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, classes, H, W)."""
        return self.network(image)["out"]


class FCN8s(nn.Module):
    """Classes from the encoder's features at 1/32, 1/16 and 1/8 of the size, each doubled and added to the next.

    The paper's two layers of 4096 features between encoder and classes are left out: they come from ImageNet's classifier, hold nine tenths of
    the parameters, and would be random here.
    """

    def __init__(self, encoder: Any, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.scores = nn.ModuleList(nn.Conv2d(features, classes, 1) for features in encoder.out_channels[-3:])

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, classes, H, W)."""
        eighth, sixteenth, last = (score(found) for score, found in zip(self.scores, self.encoder(image)[-3:], strict=True))
        return _resized(_resized(_resized(last, sixteenth) + sixteenth, eighth) + eighth, image)


def _resized(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return nn.functional.interpolate(values, like.shape[2:], mode="bilinear", align_corners=False)
