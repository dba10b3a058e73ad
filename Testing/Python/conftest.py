"""Fixtures that several test files share. Real recordings are looked for in $LIVERLESIONSEG_DATA, else in shared/data beside the project."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what it puts into the background with Ctrl-C ignored, and every command that is tested would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

DATA = Path(os.environ.get("LIVERLESIONSEG_DATA") or PROJECT.parent / "shared" / "data")


def real_data(name: str) -> Path:
    """Path of a real recording below the data folder; skips the test, naming what is missing, where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"real recording {name} is not in {DATA} (set LIVERLESIONSEG_DATA to the folder that has it)")
    return path


@pytest.fixture(scope="session")
def spine_sweep_path() -> Path:
    return real_data("plus/SpinePhantomFreehand.igs.mha")


@pytest.fixture(scope="session")
def spine_config_path() -> Path:
    return real_data("plus/Config_VolumeReconstruction_SpinePhantom_LN_MAXI.xml")


@pytest.fixture(scope="session")
def nwire_sweep_path() -> Path:
    return real_data("plus/NwirePhantomFreehand.igs.mha")


@pytest.fixture(scope="session")
def nwire_config_path() -> Path:
    return real_data("plus/PlusDeviceSet_NwirePhantomFreehand_vtkVolumeReconstructorTest2.xml")


@pytest.fixture(scope="session")
def liver_sweep_path() -> Path:
    return real_data("liver/LiverFreehandA.igs.mha")


@pytest.fixture(scope="session")
def liver_config_path() -> Path:
    return real_data("liver/LiverFreehand_config.xml")


@pytest.fixture(scope="session")
def trained_toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Results folders of small models that nnU-Net itself trained, by name; takes under a minute, once."""
    pytest.importorskip("nnunetv2")
    from nnunet_toy import train_toys

    return train_toys(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture
def desktop(request, caplog):
    """The stand-in for Slicer's desktop, for one test. A defect that the panel caught and logged fails the test, unless it is marked `defects`."""
    pytest.importorskip("slicer")
    pytest.importorskip("PySide6")
    if str(PROJECT / "Testing") not in sys.path:
        sys.path.insert(0, str(PROJECT / "Testing"))
    from host import install

    with install() as made:
        yield made
    if request.node.get_closest_marker("defects") is None:
        defects = [record.getMessage() for record in caplog.get_records("call") if record.getMessage().startswith("defect")]
        assert defects == []
