"""A short, seeded run of the fuzz target of both parsers."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def fuzz_sweep() -> ModuleType:
    path = Path(__file__).resolve().parents[1] / "fuzz" / "fuzz_sweep.py"
    spec = importlib.util.spec_from_file_location("fuzz_sweep", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_input_errors_escape_the_parsers(fuzz_sweep: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outcomes = fuzz_sweep.fuzz(seconds=0, seed=2024, cases=300, judge_time=False)
    assert set(outcomes) == {"read", "SweepError", "CalibrationError"}


def test_the_unchanged_seeds_are_valid(fuzz_sweep: ModuleType, tmp_path: Path) -> None:
    for name, data in fuzz_sweep.seeds(tmp_path).items():
        (tmp_path / name).write_bytes(data)
        assert fuzz_sweep.run_one(tmp_path / name) == "read", name
