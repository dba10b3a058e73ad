"""The table of accepted cases: what others wrote in it is kept, and every lesion has a line and files of its own."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from LiverLesionSegLib.host.case_log import CaseLog, full_disk_is_said


def test_table_of_cases_keeps_what_others_wrote(tmp_path):
    (tmp_path / "cases.csv").write_text("case,note\nold,kept\n")
    CaseLog(tmp_path).write({"case": "new", "method": "nnunet"})
    columns, lines = CaseLog(tmp_path).read()
    assert columns[:2] == ["case", "note"]
    assert [(line["case"], line["note"]) for line in lines] == [("old", "kept"), ("new", "")]


def test_a_full_disk_in_words(tmp_path):
    from LiverLesionSegLib.errors import OutputError

    with pytest.raises(OutputError, match="disk is full"), full_disk_is_said(Path("x")):
        raise OSError(errno.ENOSPC, "No space left on device")
