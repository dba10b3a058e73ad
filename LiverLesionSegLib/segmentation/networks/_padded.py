"""Networks that halve an image several times, for images of any size."""

from __future__ import annotations

import torch
from torch import nn


class Padded(nn.Module):
    """`network` on images of any size: padded with zeros at the far end of each axis to a multiple of `multiple`, the output cut back.

    Zero is also what nnU-Net pads with. channels: of the network, where it takes more than the images have; the others are zero.
    """

    def __init__(self, network: nn.Module, multiple: int, channels: int = 0) -> None:
        super().__init__()
        self.network, self.multiple, self.channels = network, multiple, channels

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, C, ...) -> (B, classes, ...)."""
        size = image.shape[2:]
        more = [-n % self.multiple for n in size]
        extra = max(0, self.channels - image.shape[1])
        if any(more) or extra:
            image = nn.functional.pad(image, [end for n in reversed(more) for end in (0, n)] + [0, extra])
        logits = self.network(image)
        return logits[(..., *(slice(n) for n in size))] if any(more) else logits
