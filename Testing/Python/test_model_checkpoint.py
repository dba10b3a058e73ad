"""nnU-Net checkpoints that are damaged or would run code: refused, in one line, and nothing runs."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from LiverLesionSegLib.errors import ModelError
from LiverLesionSegLib.segmentation.model import ModelBundle, load_model

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")
from nnunet_tiny import write_results  # noqa: E402


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("models") / "results")


@pytest.fixture(scope="module")
def model(results: Path) -> ModelBundle:
    return load_model(results)


class _Canary:
    """Pickles as a call that leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("form", ["zip", "legacy", "plain", "beside the weights", "as a weight"])
def test_a_pickle_that_would_execute_something_is_refused(results: Path, tmp_path: Path, form: str) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "evil"))
    path, canary = folder / "fold_0" / "checkpoint_final.pth", tmp_path / "canary"
    if form in ("beside the weights", "as a weight"):
        content = torch.load(path, weights_only=False)
        content["logging" if form == "beside the weights" else "network_weights"]["extra"] = _Canary(canary)
        torch.save(content, path)
    elif form == "plain":
        path.write_bytes(pickle.dumps(_Canary(canary)))
    else:
        torch.save({"network_weights": _Canary(canary)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelError) as refusal:
        load_model(folder)
    assert not canary.exists()
    assert "\n" not in str(refusal.value)
    torch.load(path, weights_only=False) if form != "plain" else pickle.loads(path.read_bytes())
    assert canary.exists(), "the canary must be one that works, or this test shows nothing"


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "no weights", "compressed"])
def test_a_damaged_checkpoint_is_refused(results: Path, tmp_path: Path, damage: str) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "damaged"))
    path = folder / "fold_0" / "checkpoint_final.pth"
    if damage == "no weights":
        torch.save({"epoch": 3}, path)
    elif damage == "compressed":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    else:
        path.write_bytes({"truncated": path.read_bytes()[:5000], "empty": b"", "text": b"hello"}[damage])
    with pytest.raises(ModelError, match=r"checkpoint_final\.pth"):
        load_model(folder)


def test_any_altered_byte_of_a_checkpoint_is_noticed_or_without_effect(results: Path, model: ModelBundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "altered"))
    path = folder / "fold_0" / "checkpoint_final.pth"
    original, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for position in rng.integers(0, len(original), 150):
        path.write_bytes(original[:position] + bytes([original[position] ^ (1 << int(rng.integers(8)))]) + original[position + 1 :])
        try:
            assert load_model(folder).model_id == model.model_id
        except ModelError as refusal:
            assert "\n" not in str(refusal)
            refused += 1
    assert refused > 40


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_of_random_bytes_is_refused_in_one_line(results: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "random"))
    path = folder / "fold_0" / "checkpoint_final.pth"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = (name for name in parts if name.endswith("data.pkl"))
    rng = np.random.default_rng(0)
    for _ in range(150):
        content = bytearray(parts[pickled])
        for position in rng.integers(0, len(content), 3):
            content[position] = int(rng.integers(256))
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, bytes(content) if name == pickled else part)
        try:
            load_model(folder)
        except ModelError as refusal:
            assert "\n" not in str(refusal)


def test_a_weight_larger_than_its_file_is_refused(results: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(results, tmp_path / "bomb"))
    path = folder / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    content["network_weights"]["bomb"] = torch.zeros(1).expand(1 << 40)
    torch.save(content, path)
    with pytest.raises(ModelError, match="larger than what is stored"):
        load_model(folder)
