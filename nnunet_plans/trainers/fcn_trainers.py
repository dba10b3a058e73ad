"""Fully convolutional networks in our training."""

from __future__ import annotations

from other_network import OtherNetworkTrainer


class FCNResNet50Trainer(OtherNetworkTrainer):
    """FCN on ResNet-50."""

    network_name = "fcn-resnet50"


class FCNVGG16Trainer(OtherNetworkTrainer):
    """FCN-8s on VGG-16."""

    network_name = "fcn-vgg16"
