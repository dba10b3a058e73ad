"""The table of cases, what is read from it, and what is refused; one sentence that names the case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cohort_cases import SHAPE, a_grid, a_volume, write_cohort, write_labels, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.cohort import case_box, lesion_free_box, load_case, mask_onto_grid, read_cases
from LiverLesionSegLib.errors import BoxError, InputError, VolumeError
from LiverLesionSegLib.geometry import grid_from_axes, inside_box, ras_from_kji
from LiverLesionSegLib.segmentation.boxes import tight_box, whole_box
from LiverLesionSegLib.types import Mask, Volume


def test_a_table_is_read_whole(tmp_path: Path) -> None:
    table = write_cohort(tmp_path, ("train", "Validation", "", "test"))
    cases = read_cases(table)
    assert [case.name for case in cases] == ["case0", "case1", "case2", "case3"]
    assert [case.split for case in cases] == ["train", "validation", "", "test"]
    assert cases[1].extra == {"hospital": "1"} and cases[1].echogenicity == "hypo"
    assert cases[2].volume == tmp_path / "v2.nrrd" and cases[2].sweep is None and cases[2].seed is None
    loaded = load_case(cases[2])
    volume, truth = a_volume(2)
    np.testing.assert_array_equal(loaded.volume.array, volume.array)
    np.testing.assert_array_equal(loaded.volume.seen, volume.seen)
    assert loaded.truth is not None and np.array_equal(loaded.truth.array, truth.array)
    assert loaded.roi is not None and loaded.roi.size == pytest.approx([18, 18, 18])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "first line must name"),
        ("case,truth\na,b\n", "first line must name"),
        ("case,volume,volume\n", "column twice"),
        ("case,volume,truth\n", "lists no case"),
        ("case,volume,truth\na,v0.nrrd,t0.nrrd\na,v0.nrrd,t0.nrrd\n", "case a is there twice"),
        ("case,volume,truth\n,v0.nrrd,t0.nrrd\n", "line 2: has no name"),
        ("case,volume,truth\na,nowhere.nrrd,t0.nrrd\n", "case a: its volume .*nowhere.nrrd does not exist"),
        ("case,volume,truth\na,v0.nrrd,nowhere.nrrd\n", "case a: its truth .*nowhere.nrrd does not exist"),
        ("case,volume,truth\na,v0.nrrd,\n", "case a: has no truth"),
        ("case,volume,truth\na,,t0.nrrd\n", "case a: has neither a volume nor a sweep"),
        ("case,volume,truth,sweep\na,,t0.nrrd,v0.nrrd\n", "case a: has neither a volume nor a sweep"),
        ("case,volume,truth,split\na,v0.nrrd,t0.nrrd,maybe\n", "case a: its split 'maybe' is not known"),
        ("case,volume,truth,seed_r,seed_a,seed_s\na,v0.nrrd,t0.nrrd,1,2,\n", "case a: its seed"),
        ("case,volume,truth,seed_r,seed_a,seed_s\na,v0.nrrd,t0.nrrd,1,2,nan\n", "case a: its seed"),
        ("case,volume,truth\na,v0.nrrd,t0.nrrd,more\n", "line 2: has more values"),
    ],
)
def test_bad_tables_are_refused(tmp_path: Path, text: str, said: str) -> None:
    write_cohort(tmp_path, ("train",))
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=said) as failure:
        read_cases(tmp_path / "bad.csv")
    assert "\n" not in str(failure.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "cases.csv"
    path.write_bytes(content)
    with pytest.raises(InputError):
        read_cases(path)


def _with_truth(folder: Path, array: np.ndarray) -> Path:
    write_cohort(folder, ("train",))
    write_labels(folder / "odd.nrrd", array)
    return write_rows(folder / "cases.csv", [["odd", "v0.nrrd", "odd.nrrd", "b0.mrk.json", "w0.nrrd", "train", "hypo", ""]])


def test_bad_truths_are_refused_by_the_case_s_name(tmp_path: Path) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    several = empty.copy()
    several[5, 5, 5:9] = (1, 1, 2, 2)
    broken = np.full(SHAPE, np.nan, np.float32)
    for array, said in ((empty, "empty"), (several, "labels"), (empty + 1, "everywhere"), (broken, "not finite")):
        (case,) = read_cases(_with_truth(tmp_path, array))
        with pytest.raises(VolumeError, match=f"Case odd: .*{said}"):
            load_case(case)
    (case,) = read_cases(_with_truth(tmp_path, empty))
    loaded = load_case(case, allow_empty=True)
    assert loaded.truth is not None and not loaded.truth.array.any()
    assert loaded.roi is not None and case_box(loaded) is loaded.roi
    far = several.copy()
    far[:] = 0
    far[3, 3, 3] = 1
    write_labels(tmp_path / "odd.nrrd", far, number=20)
    with pytest.raises(VolumeError, match=r"Case odd: .*outside the volume"):
        load_case(case)


def test_a_volume_with_nan_names_the_case(tmp_path: Path) -> None:
    table = write_cohort(tmp_path, ("train",))
    write_labels(tmp_path / "v0.nrrd", np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(VolumeError, match=r"Case case0: .*not finite"):
        load_case(read_cases(table)[0])


def test_a_sweep_is_reconstructed_as_the_command_would(tmp_path: Path, spine_sweep_path: Path, spine_config_path: Path) -> None:
    from LiverLesionSegLib.cli import main
    from LiverLesionSegLib.files.volumes import read_volume

    words = ["reconstruct", spine_sweep_path, "--config", spine_config_path, "--output", tmp_path / "v.nrrd", "--weights", tmp_path / "w.nrrd"]
    assert main([str(word) for word in words]) == 0
    (tmp_path / "cases.csv").write_text(f"case,volume,truth,roi,sweep,config\nspine,,,,{spine_sweep_path},{spine_config_path}\n")
    loaded = load_case(read_cases(tmp_path / "cases.csv", truth=False)[0])
    expected = read_volume(tmp_path / "v.nrrd", tmp_path / "w.nrrd")
    np.testing.assert_array_equal(loaded.volume.array, expected.array)
    np.testing.assert_array_equal(loaded.volume.weight.astype(np.float32), expected.weight)


def test_boxes_follow_from_case_and_seed_alone(tmp_path: Path) -> None:
    loaded = load_case(read_cases(write_cohort(tmp_path, ("train",)))[0])
    assert loaded.truth is not None
    one, again, other, seeded = case_box(loaded, 1), case_box(loaded, 1), case_box(loaded, 2), case_box(loaded, 1, seed=5)
    np.testing.assert_array_equal(one.size, again.size)
    assert not np.allclose(one.size, other.size) and not np.allclose(one.size, seeded.size)
    tight = tight_box(loaded.truth)
    for number in range(20):
        box = case_box(loaded, number)
        grown = (box.size - tight.size) / tight.size
        assert (grown > -0.1 - 1e-9).all() and (grown < 0.7 + 1e-9).all()


def test_a_box_without_a_lesion_holds_none(tmp_path: Path) -> None:
    loaded = load_case(read_cases(write_cohort(tmp_path, ("train",)))[0])
    assert loaded.truth is not None
    lesion = ras_from_kji(loaded.truth.grid, np.argwhere(loaded.truth.array))
    boxes = [lesion_free_box(loaded, number) for number in range(8)]
    found = [box for box in boxes if box is not None]
    assert found
    for box in found:
        assert not inside_box(box, lesion, margin_mm=1.0).any()


def test_whole_box_holds_what_was_seen() -> None:
    volume, _ = a_volume(1)
    seen = np.zeros(SHAPE, np.float32)
    seen[10:20, 5:50, 30:33] = 1
    box = whole_box(Volume(volume.array, volume.grid, seen))
    np.testing.assert_allclose(box.size, (3 * 0.6, 45 * 0.6, 10 * 0.6))
    np.testing.assert_allclose(box.centre, ras_from_kji(volume.grid, (14.5, 27.0, 31.0)))
    with pytest.raises(VolumeError, match="nothing of it was seen"):
        whole_box(Volume(volume.array, volume.grid, np.zeros(SHAPE, np.float32)))


def test_a_mask_on_another_grid_is_where_it_was() -> None:
    """A ball of known centre and radius, from a fine turned grid onto a coarse one: volume and middle stay."""
    fine = grid_from_axes((80, 80, 80), (-20.0, -20.0, -20.0), np.eye(3), 0.5)
    points = ras_from_kji(fine, np.moveaxis(np.indices(fine.shape), 0, -1))
    ball = Mask(np.linalg.norm(points - (1.0, -2.0, 3.0), axis=-1) < 9, fine)
    coarse = grid_from_axes((30, 60, 60), (-30.0, -25.0, -28.0), np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]]), 1.0)
    result = mask_onto_grid(ball, coarse)
    found = ras_from_kji(coarse, np.argwhere(result.array))
    assert len(found) * coarse.voxel_ml <= ball.volume_ml
    onto_all = grid_from_axes((70, 90, 90), (-35.0, -45.0, -35.0), np.eye(3), 0.9)
    result = mask_onto_grid(ball, onto_all)
    assert result.volume_ml == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.02)
    np.testing.assert_allclose(ras_from_kji(onto_all, np.argwhere(result.array)).mean(axis=0), (1.0, -2.0, 3.0), atol=0.1)
    np.testing.assert_array_equal(mask_onto_grid(ball, fine).array, ball.array)
    away = grid_from_axes((5, 5, 5), (200.0, 0, 0), np.eye(3), 1.0)
    assert not mask_onto_grid(ball, away).array.any()
    assert mask_onto_grid(Mask(np.zeros((4, 4, 4), bool), a_grid(0).__class__((4, 4, 4), np.eye(4))), fine).array.sum() == 0
    with pytest.raises(VolumeError, match="frame"):
        mask_onto_grid(ball, grid_from_axes((5, 5, 5), (0, 0, 0), np.eye(3), 1.0, "Elsewhere"))


def test_a_box_less_than_half_seen_names_the_case(tmp_path: Path) -> None:
    from LiverLesionSegLib.files.volumes import write_weights
    from LiverLesionSegLib.training import export_cases

    table = write_cohort(tmp_path, ("train", "validation"))
    volume, _ = a_volume(1)
    weight = volume.weight.copy()
    weight[:34] = 0
    weight[:, :32] = 0
    write_weights(tmp_path / "w1.nrrd", Volume(volume.array, volume.grid, weight))
    with pytest.raises(BoxError, match=r"Case case1: The sweep saw only \d+ % of the box"):
        export_cases(read_cases(table), tmp_path / "out")
    assert not (tmp_path / "out").exists()
