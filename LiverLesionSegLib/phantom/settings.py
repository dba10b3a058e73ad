"""What a simulated case may look like: one frozen set of settings, with every default in this one place."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import PhantomError

ECHOGENICITIES = ("hypo", "hyper", "mixed", "iso", "none", "random")
"""How the lesion stands out. `random` draws hypo, hyper or mixed: near-iso lesions are asked for by name, as studies exclude them."""

PROBES = ("open_surgery", "transcutaneous")


@dataclass(frozen=True)
class PhantomSettings:
    """Settings of a simulated sweep. Lengths in mm, volumes in mL.

    probe: "open_surgery" (T-shaped convex, on the liver itself) or "transcutaneous" (abdominal convex, through the body wall).
    frames: number of frames, or None to draw it from `frame_range`.
    image_size: (columns, rows) of a frame in pixels.
    echogenicity: one of ECHOGENICITIES.
    lesion_ml: (smallest, largest) lesion volume; in between log-normal about `lesion_median_ml`, after Natali et al. 2025: median 2.68 (0.56-35.6).
    invalid_fraction: mean part of the frames whose pose the tracker loses.
    tracker_jitter_mm, tracker_jitter_deg: standard deviation of each recorded pose's error (Aurora class: 0.3 mm and 0.3 degrees at a sensor in
    a good field, manufacturer's figures are 0.48 mm and 0.30 degrees RMS).
    steatosis: 0 (normal) to 1 (severe: bright, finer texture and more attenuation), or None to draw it.
    gas_bubbles, calcification, necrosis: probability of each in a case.
    gain_db: added gain, or None to draw it.
    variation: how much the scanner's set-up differs from case to case: 0 not at all, 1 as between good scanners and operators.
    depth_mm, half_angle_deg, frequency_mhz: another fan or band than the preset's, or None.
    other_lesions: how many more lesions lie in the sweep; truth and box are the first one's.
    neighbours: how many more lesions lie a few mm beside the first, in the same frames; truth, box and volume are
        of all of these together. Simulated livers only, as other_lesions.
    sweep_coverage_mm: (least, most) that the sweep goes beyond the lesion on either side.
    truth_spacing_mm: voxel of the truth label map.
    background_grey_power: in a recorded background, grey level goes as this power of the echo's amplitude.
    detail: multiplies the sampling of tissue and beams; below 1 is faster and coarser, for tests.
    """

    probe: str = "open_surgery"
    frames: int | None = None
    frame_range: tuple[int, int] = (38, 95)
    image_size: tuple[int, int] = (640, 480)
    echogenicity: str = "random"
    lesion_ml: tuple[float, float] = (0.5, 36.0)
    lesion_median_ml: float = 2.7
    lesion_log_sigma: float = 1.0
    invalid_fraction: float = 0.02
    tracker_jitter_mm: float = 0.12
    tracker_jitter_deg: float = 0.08
    steatosis: float | None = None
    gas_bubbles: float = 0.1
    calcification: float = 0.2
    necrosis: float = 0.2
    gain_db: float | None = None
    variation: float = 1.0
    depth_mm: float | None = None
    half_angle_deg: float | None = None
    frequency_mhz: float | None = None
    other_lesions: int = 0
    neighbours: int = 0
    sweep_coverage_mm: tuple[float, float] = (3.0, 12.0)
    truth_spacing_mm: float = 0.5
    background_grey_power: float = 0.7
    detail: float = 1.0

    def __post_init__(self) -> None:
        if self.probe not in PROBES:
            raise PhantomError(f"The probe {self.probe!r} is not known; choose one of {', '.join(PROBES)}.")
        if self.echogenicity not in ECHOGENICITIES:
            raise PhantomError(f"The echogenicity {self.echogenicity!r} is not known; choose one of {', '.join(ECHOGENICITIES)}.")
        if self.frames is not None and not 2 <= self.frames <= 2000:
            raise PhantomError(f"A sweep of {self.frames} frames cannot be simulated; choose 2 to 2000.")
        if not 2 <= self.frame_range[0] <= self.frame_range[1] <= 2000:
            raise PhantomError(f"The frame range {self.frame_range} is not usable; give two increasing counts from 2 to 2000.")
        if min(self.image_size) < 64 or max(self.image_size) > 2048:
            raise PhantomError(f"An image of {self.image_size[0]} x {self.image_size[1]} pixels cannot be simulated; choose 64 to 2048 on each side.")
        if not 0.05 <= self.lesion_ml[0] <= self.lesion_ml[1] <= 60.0:
            raise PhantomError(f"Lesion volumes of {self.lesion_ml} mL do not fit into a sweep; choose an increasing range within 0.05 to 60.")
        if not 0.25 <= self.detail <= 2.0:
            raise PhantomError(f"A detail of {self.detail:g} is not usable; choose 0.25 (coarse) to 2 (fine).")
        for name, low, high in (
            ("depth_mm", 30, 250),
            ("half_angle_deg", 10, 60),
            ("frequency_mhz", 1, 20),
            ("variation", 0, 2),
            ("other_lesions", 0, 5),
            ("neighbours", 0, 3),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise PhantomError(f"{name} is {value:g}, which is not usable; choose {low} to {high}.")
        for name in ("invalid_fraction", "gas_bubbles", "calcification", "necrosis"):
            if not 0 <= getattr(self, name) <= 1:
                raise PhantomError(f"{name} is {getattr(self, name):g}, but it is a probability; choose 0 to 1.")
        if not 0.2 <= self.truth_spacing_mm <= 5:
            raise PhantomError(f"A truth spacing of {self.truth_spacing_mm:g} mm is not usable; choose 0.2 to 5.")
