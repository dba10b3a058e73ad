"""Studies that are stopped, killed, resumed or spread: finished cases are kept, and any number of processes or machines gives the same."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import SHAPE, a_grid, write_labels
from evaluation_studies import CHEAP, Misbehaving, edit_table, stored, the_study, write_model, write_study

from LiverLesionSegLib.cohort import read_cases
from LiverLesionSegLib.errors import Cancelled, LinkError, ModelError, OutputError
from LiverLesionSegLib.evaluation.methods import EllipsoidMethod, GrowingMethod, network_method
from LiverLesionSegLib.evaluation.one_case import StudySettings
from LiverLesionSegLib.evaluation.storage import CaseStore, PackedMask
from LiverLesionSegLib.evaluation.study import WorkSettings, evaluate_cohort
from LiverLesionSegLib.geometry import sub_grid
from LiverLesionSegLib.types import Mask


def test_finished_cases_are_kept_until_something_changes(tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    table = write_study(data)
    first = the_study(table, out)
    again = the_study(table, out)
    assert (first.resumed, again.resumed) == (0, 3)
    assert repr(again.result) == repr(first.result)  # NaN is not equal to itself
    write_labels(data / "s1.nrrd", np.zeros(SHAPE, np.uint8), 1)
    changed = the_study(table, out)
    assert changed.resumed == 2 and changed.result.cases[1].of("shifted").measures["dice"] == 0  # type: ignore[union-attr]
    assert the_study(table, out, settings=StudySettings(seed=5)).resumed == 0
    assert evaluate_cohort(read_cases(table), [EllipsoidMethod()], folder=out).resumed == 0
    edit_table(table, {"echogenicity": ["hypo", "hyper", "hypo"]})
    assert the_study(table, out).resumed == 2


def test_another_model_is_not_mixed_up(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    cases, out = read_cases(write_study(tmp_path / "data", 1)), tmp_path / "out"
    found = [
        evaluate_cohort(cases, [network_method("m", write_model(tmp_path / str(n), seed=seed, value=value))], folder=out)
        for n, (seed, value) in enumerate([(0, 0.5), (1, 0.5), (0, 0.4), (0, 0.5)])
    ]
    assert [one.resumed for one in found] == [0, 0, 0, 1]
    assert found[0].result.cases[0].results[0].model_id != found[1].result.cases[0].results[0].model_id


def test_what_was_left_half_written_or_damaged_is_made_again(tmp_path: Path) -> None:
    table, out = write_study(tmp_path / "data"), tmp_path / "out"
    first = the_study(table, out)
    before = stored(out)
    (out / "cases" / ".case9-0123456789abcdef.abcdefgh" / "part").mkdir(parents=True)
    next((out / "cases").glob("case0-*")).joinpath("result.json").write_text('{"key": ')
    next((out / "cases").glob("case1-*")).joinpath("voxels.npz").unlink()
    again = the_study(table, out)
    assert again.resumed == 1 and stored(out) == before and repr(again.result.cases[0].attributes) == repr(first.result.cases[0].attributes)


def test_stopping_keeps_what_is_finished(tmp_path: Path) -> None:
    table = write_study(tmp_path / "data")
    done: list[str] = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        done.clear()
        with pytest.raises(Cancelled):
            the_study(table, out, work=WorkSettings(workers), progress=lambda _, text: done.append(text),
                      cancelled=lambda: any(text.startswith("case ") for text in done))  # fmt: skip
        assert the_study(table, out).resumed >= 1


@pytest.mark.parametrize("workers", [1, 2])
def test_a_defect_is_listed_with_where_it_happened(tmp_path: Path, workers: int) -> None:
    cases = read_cases(write_study(tmp_path / "data"))
    found = evaluate_cohort(cases, [Misbehaving("case1", "defect")], folder=tmp_path / "out", work=WorkSettings(workers))
    assert "defect of this software (TypeError: what no one thought of at evaluation_studies.py:" in found.result.cases[1].error
    assert len(found.result.evaluated) == 2 and set(found.keys) == {"case0", "case2"}


@pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL")
def test_a_process_that_dies_loses_its_case_alone(tmp_path: Path) -> None:
    cases = read_cases(write_study(tmp_path / "data", 4))
    found = evaluate_cohort(cases, [Misbehaving("case1", "kill")], folder=tmp_path / "out", work=WorkSettings(2)).result
    assert "ended by signal 9" in found.cases[1].error and [case.case for case in found.evaluated] == ["case0", "case2", "case3"]


def test_any_number_of_processes_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("nnunetv2")
    cases = read_cases(write_study(tmp_path / "data", 3))
    methods = (network_method("crop", write_model(tmp_path / "model")), GrowingMethod(), *CHEAP)
    for workers in (1, 2):
        evaluate_cohort(cases, methods, folder=tmp_path / str(workers), work=WorkSettings(workers))
    assert stored(tmp_path / "1") == stored(tmp_path / "2") and len(stored(tmp_path / "1")) == 6


@pytest.mark.slow
def test_a_cluster_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed", reason="distributed is not installed (the extra cluster)")
    pytest.importorskip("nnunetv2")
    write_study(tmp_path / "data", 4)
    (tmp_path / "data" / "v2.nrrd").write_text("no volume")
    write_model(tmp_path / "model")
    settings = StudySettings(boxes=2)
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address=None) as cluster:
        monkeypatch.chdir(tmp_path)  # the workers have a working directory of their own
        cases, methods = read_cases(Path("data/cases.csv")), (network_method("crop", Path("model")), *CHEAP)
        alone = evaluate_cohort(cases, methods, settings, folder=tmp_path / "alone")
        work = WorkSettings(scheduler=cluster.scheduler_address)
        together = evaluate_cohort(cases, methods, settings, folder=tmp_path / "cluster", work=work)
        with pytest.raises(ModelError, match="another model"):
            other = replace(methods[0], folder=write_model(tmp_path / "other", seed=3))
            evaluate_cohort(cases, [other], folder=tmp_path / "other_out", work=work)
    assert stored(tmp_path / "alone") == stored(tmp_path / "cluster")
    assert [case.error for case in together.result.cases] == [case.error for case in alone.result.cases]
    assert together.result.cases[2].error.startswith(f"Case case2: data{os.sep}v2.nrrd: not a readable volume")
    assert together.result.provenance == alone.result.provenance and together.result.provenance["models"]["crop"]["path"] == "model"  # type: ignore[index]


def test_a_scheduler_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="distributed is not installed (the extra cluster)")
    from LiverLesionSegLib.evaluation import workers

    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    table = write_study(tmp_path / "data", 1)
    for address in ("tcp://127.0.0.1:9", "no address at all"):
        with pytest.raises(LinkError, match="no Dask scheduler answers there"):
            the_study(table, tmp_path / "out", work=WorkSettings(scheduler=address))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")
def test_a_killed_study_goes_on_and_leaves_no_process(tmp_path: Path) -> None:
    table, out = write_study(tmp_path / "data", 5), tmp_path / "out"
    words = [sys.executable, "-m", "LiverLesionSegLib", "evaluate", str(table), "--output", str(out), "--workers", "2"]
    words += ["--methods", "region-growing,ellipsoid,mask:shifted"]
    study = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.glob("cases/case*")) and study.poll() is None:
        time.sleep(0.01)
    study.kill()
    study.wait()
    finished = len(list(out.glob("cases/case*")))
    methods = (GrowingMethod(), *CHEAP)
    found = evaluate_cohort(read_cases(table), methods, folder=out)
    assert 1 <= finished < 5 and finished <= found.resumed + 1 and found.resumed >= 1
    evaluate_cohort(read_cases(table), methods, folder=tmp_path / "whole")
    assert stored(out / "cases") == stored(tmp_path / "whole" / "cases")
    with pytest.raises(ProcessLookupError):
        for _ in range(1200):  # a case that a process is at takes its time
            os.killpg(study.pid, 0)
            time.sleep(0.05)


def test_memory_does_not_grow_with_the_cohort(tmp_path: Path) -> None:
    case = read_cases(write_study(tmp_path / "data", 1))[0]
    peaks = []
    for count in (2, 12):
        cases = [replace(case, name=f"case{n}") for n in range(count)]
        tracemalloc.start()
        found = evaluate_cohort(cases, CHEAP, folder=tmp_path / str(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(found.result.evaluated) == count
    assert peaks[1] - peaks[0] < np.prod(SHAPE)  # less than one more mask


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        CaseStore(tmp_path / "file")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_packed_masks_come_back(share: float) -> None:
    mask = Mask(np.random.default_rng(3).random((7, 9, 11)) < share, sub_grid(a_grid(2), (0, 0, 0), (7, 9, 11)))
    packed = PackedMask.of(mask)
    assert np.array_equal(packed.mask().array, mask.array) and packed.mask().grid is mask.grid
