"""Studies: methods side by side, several boxes and observers, and what goes wrong stays with its case."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import SHAPE, a_grid, a_volume, write_labels
from evaluation_studies import CHEAP, edit_table, the_study, write_model, write_study

from LiverLesionSegLib import evaluation
from LiverLesionSegLib.cohort import Case, case_box, load_case, probability_of, read_cases
from LiverLesionSegLib.commands.shipped_model import DEFAULT_MODEL
from LiverLesionSegLib.errors import InputError, ModelError
from LiverLesionSegLib.evaluation import study
from LiverLesionSegLib.evaluation.curves import VoxelCurves
from LiverLesionSegLib.evaluation.measures import measures_of
from LiverLesionSegLib.evaluation.methods import EllipsoidMethod, GivenMasks, GrowingMethod, NetworkMethod, network_method
from LiverLesionSegLib.evaluation.one_case import StudySettings
from LiverLesionSegLib.evaluation.results import MEASURES
from LiverLesionSegLib.evaluation.study import WorkSettings, evaluate_cohort
from LiverLesionSegLib.files.volumes import write_array
from LiverLesionSegLib.geometry import grid_from_axes, sub_grid
from LiverLesionSegLib.segmentation import apply_threshold, embed, inscribed_ellipsoid
from LiverLesionSegLib.types import Threshold


def test_methods_stand_side_by_side(tmp_path: Path) -> None:
    table = write_study(tmp_path / "data", 2)
    methods = (GrowingMethod(), EllipsoidMethod(), GivenMasks("shifted"), GivenMasks("exact"))
    cohort = evaluate_cohort(read_cases(table), methods, folder=tmp_path / "out").result
    assert cohort.methods == ("region-growing", "ellipsoid", "shifted", "exact")
    assert [case.case for case in cohort.evaluated] == ["case0", "case1"]
    case = cohort.cases[1]
    assert case.attributes == {"split": "test", "echogenicity": "hypo", "hospital": "1"}
    assert case.lesions == 1 and 0 < case.seen_in_box <= 1 and case.contrast < -2
    assert case.truth_ml == pytest.approx(a_volume(1)[1].volume_ml)
    assert case.diameter_mm == pytest.approx((6000 * case.truth_ml / math.pi) ** (1 / 3))
    exact = case.of("exact")
    assert exact is not None and exact.measures["dice"] == 1 and exact.measures["hd95_mm"] == 0 and math.isnan(exact.measures["seconds"])
    assert "timed" in exact.undefined["seconds"]
    growing = case.of("region-growing")
    assert growing is not None and growing.measures["dice"] > 0.8 and set(growing.seconds) == {"crop", "region_growing"}
    assert growing.measures["seconds"] == pytest.approx(sum(growing.seconds.values()))
    assert any("centre of the box" in text for text in growing.warnings)
    for result in case.results:
        assert set(result.measures) == set(MEASURES) and len(result.lesions) == 1
    loaded = load_case(read_cases(table)[1])
    assert loaded.truth is not None
    expected, _ = measures_of(inscribed_ellipsoid(case_box(loaded), loaded.volume.grid), loaded.truth)
    ellipsoid = case.of("ellipsoid")
    assert ellipsoid is not None and {key: ellipsoid.measures[key] for key in expected} == expected


def test_several_boxes_and_those_of_the_table(tmp_path: Path) -> None:
    cases = read_cases(write_study(tmp_path / "data", 1))
    drawn = evaluate_cohort(cases, CHEAP, StudySettings(boxes=3), folder=tmp_path / "a").result.cases[0]
    assert [(result.method, result.place) for result in drawn.results] == [("ellipsoid", 0), ("shifted", 0), ("ellipsoid", 1), ("ellipsoid", 2)]
    assert len({result.measures["dice"] for result in drawn.results if result.method == "ellipsoid"}) == 3
    other = evaluate_cohort(cases, CHEAP, StudySettings(seed=1), folder=tmp_path / "b").result.cases[0]
    assert other.results[0].measures["dice"] != drawn.results[0].measures["dice"]
    given = evaluate_cohort(cases, CHEAP, StudySettings(boxes=0), folder=tmp_path / "c").result.cases[0]
    loaded = load_case(cases[0])
    assert loaded.truth is not None and loaded.roi is not None
    expected, _ = measures_of(inscribed_ellipsoid(loaded.roi, loaded.volume.grid), loaded.truth)
    assert given.results[0].measures["dice"] == expected["dice"]


def test_networks_are_judged_over_the_whole_volume_and_every_voxel_is_counted(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    from LiverLesionSegLib.segmentation import Predictor, load_model

    cases = read_cases(write_study(tmp_path / "data", 2))
    crop, full = write_model(tmp_path / "crop"), write_model(tmp_path / "full", whole=True, seed=1)
    methods = (network_method("crop", crop), network_method("full", full))
    found = evaluate_cohort(cases, methods, StudySettings(boxes=2), folder=tmp_path / "out")
    assert found.result.provenance["models"]["full"]["mode"] == "full"  # type: ignore[index]
    assert [(result.method, result.place) for result in found.result.cases[0].results] == [("crop", 0), ("full", 0), ("crop", 1)]
    for name, folder in (("crop", crop), ("full", full)):
        predictor = Predictor(load_model(folder), threads=1)
        curves = VoxelCurves()
        for case in cases:
            loaded = load_case(case)
            assert loaded.truth is not None
            probability, _ = probability_of(loaded, case_box(loaded), predictor)
            curves.add(probability.array, embed(loaded.truth, probability.grid).array)
            mask = embed(apply_threshold(probability, load_model(folder).threshold_for(predictor.inference_path)), loaded.volume.grid)
            measures, _ = measures_of(mask, loaded.truth)
            result = next(one for one in found.result.cases if one.case == case.name).of(name)
            assert result is not None and {key: result.measures[key] for key in measures} == pytest.approx(measures, nan_ok=True)
            assert result.model_id == predictor.bundle.model_id and result.threshold == 0.5 and result.device == "cpu"
            assert {"crop", "forward", "threshold"} <= set(result.seconds)
            assert np.array_equal(found.picture(case.name).masks[name].array, mask.array)
        kept = found.curves()[name]
        assert found.thresholds()[name] == 0.5
        assert np.array_equal(kept.lesion, curves.lesion) and np.array_equal(kept.background, curves.background)


def test_where_the_software_lies_is_not_said(tmp_path: Path) -> None:
    shipped = NetworkMethod("m", DEFAULT_MODEL.absolute(), "id", Threshold(0.5, "id", "path", "by hand"))
    own = replace(shipped, folder=tmp_path / "mine")
    assert [study._model(method, str(tmp_path))["path"] for method in (shipped, own)] == ["Resources/Models/crlm-ius-crop", "mine"]


def test_what_the_package_names_is_there() -> None:
    assert all(getattr(evaluation, name) is not None for name in evaluation.__all__)


def test_another_model_in_the_folder_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    cases = read_cases(write_study(tmp_path / "data", 1))
    method = network_method("m", write_model(tmp_path / "model"))
    other = replace(method, folder=write_model(tmp_path / "other", seed=3))
    with pytest.raises(ModelError, match="another model"):
        evaluate_cohort(cases, [other], folder=tmp_path / "out")
    with pytest.raises(ModelError, match="another model"):
        evaluate_cohort([*cases, replace(cases[0], name="b")], [other], folder=tmp_path / "out", work=WorkSettings(2))


def _empty(folder: Path) -> None:
    write_labels(folder / "t1.nrrd", np.zeros(SHAPE, np.uint8), 1)


def _two_labels(folder: Path) -> None:
    labels = a_volume(1)[1].array.astype(np.uint8)
    labels[0, 0, 0] = 2
    write_labels(folder / "t1.nrrd", labels, 1)


def _half(folder: Path) -> None:
    write_array(folder / "v1.nrrd", np.full(SHAPE, np.nan, np.float32), a_grid(1), {})


def _other_grid(folder: Path) -> None:
    truth = a_volume(1)[1]
    write_array(folder / "t1.nrrd", truth.array[2:].astype(np.uint8), sub_grid(truth.grid, (2, 0, 0), (SHAPE[0] - 2, *SHAPE[1:])), {})


def _shifted_grid(folder: Path) -> None:
    moved = a_grid(1).ijk_to_ras.copy()
    moved[:3, 3] += 0.3
    write_array(folder / "t1.nrrd", a_volume(1)[1].array.astype(np.uint8), replace(a_grid(1), ijk_to_ras=moved), {})


def _no_box(folder: Path) -> None:
    edit_table(folder / "cases.csv", {"roi": ["b0.mrk.json", "", "b2.mrk.json"]})


@pytest.mark.parametrize(
    ("spoil", "settings", "said"),
    [
        (lambda f: (f / "v1.nrrd").unlink(), StudySettings(), "line 3, case case1: its volume .*v1.nrrd does not exist"),
        (lambda f: (f / "t1.nrrd").unlink(), StudySettings(), "line 3, case case1: its truth .*t1.nrrd does not exist"),
        (lambda f: (f / "v1.nrrd").write_text("no volume"), StudySettings(), "Case case1: .*v1.nrrd: not a readable volume"),
        (lambda f: (f / "v1.nrrd").write_bytes((f / "v1.nrrd").read_bytes()[:5000]), StudySettings(), "Case case1: .*v1.nrrd: "),
        (_empty, StudySettings(), "Case case1: its truth .*t1.nrrd is empty"),
        (_two_labels, StudySettings(), "Case case1: .*t1.nrrd: holds 2 labels"),
        (_half, StudySettings(), "Case case1: .*v1.nrrd: .*not finite"),
        (_other_grid, StudySettings(), "Case case1: its truth .*another grid than the volume .68 x 60 x 62 voxels .* against 68 x 60 x 64 .*resampl"),
        (_shifted_grid, StudySettings(), "Case case1: its truth .*another grid than the volume .shifted or turned"),
        (_no_box, StudySettings(boxes=0), "Case case1: the table gives no box"),
    ],
)
def test_a_bad_case_is_said_in_one_line_and_loses_no_other(tmp_path: Path, spoil, settings, said: str) -> None:
    table = write_study(tmp_path / "data")
    spoil(tmp_path / "data")
    found = the_study(table, tmp_path / "out", settings=settings)
    bad = found.result.cases[1]
    assert bad.case == "case1" and not bad.results and "\n" not in bad.error
    assert re.search(said, bad.error), bad.error
    assert [case.case for case in found.result.evaluated] == ["case0", "case2"]
    assert all(not result.error for case in found.result.evaluated for result in case.results)
    assert set(found.keys) == {"case0", "case2"}


def test_resampling_is_done_when_asked_for(tmp_path: Path) -> None:
    table = write_study(tmp_path / "data")
    _other_grid(tmp_path / "data")
    truth = a_volume(2)[1]
    fine = grid_from_axes((128, 120, 136), truth.grid.ijk_to_ras[:3, 3] - truth.grid.ijk_to_ras[:3, :3].sum(axis=1) / 4,
                          truth.grid.ijk_to_ras[:3, :3] / 0.6, 0.3)  # fmt: skip
    write_array(tmp_path / "data" / "t2.nrrd", np.kron(truth.array, np.ones((2, 2, 2))).astype(np.uint8), fine, {})
    refused = the_study(table, tmp_path / "out").result
    assert [case.case for case in refused.evaluated] == ["case0"]
    whole = the_study(table, tmp_path / "out", settings=StudySettings(resample=True)).result
    assert [case.case for case in whole.evaluated] == ["case0", "case1", "case2"]
    assert whole.cases[1].truth_ml == pytest.approx(a_volume(1)[1].volume_ml)  # on the volume's own voxels: nothing is interpolated
    assert whole.cases[2].truth_ml == pytest.approx(truth.volume_ml, rel=0.02)
    assert all("resampled" in case.warnings[0] for case in whole.cases[1:]) and not whole.cases[0].warnings


def test_lines_of_the_table_that_are_no_cases(tmp_path: Path) -> None:
    table = write_study(tmp_path / "data", 2)
    edit_table(table, {}, [{"case": "case0", "volume": "v1.nrrd", "truth": "t1.nrrd"}, {"case": "", "volume": "v1.nrrd"},
                           {"case": "x", "volume": "v1.nrrd", "truth": "t1.nrrd", "split": "perhaps"}])  # fmt: skip
    found = the_study(table, tmp_path / "out").result
    assert [case.case for case in found.cases] == ["case0", "case1", "case0 (line 4)", "(line 5)", "x"]
    assert [case.case for case in found.evaluated] == ["case0", "case1"]
    said = [case.error for case in found.cases[2:]]
    assert "case case0 is there twice" in said[0] and "has no name" in said[1] and "'perhaps' is not known" in said[2]


def test_a_method_that_fails_on_a_case_loses_no_other(tmp_path: Path) -> None:
    data = tmp_path / "data"
    table = write_study(data, 5)
    write_labels(data / "s1.nrrd", np.zeros(SHAPE, np.uint8), 1)
    write_array(data / "s2.nrrd", np.full(SHAPE, np.nan, np.float32), a_grid(2), {})
    write_labels(data / "s3.nrrd", a_volume(3)[1].array.astype(np.uint8) * 255, 3)
    write_array(data / "s4.nrrd", np.ones((9, 9, 9), np.uint8), grid_from_axes((9, 9, 9), (0, 0, 0), np.eye(3), 1.0), {})
    edit_table(table, {"mask:shifted": ["", "s1.nrrd", "s2.nrrd", "s3.nrrd", "s4.nrrd"], "mask:gone": ["nowhere.nrrd"] * 5})
    cohort = evaluate_cohort(read_cases(table), [*CHEAP, GivenMasks("gone")], folder=tmp_path / "out").result
    assert len(cohort.evaluated) == 5 and all(math.isfinite(value) for value in cohort.values("ellipsoid", "dice"))
    missing, empty, odd, label, grid = (case.of("shifted") for case in cohort.cases)
    assert missing is not None and "no mask in its column mask:shifted" in missing.error and not missing.measures
    assert empty is not None and not empty.error and empty.measures["dice"] == 0 and math.isnan(empty.measures["precision"])
    assert empty.undefined["precision"] and empty.undefined["hd95_mm"]
    assert odd is not None and "not finite" in odd.error
    assert label is not None and not label.error and "label is 255" in label.warnings[0] and label.measures["dice"] == 1
    assert grid is not None and "another grid" in grid.error
    assert all("no such file" in case.of("gone").error for case in cohort.cases)  # type: ignore[union-attr]


def test_cases_without_a_lesion(tmp_path: Path) -> None:
    data = tmp_path / "data"
    table = write_study(data, 2)
    _empty(data)
    write_labels(data / "s1.nrrd", np.zeros(SHAPE, np.uint8), 1)
    edit_table(table, {"echogenicity": ["hypo", "none"]})
    cohort = the_study(table, tmp_path / "out", settings=StudySettings(boxes=2)).result
    case = cohort.cases[1]
    assert not case.error and case.lesions == 0 and case.truth_ml == 0 and math.isnan(case.contrast)
    assert [(result.method, result.place, result.false_lesions) for result in case.results] == [("ellipsoid", 0, 1), ("shifted", 0, 0)]
    assert math.isnan(case.results[1].measures["dice"]) and case.results[1].undefined["dice"]


def test_other_observers_are_compared(tmp_path: Path) -> None:
    data = tmp_path / "data"
    table = edit_table(write_study(data), {"truth:second": ["s0.nrrd", "", "gone.nrrd"], "truth:third": ["t0.nrrd", "s1.nrrd", ""]})
    found = the_study(table, tmp_path / "out")
    agreed = found.agreement()
    assert [one.case for one in agreed] == ["case0", "case1"]
    assert agreed[0].pairwise["truth, third"] == 1 and 0.5 < agreed[0].pairwise["truth, second"] < 1
    assert [rater.rater for rater in agreed[1].raters] == ["truth", "third"]
    assert any("no truth of second" in text for text in found.result.cases[1].warnings)
    assert any("truth of second was left out" in text and "gone.nrrd" in text for text in found.result.cases[2].warnings)


@pytest.mark.parametrize("methods", [[], [EllipsoidMethod(), GivenMasks("ellipsoid")], [GivenMasks("truth")]])
def test_methods_need_names(tmp_path: Path, methods: list) -> None:
    with pytest.raises(InputError, match="name"):
        evaluate_cohort([Case("a")], methods, folder=tmp_path / "out")
    with pytest.raises(InputError, match="one name"):
        evaluate_cohort([Case("a"), Case("a")], CHEAP, folder=tmp_path / "out")
