"""What is shown of a tip's distance."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from navigation_cases import box

from LiverLesionSegLib.errors import InputError
from LiverLesionSegLib.navigation import Guidance, GuidanceSettings, SurfaceDistance


@pytest.fixture
def guidance() -> Guidance:
    return Guidance(SurfaceDistance(box((10.0, 10.0, 10.0))))


def test_numbers_bands_and_sound(guidance: Guidance) -> None:
    shown = []
    for x in (40.0, 25.0, 22.34, 15.0, 7.9):
        found = guidance.update((x, 0, 0))
        assert found.distance_mm == pytest.approx(x - 10) and found.margin_distance_mm == pytest.approx(x - 20)
        shown.append((found.band, found.text, found.margin_text))
    assert shown == [
        ("far", "30.0 mm", "20.0 mm"),
        ("near", "15.0 mm", "5.0 mm"),
        ("near", "12.3 mm", "2.3 mm"),
        ("margin", "5.0 mm", "-5.0 mm"),
        ("inside", "-2.1 mm", "-12.1 mm"),
    ]


def test_sound_is_quicker_when_closer(guidance: Guidance) -> None:
    tones = [guidance.update((x, 0, 0)).tone_interval_s for x in (40.0, 28.0, 15.0, 11.0, 8.0)]
    assert tones[0] is None and tones[-1] == 0
    assert tones[1] > tones[2] > tones[3] > 0.1


def test_without_a_tip_nothing_stays(guidance: Guidance) -> None:
    guidance.update((12.0, 0, 0))
    found = guidance.update(None)
    assert (found.distance_mm, found.nearest_ras, found.band, found.text, found.tone_interval_s) == (None, None, "unknown", "—", None)
    assert guidance.update((20.3, 0, 0)).band == "near", "no hysteresis from before the loss"


def test_noise_at_a_border_does_not_flicker_and_danger_comes_at_once(guidance: Guidance) -> None:
    rng = np.random.default_rng(0)
    bands = [guidance.update((20.0 + 0.2 * rng.uniform(-1, 1), 0, 0)).band for _ in range(200)]
    assert sum(a != b for a, b in pairwise(bands)) <= 1
    assert guidance.update((20.8, 0, 0)).band == "near"
    assert guidance.update((19.99, 0, 0)).band == "margin"
    assert guidance.update((20.3, 0, 0)).band == "margin"


def test_digits_are_steady_and_never_minus_zero(guidance: Guidance) -> None:
    assert guidance.update((15.0, 0, 0)).text == "5.0 mm"
    assert {guidance.update((15.0 + x, 0, 0)).text for x in (0.08, -0.1, 0.12)} == {"5.0 mm"}
    assert guidance.update((15.2, 0, 0)).text == "5.2 mm"
    assert guidance.update((9.99, 0, 0)).text == "0.0 mm"


def test_bad_values_are_refused() -> None:
    lesion = SurfaceDistance(box((10.0, 10.0, 10.0)))
    with pytest.raises(InputError, match="margin"):
        Guidance(lesion, 0.0)
    with pytest.raises(InputError):
        GuidanceSettings(near_mm=-1)
