"""LiTS and 3D-IRCADb in exactly their layouts: what is read lies where it was, and what cannot be used is said in one sentence."""

from __future__ import annotations

import shutil
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ct_cases import CENTRE, Made, MadeScan, as_image, made_scan, towards_lps, write_dicom, write_ircadb, write_lits, zip_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.ct import CtScan, find_source
from LiverLesionSegLib.errors import InputError, VolumeError
from LiverLesionSegLib.geometry import along_ras, ras_from_kji, same_extent, same_grid
from LiverLesionSegLib.types import Grid


def only(folder: Path, layout: str | None = None, **options: bool) -> CtScan:
    source = find_source(folder, layout, **options)
    assert len(source.cases) == 1, source
    return source.cases[0].read(None)


def assert_same(scan: CtScan, made: MadeScan) -> None:
    assert same_grid(scan.grid, made.grid, 0.01)
    np.testing.assert_array_equal(scan.hounsfield, made.hounsfield)
    np.testing.assert_array_equal(scan.labels, made.labels)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(permutations(range(3)))),
    st.sampled_from(list(product((-1, 1), repeat=3))),
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
    st.floats(-0.5, 0.5),
)
def test_along_ras_moves_no_voxel(order: tuple, signs: tuple, size: list[int], tilt: float) -> None:
    turn = np.array(((np.cos(tilt), -np.sin(tilt), 0), (np.sin(tilt), np.cos(tilt), 0), (0, 0, 1)))
    matrix = np.eye(4)
    matrix[:3, :3] = (turn @ np.eye(3)[:, list(order)]) * signs * (0.7, 1.1, 3.0)
    matrix[:3, 3] = 5, -7, 11
    grid = Grid((size[2], size[1], size[0]), matrix)
    points = ras_from_kji(grid, np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1))
    axes, flips, stored = along_ras(grid)
    moved = np.flip(points.transpose(*axes, 3), flips)
    kji = np.stack(np.meshgrid(*(np.arange(n) for n in stored.shape), indexing="ij"), axis=-1)
    np.testing.assert_allclose(ras_from_kji(stored, kji), moved, atol=1e-9)
    assert (np.diag(stored.ijk_to_ras)[:3] > 0).all()


def test_a_thinned_grid_fills_the_same_space() -> None:
    grid = made_scan().grid
    coarse = same_extent(grid, (grid.shape[0], 11, 11))
    edges = [ras_from_kji(g, (0, -0.5, -0.5)) for g in (grid, coarse)]
    far = [ras_from_kji(g, np.array(g.shape) - (1, 0.5, 0.5)) for g in (grid, coarse)]
    np.testing.assert_allclose(*edges)
    np.testing.assert_allclose(*far)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "PIR", "SRA"])
def test_lits_in_any_orientation_lies_where_it_was(tmp_path: Path, orientation: str) -> None:
    made = write_lits(tmp_path, 3, orientation=orientation)
    scan = only(tmp_path)
    assert scan.name == "lits_003"
    assert_same(scan, made)


def test_lits_volume_and_segmentation_in_different_orientations_agree(tmp_path: Path) -> None:
    made = write_lits(tmp_path, 0, orientation="LPS", mask_orientation="PIR")
    assert_same(only(tmp_path, "lits"), made)


def test_lits_batches_in_folders_and_compressed_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_lits(tmp_path / "Training Batch 2", 28, ending=".nii.gz")
    write_lits(tmp_path / "Training Batch 1", 4)
    source = find_source(tmp_path)
    assert (source.layout, [case.name for case in source.cases]) == ("lits", ["lits_004", "lits_028"])
    assert_same(source.cases[1].read(None), made_scan())


def test_lits_values_of_other_types_are_read(tmp_path: Path) -> None:
    made = write_lits(tmp_path, 0)
    for name in ("volume-0.nii", "segmentation-0.nii"):
        sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(tmp_path / name)), sitk.sitkFloat64), str(tmp_path / name))
    assert_same(only(tmp_path), made)


def test_lits_without_tumour_is_a_liver_without_tumours_and_says_so(tmp_path: Path) -> None:
    write_lits(tmp_path, 0, Made(tumours=()))
    scan = only(tmp_path)
    assert scan.labels.max() == 1
    assert scan.notes == ("lits_000: no tumour is marked; it counts as a liver without tumours.",)


def test_lits_missing_masks_and_doubled_numbers_are_left_out_and_said(tmp_path: Path) -> None:
    write_lits(tmp_path, 0)
    write_lits(tmp_path, 1)
    write_lits(tmp_path, 2)
    (tmp_path / "segmentation-1.nii").unlink()
    (tmp_path / "volume-2.nii").unlink()
    write_lits(tmp_path / "again", 5)
    write_lits(tmp_path, 5)
    source = find_source(tmp_path)
    assert [case.name for case in source.cases] == ["lits_000"]
    assert [sentence.split(":")[0].rsplit("/", 1)[-1] for sentence in source.left_out] == ["volume-1.nii", "segmentation-2.nii", "volume-5.nii"]


def _lits_faults() -> dict:
    def other_shape(image: sitk.Image) -> sitk.Image:
        return image[:, :, 1:]

    def shifted(image: sitk.Image) -> sitk.Image:
        image.SetOrigin([value + 3 for value in image.GetOrigin()])
        return image

    def flipped_header(image: sitk.Image) -> sitk.Image:
        turned = sitk.Image(image)
        turned.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
        return turned

    return {
        "other labels": (lambda image: image + 1, "holds values from 1 to 3"),
        "fractions": (lambda image: sitk.Cast(image, sitk.sitkFloat32) * 0.5, "holds values from 0 to 1"),
        "no liver": (lambda image: image * 0, "marks no liver"),
        "other shape": (other_shape, "give the labels of this very image"),
        "shifted": (shifted, "--trust-voxel-order"),
        "flipped header": (flipped_header, "--trust-voxel-order"),
    }


@pytest.mark.parametrize("fault", _lits_faults())
def test_lits_bad_segmentations_are_refused_in_one_sentence(tmp_path: Path, fault: str) -> None:
    change, words = _lits_faults()[fault]
    write_lits(tmp_path, 7)
    path = tmp_path / "segmentation-7.nii"
    sitk.WriteImage(change(sitk.ReadImage(str(path))), str(path))
    with pytest.raises(VolumeError, match=words) as raised:
        only(tmp_path)
    assert "segmentation-7.nii" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_lits_with_a_wrong_header_is_read_when_its_voxel_order_is_trusted(tmp_path: Path) -> None:
    made = write_lits(tmp_path, 0, orientation="LPS")
    path = tmp_path / "segmentation-0.nii"
    mask = sitk.ReadImage(str(path))
    mask.SetOrigin((0, 0, 0))
    sitk.WriteImage(mask, str(path))
    assert_same(only(tmp_path, trust_order=True), made)


def test_values_without_air_are_noticed(tmp_path: Path) -> None:
    write_lits(tmp_path, 0)
    path = tmp_path / "volume-0.nii"
    sitk.WriteImage(sitk.ReadImage(str(path)) + 1024, str(path))
    assert "make sure that these are Hounsfield units" in only(tmp_path).notes[0]


def test_a_cut_short_volume_is_refused(tmp_path: Path) -> None:
    write_lits(tmp_path, 0)
    path = tmp_path / "volume-0.nii"
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(VolumeError, match=r"volume-0\.nii"):
        only(tmp_path)


@pytest.mark.parametrize(("upwards", "zipped", "each"), [(False, False, True), (True, True, True), (False, False, False)])
def test_ircadb_lies_where_it_was(tmp_path: Path, upwards: bool, zipped: bool, each: bool) -> None:
    made = write_ircadb(tmp_path / "3Dircadb1.4", upwards=upwards, zipped=zipped, each=each)
    scan = only(tmp_path)
    assert scan.name == "3Dircadb1_4"
    assert_same(scan, made)
    assert_same(only(tmp_path / "3Dircadb1.4"), made)


def test_ircadb_unpacked_into_folders_of_the_archives_names(tmp_path: Path) -> None:
    place = tmp_path / "3Dircadb1.1"
    made = write_ircadb(place)
    for name in ("PATIENT_DICOM", "MASKS_DICOM"):
        (place / name).rename(place / "inner")
        (place / name).mkdir()
        (place / "inner").rename(place / name / name)
    assert_same(only(tmp_path), made)


def test_ircadb_rescaled_slices_are_hounsfield_units(tmp_path: Path) -> None:
    made = write_ircadb(tmp_path / "p")
    stored = towards_lps(made)
    shutil.rmtree(tmp_path / "p" / "PATIENT_DICOM")
    write_dicom(tmp_path / "p" / "PATIENT_DICOM", stored.hounsfield, stored.grid, intercept=-1024)
    plane = stored.hounsfield[0]
    raw = np.frombuffer((tmp_path / "p" / "PATIENT_DICOM" / "image_0").read_bytes()[-plane.nbytes :], dtype="<u2")
    np.testing.assert_array_equal(raw, plane.ravel() + 1024)
    assert_same(only(tmp_path), made)


def test_ircadb_patients_in_the_order_of_their_numbers_and_without_tumours(tmp_path: Path) -> None:
    for number in (10, 2):
        write_ircadb(tmp_path / "3Dircadb1" / f"3Dircadb1.{number}", Made(spacing_mm=(3, 3, 4), tumours=()))
    source = find_source(tmp_path)
    assert [case.name for case in source.cases] == ["3Dircadb1_2", "3Dircadb1_10"]
    assert "no tumour is marked" in source.cases[0].read(None).notes[0]


def test_ircadb_tumours_of_other_organs_and_cysts_are_not_taken(tmp_path: Path) -> None:
    place = tmp_path / "3Dircadb1.7"
    write_ircadb(place, Made(tumours=()))
    stored = towards_lps(made_scan())
    for name in ("tumor", "leftsurretumor", "liverkyst"):
        write_dicom(place / "MASKS_DICOM" / name, np.where(stored.labels == 2, 255, 0), stored.grid)
    assert only(tmp_path).labels.max() == 1


def _break_ircadb(place: Path, fault: str) -> None:
    stored = towards_lps(made_scan(Made(spacing_mm=(3, 3, 4))))
    masks, patient = place / "MASKS_DICOM", place / "PATIENT_DICOM"
    if fault == "no liver mask":
        shutil.rmtree(masks / "liver")
    elif fault == "a slice is missing":
        (patient / "image_5").unlink()
    elif fault == "a mask's slice is missing":
        (masks / "liver" / "image_0").unlink()
    elif fault == "two series":
        shutil.copy(patient / "image_3", patient / "image_99")
    elif fault == "mixed orientations":
        turned = Grid(stored.grid.shape, stored.grid.ijk_to_ras @ np.diag([-1.0, 1.0, 1.0, 1.0]))
        write_dicom(place / "other", stored.hounsfield, turned, upwards=False)
        shutil.copy(place / "other" / "image_3", patient / "image_3")
        shutil.rmtree(place / "other")
    elif fault == "no position":
        content = (patient / "image_2").read_bytes()
        assert content.count(b"\x20\x00\x32\x00") == 1
        (patient / "image_2").write_bytes(content.replace(b"\x20\x00\x32\x00", b"\x20\x00\x33\x00"))
    elif fault == "no DICOM":
        (patient / "image_2").write_text("a text")
    elif fault == "cut short":
        (patient / "image_2").write_bytes((patient / "image_2").read_bytes()[:-300])
    elif fault == "no slices":
        shutil.rmtree(patient)
        patient.mkdir()
    elif fault == "no mask":
        shutil.rmtree(masks / "liver")
        write_dicom(masks / "liver", stored.labels.astype(int) * 3, stored.grid)
    elif fault == "tumour elsewhere":
        moved = Grid(stored.grid.shape, stored.grid.ijk_to_ras + np.array([[0, 0, 0, 9.0], *[[0, 0, 0, 0]] * 3]))
        write_dicom(masks / "livertumor01", np.where(stored.labels == 2, 255, 0), moved)
    elif fault == "broken archive":
        zip_folder(place, "MASKS_DICOM")
        path = place / "MASKS_DICOM.zip"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif fault == "empty archive":
        shutil.rmtree(masks)
        masks.mkdir()
        zip_folder(place, "MASKS_DICOM")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("no liver mask", "has no folder 'liver'"),
        ("a slice is missing", "mm apart, the others 4.00 mm"),
        ("a mask's slice is missing", "lies elsewhere than its image|slices are not those"),
        ("two series", "lie in one place"),
        ("mixed orientations", "is oriented otherwise than"),
        ("no position", "does not say where its pixels lie"),
        ("no DICOM", "is no readable DICOM image"),
        ("cut short", "is no readable DICOM image|cannot be read, the file is damaged"),
        ("no slices", "holds 0 DICOM slices"),
        ("no mask", "holds more than two values"),
        ("tumour elsewhere", "its slices are not those of the liver's mask"),
        ("broken archive", "cannot be unpacked"),
        ("empty archive", "holds no slices"),
    ],
)
def test_ircadb_faults_are_said_in_one_sentence(tmp_path: Path, fault: str, words: str) -> None:
    place = tmp_path / "3Dircadb1.3"
    write_ircadb(place, Made(spacing_mm=(3, 3, 4)))
    _break_ircadb(place, fault)
    with pytest.raises(VolumeError, match=words) as raised:
        only(tmp_path)
    assert str(place) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_ircadb_without_masks_is_left_out_and_said(tmp_path: Path) -> None:
    write_ircadb(tmp_path / "a", Made(spacing_mm=(3, 3, 4)))
    write_ircadb(tmp_path / "b", Made(spacing_mm=(3, 3, 4)))
    shutil.rmtree(tmp_path / "b" / "MASKS_DICOM")
    source = find_source(tmp_path)
    assert [case.name for case in source.cases] == ["a"]
    assert "has neither MASKS_DICOM nor MASKS_DICOM.zip" in source.left_out[0]


def test_an_archive_writes_nowhere_but_its_own_place(tmp_path: Path) -> None:
    import zipfile

    place = tmp_path / "p"
    made = write_ircadb(place, zipped=True)
    with zipfile.ZipFile(place / "MASKS_DICOM.zip", "a") as archive:
        archive.writestr("MASKS_DICOM/../../liver/evil", b"x")
        archive.writestr("/absolute/liver/.hidden", b"x")
    assert_same(only(tmp_path), made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p"]


def test_sources_that_hold_nothing_or_both_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_source(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds no scans"):
        find_source(tmp_path)
    with pytest.raises(InputError, match="Layout 'nifti' is not known"):
        find_source(tmp_path, "nifti")
    write_lits(tmp_path, 0)
    write_ircadb(tmp_path / "p", Made(spacing_mm=(3, 3, 4)))
    with pytest.raises(InputError, match="lits and ircadb; say which"):
        find_source(tmp_path)
    assert find_source(tmp_path, "ircadb").cases[0].name == "p"
    with pytest.raises(InputError, match="only an exported data set has a test split"):
        find_source(tmp_path, "lits", split="test")
    shutil.rmtree(tmp_path / "p")
    (tmp_path / "segmentation-0.nii").unlink()
    with pytest.raises(InputError, match=r"has no segmentation-0\.nii"):
        find_source(tmp_path)


def test_an_oblique_scan_keeps_its_place(tmp_path: Path) -> None:
    made = made_scan()
    turn = np.eye(4)
    turn[:2, :2] = ((0.96, -0.28), (0.28, 0.96))
    grid = Grid(made.grid.shape, turn @ made.grid.ijk_to_ras)
    for kind, array in (("volume", made.hounsfield), ("segmentation", made.labels)):
        sitk.WriteImage(as_image(array, grid), str(tmp_path / f"{kind}-0.nii"))
    scan = only(tmp_path)
    middle = ras_from_kji(scan.grid, np.argwhere(scan.labels > 0).mean(axis=0))
    np.testing.assert_allclose(middle, turn[:3, :3] @ CENTRE, atol=0.1)
