"""Tracked ultrasound recordings (PLUS/IGSIO and Slicer sequence files), PLUS calibrations, and the pose of every frame."""

from __future__ import annotations

from ._write import FramePixels
from .files import read_sweep, write_sweep
from .plus_config import PlusConfig, read_plus_config
from .poses import FramePoses, PosePath, frame_poses, pose_path

__all__ = ["FramePixels", "FramePoses", "PlusConfig", "PosePath", "frame_poses", "pose_path", "read_plus_config", "read_sweep", "write_sweep"]
