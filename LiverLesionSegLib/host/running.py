"""Where networks run: one choice for the lesion's, the live image's and the proposals'."""

from __future__ import annotations

CHOICES = ("cpu", "openvino", "cuda")


def runs_on(choice: str) -> dict[str, str]:
    """`device` and `backend` of a choice: openvino is the processor by OpenVINO, everything else is a device of torch's."""
    return {"device": "cpu", "backend": "openvino"} if choice == "openvino" else {"device": choice, "backend": "torch"}
