"""The report on CT: figures against balls whose volume, depth and length are known, predictions beside the truth, charts and overlays."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from ct_cases import LIVER_MM, Made, as_image, made_scan, write_lits

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.ct import CtExportSettings, CtReportSettings, export_ct, find_source, report_ct, tumour_burden
from LiverLesionSegLib.errors import InputError, VolumeError
from LiverLesionSegLib.types import Grid

SMALL = Made(spacing_mm=(3.0, 3.0, 4.0))


def ball_ml(radius_mm: float) -> float:
    return 4 / 3 * math.pi * radius_mm**3 / 1000


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0), (1.5, 1.0, 1.2)])
def test_balls_in_a_ball(spacing_mm: tuple[float, float, float]) -> None:
    made = made_scan(Made(spacing_mm))
    probability = np.where(made.labels == 2, 0.75, 0.1).astype(np.float32)
    burden = tumour_burden(made.labels, made.grid, probability)
    step = max(spacing_mm)
    assert len(burden.tumours) == 2
    np.testing.assert_allclose(burden.liver_ml, ball_ml(LIVER_MM), rtol=0.02)
    np.testing.assert_allclose(burden.tumour_ml, ball_ml(6) + ball_ml(4), rtol=0.06)
    np.testing.assert_allclose(burden.share_of_liver, (6**3 + 4**3) / LIVER_MM**3, rtol=0.07)
    for tumour, radius, centre, deep in zip(burden.tumours, (6, 4), ((10, -20, 42), (-2, -20, 24)), (8, 26 - math.sqrt(180) - 4), strict=True):
        np.testing.assert_allclose(tumour.volume_ml, ball_ml(radius), rtol=0.12)
        np.testing.assert_allclose(tumour.diameter_mm, 2 * radius, rtol=0.05)
        np.testing.assert_allclose(tumour.longest_mm, 2 * radius, atol=step)
        np.testing.assert_allclose(tumour.distance_mm, deep, atol=step)
        np.testing.assert_allclose(tumour.centre_ras, centre, atol=0.3)
        np.testing.assert_allclose(tumour.share_of_liver, (radius / LIVER_MM) ** 3, rtol=0.15)
        assert tumour.confidence == pytest.approx(0.75)
    assert burden.confidence == pytest.approx(0.75)
    assert burden.distance_mm == min(tumour.distance_mm for tumour in burden.tumours)


def test_a_tumour_at_the_surface_and_holes_in_the_liver() -> None:
    made = made_scan(Made((1.0, 1.0, 1.0), tumours=((np.array((10.0, -20.0, 52.0)), 6.0), (np.array((10.0, -20.0, 30.0)), 4.0))))
    labels = made.labels.copy()
    k, j, i = np.argwhere(labels > 0).mean(axis=0).astype(int)
    labels[k, j, i + 8 : i + 10] = 0
    burden = tumour_burden(labels, made.grid)
    assert burden.tumours[0].distance_mm == 0
    # The hole beside it is no surface.
    np.testing.assert_allclose(burden.tumours[1].distance_mm, LIVER_MM - 4, atol=1.0)
    assert math.isnan(burden.confidence)


def test_single_voxels_no_tumour_and_the_smallest_that_counts() -> None:
    grid = Grid((20, 20, 20), np.diag([2.0, 1.0, 3.0, 1.0]))
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2:18, 2:18, 2:18] = 1
    assert tumour_burden(labels, grid).tumours == ()
    assert math.isnan(tumour_burden(labels, grid).distance_mm)
    labels[10, 10, 10] = 2
    labels[5:8, 5, 5] = 2
    burden = tumour_burden(labels, grid)
    assert [round(tumour.volume_ml, 6) for tumour in burden.tumours] == [0.018, 0.006]
    assert [tumour.longest_mm for tumour in burden.tumours] == pytest.approx([9.0, 3.0])
    assert burden.tumours[0].distance_mm == pytest.approx(3.0)
    assert len(tumour_burden(labels, grid, smallest_ml=0.01).tumours) == 1
    # Voxels that touch at a corner are one tumour.
    labels[11, 11, 11] = 2
    assert len(tumour_burden(labels, grid).tumours) == 2
    with pytest.raises(VolumeError, match="lie between 0 and 1"):
        tumour_burden(labels, grid, np.full(grid.shape, 2, dtype=np.float32))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_report_of_scans(tmp_path: Path) -> None:
    for number, orientation in enumerate(("LPS", "RAS", "PIR")):
        write_lits(tmp_path / "lits", number, SMALL if number < 2 else Made(SMALL.spacing_mm, tumours=()), orientation)
    (tmp_path / "lits" / "volume-9.nii").write_bytes(b"")
    result = report_ct(find_source(tmp_path / "lits"), tmp_path / "report")
    assert [len(case.burdens["truth"].tumours) for case in result.cases] == [2, 2, 0]
    assert "volume-9.nii: has no segmentation-9.nii" in result.left_out[0]
    cases = rows_of(tmp_path / "report" / "cases.csv")
    assert [row["tumours"] for row in cases] == ["2", "2", "0"]
    assert cases[0]["tumour_ml"] == cases[1]["tumour_ml"] != cases[2]["tumour_ml"] == "0.00"
    assert cases[2]["distance_mm"] == cases[0]["confidence"] == ""
    assert len(rows_of(tmp_path / "report" / "tumours.csv")) == 4
    text = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "3 cases of the layout lits, 4 tumours marked in 2 of them; 1 cases left out" in text
    assert "no tumour is marked; it counts as a liver without tumours" in text
    for name in ("counts", "volumes", "tumours"):
        assert (tmp_path / "report" / "charts" / f"{name}.png").stat().st_size > 5000
    assert not (tmp_path / "report" / "charts" / "confidence.png").exists()
    assert sorted(path.name for path in (tmp_path / "report" / "overlays").iterdir()) == [f"lits_00{n}.png" for n in range(3)]
    assert "data:image/png" in (tmp_path / "report" / "report.html").read_text(encoding="utf-8")


def _dataset(tmp_path: Path, mode: str) -> Path:
    for number in range(3):
        write_lits(tmp_path / "lits", number, SMALL)
    folder = tmp_path / mode
    export_ct(find_source(tmp_path / "lits"), folder, CtExportSettings(mode=mode, split=(0.4, 0.3, 0.3)))
    return folder


def _predict(data: Path, folder: Path, *, volumes: bool = False) -> None:
    """As nnU-Net writes them: of slices the truth without its upper tumour, of volumes the truth; and probabilities."""
    folder.mkdir()
    for path in sorted((data / "labelsTs").iterdir()):
        image = sitk.ReadImage(str(path))
        labels = sitk.GetArrayFromImage(image)
        near = np.zeros(labels.shape, dtype=bool)
        if not volumes:
            case = find_source(data, split="test").cases[0]
            k = list(case.images).index(path.name.removesuffix(".nrrd"))
            centre = case.read(None).grid.ijk_to_ras[2] @ (0, 0, k, 1)
            near[:] = centre > 33
        found = np.where((labels == 2) & near, 1, labels).astype(np.uint8)
        out = sitk.GetImageFromArray(found)
        out.CopyInformation(image)
        sitk.WriteImage(out, str(folder / path.name))
        probabilities = np.stack([found == 0, found == 1, found == 2]).astype(np.float32) * 0.8 + 0.2 / 3
        np.savez_compressed(folder / path.name.replace(".nrrd", ".npz"), probabilities=probabilities)


def test_predictions_of_slices_as_nnunet_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = _dataset(tmp_path, "slices")
    _predict(data, tmp_path / "predicted")
    words = ["ct-report", str(data), "--split", "test", "--predictions", str(tmp_path / "predicted")]
    words += ["--probabilities", str(tmp_path / "predicted"), "--output", str(tmp_path / "report"), "--json"]
    assert main(words) == 0
    ((name, found),) = json.loads(capsys.readouterr().out)["cases"].items()
    assert (found["tumours"], round(found["confidence"], 3)) == (1, 0.867)
    truth, predicted = rows_of(tmp_path / "report" / "cases.csv")
    assert (truth["labels"], truth["tumours"], truth["confidence"]) == ("truth", "2", "")
    assert (predicted["labels"], predicted["tumours"], predicted["confidence"]) == ("prediction", "1", "0.867")
    assert (predicted["found"], predicted["false_tumours"], predicted["liver_dice"]) == ("1 of 2", "0", "1.000")
    volumes = [float(row["tumour_ml"]) for row in (truth, predicted)]
    assert float(predicted["tumour_dice"]) == pytest.approx(2 * volumes[1] / sum(volumes), abs=0.01)
    assert (tmp_path / "report" / "charts" / "confidence.png").is_file()
    assert (tmp_path / "report" / "overlays" / f"{name}.png").is_file()


def test_predictions_of_volumes_in_another_orientation(tmp_path: Path) -> None:
    data = _dataset(tmp_path, "volumes")
    (tmp_path / "predicted").mkdir()
    for path in (data / "labelsTs").iterdir():
        turned = sitk.DICOMOrient(sitk.ReadImage(str(path)), "PIR")
        sitk.WriteImage(turned, str(tmp_path / "predicted" / path.name.replace(".nrrd", ".nii.gz")))
    source = find_source(data, split="test")
    result = report_ct(source, tmp_path / "report", CtReportSettings(overlays=False), predictions=tmp_path / "predicted")
    assert all(case.agreement.tumour_dice == 1 for case in result.cases)
    assert not (tmp_path / "report" / "overlays").exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "so lits_00. has no prediction there"),
        ("elsewhere", "lies on another grid than its scan"),
        ("labels", "holds values from 0 to 6"),
        ("voxels", r"holds probabilities of \(3, 2, 2, 2\) voxels"),
        ("pickle", r"holds probabilities of \(1,\) voxels"),
        ("damaged", "holds no probabilities as nnU-Net writes them"),
        ("range", "goes from 0 to 10"),
    ],
)
def test_bad_predictions_are_said(tmp_path: Path, fault: str, words: str) -> None:
    data = _dataset(tmp_path, "volumes")
    place = tmp_path / "predicted"
    _predict(data, place, volumes=True)
    (path,) = place.glob("*.nrrd")
    image = sitk.ReadImage(str(path))
    if fault == "missing":
        path.unlink()
    elif fault == "elsewhere":
        image.SetOrigin((1, 2, 3))
        sitk.WriteImage(image, str(path))
    elif fault == "labels":
        sitk.WriteImage(image * 3, str(path))
    elif fault == "voxels":
        np.savez(path.with_suffix(".npz"), probabilities=np.zeros((3, 2, 2, 2), dtype=np.float32))
    elif fault == "pickle":
        np.savez(path.with_suffix(".npz"), probabilities=np.array([{"a": 1}], dtype=object))
    elif fault == "damaged":
        path.with_suffix(".npz").write_bytes(b"PK no archive")
    elif fault == "range":
        path.with_suffix(".npz").unlink()
        (tmp_path / "p").mkdir()
        sitk.WriteImage(sitk.Cast(image, sitk.sitkFloat32) * 5, str(tmp_path / "p" / path.name))
    sure = tmp_path / "p" if fault == "range" else place
    with pytest.raises(InputError, match=words) as raised:
        report_ct(find_source(data, split="test"), tmp_path / "report", predictions=place, probabilities=sure)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "report").exists()


def test_reports_that_cannot_be_are_refused(tmp_path: Path) -> None:
    write_lits(tmp_path / "lits", 0, SMALL)
    source = find_source(tmp_path / "lits")
    with pytest.raises(InputError, match="there is no such folder"):
        report_ct(source, tmp_path / "report", predictions=tmp_path / "nowhere")
    with pytest.raises(InputError, match="smallest tumour of -1 mL"):
        CtReportSettings(smallest_ml=-1)
    # A prediction for a scan itself, named by its case.
    made = made_scan(SMALL)
    (tmp_path / "predicted").mkdir()
    sitk.WriteImage(as_image(made.labels, made.grid), str(tmp_path / "predicted" / "lits_000.nii.gz"))
    (case,) = report_ct(source, tmp_path / "report", predictions=tmp_path / "predicted").cases
    assert case.agreement.tumour_dice == 1
