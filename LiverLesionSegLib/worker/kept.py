"""What the worker process is to hold from one request to the next, as its client knows it, so that a new process can be given the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..types import Volume

IN_VOLUME = frozenset({"segment", "grow"})


class Kept:
    """The model that was loaded and the volume that was set or reconstructed last. numbers: for names of volumes, each given once."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers
        self._model: dict[str, Any] | None = None
        self._load_again = False
        self._volume: Volume | None = None
        self._volume_id = self._in_process = ""

    @property
    def to_load(self) -> bool:
        """Whether a new process waits to be given its model again."""
        return self._load_again

    def begins(self) -> None:
        """A new process, which holds nothing."""
        self._load_again, self._in_process = self._model is not None, ""

    def model_again(self, following: str) -> dict[str, Any] | None:
        """The arguments with which the model is loaded again, once; None where that is not needed for what is `following`."""
        wanted, self._load_again = self._load_again, False
        return self._model if wanted and following != "load_model" else None

    def forget_model(self) -> None:
        """It could not be loaded again; a further process would fare no better."""
        self._model, self._load_again = None, False

    def complete(self, operation: str, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """What to ask for: (the arguments of the operation, those of a set_volume that has to come before it, or None).

        The volume and model that are meant are named, so that nothing is ever segmented in, or by, others that a process happens to hold.
        """
        arguments = dict(given)
        if operation in IN_VOLUME:
            volume = arguments.pop("volume", None) or self._volume
            if volume is not self._volume:
                self._volume, self._volume_id = volume, self._new_id()
            if volume is not None and self._in_process != self._volume_id:
                return arguments, {"volume": volume, "volume_id": self._volume_id}
            arguments["volume_id"] = self._volume_id if volume is not None else ""
            if operation == "segment" and self._model is not None:
                arguments.setdefault("model_id", self._model["model_id"])
        elif operation in ("set_volume", "reconstruct"):
            self._volume, self._volume_id, self._in_process = arguments.get("volume"), self._new_id(), ""
            arguments["volume_id"] = self._volume_id
        elif operation == "load_model":
            self._model, self._load_again = None, False
        return arguments, None

    def answered(self, operation: str, arguments: dict[str, Any], value: dict[str, Any], wanted: bool) -> None:
        """The process did it. wanted: False for the answer to a request that was cancelled."""
        if operation == "set_volume":
            self._in_process = arguments["volume_id"]
        elif operation == "load_model" and wanted:
            self._model = {**arguments, "model_id": value["model_id"]}
        elif operation == "reconstruct" and wanted:
            self._volume, self._in_process = value["volume"], arguments["volume_id"]

    def _new_id(self) -> str:
        return f"volume{next(self._numbers)}"
