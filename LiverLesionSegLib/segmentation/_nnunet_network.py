"""The network of a model, built from its plans by nnU-Net's own function, and the backends that run it on one tile."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, ModelError
from .networks import of_trainer

if TYPE_CHECKING:
    import torch

    from .model import ModelBundle

Forward = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""forward(tile (1, channels, *patch) float32) -> logits (2, *patch) float32."""

BACKENDS = ("torch", "openvino")


def build_network(bundle: ModelBundle) -> torch.nn.Module:
    """The network with its weights, float32 on the CPU, in evaluation mode, without deep supervision.

    It is built without memory first, so that plans that do not fit the weights cost nothing. The trainer is not looked up: its name only
    tells one of our other networks from the plan's. Raises ModelError when plans and weights do not fit together.
    """
    import torch
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    architecture, channels = bundle.configuration.values["architecture"], bundle.channels
    try:
        with torch.device("meta"):
            network = of_trainer(bundle.weights.trainer, architecture, channels, 2) or get_network_from_plans(
                architecture["network_class_name"],
                architecture["arch_kwargs"],
                architecture["_kw_requires_import"],
                channels,
                2,
                allow_init=False,
                deep_supervision=False,
            )
            tile = network(torch.empty((1, channels, *bundle.configuration.patch_size)))
    except (
        ImportError,
        TypeError,
        ValueError,
        KeyError,
        IndexError,
        AttributeError,
        AssertionError,
        RuntimeError,
        OverflowError,
        ZeroDivisionError,
    ) as error:
        raise ModelError(f"{bundle.folder}: no network can be built from plans.json ({_first_line(error)}); copy the model folder again.") from error
    if tuple(tile.shape) != (1, 2, *bundle.configuration.patch_size):
        raise ModelError(
            f"{bundle.folder}: the network in plans.json turns a patch into {tuple(tile.shape)}, not into two classes of it; plan again."
        )
    expected, state = network.state_dict(), bundle.weights.state
    if set(expected) != set(state):
        name = sorted(set(expected) ^ set(state))[0]
        raise ModelError(
            f"{bundle.folder}: weights and plans do not fit: {name[:100]!r} is only in {'plans' if name in expected else 'weights'}; copy both again."
        )
    for name, tensor in expected.items():
        found, planned = state[name].shape, tuple(tensor.shape)
        if found != planned:
            raise ModelError(
                f"{bundle.folder}: weights and plans do not fit: {name} is {found} in the weights, {planned} by the plans; copy both again."
            )
    network.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()}, assign=True)
    return network.float().eval().requires_grad_(False)


def open_device(name: str) -> torch.device:
    """The torch device of that name, proven by a kernel that ran on it. Raises InputError when it is not there; there is no silent change."""
    import torch

    try:
        device = torch.device(name)
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", 0)
        if device.type not in ("cpu", "cuda", "mps"):
            raise InputError(f"Device {name!r} is not supported; choose cpu, cuda, cuda:N or mps.")
        if float((torch.ones(2, device=device) + 1).sum()) != 4:
            raise InputError(f"Device {name!r} computes wrongly; choose cpu and have the device looked at.")
    except (RuntimeError, AssertionError, ValueError, NotImplementedError) as error:
        raise InputError(f"Device {name!r} is not available here ({_first_line(error)}); choose another, such as cpu.") from error
    return device


def torch_forward(network: torch.nn.Module, device: torch.device) -> Forward:
    """Runs the network on `device` in float32: no autocast and no TF32, whose rounding would move probabilities by more than 1e-3."""
    import torch

    network = network.to(device)

    def forward(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
                logits = network(torch.from_numpy(tile).to(device))[0]
                return np.asarray(logits.cpu().numpy())
        except RuntimeError as error:
            if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
                raise
            raise InputError(
                f"Device {device} has too little free memory for this model; close other programs that use it, or choose cpu."
            ) from error

    return forward


def openvino_forward(network: torch.nn.Module, tile: tuple[int, ...], threads: int | None) -> Forward:
    """Runs the network on tiles of (channels, *patch) by OpenVINO on the CPU in float32. Raises InputError when openvino is not installed."""
    import torch

    try:
        import openvino
    except ImportError as error:
        raise InputError("The openvino backend is not installed; install openvino, or choose the backend torch.") from error
    example = torch.zeros((1, *tile))
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice about tracing; the shape is fixed here, and a test compares the two backends
        converted = openvino.convert_model(network, example_input=example, input=[tuple(example.shape)])
    options: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        options["INFERENCE_NUM_THREADS"] = threads
    request = openvino.Core().compile_model(converted, "CPU", options).create_infer_request()

    def forward(tile: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.array(next(iter(request.infer([tile]).values()))[0])

    return forward


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:160]
