"""From the tip's position to what is shown: large digits, a colour band, the interval of the sound. Steady at borders, empty without a tip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..errors import InputError
from ..types import FloatArray
from .distance import SurfaceDistance
from .margin import margin_distance_mm

INSIDE, MARGIN, NEAR, FAR, UNKNOWN = "inside", "margin", "near", "far", "unknown"
BANDS = (INSIDE, MARGIN, NEAR, FAR)

BAND_COLORS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        INSIDE: (0.835, 0.369, 0.0),
        MARGIN: (0.941, 0.894, 0.259),
        NEAR: (0.337, 0.706, 0.914),
        FAR: (0.0, 0.447, 0.698),
        UNKNOWN: (0.6, 0.6, 0.6),
    }
)
"""RGB 0 to 1: vermillion, yellow, sky blue and blue of Okabe and Ito (2008), which people with any colour vision tell apart; grey for none."""

NO_DISTANCE = "—"
CONTINUOUS_S = 0.0


@dataclass(frozen=True)
class GuidanceSettings:
    """near_mm: width of the band outside the margin. hysteresis_mm: a band is left outwards only so far beyond its border, inwards at once, so that
    trackers' noise (0.2-0.5 mm) does not make the colour flicker and a warning is never late. digits_mm: the number changes only when the
    distance has left the shown tenth by this much. tone_far_s, tone_close_s: the sound's intervals where it starts and at the surface.
    """

    near_mm: float = 10.0
    hysteresis_mm: float = 0.7
    digits_mm: float = 0.1
    tone_far_s: float = 1.0
    tone_close_s: float = 0.12

    def __post_init__(self) -> None:
        lengths = (self.near_mm, self.hysteresis_mm, self.digits_mm, self.tone_far_s - self.tone_close_s, self.tone_close_s)
        if not all(math.isfinite(value) and value >= 0 for value in lengths):
            raise InputError("The guidance's lengths and intervals must be 0 or more, and the sound slower far away than close; correct them.")


@dataclass(frozen=True, eq=False)
class Reading:
    """distance_mm: tip to lesion, negative inside; margin_distance_mm: tip to the margin shell, negative within; nearest_ras: (3,) the lesion's
    nearest point, RAS mm; all None without a tip. band: inside, margin, near, far or unknown; text, margin_text: what is shown, steady;
    color: RGB 0 to 1; tone_interval_s: seconds between two beeps, 0 for a continuous tone, None for silence.
    """

    distance_mm: float | None = None
    margin_distance_mm: float | None = None
    nearest_ras: FloatArray | None = None
    band: str = UNKNOWN
    text: str = NO_DISTANCE
    margin_text: str = NO_DISTANCE
    tone_interval_s: float | None = None

    @property
    def color(self) -> tuple[float, float, float]:
        """RGB 0 to 1 of the band."""
        return BAND_COLORS[self.band]


class _Digits:
    """Tenths of a millimetre that change only when the value has clearly left them."""

    def __init__(self, slack_mm: float) -> None:
        self._slack = slack_mm
        self._shown: float | None = None

    def clear(self) -> None:
        self._shown = None

    def text(self, value_mm: float) -> str:
        if self._shown is None or abs(value_mm - self._shown) > 0.05 + self._slack:
            self._shown = round(value_mm, 1) + 0.0  # no "-0.0"
        return f"{self._shown:.1f} mm"


class Guidance:
    """Distances to one lesion and its margin. Keeps what was shown before, for steadiness only: a reading never outlives its tip."""

    def __init__(self, lesion: SurfaceDistance, margin_mm: float = 10.0, settings: GuidanceSettings | None = None) -> None:
        if not (math.isfinite(margin_mm) and margin_mm > 0):
            raise InputError(f"A margin of {margin_mm:g} mm cannot be guarded; give a positive length, such as 10.")
        self.lesion = lesion
        self.margin_mm = margin_mm
        self.settings = settings or GuidanceSettings()
        self._digits, self._margin_digits = _Digits(self.settings.digits_mm), _Digits(self.settings.digits_mm)
        self._band = UNKNOWN

    def clear(self) -> None:
        """Forget what was shown."""
        self._band = UNKNOWN
        self._digits.clear()
        self._margin_digits.clear()

    def update(self, tip_ras: Any | None) -> Reading:
        """From the tip's position (3,) mm in the lesion surface's frame, or None where it is not known. Raises InputError where it is not finite."""
        if tip_ras is None:
            self.clear()
            return Reading()
        found = self.lesion.to(tip_ras)
        value = found.value_mm
        margin = margin_distance_mm(value, self.margin_mm)
        self._band = self._steady_band(value)
        return Reading(
            value, margin, found.nearest_ras, self._band, self._digits.text(value), self._margin_digits.text(margin), self._tone_s(value, self._band)
        )

    def _steady_band(self, value: float) -> str:
        """Inwards at once; outwards only when the value less the hysteresis would still be in the outer band."""
        now = self._band_at(value)
        if self._band == UNKNOWN or BANDS.index(now) <= BANDS.index(self._band):
            return now
        held = self._band_at(value - self.settings.hysteresis_mm)
        return held if BANDS.index(held) > BANDS.index(self._band) else self._band

    def _band_at(self, value: float) -> str:
        borders = (0.0, self.margin_mm, self.margin_mm + self.settings.near_mm)
        return next((band for band, border in zip(BANDS, borders, strict=False) if value < border), FAR)

    def _tone_s(self, value: float, band: str) -> float | None:
        """Like a parking sensor: silent far away, quicker towards the surface, continuous inside."""
        if band in (INSIDE, FAR):
            return CONTINUOUS_S if band == INSIDE else None
        share = min(max(value / (self.margin_mm + self.settings.near_mm), 0.0), 1.0)
        return self.settings.tone_close_s + share * (self.settings.tone_far_s - self.settings.tone_close_s)
