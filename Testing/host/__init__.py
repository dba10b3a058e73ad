"""Stand-in for the Slicer desktop, for tests: `from host import install; desktop = install()`. README.md says what it is and what it is not."""

from .desktop import Desktop, install
from .drive import Heartbeat, choose, click, grab, press, type_text, unfold
from .listed import NotInStandIn
from .ui_loader import UiError

__all__ = ["Desktop", "Heartbeat", "NotInStandIn", "UiError", "choose", "click", "grab", "install", "press", "type_text", "unfold"]
