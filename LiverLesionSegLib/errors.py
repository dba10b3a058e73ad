"""The errors a person can do something about. Every message says what is wrong, where, and what to do next, in one line.

Anything else that is raised is a defect of ours: the command line exits 2 for `InputError` and 1 for the rest.
"""

import os


class InputError(Exception):
    """Bad usage or bad input: a file, a value or a setting that the user can put right."""


class SweepError(InputError):
    """A sequence file is unreadable or says what cannot be true, or a sweep has no usable frame."""


class CalibrationError(InputError):
    """A device-set configuration is unreadable, or has no usable calibration."""


class GridError(InputError):
    """An output grid is malformed, or too large for the memory at hand."""


class VolumeError(InputError):
    """A volume file is unreadable, or its content is not an image volume."""


class BoxError(InputError):
    """A box has no size, is not finite, lies outside the volume, or holds too little that was seen."""


class SeedError(InputError):
    """A seed lies outside the box or in a place that was never seen."""


class SegmentationError(InputError):
    """A segmentation method found nothing, or what it found cannot be a lesion."""


class ModelError(InputError):
    """A model folder is incomplete, altered, unsafe to load, or not of the expected kind."""


class SceneError(InputError):
    """A scene file is unreadable, or a scene does not hold what is asked for."""


class PhantomError(InputError):
    """Settings ask for a case that cannot be simulated."""


class LinkError(InputError):
    """A peer on the network cannot be reached, is silent, refuses what is asked, or sends what the protocol does not know."""


class OutputError(InputError):
    """An output cannot be written: no permission, no space, or no such folder."""


class WorkerError(InputError):
    """The process for long work could not be started, ended by itself, took too long, or is busy."""


class Cancelled(Exception):
    """The caller asked the running stage to stop; nothing was written."""


class FromWorker(Exception):
    """What lies behind an error that came from the process for long work: its causes there, and the lines that it wrote last. Never raised."""


def causes(error: BaseException) -> tuple[str, ...]:
    """What lies behind an error: kind, place and text of it, and of every error that it was raised from, the nearest first."""
    found: list[str] = []
    seen: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in seen:
        seen.append(each)
        trace = each.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f" ({os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})" if trace is not None else ""  # noqa: PTH119
        found += [*(str(each).splitlines())] if isinstance(each, FromWorker) else [f"{type(each).__name__}{place}: {each}"]
        each = each.__cause__ if each.__cause__ is not None or each.__suppress_context__ else each.__context__
    return tuple(found)
