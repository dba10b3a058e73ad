"""Reads and writes sweeps; the format is chosen by the file's ending."""

from __future__ import annotations

from pathlib import Path

from ..errors import SweepError
from ..files.atomic import whole_file
from ..progress import IsCancelled, Progress
from ..types import Sweep
from ._frame_fields import sweep_from_fields
from ._header import SequenceHeader
from ._pixels import read_pixels
from ._write import FramePixels, pixels_of, write_metaimage, write_nrrd
from .journal_format import JOURNAL_SUFFIX
from .leftovers import journal_path, read_journal
from .metaimage import read_metaimage_header
from .nrrd_header import read_nrrd_header
from .slicer_sequence import add_slicer_fields, is_slicer_sequence, write_slicer_sequence

METAIMAGE_ENDINGS = (".mha", ".mhd")
NRRD_ENDINGS = (".nrrd", ".nhdr")


def read_sweep(path: str | Path, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> Sweep:
    """The tracked recording at `path` (.igs.mha, .igs.mhd, .igs.nrrd, .seq.nrrd): images flipped to MF, grey, 8-bit.

    Memory stays near the size of the images. Where no file is at `path` but the journal of a recording to it that was cut off (after a crash or a
    full disk), that is read, and the sweep's warnings say so; the journal itself can be given, too. Raises SweepError for anything that is not a
    sequence file or cannot be true.
    """
    path = Path(path)
    ending = path.suffix.lower()
    unfinished = path if ending == JOURNAL_SUFFIX else journal_path(path)
    if unfinished.is_file() and (unfinished == path or not path.exists()):
        try:
            return read_journal(unfinished, source=str(path), progress=progress, cancelled=cancelled)
        except OSError as error:
            raise SweepError(f"{unfinished}: cannot be read ({error.strerror or error}); check the path and the permissions.") from error
    if ending not in METAIMAGE_ENDINGS + NRRD_ENDINGS:
        raise SweepError(f"{path}: unknown ending “{path.suffix}”; a sweep is .igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd.")
    if path.exists() and not path.is_file():
        raise SweepError(f"{path}: is not an ordinary file; give the recording's file name.")
    try:
        header = (read_nrrd_header if ending in NRRD_ENDINGS else read_metaimage_header)(path)
        if ending in NRRD_ENDINGS and is_slicer_sequence(header):
            add_slicer_fields(header)
        header.check_frame_numbers()
        orientation = _orientation(header)
        images = read_pixels(header.block, orientation, header.warnings, progress=progress, cancelled=cancelled)
    except OSError as error:
        raise SweepError(f"{path}: cannot be read ({error.strerror or error}); check the path and the permissions.") from error
    header.header["UltrasoundImageOrientation"] = "MF" + orientation[2:]
    header.header["UltrasoundImageType"] = "BRIGHTNESS"
    return sweep_from_fields(header, images)


def _orientation(header: SequenceHeader) -> str:
    """The stored images' orientation. Raises SweepError for radio-frequency data."""
    kind = header.header.get("UltrasoundImageType", "BRIGHTNESS")
    if kind.upper().startswith("RF"):
        raise SweepError(f"{header.path}: holds radio-frequency data ({kind[:20]}); export brightness (B-mode) frames.")
    orientation = header.header.get("UltrasoundImageOrientation", "MFA").strip().upper()
    if set(orientation) <= set("?X"):  # Slicer and PLUS write this where they do not know
        header.warnings.append("The image orientation is not recorded; MF (marked side left, far side down) was assumed.")
        return "MFA"
    return orientation


def write_sweep(path: str | Path, sweep: Sweep, *, compress: bool = True, pixels: FramePixels | None = None, durable: bool = False) -> None:
    """Write `sweep` whole or not at all: .igs.mha or .igs.nrrd in one file, .igs.mhd with a .zraw or .raw file beside it, .seq.nrrd with a
    .seq.mhd file beside it for each transform.

    pixels: where the frames come from when they are not in memory; the sweep's own images are not looked at then. durable: come back only when a
    power loss could not take the file away again. Raises OutputError when the place cannot be written, SweepError for an ending that is not a
    sequence file's.
    """
    path = Path(path)
    check_sweep_ending(path)
    metaimage, slicer = path.suffix.lower() in METAIMAGE_ENDINGS, path.name.lower().endswith(".seq.nrrd")
    write = write_metaimage if metaimage else write_slicer_sequence if slicer else write_nrrd
    with whole_file(path, durable=durable) as temporary:
        write(temporary, sweep, compress, pixels or pixels_of(sweep))


def check_sweep_ending(path: Path) -> None:
    """Raise SweepError unless a sweep can be written under this name."""
    if path.suffix.lower() not in (*METAIMAGE_ENDINGS, ".nrrd"):
        raise SweepError(f"{path}: unknown ending “{path.suffix}”; write a sweep as .igs.mha, .igs.mhd, .igs.nrrd or .seq.nrrd.")
