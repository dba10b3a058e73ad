"""Every kind of damage put into real, simulated and hand-made sweeps is found, live as in the file, and good sweeps raise no alarm."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from conftest import real_data
from quality_cases import CALIBRATION, DAMAGE, changed, detached, frames_of, good, patient_moved, reference_spike, taken, translations

from LiverLesionSegLib.acquisition import LiveQuality, QualitySettings, TrackedFrame, check_sweep
from LiverLesionSegLib.acquisition.quality_settings import CoverageSettings
from LiverLesionSegLib.errors import SweepError
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case
from LiverLesionSegLib.sweep import read_plus_config, read_sweep
from LiverLesionSegLib.types import Calibration, Finding, Quality, Sweep

RECORDINGS = {
    "spine": ("plus/SpinePhantomFreehand.igs.mha", "plus/Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml"),
    "nwire": ("plus/NwirePhantomFreehand.igs.mha", "plus/PlusDeviceSet_NwirePhantomFreehand_vtkVolumeReconstructorTest2.xml"),
    "liver": ("liver/LiverFreehandA.igs.mha", "liver/LiverFreehand_config.xml"),
}
COARSE = QualitySettings(coverage=CoverageSettings(most_voxels=60_000))
"""Where coverage is not what is asked for."""
SWEEPS = [*RECORDINGS, "phantom", "by hand"]


@cache
def case(name: str) -> tuple[Sweep, Calibration]:
    if name in RECORDINGS:
        sweep, config = RECORDINGS[name]
        return read_sweep(real_data(sweep)), read_plus_config(real_data(config)).calibration
    if name == "by hand":
        return good(), CALIBRATION
    return phantom(0, "open_surgery")


def phantom(seed: int, probe: str) -> tuple[Sweep, Calibration]:
    simulated = simulate_case(seed, PhantomSettings(image_size=(160, 120), detail=0.25, probe=probe, frames=90, invalid_fraction=0.0))
    return simulated.sweep, simulated.calibration


def listened(sweep: Sweep, calibration: Calibration) -> tuple[Quality, list[Finding]]:
    """What the live gate says at the end, and all that it said on the way."""
    live = LiveQuality(calibration)
    news = [finding for frame in frames_of(sweep) for finding in live.add(frame)]
    return live.quality(), news


def without_coverage(quality: Quality) -> tuple[Finding, ...]:
    return tuple(finding for finding in quality.findings if finding.kind != "coverage")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", SWEEPS)
def test_damage_is_found_live_as_in_the_file(name: str, damage: str) -> None:
    sweep, calibration = case(name)
    harm, kind = DAMAGE[damage]
    if damage in ("tracking lost", "frames cut out", "stale pose", "stale reference"):  # long enough to be a fault, at the sweep's own speed
        seconds = sweep.timestamps - sweep.timestamps[0]
        sweep = replace(sweep, timestamps=seconds * max(1.0, 3.0 / seconds[-1]))
    if name == "spine" and damage == "thinned":
        sweep, calibration = case("liver")
    whole = check_sweep(harm(sweep), calibration, COARSE)
    found = {finding.kind for finding in whole.findings}
    assert kind in found
    live, news = listened(harm(sweep), calibration)
    assert live.findings == without_coverage(whole)
    if all(finding.kind != "coverage" for finding in whole.findings):
        assert live == whole
    assert {finding.kind for finding in live.findings} - {"too_short"} <= {finding.kind for finding in news}
    assert len(news) <= 3 * len(live.findings) + 6  # told once, and again when it gets worse: not with every frame
    assert all(len(finding.advice) < 300 and finding.advice.endswith(".") for finding in whole.findings)
    assert all("  " not in finding.advice and "{" not in finding.advice for finding in whole.findings)


@pytest.mark.parametrize("probe", ["open_surgery", "transcutaneous"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clean_phantoms_raise_no_alarm(probe: str, seed: int) -> None:
    sweep, calibration = phantom(seed, probe)
    assert check_sweep(sweep, calibration) == Quality(90, "pass", ())
    assert listened(sweep, calibration) == (Quality(90, "pass", ()), [])


@pytest.mark.parametrize("name", ["liver", "by hand"])
def test_at_any_moment_live_is_the_check_of_what_came_so_far(name: str) -> None:
    sweep, calibration = case(name)
    for damage in ("frozen image", "detached reference"):
        harmed = DAMAGE[damage][0](sweep)
        live = LiveQuality(calibration)
        for n, frame in enumerate(frames_of(harmed), start=1):
            live.add(frame)
            if n % 23 == 0:
                so_far = check_sweep(taken(harmed, np.arange(n)), calibration, COARSE)
                assert live.quality().findings == without_coverage(so_far)


@pytest.mark.parametrize("name", ["phantom", "liver", "nwire"])
def test_a_detached_reference_is_told_from_a_spike_and_from_a_moved_patient(name: str) -> None:
    sweep, calibration = case(name)
    for harm, severity, word in (
        (detached, "refuse", "off the liver"),
        (reference_spike, "warn", "fixed to the liver"),
        (patient_moved, "warn", "field generator was moved"),
    ):
        found = [f for f in check_sweep(harm(sweep), calibration, COARSE).findings if f.kind == "reference_jump"]
        assert [f.severity for f in found] == [severity]
        assert word in found[0].advice
        assert found[0].value == pytest.approx(20.1 if severity == "refuse" else 12.7, abs=4.0)
        assert found[0].first_frame in (len(sweep) // 2 - 1, len(sweep) // 2)


def test_a_reference_that_goes_along_with_the_probe() -> None:
    sweep = good(step_mm=0.7)

    def follow(matrices: np.ndarray) -> None:
        matrices[:, :3, 3] += sweep.transforms["ProbeToTracker"][:, :3, 3]

    stuck = changed(sweep, "ReferenceToTracker", follow)
    quality = check_sweep(stuck, CALIBRATION)
    assert [(f.kind, f.severity) for f in quality.findings] == [("reference_jump", "warn")]
    assert "went along with the probe" in quality.findings[0].advice
    assert listened(stuck, CALIBRATION)[0] == quality
    longer = good(160, step_mm=0.7)
    stuck = changed(longer, "ReferenceToTracker", lambda m: m.__setitem__((slice(None), slice(3), 3), longer.transforms["ProbeToTracker"][:, :3, 3]))
    assert check_sweep(stuck, CALIBRATION).verdict == "refuse"
    breathing = 10.0 * np.sin(np.arange(160) / 20 * 2 * np.pi / 4)
    rest = good(160, transforms={name: translations(breathing) for name in ("ProbeToTracker", "ReferenceToTracker")})
    assert "reference_jump" not in {f.kind for f in check_sweep(rest, CALIBRATION).findings}


def test_many_findings_of_a_kind_become_a_few() -> None:
    jumpy = good(600)
    probe = np.array(jumpy.transforms["ProbeToTracker"])
    probe[20:600:40, 0, 3] += np.linspace(5, 20, 15)
    jumpy = replace(jumpy, transforms={**jumpy.transforms, "ProbeToTracker": probe})
    found = [f for f in check_sweep(jumpy, CALIBRATION).findings if f.kind == "pose_jump"]
    assert len(found) == 6
    assert [round(f.value) for f in found[:5]] == [16, 17, 18, 19, 20]
    assert found[5].advice.startswith("10 more places like this, no worse: The tracked position jumped by 14.6 mm (frames 20-")
    assert round(found[5].value) == 15
    assert listened(jumpy, CALIBRATION)[0].findings == tuple(found)


def test_memory_does_not_grow() -> None:
    sweep, calibration = detached(good()), CALIBRATION
    live = LiveQuality(calibration)
    frames = list(frames_of(sweep))
    sizes = []
    for length in (500, 1500):
        tracemalloc.start()
        for n in range(length):
            live.add(replace(frames[n % 60], timestamp=100.0 + n / 20 if length == 500 else 1000.0 + n / 20))
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert sizes[1] < sizes[0] + 100_000
    assert live.quality().frames == 2000


def test_a_reference_that_arrives_late_and_one_that_never_does() -> None:
    frames = list(frames_of(good()))
    live = LiveQuality(CALIBRATION)
    assert live.quality() == Quality(0, "pass", ())
    for n, frame in enumerate(frames):
        only = {"ProbeToTracker": frame.transforms["ProbeToTracker"]} if n < 10 else frame.transforms
        live.add(replace(frame, transforms=only, statuses=dict.fromkeys(only, True)))
    assert live.quality().verdict == "pass"
    nothing = LiveQuality(CALIBRATION)
    news = [f for frame in frames for f in nothing.add(replace(frame, transforms={}, statuses={}))]
    assert {f.kind for f in news} == {"tracking_gap"}
    assert {f.kind: f.severity for f in nothing.quality().findings} == {"too_short": "refuse", "tracking_gap": "refuse"}


def test_a_change_of_image_size_is_refused_in_words() -> None:
    live = LiveQuality(CALIBRATION, QualitySettings(voxel_mm=1.0))
    live.add(TrackedFrame(np.zeros((40, 60), np.uint8), 1.0))
    with pytest.raises(SweepError, match="new sweep after a change of depth"):
        live.add(TrackedFrame(np.zeros((40, 61), np.uint8), 1.1))
