"""Boxes proposed from sweeps of balls whose places are known."""

from __future__ import annotations

import numpy as np
import pytest
from realtime_cases import Ball, GreyLevels, a_calibration, a_sweep, image_pose, slice_of

from LiverLesionSegLib.errors import Cancelled, InputError, SweepError
from LiverLesionSegLib.realtime import ProposalSettings, SweepLikelihood, propose_boxes, sweep_likelihood

CALIBRATION = a_calibration()
LARGE, SMALL = Ball((6.0, 3.0, -4.0), 8.0), Ball((-15.0, -7.0, 6.0), 4.5)


def swept(balls: list[Ball], *, step_mm: float = 1.2, dim: float = 1.0, ok=None):
    positions = np.arange(-14, 14, step_mm)
    poses = [image_pose((0.0, y, 0.0), 0.3 * y) for y in positions]
    images = [(slice_of(balls, pose) * dim).astype(np.uint8) for pose in poses]
    return a_sweep(images, poses, CALIBRATION, ok)


def test_both_balls_are_proposed_the_large_one_first() -> None:
    sweep = swept([LARGE, SMALL])
    proposals = propose_boxes(sweep, CALIBRATION, GreyLevels())
    assert len(proposals) == 2
    for proposal, ball in zip(proposals, (LARGE, SMALL), strict=True):
        assert proposal.volume_ml == pytest.approx(4 / 3 * np.pi * (ball.radius / 10) ** 3, rel=0.15)
        assert np.abs(proposal.box.centre - ball.centre).max() < 1.0
        assert np.array_equal(proposal.box.axes, np.eye(3)) and proposal.box.frame == "Reference"
        grown = proposal.box.size / (2 * ball.radius)
        assert (grown > 1.1).all() and (grown < 1.6).all()  # a hand's box is 30 % larger in the mean
        assert proposal.frames == pytest.approx(2 * ball.radius / 1.2, abs=3)
    assert 0.4 < proposals[1].score < proposals[0].score <= 1
    assert len(propose_boxes(sweep, CALIBRATION, GreyLevels(), ProposalSettings(most=1))) == 1
    assert len(propose_boxes(sweep, CALIBRATION, GreyLevels(), ProposalSettings(minimum_ml=1.0))) == 1
    (small,) = propose_boxes(sweep, CALIBRATION, GreyLevels(), ProposalSettings(maximum_ml=1.0))
    assert small.volume_ml == proposals[1].volume_ml


def test_what_few_frames_support_is_no_proposal() -> None:
    sweep = swept([LARGE])
    likelihood = sweep_likelihood(sweep, CALIBRATION, GreyLevels())
    marked = [n for n, image in enumerate(likelihood.images) if image.any()]
    images = likelihood.images.copy()
    images[[n for n in marked if n not in marked[5:7]]] = 0
    seldom = SweepLikelihood(images, likelihood.pixel_mm, likelihood.predicted, likelihood.model_id)
    assert propose_boxes(sweep, CALIBRATION, likelihood)
    assert propose_boxes(sweep, CALIBRATION, seldom) == ()
    found = propose_boxes(sweep, CALIBRATION, seldom, ProposalSettings(minimum_frames=2, threshold=0.3))
    assert [proposal.frames for proposal in found] == [2]


def test_nothing_marked_is_no_proposal() -> None:
    assert propose_boxes(swept([]), CALIBRATION, GreyLevels()) == ()
    assert propose_boxes(swept([LARGE], dim=0.4), CALIBRATION, GreyLevels()) == ()


def test_frames_without_a_pose_neither_count_nor_are_predicted() -> None:
    whole = swept([LARGE])
    ok = [n % 3 != 0 for n in range(len(whole))]
    source = GreyLevels()
    (proposal,) = propose_boxes(swept([LARGE], ok=ok), CALIBRATION, source)
    assert source.calls == sum(ok)
    (reference,) = propose_boxes(whole, CALIBRATION, GreyLevels())
    assert proposal.frames < reference.frames
    assert np.abs(proposal.box.centre - reference.box.centre).max() < 1.5
    with pytest.raises(SweepError, match="usable pose"):
        propose_boxes(swept([LARGE], ok=[False] * len(whole)), CALIBRATION, source)


def test_progress_cancel_and_settings() -> None:
    told: list[tuple[float, str]] = []
    sweep = swept([LARGE])
    propose_boxes(sweep, CALIBRATION, GreyLevels(), progress=lambda fraction, text: told.append((fraction, text)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions) and fractions[0] == 0 and any("frame 3 of" in text for _, text in told)
    with pytest.raises(Cancelled):
        propose_boxes(sweep, CALIBRATION, GreyLevels(), cancelled=lambda: len(told) > 0)
    with pytest.raises(InputError, match="cannot be"):
        ProposalSettings(minimum_frames=0)
    with pytest.raises(SweepError, match="set the depth"):
        propose_boxes(sweep, CALIBRATION, GreyLevels(shape=(50, 50)))
