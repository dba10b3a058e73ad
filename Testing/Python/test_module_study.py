"""The researcher's runs and the set-up, without a widget: each runs beside the interface, can be cancelled, and says how it went."""

from __future__ import annotations

import sys
import time

import pytest
from module_cases import make_scenario

pytest.importorskip("slicer")

from LiverLesionSegLib.errors import Cancelled, InputError, WorkerError
from LiverLesionSegLib.host import Study, packages
from LiverLesionSegLib.host.command import CommandRun
from LiverLesionSegLib.host.log import Log

PATIENCE_S = 300.0


@pytest.fixture(scope="module")
def scenario(tmp_path_factory):
    return make_scenario(tmp_path_factory.mktemp("phantom"))


@pytest.fixture
def study():
    made = Study(Log(), sys.executable)
    yield made
    made.close()


def finished(study):
    end = time.monotonic() + PATIENCE_S
    while study.running and time.monotonic() < end:
        study.tick()
        time.sleep(0.02)
    assert not study.running
    return study.state()


@pytest.mark.slow
def test_a_cohort_is_evaluated_beside_the_interface(study, scenario, tmp_path):
    study.evaluate(str(scenario.folder / "cases.csv"), str(tmp_path / "out"), ["ellipsoid"])
    assert study.state().state == "running" and study.state().cancel
    with pytest.raises(WorkerError, match="not done yet"):
        study.doctor()
    state = finished(study)
    assert state.said.code == "study.done", state
    assert 0.3 < study.result["dice"]["ellipsoid"] < 1.0
    assert any(path.endswith(".html") for path in study.result["outputs"].values())


@pytest.mark.slow
def test_training_data_is_exported_beside_the_interface(study, scenario, tmp_path):
    header, line = (scenario.folder / "cases.csv").read_text(encoding="utf-8").splitlines()[:2]
    split, name = header.split(",").index("split"), header.split(",").index("case")
    lines = [line.split(","), line.split(",")]
    for each, kind in zip(lines, ("train", "validation"), strict=True):
        each[split], each[name] = kind, kind
    table = scenario.folder / "split.csv"
    table.write_text("\n".join([header, *(",".join(each) for each in lines)]) + "\n", encoding="utf-8")
    study.export(str(table), str(tmp_path / "raw"))
    state = finished(study)
    assert state.said.code == "study.done", (state, list(tmp_path.iterdir()))
    assert list((tmp_path / "raw").rglob("dataset.json"))


@pytest.mark.slow
def test_the_doctor_says_what_works(study):
    study.doctor("cuda")  # where there is none, what works is listed all the same
    assert finished(study).said.code in ("study.done", "study.missing")
    checks = {check["check"]: check["ok"] for check in study.result["checks"]}
    assert checks["python"] and checks["reconstruction"]
    assert study.result["ready"] == all(checks.values())


def test_bad_input_is_refused_at_once(study, scenario, tmp_path):
    for cases, output, methods in (("", "x", ["nnunet"]), ("no.csv", "x", ["nnunet"]), (str(scenario.folder / "cases.csv"), "", ["nnunet"])):
        with pytest.raises(InputError):
            study.evaluate(cases, output, methods)
    with pytest.raises(InputError, match="method"):
        study.evaluate(str(scenario.folder / "cases.csv"), "x", [])
    assert not study.running


def test_a_command_is_cancelled_with_all_it_started(tmp_path):
    run = CommandRun(sys.executable, ["phantom", "--output", str(tmp_path / "p"), "--cases", "50"])
    time.sleep(0.2)
    run.cancel()
    end = time.monotonic() + PATIENCE_S
    while not run.done and time.monotonic() < end:
        time.sleep(0.02)
    with pytest.raises(Cancelled):
        run.result()
    run.close()


@pytest.mark.slow
def test_a_commands_own_sentence_is_what_is_said(tmp_path):
    run = CommandRun(sys.executable, ["export", str(tmp_path / "no.csv"), "--output", str(tmp_path / "out")])
    end = time.monotonic() + PATIENCE_S
    while not run.done and time.monotonic() < end:
        time.sleep(0.02)
    with pytest.raises(InputError, match=r"no\.csv"):
        run.result()
    run.close()


def test_what_is_missing_is_found_without_an_import():
    assert packages.missing(["numpy>=1.0"]) == []
    assert packages.missing(["no-such-package-here>=1", "numpy>=99"]) == ["no-such-package-here>=1", "numpy>=99"]


def test_packages_come_with_consent_through_slicers_own_means_or_from_a_wheelhouse(tmp_path, monkeypatch):
    pytest.importorskip("PySide6")
    from conftest import PROJECT

    sys.path.insert(0, str(PROJECT / "Testing"))
    from host import install

    with install() as desktop:
        with pytest.raises(InputError, match="Not installed yet"):  # the stand-in only notes what would be installed
            packages.install(["no-such-package-here>=1"])
        assert desktop.installs == ["no-such-package-here>=1"]
        with pytest.raises(InputError, match="no such folder"):
            packages.install(["no-such-package-here>=1"], str(tmp_path / "none"))
        desktop.installs.clear()
        with pytest.raises(InputError, match="Not installed yet"):
            packages.install(["no-such-package-here>=1"], str(tmp_path))
        assert desktop.installs[:4] == ["--no-index", "--find-links", str(tmp_path), "--constraint"]
        assert any(line.startswith("numpy==") for line in packages.held_versions())
        desktop.installs.clear()
        monkeypatch.setattr(packages, "TORCH", "no-such-torch>=1")
        with pytest.raises(InputError, match="extension PyTorch"):  # and what else is missing is installed
            packages.install(["no-such-package-here>=1", "no-such-torch>=1"])
        assert desktop.installs == ["no-such-package-here>=1"]
        with pytest.raises(InputError, match="extension PyTorch"):
            packages._install_torch()
