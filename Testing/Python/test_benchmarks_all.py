"""`make bench` calls every benchmark without arguments; those that need some stand apart."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

import pytest
from conftest import PROJECT

BENCHMARKS = PROJECT / "benchmarks"


def needed_arguments(script: Path) -> list[str]:
    """The arguments without which the script's parser ends it, read off its calls of add_argument."""
    found = []
    for call in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"):
            continue
        name = ast.literal_eval(call.args[0])
        said = {keyword.arg: keyword.value for keyword in call.keywords}
        optional = "required" not in said if name.startswith("-") else ast.unparse(said.get("nargs", ast.Constant(1))) in ("'?'", "'*'")
        found += [] if optional else [name]
    return found


def test_what_needs_arguments_is_not_run_with_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    class Done:
        returncode = 0

    def run(command: list[str], check: bool) -> Done:
        called.extend(command[1:])
        return Done()

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr(sys, "argv", ["run_all.py"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / "run_all.py"), run_name="__main__")
    assert ended.value.code == 0
    needed = {script.name: needed_arguments(script) for script in BENCHMARKS.glob("[a-z]*.py")}
    assert needed["frames.py"] == ["cases", "models"] and needed["realtime.py"] == ["--cases"]
    names = {Path(path).name for path in called}
    assert len(names) == len(called) > 10
    assert {name for name, arguments in needed.items() if not arguments} - {"run_all.py"} == names
