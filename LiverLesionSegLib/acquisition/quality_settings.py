"""The limits of the quality gate, in one place for recorded and for live sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class CoverageSettings:
    """How the coverage of a box, or of what a sweep spans, is judged.

    bridge_mm: a place nearer than this to what was seen on both sides is no hole: hole filling closes it (its default distance).
    seen_warn, seen_refuse: least share seen, the limits of the crop. hole_warn_mm: a lesion of this diameter must not go unnoticed.
    span_mm: consecutive frames farther apart than this anywhere belong to different passes, and what is between was not meant to be seen.
    most_voxels: how fine the map is, on which speed depends; least_voxel_mm: no finer than this.
    """

    bridge_mm: float = 2.0
    seen_warn: float = 0.9
    seen_refuse: float = 0.5
    hole_warn_mm: float = 5.0
    span_mm: float = 50.0
    most_voxels: int = 800_000
    least_voxel_mm: float = 1.0


@dataclass(frozen=True)
class QualitySettings:
    """Limits. The defaults pass or warn on real recordings of phantoms and of a volunteer's liver, the widest of which are named.

    voxel_mm: spacing of the volume to come. gap_*: time without a usable frame; a healthy system drops a frame (0.16 s seen) but not half a second.
    stale_*: a bitwise repeated probe pose under a changing image; electromagnetic trackers never repeat a pose (noise is over 0.01 mm), a tracker
    slower than the image may once. stale_reference_repeats: the same for a sensor that lies still, whose poses a coarse tracker (0.1 mm) repeats
    by chance now and then. jump_mm: distance of the image centre from the straight line between its neighbours in time (up to 0.6 mm
    seen). reference_jump_mm: how far one frame's motion of the reference sensor alone moves the image centre; breathing stays under 2 mm.
    follow_*: a reference sensor that goes along with the probe for so far within so long, to within the share, is not on the liver: breathing
    and a pushed table carry both, but seldom 25 mm in 4 s. speed_*: of the image centre (up to 29 mm/s seen). spacing_*: out-of-plane step anywhere
    in the image, in voxels; a slow convex tilt nears 6 voxels of 0.5 mm at depth, which hole filling still closes. *_share: of frames, from which
    a fault refuses instead of warns.
    """

    voxel_mm: float = 0.5
    min_frames: int = 10
    few_frames: int = 20
    gap_warn_s: float = 0.5
    gap_refuse_s: float = 2.0
    lost_share_refuse: float = 0.5
    stale_warn_repeats: int = 3
    stale_reference_repeats: int = 10
    stale_refuse_s: float = 1.0
    jump_mm: float = 3.0
    jump_share_refuse: float = 0.1
    reference_jump_mm: float = 5.0
    follow_mm: float = 25.0
    follow_s: float = 4.0
    follow_share: float = 0.1
    speed_warn_mm_s: float = 50.0
    speed_refuse_mm_s: float = 150.0
    spacing_warn_voxels: float = 6.0
    spacing_refuse_voxels: float = 12.0
    fast_share_refuse: float = 0.1
    frozen_repeats: int = 3
    frozen_share_refuse: float = 0.2
    frozen_motion_mm: float = 0.5
    dark_level: int = 20
    dark_share_refuse: float = 0.5
    coverage: CoverageSettings = field(default_factory=CoverageSettings)

    @property
    def spacing_warn_mm(self) -> float:
        """Frame spacing from which a sweep is warned of, mm."""
        return self.spacing_warn_voxels * self.voxel_mm
