"""SegNet: the decoder puts values back where the encoder's pooling took them from.

Source: Badrinarayanan, Kendall and Cipolla, SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation, IEEE TPAMI 39, 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ._padded import Padded

STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""(features, convolutions) of each stage: the thirteen convolutions of VGG-16."""


def segnet(_architecture: Mapping[str, Any], channels: int, classes: int, _deep_supervision: bool = False) -> nn.Module:
    """SegNet with the encoder of VGG-16, 2D."""
    return Padded(SegNet(channels, classes), 2 ** len(STAGES))


class SegNet(nn.Module):
    """(B, channels, H, W) -> logits (B, classes, H, W), sides multiples of 2 per stage. The decoder mirrors the encoder and has no other way to see
    where things were than the places of the largest values; it gets none of the encoder's features.
    """

    def __init__(self, channels: int, classes: int, stages: tuple[tuple[int, int], ...] = STAGES) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        features = channels
        for out, count in stages:
            self.encoder.append(_stage(features, out, count))
            features = out
        for number in reversed(range(len(stages))):
            out = stages[number - 1][0] if number else stages[0][0]
            # The very last convolution gives the classes instead of features.
            self.decoder.append(_stage(features, out, stages[number][1] - (number == 0), down_last=True))
            features = out
        self.classes = nn.Conv2d(features, classes, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, classes, H, W)."""
        values, places = image, []
        for stage in self.encoder:
            values, place = nn.functional.max_pool2d(stage(values), 2, return_indices=True)
            places.append(place)
        for stage in self.decoder:
            values = stage(nn.functional.max_unpool2d(values, places.pop(), 2))
        return self.classes(values)


def _stage(features: int, out: int, count: int, *, down_last: bool = False) -> nn.Sequential:
    """Convolutions with batch normalisation; the number of features changes with the first of them, in the decoder with the last."""
    layers: list[nn.Module] = []
    for number in range(count):
        width_in = features if number == 0 or down_last else out
        width_out = features if down_last and number < count - 1 else out
        layers += [nn.Conv2d(width_in, width_out, 3, padding=1, bias=False), nn.BatchNorm2d(width_out), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
