"""The other networks: shapes, gradients, sizes that do not divide, what distinguishes each, and how a trained one is built again."""

from __future__ import annotations

import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from LiverLesionSegLib.errors import InputError, ModelError
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.segmentation import networks
from LiverLesionSegLib.segmentation.networks import ARCHITECTURES, architectures, build, dimensions_of, of_trainer

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")


def planned(dimensions: int = 2) -> dict[str, Any]:
    """The plan's network of comparisons, smaller, or a 3D one."""
    name = "compare" if dimensions == 2 else "crop_coarse"
    architecture = json.loads(resource("nnunet_plans", name, "plan.json").read_text())["configuration"]["architecture"]
    strides = [[1] * dimensions, [2] * dimensions, [2] * dimensions]
    kwargs = {"n_stages": 3, "features_per_stage": [4, 8, 8], "kernel_sizes": [[3] * dimensions] * 3, "strides": strides}
    kwargs |= {"n_conv_per_stage": [1] * 3, "n_conv_per_stage_decoder": [1] * 2}
    return {**architecture, "arch_kwargs": {**architecture["arch_kwargs"], **kwargs}}


def needs(name: str) -> None:
    """Skips where the packages of a network are not installed."""
    for package in ARCHITECTURES[name].packages:
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install 'liverlesionseg[baselines]'")


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_gives_classes_of_every_pixel_and_learns_from_every_weight(name: str) -> None:
    needs(name)
    torch.manual_seed(0)
    network = build(name, planned(), 2, 3)
    logits = network(torch.randn(2, 2, 32, 64))
    assert logits.shape == (2, 3, 32, 64)
    torch.nn.functional.cross_entropy(logits, torch.randint(0, 3, (2, 32, 64))).backward()
    used = [parameter for key, parameter in network.named_parameters() if ".seg_layers.0." not in key]  # coarse outputs learn by deep supervision
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in used)
    if ARCHITECTURES[name].function and name != "residual-unet":
        with torch.inference_mode():
            assert network.eval()(torch.randn(1, 2, 45, 70)).shape == (1, 3, 45, 70)


@pytest.mark.parametrize("name", [name for name, one in ARCHITECTURES.items() if one.deep_supervision])
def test_coarse_outputs_where_the_training_asks_for_them(name: str) -> None:
    outputs = build(name, planned(), 1, 2, deep_supervision=True)(torch.randn(1, 1, 32, 32))
    assert [tuple(one.shape) for one in outputs] == [(1, 2, 32, 32), (1, 2, 16, 16)]


@pytest.mark.parametrize("name", [name for name, one in ARCHITECTURES.items() if 3 in one.dimensions])
def test_those_with_a_3d_form(name: str) -> None:
    needs(name)
    assert dimensions_of(planned(3)) == 3
    with torch.inference_mode():
        assert build(name, planned(3), 2, 2).eval()(torch.randn(1, 2, 16, 16, 16)).shape == (1, 2, 16, 16, 16)


def test_segnet_puts_values_back_where_they_came_from() -> None:
    from LiverLesionSegLib.segmentation.networks._segnet import SegNet

    network = SegNet(1, 1, ((1, 1), (1, 1)))
    # Without convolutions what is left is the pooling and its undoing.
    for number in range(2):
        network.encoder[number] = network.decoder[number] = torch.nn.Identity()
    network.classes = torch.nn.Identity()
    image = torch.arange(32, dtype=torch.float32).reshape(1, 1, 4, 8)
    image[0, 0, 1, 2] = 100.0
    expected = torch.zeros_like(image)
    expected[0, 0, 1, 2] = 100.0  # the largest of the left 4 x 4
    expected[0, 0, 3, 7] = 31.0
    assert torch.equal(network(image), expected)


def test_segnet_is_the_published_one() -> None:
    """13 convolutions of VGG-16 and their mirror image: 29.4 million parameters (Badrinarayanan et al., table 3: 29.45 with three channels)."""
    from LiverLesionSegLib.segmentation.networks._segnet import SegNet

    with torch.device("meta"):
        network = SegNet(3, 11)
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 26 and sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(29.45, abs=0.02)


def test_dice_and_focal_loss_by_hand() -> None:
    sys.path.insert(0, str(resource("nnunet_plans", "trainers")))
    try:
        from unet_trainers import DiceAndFocalLoss
    finally:
        sys.path.pop(0)
    lesion = torch.tensor([0.8, 0.3, 0.4, 0.1])  # probabilities of four pixels, the first two of them lesion
    logits = torch.stack([torch.zeros(4), torch.log(lesion / (1 - lesion))])[None, :, None, :]
    labels = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    dice = 2 * (0.8 + 0.3) / (0.8 + 0.3 + 0.4 + 0.1 + 2)
    focal = sum((1 - p) ** 2 * -math.log(p) for p in (0.8, 0.3, 0.6, 0.9)) / 4
    assert float(DiceAndFocalLoss()(logits, labels)) == pytest.approx(0.8 * (1 - dice) + 0.2 * focal, abs=1e-5)
    certain = torch.stack([torch.tensor([-30.0, -30, 30, 30]), torch.tensor([30.0, 30, -30, -30])])[None, :, None, :]
    assert float(DiceAndFocalLoss()(certain, labels)) == pytest.approx(0.0, abs=1e-5)


def test_trainers_and_networks_name_each_other() -> None:
    pytest.importorskip("batchgeneratorsv2")
    sys.path.insert(0, str(resource("nnunet_plans", "trainers")))
    try:
        import deeplab_trainer
        import fcn_trainers
        import segnet_trainer
        import unet_trainers
        import vnet_trainer
    finally:
        sys.path.pop(0)
    of = {}
    for module in (deeplab_trainer, fcn_trainers, segnet_trainer, unet_trainers, vnet_trainer):
        of |= {one.__name__: one.network_name for one in vars(module).values() if isinstance(one, type) and hasattr(one, "network_name")}
    assert of.pop("OtherNetworkTrainer") == "unet"
    assert of == {one.trainer: one.name for one in ARCHITECTURES.values() if one.function}


def test_a_trained_network_is_known_by_its_trainer() -> None:
    needs("vnet")
    network = of_trainer("VNetTrainer", planned(), 1, 2)
    assert network is not None and not network.training and type(network.network).__name__ == "VNet"
    assert of_trainer("LiverLesionSegTrainer", planned(), 1, 2) is None and of_trainer("nnUNetTrainer", planned(), 1, 2) is None


def test_v_net_takes_any_number_of_channels_and_drops_no_image() -> None:
    needs("vnet")
    torch.manual_seed(0)
    network = build("vnet", planned(), 3, 2)
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 2, 32, 32)
    dropouts = [module for module in network.modules() if "Dropout" in type(module).__name__]
    assert dropouts and all(type(module).__name__ == "Dropout2d" for module in dropouts)


def test_names_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [one.name for one in architectures(["unet", "segnet"])] == ["unet", "segnet"]
    for names, dimensions, what in (
        ([], 2, "No network was named; give one or more of unet, segnet"),
        (["unet", "resunet"], 2, "Network 'resunet' is not known; choose from unet, segnet"),
        (["unet", "unet"], 2, "named twice"),
        (["segnet"], 3, "no 3D form; choose from unet, vnet, residual-unet"),
    ):
        with pytest.raises(InputError, match=what):
            architectures(names, dimensions)
    monkeypatch.setattr(networks, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs monai, which is not installed; install it with: pip install 'liverlesionseg\[baselines\]'"):
        architectures(["vnet"])
    with pytest.raises(ModelError, match="needs segmentation-models-pytorch"):
        of_trainer("DeepLabV3PlusTrainer", planned(), 1, 2)


def test_the_same_weights_give_the_same_answer_after_a_checkpoint(tmp_path: Path) -> None:
    """Built without memory first, as a bundle's is, and filled from a checkpoint that was read without running anything."""
    from LiverLesionSegLib.segmentation._nnunet_weights import read_checkpoint

    torch.manual_seed(0)
    network = build("segnet", planned(), 1, 2).eval()
    content = {"network_weights": network.state_dict(), "init_args": {"configuration": "2d"}, "trainer_name": "SegNetTrainer"}
    torch.save(content, tmp_path / "checkpoint_final.pth")
    weights = read_checkpoint(tmp_path / "checkpoint_final.pth")
    with torch.device("meta"):
        again = of_trainer(weights.trainer, planned(), 1, 2)
    assert again is not None
    again.load_state_dict({name: torch.from_numpy(array) for name, array in weights.state.items()}, assign=True)
    image = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32))
    with torch.inference_mode():
        assert torch.equal(again(image), network(image))
