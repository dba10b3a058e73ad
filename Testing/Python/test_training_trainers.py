"""Our nnU-Net trainers: the schedule, and an augmentation that leaves what was never seen alone."""

from __future__ import annotations

import inspect
import pickle
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from LiverLesionSegLib.errors import InputError, ModelError
from LiverLesionSegLib.files.resources import resource
from LiverLesionSegLib.training import TrainSettings, Workplace, read_curve, train
from LiverLesionSegLib.training.curve import draw_curve, epochs_done

torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2")


@pytest.fixture(scope="module")
def trainers() -> ModuleType:
    sys.path.insert(0, str(resource("nnunet_plans", "trainers")))
    import liverlesionseg_trainers

    sys.path.pop(0)
    return liverlesionseg_trainers


def test_the_rate_rises_and_falls(trainers: ModuleType) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = trainers.WarmUpPoly(optimizer, 0.01, 100)
    rates = [schedule.rate(epoch) for epoch in range(100)]
    assert rates[:5] == pytest.approx([0.01 * n / 6 for n in range(1, 6)]) and max(rates) == rates[5] == 0.01
    assert rates[5:] == sorted(rates[5:], reverse=True) and 0 < rates[-1] < 3e-4
    schedule.step(50)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * (1 - 45 / 95) ** 0.9)


def test_the_papers_recipe(trainers: ModuleType) -> None:
    """Adam at 0.01, which is nnU-Net's own rate, polynomial schedule, nothing augmented, nnU-Net's Dice + cross-entropy."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoDA import nnUNetTrainerNoDA

    recipe = trainers.LiverLesionSegPaperTrainer
    assert issubclass(recipe, nnUNetTrainerNoDA) and recipe._build_loss is nnUNetTrainer._build_loss
    assert "self.initial_lr = 1e-2" in inspect.getsource(nnUNetTrainer.__init__)
    trainer = recipe.__new__(recipe)
    trainer.network, trainer.initial_lr, trainer.weight_decay, trainer.num_epochs = torch.nn.Linear(2, 1), 1e-2, 3e-5, 100
    optimizer, schedule = trainer.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam and max(schedule.rate(epoch) for epoch in range(100)) == 0.01


def test_another_appearance_leaves_the_unseen_alone(trainers: ModuleType) -> None:
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    image = torch.randn(1, 24, 20, 22)
    image[:, :8] = 0
    transform = trainers.UltrasoundAppearance()
    changed = [transform(image=image.clone())["image"] for _ in range(40)]
    for one in changed:
        assert one.shape == image.shape and torch.isfinite(one).all()
        assert (one[:, :8] == 0).all() and one[:, 8:].std() > 0.3
    assert sum(not torch.equal(one, image) for one in changed) > 30
    assert transform(image=torch.zeros(1, 4, 4, 4))["image"].abs().max() == 0


def test_the_appearance_changes_contrast_not_anatomy(trainers: ModuleType) -> None:
    """A dark ball stays darker than what surrounds it."""
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    x = torch.linspace(-1, 1, 32)
    ball = (x[:, None, None] ** 2 + x[None, :, None] ** 2 + x[None, None, :] ** 2) < 0.3
    image = torch.where(ball, -1.5, 0.4)[None] + 0.1 * torch.randn(1, 32, 32, 32)
    darker = [
        bool(one[0][ball].mean() < one[0][~ball].mean()) for one in (trainers.UltrasoundAppearance()(image=image.clone())["image"] for _ in range(40))
    ]
    assert all(darker)


def _training(folder: Path, trainer: str = "LiverLesionSegTrainer") -> tuple[Workplace, Path]:
    workplace = Workplace(folder)
    (workplace.preprocessed / "Dataset001_x").mkdir(parents=True)
    (workplace.preprocessed / "Dataset001_x" / "P.json").write_text("{}")
    results = workplace.result("Dataset001_x", "P", trainer)
    (results / "fold_0").mkdir(parents=True)
    (results / "plans.json").write_text("{}")
    return workplace, results


class _Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.mkdir, (self.path,))  # type: ignore[return-value]


def test_resuming_from_a_pickle_that_would_execute_something_is_refused(tmp_path: Path) -> None:
    workplace, results = _training(tmp_path)
    torch.save({"network_weights": {}, "x": _Canary(tmp_path / "canary")}, results / "fold_0" / "checkpoint_latest.pth")
    with pytest.raises(ModelError, match="could run code"):
        train(workplace, "Dataset001_x", "P", TrainSettings())
    assert not (tmp_path / "canary").exists()


def test_a_preprocessed_case_that_would_execute_something_is_refused(tmp_path: Path) -> None:
    workplace, _ = _training(tmp_path)
    place = workplace.preprocessed / "Dataset001_x" / "P_3d_fullres"
    place.mkdir()
    properties = {"spacing": [np.float64(1.0)], "class_locations": {1: np.zeros((3, 4), dtype=np.int64)}, "shape": (4, 5, 6)}
    (place / "a.pkl").write_bytes(pickle.dumps(properties))
    (place / "b.pkl").write_bytes(pickle.dumps({"spacing": _Canary(tmp_path / "canary")}))
    with pytest.raises(ModelError, match=r"b\.pkl: could run code"):
        train(workplace, "Dataset001_x", "P", TrainSettings())
    assert not (tmp_path / "canary").exists()
    (place / "b.pkl").write_bytes(pickle.dumps(properties)[:-20])
    with pytest.raises(ModelError, match=r"b\.pkl: cannot be read"):
        train(workplace, "Dataset001_x", "P", TrainSettings())


def test_a_device_that_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    workplace, _ = _training(tmp_path)
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(InputError, match="not available"):
        train(workplace, "Dataset001_x", "P", TrainSettings(device=missing))


def test_learning_curves(tmp_path: Path) -> None:
    _, results = _training(tmp_path)
    assert epochs_done(results) == 0 and not draw_curve(results, tmp_path / "c.png")
    header = "epoch,iterations,learning_rate,training_loss,validation_loss,validation_dice,seconds\n"
    path = results / "fold_0" / "learning_curve.csv"
    path.write_text(header + "1,50,0.01,0.5,0.4,0.1,3600\n2,100,0.01,0.1,nan,0.5,3600\n")
    assert read_curve(results)["iterations"] == [50, 100] and epochs_done(results) == 2
    assert draw_curve(results, tmp_path / "c.png") and (tmp_path / "c.png").stat().st_size > 5000
    path.write_text(header + "1,50,x\n")
    with pytest.raises(InputError, match=r"learning_curve.csv: is not a learning curve"):
        read_curve(results)
