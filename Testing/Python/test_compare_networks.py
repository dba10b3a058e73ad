"""The compared networks differ in the network and, where it was published with one, the loss; all else of a training is the same for each."""

from __future__ import annotations

import importlib
import json
import random
import socket
import sys
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from compare_images import write_tiny_plan

from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.segmentation.networks import ARCHITECTURES, build
from LiverLesionSegLib.training import _nnunet_process

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")

TRAINERS = resource("nnunet_plans", "trainers")
NETWORK = {"build_network_architecture", "set_deep_supervision_enabled", "network_name"}
LOSS = {"_build_loss", "ALPHA", "BETA", "GAMMA"}


@pytest.fixture(scope="module")
def modules() -> Iterator[list[ModuleType]]:
    sys.path.insert(0, str(TRAINERS))
    try:
        yield [importlib.import_module(path.stem) for path in sorted(TRAINERS.glob("*.py"))]
    finally:
        sys.path.remove(str(TRAINERS))


def test_a_trainer_changes_the_network_and_the_loss_alone(modules: list[ModuleType]) -> None:
    base = next(module for module in modules if module.__name__ == "liverlesionseg_trainers").LiverLesionSegTrainer
    found = {value.__name__: value for module in modules for value in vars(module).values() if isinstance(value, type) and issubclass(value, base)}
    assert {one.trainer for one in ARCHITECTURES.values()} <= found.keys()
    for name, trainer in found.items():
        own = {key for kind in trainer.__mro__[: trainer.__mro__.index(base)] for key in vars(kind) if not key.startswith("__")}
        assert own <= NETWORK | LOSS, name
        # Of their constructors only the one that asks whether the network has coarse outputs.
        made = {kind.__name__ for kind in trainer.__mro__[: trainer.__mro__.index(base)] if "__init__" in vars(kind)}
        assert made <= {"OtherNetworkTrainer"}, name
    with_loss = {one.name for one in ARCHITECTURES.values() if any("_build_loss" in vars(kind) for kind in found[one.trainer].__mro__[:2])}
    assert with_loss == {"resnet34-unet"}, "what docs/networks.md says"


def test_the_common_constructor_asks_for_coarse_outputs_alone(modules: list[ModuleType], monkeypatch: pytest.MonkeyPatch) -> None:
    base = sys.modules["liverlesionseg_trainers"].LiverLesionSegTrainer

    def init(self: Any, *arguments: Any) -> None:
        self.initial_lr, self.enable_deep_supervision = 2e-3, True

    monkeypatch.setattr(base, "__init__", init)
    other = sys.modules["other_network"].OtherNetworkTrainer
    for one in ARCHITECTURES.values():
        made = type("T", (other,), {"network_name": one.name})({}, "2d", 0, {}, None)
        assert vars(made) == {"initial_lr": 2e-3, "enable_deep_supervision": one.deep_supervision}


@pytest.mark.parametrize("name", list(ARCHITECTURES))
def test_no_weights_are_downloaded(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built with every way out closed, and no cache to find any weights in."""
    if missing := [package for package in ARCHITECTURES[name].packages if find_spec(package) is None]:
        pytest.skip(f"{missing[0]} is not installed: pip install 'liverlesionseg[baselines]'")
    plan = json.loads(write_tiny_plan(tmp_path / "plan.json").read_text())

    def closed(*_: object, **__: object) -> None:
        raise AssertionError("a network reached for the outside")

    for place, what in ((socket, "socket"), (socket, "create_connection"), (urllib.request, "urlopen"), (torch.hub, "load_state_dict_from_url")):
        monkeypatch.setattr(place, what, closed)
    for variable in ("TORCH_HOME", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    torch.manual_seed(0)
    network = build(name, plan["configuration"]["architecture"], 1, 2)
    assert sum(parameter.numel() for parameter in network.parameters()) > 1000 and not (tmp_path / "cache").exists()


class Training:
    """What nnU-Net's trainer is to the process that trains: a network of `weights` numbers, dropout or none, and images that are drawn."""

    def __init__(self, weights: int, dropout: bool) -> None:
        self.weights, self.dropout = weights, dropout
        self.was_initialized, self.current_epoch = False, 0
        self.seen: list[float] = []
        self.output_folder, self.logger = "", type("Logger", (), {})()
        self.save_checkpoint = lambda _: None

    def initialize(self) -> None:
        assert not self.was_initialized
        self.first = float(torch.randn(self.weights)[0])
        self.was_initialized = True

    def train_step(self, batch: float) -> None:
        self.seen.append(batch)
        if self.dropout:
            self.dropped = torch.nn.functional.dropout(torch.ones(50)).tolist()

    def run_training(self) -> None:
        for _ in range(4):
            self.train_step(random.random() + np.random.random() + float(torch.rand(1)))  # noqa: NPY002 (as its loaders draw)


def test_images_are_drawn_alike_for_every_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnunetv2.run import run_training

    order = {"device": "cpu", "threads": 1, "dataset": "", "configuration_name": "", "trainer": "", "plans_name": "", "resume": False}
    order |= {"epochs": 1, "iterations_per_epoch": 1, "validation_iterations": 1, "save_every": 1}
    trained = []
    threads = torch.get_num_threads()
    for seed, weights, dropout in ((1, 10, False), (1, 5000, False), (1, 10, True), (2, 10, False)):
        training = Training(weights, dropout)
        monkeypatch.setattr(run_training, "get_trainer_from_args", lambda *_, made=training: made)
        monkeypatch.setattr(run_training, "maybe_load_checkpoint", lambda *_: None)
        _nnunet_process.train({**order, "seed": seed})
        trained.append(training)
    torch.set_num_threads(threads)
    first, larger, dropping, other = trained
    assert first.seen == larger.seen == dropping.seen and len(set(first.seen)) == 4 and first.seen != other.seen
    assert first.first == dropping.first != other.first
    assert 0 < np.count_nonzero(dropping.dropped) < 50
