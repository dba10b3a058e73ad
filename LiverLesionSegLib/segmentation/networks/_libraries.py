"""Networks that other libraries keep, with the options of their papers and random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from . import dimensions_of
from ._padded import Padded
from ._torchvision import import_torchvision

RESIDUAL_BLOCKS = (1, 3, 4, 6, 6, 6, 6, 6)
"""Blocks in each stage of nnU-Net's residual encoder presets."""


def vnet(architecture: Mapping[str, Any], channels: int, classes: int, _deep_supervision: bool = False) -> nn.Module:
    """V-Net (Milletari et al., 3DV 2016) by MONAI, 2D or 3D."""
    from monai.networks.nets import VNet

    dimensions = dimensions_of(architecture)
    # It repeats its input to 16 features, so that their number must be a divisor of 16.
    wanted = next((n for n in (1, 2, 4, 8, 16) if n >= channels), channels)
    network = VNet(dimensions, wanted, classes, dropout_dim=dimensions)
    if dimensions == 2:
        # Its decoder drops 3D features whatever it is told, which of a 2D batch are whole images.
        for module in list(network.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.Dropout3d):
                    setattr(module, name, nn.Dropout2d(child.p))
    return Padded(network, 16, wanted)


def resnet34_unet(_architecture: Mapping[str, Any], channels: int, classes: int, _deep_supervision: bool = False) -> nn.Module:
    """U-Net whose encoder is ResNet-34 (He et al., CVPR 2016), by segmentation-models-pytorch."""
    import_torchvision()
    import segmentation_models_pytorch as smp

    return Padded(smp.Unet("resnet34", encoder_weights=None, in_channels=channels, classes=classes), 32)


def deeplabv3plus(_architecture: Mapping[str, Any], channels: int, classes: int, _deep_supervision: bool = False) -> nn.Module:
    """DeepLabv3+ (Chen et al., ECCV 2018) with ResNet-101 at output stride 16, by segmentation-models-pytorch. A batch of 2 at least to train."""
    import_torchvision()
    import segmentation_models_pytorch as smp

    return Padded(smp.DeepLabV3Plus("resnet101", encoder_weights=None, in_channels=channels, classes=classes), 32)


def residual_unet(architecture: Mapping[str, Any], channels: int, classes: int, deep_supervision: bool = False) -> nn.Module:
    """nnU-Net's residual-encoder U-Net (Isensee et al., MICCAI 2024) with the stages, features and layers of the plan's network, 2D or 3D."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    kwargs = dict(architecture["arch_kwargs"])
    stages = int(kwargs["n_stages"])
    kwargs.pop("n_conv_per_stage", None)
    blocks = (*RESIDUAL_BLOCKS, *([RESIDUAL_BLOCKS[-1]] * stages))[:stages]
    kwargs = {"n_blocks_per_stage": list(blocks), **kwargs}
    name = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
    return get_network_from_plans(
        name, kwargs, architecture["_kw_requires_import"], channels, classes, allow_init=True, deep_supervision=deep_supervision
    )
