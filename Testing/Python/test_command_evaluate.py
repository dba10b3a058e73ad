"""The command evaluate: exit codes, the JSON object, what it refuses, and that two runs give the same bytes, times aside."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from cohort_cases import SHAPE, a_grid
from evaluation_studies import edit_table, write_model, write_study

from LiverLesionSegLib.cli import main
from LiverLesionSegLib.commands import evaluate as command
from LiverLesionSegLib.commands import shipped_model
from LiverLesionSegLib.files.volumes import write_array

REPORT = ("report.html", "report.md", "metrics.csv", "summary.json", "table.tex")


def evaluate(capsys: pytest.CaptureFixture[str], table: Path, output: Path, *words: object) -> tuple[int, dict, str]:
    """(exit code, JSON or {}, what was said on stderr)."""
    code = main(["evaluate", str(table), "--output", str(output), "--json", "--traceback", *map(str, words)])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else {}, said.err


def without_times(folder: Path) -> dict[str, str]:
    """Every file of a study by its name, without what is a time: whole files, or lines that say so."""
    files = {str(p.relative_to(folder)): p.read_bytes().decode("utf-8", "replace") for p in sorted(folder.rglob("*")) if p.is_file()}
    kept = {name: text.split("\n") for name, text in files.items() if not re.search(r"timings|seconds\.json|figures/time\.", name)}
    return {name: "\n".join(line for line in lines if "timing" not in line and not line.startswith("| Time")) for name, lines in kept.items()}


@pytest.mark.slow
def test_a_study_in_one_command_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nnunetv2")
    table = write_study(tmp_path / "data", 3)
    (tmp_path / "data" / "v1.nrrd").write_text("no volume")
    words = ("--model", f"crop={write_model(tmp_path / 'a')}", "--model", f"full={write_model(tmp_path / 'b', whole=True)}", "--methods",
             "nnunet,ellipsoid,given", "--boxes", 2, "--seed", 4)  # fmt: skip
    code, found, _ = evaluate(capsys, table, tmp_path / "one", *words, "--workers", 1)
    assert code == 0
    assert (found["cases"], found["evaluated"], found["resumed"], found["split"]) == (3, 2, 0, "test")
    assert found["methods"] == ["crop", "full", "ellipsoid", "shifted", "exact"] and found["dice"]["exact"] == 1
    assert list(found["left_out"]) == ["case1"] and "not a readable volume" in found["left_out"]["case1"]
    assert any(text.startswith("case1: ") for text in found["warnings"])
    assert {"load", "evaluate", "report"} <= set(found["seconds"]) and set(REPORT) <= set(found["outputs"])
    assert "case1" in (tmp_path / "one" / "report.md").read_text() and "--boxes 2 --seed 4" in (tmp_path / "one" / "report.md").read_text()
    code, other, _ = evaluate(capsys, table, tmp_path / "two", *words, "--workers", 2)
    assert code == 0 and other["dice"] == found["dice"]
    assert without_times(tmp_path / "one") == without_times(tmp_path / "two")
    before = without_times(tmp_path / "two")
    code, again, _ = evaluate(capsys, table, tmp_path / "two", *words)
    assert code == 0 and again["resumed"] == 2 and without_times(tmp_path / "two") == before


def test_nothing_that_can_be_evaluated_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_study(tmp_path / "data", 2)
    for number in range(2):
        (tmp_path / "data" / f"t{number}.nrrd").unlink()
    code, found, said = evaluate(capsys, table, tmp_path / "out", "--methods", "ellipsoid")
    assert code == 2 and not found and "None of the 2 cases could be evaluated" in said.splitlines()[-1] and "t0.nrrd does not exist" in said
    assert not (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "guess"), "--methods: 'guess' is not known; .* mask:shifted, mask:exact"),
        (("--methods", "mask:nothing"), "'mask:nothing' is not known"),
        (("--methods", "ellipsoid", "--device", "cuda"), "--device means nothing without nnunet"),
        (("--methods", "ellipsoid", "--model", "x"), "--model means nothing without nnunet"),
        (("--model", "nowhere"), "nowhere: no such model folder"),
        (("--model", "name=nowhere"), "nowhere: no such model folder"),
        (("--model", "a={data}", "--model", "a={data}"), "incomplete"),
        (("--methods", "ellipsoid", "--split", "validation"), "has no validation case"),
        (("--boxes", "0"), "0 is not a whole number of at least 1"),
        (("--boxes", "some"), "some is not a whole number"),
        (("--seed", "-1"), "-1 is not a whole number of at least 0"),
        (("--workers", "2", "--scheduler", "tcp://host:1"), "give one of them"),
        (("--output", "{data}/cases.csv"), "cannot make this folder"),
        (("--by", "surgeon"), "has no column 'surgeon' .*give one of size, split, echogenicity, hospital"),
    ],
)
def test_bad_usage_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    table = write_study(tmp_path / "data", 1)
    code, found, errors = evaluate(capsys, table, tmp_path / "out", *(word.format(data=tmp_path / "data") for word in words))
    assert code == 2 and not found and re.search(said, errors) and len(errors.strip().splitlines()) == 1


def test_a_table_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.csv").write_text("case,truth\na,b\n")
    for path, said in ((tmp_path / "bad.csv", "first line must name"), (tmp_path / "gone.csv", "cannot be read")):
        code, _, errors = evaluate(capsys, path, tmp_path / "out")
        assert code == 2 and said in errors and not (tmp_path / "out").exists()


def test_which_cases_of_a_table(tmp_path: Path) -> None:
    from LiverLesionSegLib.cohort import read_cases_and_bad

    table = write_study(tmp_path / "data", 3)
    edit_table(table, {"split": ["train", "test", ""]}, [{"case": "odd", "volume": "v1.nrrd", "truth": "t1.nrrd", "split": "perhaps"},
                                                         {"case": "bad", "volume": "gone.nrrd", "split": "train"}])  # fmt: skip
    cases = read_cases_and_bad(table)
    chosen = {wanted: [case.name for case in command._of_split(cases, wanted, table)[1]] for wanted in (None, "test", "train", "all")}
    assert chosen == {None: ["case1", "odd"], "test": ["case1", "odd"], "train": ["case0", "odd", "bad"],
                      "all": ["case0", "case1", "case2", "odd", "bad"]}  # fmt: skip
    edit_table(table, {"split": ["", "", "", "", ""]})
    assert command._of_split(read_cases_and_bad(table), None, table)[0] == "all"


def test_the_command_in_the_report_can_be_typed_as_it_is() -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    words = ["my cases.csv", "--output", "out", "--model", "crop=a model/$1", "--by", "seen in", "--boxes", "3", "--resample"]
    options = parser.parse_args(words)
    again = shlex.split(command._command(options))
    assert again[:2] == ["liverlesionseg", "evaluate"]
    assert vars(parser.parse_args(again[2:])) == vars(options) | {"cases": Path("my cases.csv"), "output": Path("DIR")}


def test_without_a_model_the_rest_is_evaluated_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (command, shipped_model):
        monkeypatch.setattr(module, "DEFAULT_MODEL", tmp_path / "none")
    table = write_study(tmp_path / "data", 1)
    write_array(tmp_path / "data" / "v0.nrrd", np.full(SHAPE, 100, np.uint8), a_grid(0), {})
    code, found, said = evaluate(capsys, table, tmp_path / "out", "--methods", "nnunet")
    assert code == 2 and "No model comes with this version; give --model" in said
    code, found, _ = evaluate(capsys, table, tmp_path / "out", "--workers", 1)
    assert code == 0 and found["methods"] == ["region-growing", "ellipsoid", "shifted", "exact"]
    assert found["warnings"][0].startswith("No model comes with this version")
