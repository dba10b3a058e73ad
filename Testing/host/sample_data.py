"""The module SampleData as far as modules register with it: what Slicer refuses is refused, nothing is downloaded."""

from __future__ import annotations

import re
import types
from typing import Any

_FIELDS = ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")


def module(desktop: Any) -> types.ModuleType:
    """A fresh SampleData; `desktop.samples` has name -> source of what was registered."""
    made = types.ModuleType("SampleData")

    class SampleDataLogic:
        @staticmethod
        def registerCustomSampleDataSource(
            category: str = "Custom",
            sampleName: str | None = None,
            uris: Any = None,
            fileNames: Any = None,
            nodeNames: Any = None,
            customDownloader: Any = None,
            thumbnailFileName: str | None = None,
            loadFileTypes: Any = None,
            loadFiles: Any = None,
            loadFileProperties: Any = None,
            checksums: Any = None,
            loadFileType: Any = None,
        ) -> None:
            given = dict(zip(_FIELDS, (uris, fileNames, nodeNames, loadFiles, loadFileTypes, checksums), strict=True))
            lists = isinstance(uris, list)
            for name, value in given.items():
                if lists:
                    given[name] = [None] * len(uris) if value is None else value
                elif isinstance(uris, str):
                    given[name] = [value]
            if len({len(value) for value in given.values()}) != 1:
                raise ValueError("All fields of sample data source must have the same length")
            for checksum in given["checksums"]:
                if checksum is not None and not re.fullmatch(r"SHA256:[0-9a-f]{64}", checksum):
                    raise ValueError(f"{checksum} is no checksum")
            source = types.SimpleNamespace(category=category, sampleName=sampleName, customDownloader=customDownloader, **given)
            source.thumbnailFileName = thumbnailFileName
            desktop.samples[sampleName] = source

    made.SampleDataLogic = SampleDataLogic
    return made
