"""What nnU-Net keeps of each preprocessed case is a pickle that it reads again in training, and a pickle from elsewhere can run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from ..errors import ModelError

_PLAIN = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((module, name) for module in ("numpy.core.multiarray", "numpy._core.multiarray") for name in ("scalar", "_reconstruct")),
}
"""All that the properties of a case need beside Python's own containers and numbers."""


class _NotPlain(pickle.UnpicklingError):
    """What stands in the pickle is neither a plain value nor an array."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _PLAIN:
            raise _NotPlain(f"{module}.{name}")
        return super().find_class(module, name)


def check_pickles(folder: Path) -> None:
    """Reads every .pkl below `folder`, letting in plain values and arrays only. Raises ModelError for another one, of which nothing is run."""
    for path in sorted(folder.rglob("*.pkl")):
        try:
            with path.open("rb") as stream:
                _PlainUnpickler(stream).load()
        except _NotPlain as error:
            raise ModelError(f"{path}: could run code ({error}); nothing was run. Preprocess the data set again in a new folder.") from error
        except (OSError, pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError, AttributeError, ImportError) as error:
            raise ModelError(f"{path}: cannot be read ({type(error).__name__}); preprocess the data set again in a new folder.") from error
