"""Other networks of the field, to be compared with the plan's own under the same training: which there are, and how each is built.

A network is known by its trainer's name, which nnU-Net writes into every checkpoint; so a trained one is built again without running anything
that is stored in the checkpoint or the bundle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from ...errors import InputError, ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Architecture:
    """One network. name: on the command line; trainer: its class in nnunet_plans/trainers; function: `module:function` here that builds it, or ""
    for the network that the plan itself describes.

    dimensions: of images that it has a form for. packages: what must be installed for it. deep_supervision: whether the training may ask it for
    coarse outputs as well. title, source: for tables and reports.
    """

    name: str
    trainer: str
    title: str
    source: str
    function: str = ""
    dimensions: tuple[int, ...] = (2,)
    packages: tuple[str, ...] = ()
    deep_supervision: bool = False


_SMP = ("segmentation_models_pytorch", "torchvision")
_ALL = (
    Architecture("unet", "LiverLesionSegTrainer", "U-Net", "Ronneberger et al. 2015, as nnU-Net builds it", dimensions=(2, 3), deep_supervision=True),
    Architecture("segnet", "SegNetTrainer", "SegNet", "Badrinarayanan et al. 2017", "_segnet:segnet"),
    Architecture("vnet", "VNetTrainer", "V-Net", "Milletari et al. 2016", "_libraries:vnet", (2, 3), ("monai",)),
    Architecture(
        "resnet34-unet", "ResNet34UNetTrainer", "U-Net, ResNet-34", "Ronneberger et al. 2015; He et al. 2016", "_libraries:resnet34_unet", (2,), _SMP
    ),
    Architecture("fcn-resnet50", "FCNResNet50Trainer", "FCN, ResNet-50", "Long et al. 2015; He et al. 2016", "_fcn:fcn_resnet50", (2,), _SMP),
    Architecture("deeplabv3plus", "DeepLabV3PlusTrainer", "DeepLabv3+, ResNet-101", "Chen et al. 2018", "_libraries:deeplabv3plus", (2,), _SMP),
    Architecture("fcn-vgg16", "FCNVGG16Trainer", "FCN, VGG-16", "Long et al. 2015; Simonyan and Zisserman 2015", "_fcn:fcn_vgg16", (2,), _SMP),
    Architecture(
        "residual-unet",
        "ResidualUNetTrainer",
        "Residual-encoder U-Net",
        "Isensee et al. 2024",
        "_libraries:residual_unet",
        (2, 3),
        deep_supervision=True,
    ),
)
ARCHITECTURES: Mapping[str, Architecture] = {one.name: one for one in _ALL}
"""Every network that can be compared, by its name on the command line."""

_OF_TRAINER = {one.trainer: one for one in _ALL if one.function}


def architectures(names: Sequence[str], dimensions: int = 2) -> tuple[Architecture, ...]:
    """Those of these names, in order. Raises InputError for an unknown or doubled name, one without a form for images of so many dimensions,
    and one whose packages are not installed.
    """
    known = ", ".join(ARCHITECTURES)
    if not names:
        raise InputError(f"No network was named; give one or more of {known}.")
    for number, name in enumerate(names):
        if name not in ARCHITECTURES:
            raise InputError(f"Network {name[:60]!r} is not known; choose from {known}.")
        if name in names[:number]:
            raise InputError(f"Network {name!r} is named twice; name each once.")
        one = ARCHITECTURES[name]
        if dimensions not in one.dimensions:
            able = ", ".join(other.name for other in _ALL if dimensions in other.dimensions)
            raise InputError(f"Network {name!r} has no {dimensions}D form; choose from {able}, or export a 2D data set.")
        missing = _missing(one)
        if missing:
            raise InputError(f"Network {name!r} needs {missing}, which is not installed; install it with: pip install 'liverlesionseg[baselines]'.")
    return tuple(ARCHITECTURES[name] for name in names)


def build(name: str, architecture: Mapping[str, Any], channels: int, classes: int, *, deep_supervision: bool = False) -> nn.Module:
    """The network `name` (one of ARCHITECTURES) with random weights: (B, channels, ...) -> logits (B, classes, ...), a list of them, finest first,
    with deep supervision. Nothing is downloaded.

    architecture: the plan's (`network_class_name`, `arch_kwargs`, `_kw_requires_import`), of which most networks take the number of dimensions only.
    """
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    one = ARCHITECTURES[name]
    if not one.function:
        kwargs, imports = architecture["arch_kwargs"], architecture["_kw_requires_import"]
        return get_network_from_plans(
            architecture["network_class_name"], kwargs, imports, channels, classes, allow_init=True, deep_supervision=deep_supervision
        )
    module, function = one.function.split(":")
    return getattr(import_module(f".{module}", __name__), function)(architecture, channels, classes, deep_supervision)


def of_trainer(trainer: str, architecture: Mapping[str, Any], channels: int, classes: int) -> nn.Module | None:
    """The network of a checkpoint by its trainer's name, in evaluation mode, without deep supervision; None where it is the plan's own.

    Raises ModelError when its packages are not installed.
    """
    one = _OF_TRAINER.get(trainer)
    if one is None:
        return None
    missing = _missing(one)
    if missing:
        raise ModelError(f"A {one.title} needs {missing}, which is not installed; install it with: pip install 'liverlesionseg[baselines]'.")
    return build(one.name, architecture, channels, classes).eval()


def dimensions_of(architecture: Mapping[str, Any]) -> int:
    """2 or 3: of the images that a plan's network takes."""
    return 2 if str(architecture["arch_kwargs"]["conv_op"]).endswith("Conv2d") else 3


def _missing(one: Architecture) -> str:
    return next((package.replace("_", "-") for package in one.packages if find_spec(package) is None), "")
