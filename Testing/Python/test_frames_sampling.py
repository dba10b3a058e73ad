"""Frames on a network's pixels: means over areas, the truth cut by the frame's plane, and export as the live image has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import write_cohort
from frame_cases import CALIBRATION, PIXEL_MM, RADIUS_MM, SHAPE, STEP_MM, a_ball, a_sweep, write_frame_cohort
from hypothesis import given, settings
from hypothesis import strategies as st

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.cohort import read_cases
from LiverLesionSegLib.errors import InputError, VolumeError
from LiverLesionSegLib.files.volumes import read_volume
from LiverLesionSegLib.segmentation.crop import SEEN_BLACK
from LiverLesionSegLib.segmentation.frame_sampling import check_frame, frame_sampler, mask_on_frame, pixel_size_mm
from LiverLesionSegLib.training.frames import FrameExportSettings, chosen_frames, export_frames, load_frame_case


def test_a_network_pixel_is_the_mean_of_its_area() -> None:
    """Twice as coarse is the mean of 2 x 2; as fine is the frame itself; coarser frames are interpolated linearly."""
    image = np.random.default_rng(0).integers(1, 255, (40, 60), dtype=np.uint8)
    np.testing.assert_allclose(frame_sampler((40, 60), (0.3, 0.3), 0.6).sample(image), image.reshape(20, 2, 30, 2).mean(axis=(1, 3)), rtol=1e-5)
    np.testing.assert_allclose(frame_sampler((40, 60), (0.3, 0.3), 0.3).sample(image), image, rtol=1e-6)
    finer = frame_sampler((40, 60), (0.6, 0.6), 0.3).sample(image)
    np.testing.assert_allclose(
        finer[10, 11], 0.75 * (0.75 * image[5, 5] + 0.25 * image[5, 6]) + 0.25 * (0.75 * image[4, 5] + 0.25 * image[4, 6]), rtol=1e-5
    )
    odd = frame_sampler((40, 60), (0.2, 0.3), 0.5)
    assert odd.shape == (24, 24)
    # Rows 0 to 1.67 and columns 0 to 2.5 of the frame.
    weights = np.outer([1, 2 / 3], [1, 1, 0.5])
    np.testing.assert_allclose(odd.sample(image)[0, 0], (image[:2, :3] * weights).sum() / weights.sum(), rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.floats(0.1, 1.0), st.floats(0.1, 1.0), st.floats(0.5, 1.5), st.integers(1, 254))
def test_an_even_frame_stays_even(x: float, y: float, network: float, grey: int) -> None:
    sampler = frame_sampler((37, 53), (x, y), network)
    np.testing.assert_allclose(sampler.sample(np.full((37, 53), grey, np.uint8)), grey, rtol=1e-5)
    positions = sampler.positions_px()
    assert positions[0, 0, :2] == pytest.approx([0.5 * network / x - 0.5, 0.5 * network / y - 0.5])
    assert (sampler.shape[0] - 1) * network < 37 * y <= sampler.shape[0] * network + 1e-6


def test_only_what_the_fan_shows_counts() -> None:
    image = np.full(SHAPE, 200, np.uint8)
    sampler = frame_sampler(SHAPE, pixel_size_mm(CALIBRATION), 0.6, CALIBRATION)
    array = sampler.sample(image)
    assert sampler.seen is not None and 0.2 < sampler.seen.mean() < 0.9
    np.testing.assert_array_equal(array != 0, sampler.seen)
    np.testing.assert_allclose(array[sampler.seen], 200, rtol=1e-5)
    rows, columns = np.nonzero(sampler.seen)
    assert (sampler.part[0].start, sampler.part[0].stop) == (rows.min(), rows.max() + 1)
    assert (sampler.part[1].start, sampler.part[1].stop) == (columns.min(), columns.max() + 1)
    # Writing beside the fan does not reach the network, and black tissue stays seen.
    written = image.copy()
    written[:20, :15] = 0
    np.testing.assert_array_equal(sampler.sample(written)[sampler.part], array[sampler.part])
    black = sampler.sample(np.zeros(SHAPE, np.uint8))
    assert (black[sampler.seen] == np.float32(SEEN_BLACK)).all() and (black[~sampler.seen] == 0).all()
    alone = frame_sampler(SHAPE, pixel_size_mm(CALIBRATION), 0.6)
    found = alone.sample(a_sweep((16.0, 15.0, 14.0)).images[3]) > 0
    assert (found & sampler.seen).sum() > 0.97 * sampler.seen.sum()


def test_the_cut_of_a_ball_is_a_disc() -> None:
    """At a distance d of the middle a ball of radius r is cut in a disc of radius sqrt(r^2 - d^2), where its middle lies in the frame."""
    centre = (16.0, 15.0, 14.0)
    ball, sampler = a_ball(centre), frame_sampler(SHAPE, (PIXEL_MM, PIXEL_MM), 0.4)
    angle = 0.4
    for number in (9, 12, 14):
        pose = np.eye(4)
        pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        pose[2, 3] = number * STEP_MM
        to_reference = pose @ CALIBRATION.image_to_probe
        cut = mask_on_frame(ball, to_reference, sampler)
        assert cut.sum() * 0.16 == pytest.approx(np.pi * (RADIUS_MM**2 - (number - 14) ** 2), rel=0.05)
        middle = sampler.positions_px()[cut].mean(axis=0)
        np.testing.assert_allclose((to_reference @ [*middle, 1])[:2], centre[:2], atol=0.1)
    assert not mask_on_frame(ball, np.diag([0.3, 0.3, 0.3, 1.0]), sampler).any()


def test_an_exported_frame_is_the_live_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_frame_cohort(tmp_path, ("train", "train", "validation", "test"))
    out = tmp_path / "Dataset009_f"
    assert main(["export", str(table), "--mode", "frames", "--frames", "6", "--spacing", "0.5", "--output", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == {"train": 18, "validation": 9, "test": 9}
    section = json.loads((out / "dataset.json").read_text())["liverlesionseg"]
    assert section["mode"] == "frames" and section["frames"]["pixel_mm"] == 0.5 and section["frames"]["depth_mm"][0] > 20
    for record in section["images"]:
        number, folder = int(record["case"][-1]), "Ts" if record["split"] == "test" else "Tr"
        image = read_volume(out / f"images{folder}" / f"{record['name']}_0000.nrrd")
        label = read_volume(out / f"labels{folder}" / f"{record['name']}.nrrd").array[0] != 0
        assert image.grid.spacing_mm == pytest.approx([0.5, 0.5, 999])
        live = frame_sampler(SHAPE, pixel_size_mm(CALIBRATION), 0.5, CALIBRATION)
        frame = a_sweep((16.0 + number, 15.0, 14.0), 30, number).images[record["frame"]]
        np.testing.assert_array_equal(image.array[0], live.sample(frame)[live.part])
        distance = abs(record["frame"] * STEP_MM - 14)
        assert record["lesion"] == bool(label.any()) == (distance < RADIUS_MM)
        assert not record["lesion"] or label.sum() * 0.25 >= 10


def test_which_frames_follows_from_case_and_seed_alone(tmp_path: Path) -> None:
    (case,) = read_cases(write_frame_cohort(tmp_path, ("train",)))
    loaded = load_frame_case(case, 0.6)
    few = FrameExportSettings(frames=4, without=3)
    one = chosen_frames(loaded, few)
    assert one == chosen_frames(loaded, few) == sorted(set(one)) and len(one) == 7
    assert one != chosen_frames(loaded, FrameExportSettings(frames=4, without=3, seed=1))
    assert sum(loaded.label(frame).any() for frame in one) == 4


def test_cases_without_frames_are_refused(tmp_path: Path) -> None:
    cases = read_cases(write_cohort(tmp_path / "volumes", ("train", "validation")))
    with pytest.raises(InputError, match="case0: names no sweep"):
        export_frames(cases, tmp_path / "out")
    table = write_frame_cohort(tmp_path / "frames", ("train", "validation"))
    with pytest.raises(InputError, match="0 validation"):
        export_frames(read_cases(table)[:1], tmp_path / "out")
    from LiverLesionSegLib.files.volumes import write_label_volume

    write_label_volume(tmp_path / "frames" / "t0.nrrd", a_ball((16.0, 15.0, 300.0)))
    with pytest.raises(VolumeError, match="case0: none of its 30 frames with a pose shows its lesion"):
        export_frames(read_cases(table), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert main(["export", str(table), "--frames", "3", "--output", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((40, 50, 3), np.uint8), "colour"),
        (np.zeros((40, 50), np.float32), "8-bit"),
        (np.zeros(40, np.uint8), "8-bit"),
        (np.zeros((4, 50), np.uint8), "50 x 4 pixels"),
        (None, "8-bit"),
    ],
)
def test_what_is_no_frame_is_refused(image: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_frame(image)


def test_frames_of_another_size_or_scale_are_refused() -> None:
    with pytest.raises(InputError, match="instead of"):
        frame_sampler((40, 50), (0.3, 0.3), 0.6).sample(np.zeros((50, 40), np.uint8))
    for mm in (0.0, np.nan, 5.0):
        with pytest.raises(InputError, match="pixels are"):
            frame_sampler((40, 50), (mm, 0.3), 0.6)
