"""V-Net in our training."""

from __future__ import annotations

from other_network import OtherNetworkTrainer


class VNetTrainer(OtherNetworkTrainer):
    """V-Net, 2D or 3D."""

    network_name = "vnet"
