"""What the trainers of other networks share: our schedule and augmentation, another network, and the loss of its own where it has one."""

from __future__ import annotations

from typing import Any

from liverlesionseg_trainers import LiverLesionSegTrainer

from LiverLesionSegLib.segmentation import networks


class OtherNetworkTrainer(LiverLesionSegTrainer):
    """Trains the network `network_name` (of LiverLesionSegLib.segmentation.networks) exactly as LiverLesionSegTrainer trains the plan's."""

    network_name = "unet"

    # nnU-Net notes the arguments by their names, so they must be named here.
    def __init__(self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: Any) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.enable_deep_supervision = networks.ARCHITECTURES[self.network_name].deep_supervision

    @classmethod
    def build_network_architecture(
        cls, plans_manager: Any, configuration_manager: Any, num_input_channels: int, num_output_channels: int, enable_deep_supervision: bool = True
    ) -> Any:
        """The network, with random weights."""
        architecture = configuration_manager.configuration["architecture"]
        return networks.build(cls.network_name, architecture, num_input_channels, num_output_channels, deep_supervision=enable_deep_supervision)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """nnU-Net's own looks for a U-Net's decoder, which the others have not."""
        if networks.ARCHITECTURES[self.network_name].deep_supervision:
            super().set_deep_supervision_enabled(enabled)
