"""How `compare` splits cases, and which splits it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from compare_images import write_images, write_tiny_plan

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.training.comparison import case_splits, read_image_set
from LiverLesionSegLib.training.comparison.images import check_splits


def test_splits_are_by_case_and_the_first_is_the_data_set_s_own(tmp_path: Path) -> None:
    purposes = ("train", "train", "train", "validation", "test", "test")
    images = read_image_set(write_images(tmp_path / "d", purposes)).images
    splits = case_splits(images, 6, 3)
    assert splits[0] == {f"case{n}": purpose for n, purpose in enumerate(purposes)}
    assert all(sorted(split.values()) == sorted(purposes) and split.keys() == splits[0].keys() for split in splits)
    assert len({tuple(sorted(split.items())) for split in splits}) > 3, "further splits are drawn"
    assert splits == case_splits(images, 6, 3) and splits[:3] == case_splits(images, 3, 3) and splits[1:] != case_splits(images, 6, 4)[1:]
    for split in splits:  # an image has its case's purpose, so no case can serve two
        of = {purpose: {image.case for image in images if split[image.case] == purpose} for purpose in ("train", "validation", "test")}
        assert not of["train"] & of["validation"] and not of["train"] & of["test"] and not of["validation"] & of["test"]


def test_a_case_in_two_splits_is_refused(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "d")
    description = json.loads((folder / "dataset.json").read_text())
    for image in description["liverlesionseg"]["images"]:
        image["case"] = "one"
    (folder / "dataset.json").write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"Case one: has images in train and in validation"):
        case_splits(read_image_set(folder).images, 2, 0)


def test_further_splits_have_a_lesion_to_learn_and_to_tune_on(tmp_path: Path) -> None:
    """Two of twelve cases show it: a plain draw would have one of them for validation, and the other for training, but seldom."""
    purposes = ("train",) * 6 + ("validation",) * 2 + ("test",) * 4
    images = read_image_set(write_images(tmp_path / "d", purposes, 1, without=[n for n in range(12) if n not in (0, 7)]))
    showing = images.cases_with_label()
    assert showing == {"case0", "case7"}
    plain, drawn = (case_splits(images.images, 30, 0, found) for found in (None, showing))
    assert [sorted(split.values()) for split in drawn] == [sorted(purposes)] * 30
    assert all({split["case0"], split["case7"]} == {"train", "validation"} for split in drawn)
    assert sum({split["case0"], split["case7"]} == {"train", "validation"} for split in plain) < 15
    assert len({split["case0"] for split in drawn}) == 2 and drawn == case_splits(images.images, 30, 0, showing)
    check_splits(images, drawn, showing)
    number = next(n for n, split in enumerate(plain) if {split["case0"], split["case7"]} == {"train", "test"})
    with pytest.raises(InputError, match=rf"in split {number + 1} of {number + 1} no validation image shows 'lesion' \(2 of 12 cases do\)"):
        check_splits(images, [plain[0]] * number + [plain[number]], showing)


@pytest.mark.parametrize(
    ("without", "what"),
    [
        ([2], "in its own split no validation image shows 'lesion' (4 of 5 cases do), so nothing can be tuned; say validation in the column split"),
        ([0, 1], "in its own split no train image shows 'lesion' (3 of 5 cases do), so nothing can be learnt; say train in the column split"),
        ([0, 1, 3, 4], "in its own split no train image shows 'lesion' (1 of 5 cases do), so nothing can be learnt; add cases that show it"),
    ],
)
def test_a_split_without_a_lesion_is_said_before_any_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], without: list[int], what: str
) -> None:
    folder, plan = write_images(tmp_path / "Dataset009_made", without=without), write_tiny_plan(tmp_path / "plan.json")
    words = ["compare", "--data", str(folder), "--output", str(tmp_path / "out"), "--plan", str(plan), "--networks", "unet", "--repeats", "3"]
    assert main(words) == 2
    err = capsys.readouterr().err
    assert what in err and str(folder) in err and len(err.strip().splitlines()) == 1
    assert not list((tmp_path / "out").glob("*")), "nothing half-written"
