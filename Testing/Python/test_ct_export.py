"""CT scans as nnU-Net data sets: preparation, slices and volumes, labels, the split, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ct_cases import Made, made_scan, write_ircadb, write_lits

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.ct import LABELS, CtExportSettings, PreparationSettings, export_ct, find_source, prepare_slices, reduce_labels
from LiverLesionSegLib.ct.export import split_cases
from LiverLesionSegLib.errors import Cancelled, InputError
from LiverLesionSegLib.files.volumes import read_array
from LiverLesionSegLib.geometry import same_extent, same_grid

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from simulated_ct import CtPhantomSettings, simulate, write_cohort

SMALL = Made(spacing_mm=(3.0, 3.0, 4.0))


def lits(folder: Path, count: int = 5) -> Path:
    for number in range(count):
        write_lits(folder, number, SMALL, orientation=("RAS", "LPS", "LAI")[number % 3])
    return folder


def test_window_without_smoothing_keeps_every_value_inside_it() -> None:
    made = made_scan(SMALL)
    image = prepare_slices(made.hounsfield, np.array((4.0, 3.0, 3.0)), PreparationSettings(window_hu=(-50, 100)))
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, np.clip(made.hounsfield, -50, 100))


def test_fewer_pixels_are_means_over_the_same_space_and_labels_fill_most_of_a_pixel() -> None:
    values = np.tile(np.repeat([0, 100], 16), (1, 32, 1)).astype(np.int16)
    image = prepare_slices(values, np.ones(3), PreparationSettings(size=16))
    assert image.shape == (1, 16, 16)
    np.testing.assert_allclose(image.mean(), values.mean(), atol=1)
    assert (np.diff(image[0, 8]) >= -1e-3).all()
    labels = np.zeros((1, 40, 20), dtype=np.uint8)
    labels[0, :20] = 1
    labels[0, 30:, 10:] = 2
    reduced = reduce_labels(labels, 20, 2)
    assert reduced.shape == (1, 20, 10)
    expected = np.zeros((20, 10), dtype=np.uint8)
    expected[:10], expected[15:, 5:] = 1, 2
    np.testing.assert_array_equal(reduced[0], expected)
    assert reduce_labels(labels, 0, 2) is labels


def test_the_bilateral_filter_takes_noise_and_leaves_edges() -> None:
    rng = np.random.default_rng(1)
    step = np.where(np.arange(64) < 32, 0, 150)
    noisy = (step + rng.normal(0, 8, (1, 64, 64))).astype(np.int16)
    spacing = np.array((3.0, 0.8, 0.8))
    plain, smooth = (prepare_slices(noisy, spacing, PreparationSettings(bilateral=b)) for b in (False, True))
    assert smooth[0, :, :28].std() < 0.5 * plain[0, :, :28].std()
    edges = [float(np.diff(image[0].mean(axis=0))[31]) for image in (plain, smooth)]
    np.testing.assert_allclose(edges[1], edges[0], rtol=0.1)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"window_hu": (100, 100)}, "window from 100 to 100 is empty"),
        ({"window_hu": (float("nan"), 1)}, "is empty"),
        ({"size": 7}, "Slices of 7 pixels"),
        ({"bilateral_mm": 0}, "bilateral filter of 0 mm"),
    ],
)
def test_preparations_that_cannot_be_are_refused(values: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        PreparationSettings(**values)


def test_slices_of_lits_as_a_2d_data_set(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset201_ct"
    exported = export_ct(find_source(lits(tmp_path / "lits")), folder)
    assert {split: len(names) for split, names in exported.cases.items()} == {"train": 3, "validation": 1, "test": 1}
    description = json.loads((folder / "dataset.json").read_text())
    assert description["labels"] == LABELS == {"background": 0, "liver": 1, "tumour": 2}
    assert description["channel_names"] == {"0": "CT"}
    section = description["liverlesionseg"]
    assert section["mode"] == "ct_slices"
    assert section["ct"]["preparation"]["window_hu"] == [-100.0, 250.0]
    assert description["numTraining"] == exported.images["train"] + exported.images["validation"]
    splits = json.loads((folder / "splits_final.json").read_text())[0]
    # All slices of a case lie in one split.
    assert {name.split("_z")[0] for name in splits["train"]} == set(exported.cases["train"])
    assert {name.split("_z")[0] for name in splits["val"]} == set(exported.cases["validation"])
    name = splits["train"][len(splits["train"]) // 2]
    image, grid = read_array(folder / "imagesTr" / f"{name}_0000.nrrd")
    labels, label_grid = read_array(folder / "labelsTr" / f"{name}.nrrd")
    assert image.shape == labels.shape == (1, *made_scan(SMALL).grid.shape[1:])
    assert image.dtype == np.float32
    assert same_grid(grid, label_grid)
    np.testing.assert_allclose(grid.spacing_mm, (3, 3, 999))


def test_an_exported_data_set_is_read_back_as_the_scans_it_came_from(tmp_path: Path) -> None:
    source = find_source(lits(tmp_path / "lits", 3))
    for mode in ("slices", "volumes"):
        folder = tmp_path / mode
        export_ct(source, folder, CtExportSettings(mode=mode, around_liver_mm=None))
        again = find_source(folder)
        assert again.layout == "dataset"
        made = made_scan(SMALL)
        for case in again.cases:
            scan = case.read(None)
            assert same_grid(scan.grid, made.grid, 1e-3)
            np.testing.assert_array_equal(scan.hounsfield, np.clip(made.hounsfield, -100, 250))
            np.testing.assert_array_equal(scan.labels, made.labels)
        split = json.loads((folder / "dataset.json").read_text())["liverlesionseg"]["ct"]["scans"]
        (tested,) = find_source(folder, split="test").cases
        assert split[tested.name]["split"] == "test"


def test_slices_about_the_liver_and_every_second_one_keep_their_place(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    export_ct(find_source(lits(tmp_path / "lits", 3)), folder, CtExportSettings(around_liver_mm=4.0, every=2))
    made = made_scan(SMALL)
    liver = np.flatnonzero((made.labels > 0).any(axis=(1, 2)))
    first, last = liver[0] - 1, liver[-1] + 1
    scan = find_source(folder).cases[0].read(None)
    np.testing.assert_array_equal(scan.labels, made.labels[first : last + 1 : 2])
    np.testing.assert_allclose(scan.grid.spacing_mm, (3, 3, 8))
    np.testing.assert_allclose(scan.grid.ijk_to_ras[2, 3], made.grid.ijk_to_ras[2, 3] + 4 * first)


def test_reduced_volumes_fill_the_same_space(tmp_path: Path) -> None:
    folder = tmp_path / "ct"
    export_ct(find_source(lits(tmp_path / "lits", 3)), folder, CtExportSettings("volumes", PreparationSettings(size=16), around_liver_mm=None))
    made = made_scan(SMALL)
    scan = find_source(folder).cases[0].read(None)
    assert scan.grid.shape == (made.grid.shape[0], 16, 16)
    assert same_grid(scan.grid, same_extent(made.grid, scan.grid.shape), 1e-3)
    volumes = [(labels > 0).sum() * grid.voxel_ml for labels, grid in ((scan.labels, scan.grid), (made.labels, made.grid))]
    np.testing.assert_allclose(*volumes, rtol=0.05)


def test_the_split_is_drawn_with_its_seed_and_every_part_has_a_case() -> None:
    names = [f"c{n}" for n in range(20)]
    split = split_cases(names, CtExportSettings())
    assert sorted(split.values()).count("train") == 14
    assert [list(split.values()).count(part) for part in ("train", "validation", "test")] == [14, 4, 2]
    assert split == split_cases(names[::-1], CtExportSettings())
    assert split != split_cases(names, CtExportSettings(seed=1))
    assert sorted(split_cases(names[:3], CtExportSettings()).values()) == ["test", "train", "validation"]
    assert sorted(split_cases(names[:2], CtExportSettings(split=(0.8, 0.2, 0.0))).values()) == ["train", "validation"]
    with pytest.raises(InputError, match="2 scan\\(s\\) cannot be split into 3"):
        split_cases(names[:2], CtExportSettings())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"split": (0.5, 0.2, 0.1)}, "add up to 1"),
        ({"split": (1.0, 0.0, 0.0)}, "is not usable"),
        ({"mode": "frames"}, "mode 'frames' is not known"),
        ({"mode": "volumes", "every": 2}, "Every 2th slice"),
        ({"around_liver_mm": -1}, "-1 mm around the liver"),
    ],
)
def test_exports_that_cannot_be_are_refused(values: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        CtExportSettings(**values)


def test_bad_scans_are_left_out_with_a_sentence_and_the_rest_is_exported(tmp_path: Path) -> None:
    place = lits(tmp_path / "lits", 6)
    path = place / "segmentation-2.nii"
    sitk.WriteImage(sitk.ReadImage(str(path)) * 7, str(path))
    (place / "segmentation-4.nii").unlink()
    write_lits(place, 1, Made(SMALL.spacing_mm, tumours=()))
    exported = export_ct(find_source(place), tmp_path / "out")
    assert sorted(name for names in exported.cases.values() for name in names) == ["lits_000", "lits_001", "lits_003", "lits_005"]
    assert len(exported.left_out) == 2
    assert "volume-4.nii: has no segmentation-4.nii" in exported.left_out[0]
    assert "segmentation-2.nii: holds values from 0 to 14" in exported.left_out[1]
    assert exported.notes == ("lits_001: no tumour is marked; it counts as a liver without tumours.",)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["liverlesionseg"]["ct"]["left_out"] == list(exported.left_out)


def test_a_part_without_a_scan_left_is_said(tmp_path: Path) -> None:
    source = find_source(lits(tmp_path / "lits", 3))
    (name,) = (case for case, part in split_cases([case.name for case in source.cases], CtExportSettings()).items() if part == "test")
    path = tmp_path / "lits" / f"segmentation-{int(name.removeprefix('lits_'))}.nii"
    sitk.WriteImage(sitk.ReadImage(str(path)) * 7, str(path))
    exported = export_ct(source, tmp_path / "out")
    assert exported.images["test"] == 0 and not exported.cases["test"]
    assert exported.notes[-1].startswith("No test case remains, since its scans were left out; mend them")


def test_nothing_is_left_when_an_export_is_cancelled_or_fails(tmp_path: Path) -> None:
    source = find_source(lits(tmp_path / "lits", 3))
    asked = iter([False] * 12 + [True] * 1000)
    with pytest.raises(Cancelled):
        export_ct(source, tmp_path / "out", cancelled=lambda: next(asked))
    for number in range(3):
        (tmp_path / "lits" / f"volume-{number}.nii").write_bytes(b"x" * 400)
    with pytest.raises(InputError, match="0 training"):
        export_ct(source, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lits"]


def test_the_command_exports_ircadb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2, 10):
        write_ircadb(tmp_path / "3Dircadb1" / f"3Dircadb1.{number}", SMALL, zipped=number == 2)
    out = tmp_path / "Dataset202_ircadb"
    words = ["ct-export", str(tmp_path / "3Dircadb1"), "--output", str(out), "--window", "-150", "250", "--bilateral", "--json"]
    assert main(words) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"]["train"] > 10
    assert sum(len(names) for names in found["cases"].values()) == 3
    assert found["left_out"] == []
    assert main(["ct-export", str(tmp_path / "3Dircadb1"), "--output", str(out)]) == 2
    assert "has content already" in capsys.readouterr().err
    assert main(["ct-export", str(out), "--output", str(tmp_path / "other")]) == 2
    assert "is an exported data set already" in capsys.readouterr().err


def test_simulated_scans_are_the_same_for_a_seed_and_are_read_as_lits(tmp_path: Path) -> None:
    few = CtPhantomSettings(plane=48, slices=(20, 24), pixel_mm=(6.5, 7.0), slice_mm=(10.0, 10.5), share_without=0.0)
    rows = write_cohort(tmp_path, 3, 7, few)
    for number, case in enumerate(find_source(tmp_path, "lits").cases):
        scan, made = case.read(None), simulate(7000 + number, few)
        assert same_grid(scan.grid, made.grid, 0.01)
        np.testing.assert_array_equal(scan.hounsfield, made.hounsfield)
        np.testing.assert_array_equal(scan.labels, made.labels)
        assert scan.hounsfield.min() < -900
        assert 80 < np.median(scan.hounsfield[scan.labels == 1]) < 140
        assert np.median(scan.hounsfield[scan.labels == 2]) < np.median(scan.hounsfield[scan.labels == 1]) - 8
        assert rows[number]["tumours"] == len(made.tumours) >= 1
        assert 900 < rows[number]["liver_ml"] < 2600
