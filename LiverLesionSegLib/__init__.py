"""Liver lesions from EM-tracked intraoperative ultrasound, in plain Python and in 3D Slicer. Research software, not a medical device."""

__version__ = "0.1.0"
