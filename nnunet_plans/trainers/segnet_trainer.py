"""SegNet in our training."""

from __future__ import annotations

from other_network import OtherNetworkTrainer


class SegNetTrainer(OtherNetworkTrainer):
    """SegNet with the encoder of VGG-16, its decoder fed by the pooling indices."""

    network_name = "segnet"
