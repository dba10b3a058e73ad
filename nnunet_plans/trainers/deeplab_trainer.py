"""DeepLabv3+ in our training."""

from __future__ import annotations

from other_network import OtherNetworkTrainer


class DeepLabV3PlusTrainer(OtherNetworkTrainer):
    """DeepLabv3+ on ResNet-101."""

    network_name = "deeplabv3plus"
