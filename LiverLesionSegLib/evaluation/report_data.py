"""What a report says as files for programs: a row per case, method and box, and everything summed up. Times lie in files of their own."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from .results import MEASURES, CaseResult, CohortResult, MethodResult

TIME = "seconds"
DIGITS = 9
"""Significant digits of numbers in tables: more than any measure means, fewer than processors differ in."""


def metrics_csv(cohort: CohortResult) -> str:
    """A row per case, method and box with all measures but time, in the cohort's order; a case that was left out has one row with its error.

    Undefined values are NaN, with the reason in `undefined`.
    """
    attributes = _attributes(cohort)
    measures = [key for key in MEASURES if key != TIME]
    own = ["truth_ml", "diameter_mm", "contrast", "seen_in_box", "lesions"]
    of_method = ["lesions_detected", "false_lesions", "device", "model_id", "threshold", "undefined", "warnings", "error"]
    taken = {"case", "method", "box", *own, *measures, *of_method}
    header = ["case", "method", "box", *(f"table_{name}" if name in taken else name for name in attributes), *own, *measures, *of_method]
    rows = []
    for case in cohort.cases:
        about = [case.attributes.get(name, "") for name in attributes]
        about += [*(_number(getattr(case, name)) for name in own[:-1]), str(case.lesions)]
        if case.error:
            rows.append([case.case, "", "", *about, *[""] * (len(measures) + len(of_method) - 2), " ".join(case.warnings), case.error])
        for result in () if case.error else case.results:
            values = [_number(result.measures.get(key, math.nan)) for key in measures]
            rows.append([case.case, result.method, str(result.place + 1), *about, *values, *_details(case, result)])
    return _csv(header, rows)


def timings_csv(cohort: CohortResult) -> str:
    """A row per case, method and box with its seconds, in all and per stage."""
    stages = list(dict.fromkeys(stage for case in cohort.evaluated for result in case.results for stage in result.seconds))
    rows = [
        [
            case.case,
            result.method,
            str(result.place + 1),
            *(_number(value) for value in (result.measures.get(TIME, math.nan), *_stages(result, stages))),
        ]
        for case in cohort.evaluated
        for result in case.results
        if not result.error
    ]
    return _csv(["case", "method", "box", TIME, *(f"{TIME}_{stage}" for stage in stages)], rows)


def summary(cohort: CohortResult, parts: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(everything summed up but times, the times): JSON values. parts: name -> a value of dataclasses, mappings and numbers, or None."""
    counts = {"in_table": len(cohort.cases), "evaluated": len(cohort.evaluated), "left_out": len(cohort.cases) - len(cohort.evaluated)}
    whole: dict[str, Any] = {
        "cases": counts,
        "left_out": {case.case: case.error for case in cohort.cases if case.error},
        "without_result": {
            case.case: {result.method: result.error for result in case.results if result.error and result.place == 0}
            for case in cohort.evaluated
            if any(result.error and result.place == 0 for result in case.results)
        },
        "methods": list(cohort.methods),
        "provenance": json_value(cohort.provenance),
        **{name: json_value(value) for name, value in parts.items() if value is not None},
    }
    rest, times = _part(whole)
    return rest, times or {}


def json_text(value: Any) -> str:
    """The same text for the same value: keys in their order, no NaN."""
    return json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def json_value(value: Any) -> Any:
    """Dataclasses as objects, tuples as lists, what is not finite as null, numbers to DIGITS digits."""
    if is_dataclass(value) and not isinstance(value, type):
        return json_value(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    if value is None or isinstance(value, (bool, str, int)):
        return value
    if hasattr(value, "item"):
        return json_value(value.item())
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return str(value)


def _part(value: Any) -> tuple[Any, Any]:
    """(the value without times, the times alone in the same places, None where there are none)."""
    if isinstance(value, dict):
        if value.get("measure") == TIME:
            return None, value
        pairs = {key: (None, item) if key == TIME else _part(item) for key, item in value.items()}
        rest = {key: kept for key, (kept, _) in pairs.items() if key != TIME}
        times = {key: time for key, (_, time) in pairs.items() if time is not None}
        return rest, times or None
    if isinstance(value, list):
        parted = [_part(item) for item in value]
        # A test of times goes from the list; what is null in it stays.
        kept_items = [kept for (kept, time), item in zip(parted, value, strict=True) if not (kept is None and time is not None and item is not None)]
        return kept_items, [time for _, time in parted if time is not None] or None
    return value, None


def _attributes(cohort: CohortResult) -> list[str]:
    return list(dict.fromkeys(name for case in cohort.cases for name in case.attributes))


def _details(case: CaseResult, result: MethodResult) -> list[str]:
    detected = str(sum(lesion.detected for lesion in result.lesions)) if result.lesions or not case.lesions else ""
    undefined = "; ".join(f"{key}: {why}" for key, why in result.undefined.items() if key != TIME)
    threshold = "" if result.threshold is None else _number(result.threshold)
    of_mask = ["", ""] if result.error else [detected, str(result.false_lesions)]
    warnings = " ".join((*case.warnings, *result.warnings))
    return [*of_mask, result.device, result.model_id, threshold, undefined, warnings, result.error]


def _stages(result: MethodResult, stages: list[str]) -> list[float]:
    return [result.seconds.get(stage, math.nan) for stage in stages]


def _number(value: float) -> str:
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else "NaN"


def _csv(header: list[str], rows: list[list[str]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()
