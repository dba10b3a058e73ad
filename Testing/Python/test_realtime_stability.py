"""Steadiness measured in the tissue, and improved by the poses without a lag."""

from __future__ import annotations

import numpy as np
import pytest
from realtime_cases import NETWORK_MM, PIXEL_MM, SHAPE, Ball, GreyLevels, a_calibration, image_pose, slice_of

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.realtime import FrameAnalyser, FusionSettings, LiveSettings, PoseFusion, Stability, stability
from LiverLesionSegLib.realtime.likelihood import network_to_image

BALL = Ball((0.0, 0.0, 0.0), 10.0)
TO_NETWORK = network_to_image(NETWORK_MM, (PIXEL_MM, PIXEL_MM))
PERIOD_S = 0.05


def dropping(likelihoods: list[np.ndarray], share: float, seed: int = 0) -> list[np.ndarray]:
    """A network that now and then loses the lesion: in that share of the frames its probability falls to 0.3 everywhere."""
    rng = np.random.default_rng(seed)
    return [np.minimum(p, 0.3).astype(np.float32) if rng.random() < share else p for p in likelihoods]


def likelihoods_of(poses: list[np.ndarray]) -> list[np.ndarray]:
    source = GreyLevels()
    return [source.predict(slice_of([BALL], pose), (PIXEL_MM, PIXEL_MM)).array for pose in poses]


def fused(likelihoods: list[np.ndarray], poses: list[np.ndarray], settings: FusionSettings | None = None) -> list[np.ndarray]:
    fusion = PoseFusion(settings)
    inside = np.ones(likelihoods[0].shape, dtype=bool)
    return [fusion.fuse(p, pose @ TO_NETWORK, n * PERIOD_S, inside)[0] for n, (p, pose) in enumerate(zip(likelihoods, poses, strict=True))]


def blind(likelihoods: list[np.ndarray], factor: float = 0.4) -> list[np.ndarray]:
    """A running average in the image, as steady as it is late."""
    result = [likelihoods[0]]
    for p in likelihoods[1:]:
        result.append((factor * p + (1 - factor) * result[-1]).astype(np.float32))
    return result


def judged(likelihoods: list[np.ndarray], poses: list[np.ndarray]) -> Stability:
    return stability([p >= 0.5 for p in likelihoods], np.stack([pose @ TO_NETWORK for pose in poses]), NETWORK_MM)


def overlap(likelihoods: list[np.ndarray], truth: list[np.ndarray]) -> float:
    """Mean IoU with the truth of the same moment, over frames with one."""
    pairs = [(p >= 0.5, t >= 0.5) for p, t in zip(likelihoods, truth, strict=True) if (t >= 0.5).any()]
    return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs]))


def across(step_mm: float, count: int = 40) -> list[np.ndarray]:
    """The probe moves out of its plane, through the ball from one side to the other."""
    return [image_pose((0.0, y, 2.0)) for y in step_mm * (np.arange(count) - count / 2)]


def along(step_mm: float, count: int = 14) -> list[np.ndarray]:
    """The probe moves within its plane: the ball runs through the image."""
    return [image_pose((x, 3.0, 2.0)) for x in step_mm * (np.arange(count) - count / 2)]


def test_the_truth_is_steady_however_the_probe_moves() -> None:
    for poses in (along(3.0), along(0.3), [image_pose((x, 0.0, 1.0), 0.5 * n) for n, x in enumerate(np.linspace(-6, 6, 12))]):
        found = judged(likelihoods_of(poses), poses)
        assert found.iou > 0.9 and found.flicker == 0
    poses = across(0.5, 50)
    found = judged(likelihoods_of(poses), poses)
    assert found.iou > 0.8 and found.flicker == 0  # it comes and goes, and the poses say why
    assert len(found.pairs) == 49 and found.left_out == 0


def test_iou_and_flicker_by_hand() -> None:
    """4 frames at one place: a square of 10 x 10, the same 5 columns to the right, nothing, the square again; and a pose that is lost."""
    masks = [np.zeros((40, 60), dtype=bool) for _ in range(5)]
    masks[0][10:20, 10:20] = masks[3][10:20, 10:20] = masks[4][10:20, 10:20] = True
    masks[1][10:20, 15:25] = True
    poses = np.stack([np.eye(4)] * 4 + [np.full((4, 4), np.nan)])
    found = stability(masks, poses, 1.0)
    assert [pair.iou for pair in found.pairs] == pytest.approx([50 / 150, 0.0, 0.0])
    assert [pair.flickers for pair in found.pairs] == [False, True, True]
    assert found.flicker == pytest.approx(2 / 3) and found.left_out == 1
    small = stability(masks, poses, 0.4)  # 16 mm2: too small to count
    assert small.flicker == 0 and np.isnan(small.iou)


def test_what_poses_explain_and_what_they_do_not() -> None:
    """A disc of radius 6 appears: between planes 1.0 mm apart a ball of radius 20 can appear with radius 6.24, at 0.5 mm with 4.44."""
    rows, columns = np.mgrid[:60, :60]
    disc = (rows - 30) ** 2 + (columns - 30) ** 2 <= 6**2
    nothing = np.zeros_like(disc)
    for distance, flickers in ((1.0, False), (0.5, True), (0.0, True)):
        poses = np.stack([np.eye(4), np.eye(4)])
        poses[1, 2, 3] = distance
        found = stability([nothing, disc], poses, 1.0)
        assert found.flicker == flickers
        assert found.pairs[0].distance_mm == pytest.approx(distance)
    poses[1, 2, 3] = 1.01
    assert stability([nothing, disc], poses, 1.0).pairs == ()  # too far apart to say anything
    poses[1, :3, 3] = (40.0, 0.0, 0.0)
    assert stability([nothing, disc], poses, 1.0).left_out == 1  # two thirds of it was not seen before
    with pytest.raises(InputError, match="2 masks and 1 poses"):
        stability([disc, disc], poses[:1], 1.0)


@pytest.mark.parametrize("poses", [along(0.5, 30), across(0.2, 40)], ids=["along", "across"])
def test_flicker_goes_down(poses: list[np.ndarray]) -> None:
    truth = likelihoods_of(poses)
    raw = dropping(truth, 0.2)
    steadied = fused(raw, poses)
    before, after, most = judged(raw, poses), judged(steadied, poses), judged(truth, poses)
    assert before.flicker > 0.2 and after.flicker < 0.3 * before.flicker
    assert before.iou < 0.75 < after.iou <= most.iou + 0.02
    assert overlap(steadied, truth) > overlap(raw, truth) + 0.1


def test_a_probe_that_moves_is_not_smeared() -> None:
    """In the plane, at 60 mm/s, a running average trails behind the ball; what the poses carry lies where the ball is now."""
    poses = along(3.0)
    truth = likelihoods_of(poses)
    assert overlap(fused(truth, poses), truth) > 0.97
    assert overlap(blind(truth), truth) < 0.75


@pytest.mark.parametrize("step_mm", [0.3, 1.0, 3.0])
def test_a_probe_that_leaves_the_plane_is_late_by_less_than_half_a_slice(step_mm: float) -> None:
    """Out of the plane at 6 to 60 mm/s. How late it is: the shift of the plane, mm, at which the outline fits the truth best."""
    poses = across(step_mm, int(26 / step_mm))
    truth = likelihoods_of(poses)
    steadied = fused(truth, poses)
    moved = round(len(poses) * 0.75)  # beyond the middle, where the ball shrinks from frame to frame
    shifts = np.arange(0.0, 2.0, 0.15)
    earlier = [likelihoods_of([poses[moved] + np.eye(4)[:, [1]] * np.eye(4)[3] * -shift])[0] for shift in shifts]
    late_mm = shifts[np.argmax([overlap([steadied[moved]], [p]) for p in earlier])]
    assert late_mm <= min(0.6, 0.8 / step_mm)
    if step_mm >= 1:
        assert overlap(steadied, truth) > max(0.93, overlap(blind(truth), truth) + 0.05)
    gone = [n for n, p in enumerate(truth) if n > len(truth) / 2 and not (p >= 0.5).any()]
    assert len([n for n in gone if (steadied[n] >= 0.5).any()]) * step_mm <= 1.0  # mm beyond the ball


def test_a_frame_without_a_pose_stands_alone_and_is_not_kept() -> None:
    poses = along(0.2, 6)
    truth = likelihoods_of(poses)
    inside = np.ones(truth[0].shape, dtype=bool)
    fusion = PoseFusion()
    for n in range(4):
        assert fusion.fuse(truth[n], poses[n] @ TO_NETWORK, n * PERIOD_S, inside)[1] == n
    empty = np.zeros_like(truth[0])
    alone, counted = fusion.fuse(empty, None, 4 * PERIOD_S, inside)
    assert counted == 0 and alone is empty
    assert fusion.fuse(truth[5], poses[5] @ TO_NETWORK, 5 * PERIOD_S, inside)[1] == 4
    assert fusion.fuse(truth[5], poses[5] @ TO_NETWORK, 0.0, inside)[1] == 0  # the stream began anew
    assert fusion.fuse(truth[5], poses[5] @ TO_NETWORK, 9.0, inside)[1] == 0  # too old


def test_what_was_not_insonified_before_says_nothing() -> None:
    """The ball comes into the fan: pixels that the earlier frames could not see keep the present frame's likelihood."""
    poses = along(2.0, 4)
    truth = likelihoods_of(poses)
    inside = np.zeros(truth[0].shape, dtype=bool)
    inside[:, 20:40] = True
    fusion = PoseFusion(FusionSettings(age_s=10.0))
    for n, pose in enumerate(poses):
        found, _ = fusion.fuse(np.where(inside, truth[n], 0).astype(np.float32), pose @ TO_NETWORK, n * PERIOD_S, inside)
        wanted = (truth[n] >= 0.5) & inside
        assert (((found >= 0.5) & inside) ^ wanted).sum() <= 0.05 * max(1, wanted.sum())


def test_settings_that_cannot_be() -> None:
    for wrong in ({"frames": -1}, {"slice_mm": 0.0}, {"age_s": float("nan")}):
        with pytest.raises(InputError, match="cannot be"):
            FusionSettings(**wrong)
    with pytest.raises(InputError, match="cannot be"):
        LiveSettings(threshold=1.0)


def test_the_analyser_joins_it_all() -> None:
    calibration = a_calibration()
    poses = along(0.5, 12)
    analyser = FrameAnalyser(GreyLevels(), calibration)
    for n, pose in enumerate(poses):
        finding = analyser.analyse(slice_of([BALL], pose), n * PERIOD_S, pose)
        (lesion,) = finding.lesions
        assert lesion.contours_mm is not None
        distance = np.linalg.norm(lesion.contours_mm[0] - BALL.centre, axis=1)
        assert np.abs(distance - 10.0).max() < 0.5
        assert finding.fused == min(n, 6) and finding.pixel_mm == NETWORK_MM and finding.model_id == "grey"
    lost = analyser.analyse(slice_of([BALL], poses[-1]), 1.0, None)
    assert lost.fused == 0 and lost.lesions[0].contours_mm is None and len(lost.lesions[0].contours_px) == 1
    analyser.reset()
    assert analyser.analyse(slice_of([BALL], poses[-1]), 1.1, poses[-1]).fused == 0
    assert SHAPE == (100, 120)
