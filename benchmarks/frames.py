"""2D models over the frames of a table's cases, each at its own threshold: overlap, lesions split or merged, false alarms, milliseconds per frame.

`python benchmarks/frames.py CASES.csv MODEL [MODEL ...]`; a MODEL is a bundle, or what `train` and `tune` left. `--every`: all frames with a pose.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from time import perf_counter

from LiverLesionSegLib.cohort import read_cases
from LiverLesionSegLib.evaluation.frame_measures import FrameMeasures, measure_frame, summarise
from LiverLesionSegLib.segmentation import FramePredictor, load_model
from LiverLesionSegLib.segmentation.frame_sampling import pixel_size_mm
from LiverLesionSegLib.training import results_folder
from LiverLesionSegLib.training.frames import FrameExportSettings, chosen_frames, load_frame_case


def main() -> None:
    """Prints one line a model and set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--backend", default="torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--every", action="store_true", help="every frame with a pose, instead of those that export draws")
    parser.add_argument("--largest", type=int, help="only so many cases of each set")
    options = parser.parse_args()
    print("| model | set | frames + without | IoU mean / median / pooled | precision | recall | missed | alarms | lesions: split, merged | ms |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for folder in options.models:
        bundle = load_model(folder if (folder / "weights.safetensors").is_file() else results_folder(folder))
        predictor = FramePredictor(bundle, options.device, threads=options.threads, backend=options.backend)
        # Another backend may come without a tuned threshold of its own; then the model's is taken, and the path in the last column says so.
        threshold = bundle.threshold.value if bundle.threshold is not None else 0.5
        sets: dict[str, list[FrameMeasures]] = {}
        seconds: dict[str, list[float]] = {}
        taken: dict[str, int] = {}
        for case in read_cases(options.cases):
            name = case.extra.get("set", options.cases.stem)
            taken[name] = taken.get(name, 0) + (case.split == options.split)
            if case.split != options.split or (options.largest is not None and taken[name] > options.largest):
                continue
            loaded = load_frame_case(case, predictor.pixel_mm)
            settings = FrameExportSettings(pixel_mm=predictor.pixel_mm, **({"frames": 10**6, "without": 10**6} if options.every else {}))
            px = pixel_size_mm(loaded.calibration)
            for number, frame in enumerate(chosen_frames(loaded, settings)):
                image = loaded.sweep.images[frame]
                if not number:
                    predictor.predict(image, px, calibration=loaded.calibration)
                started = perf_counter()
                found = predictor.predict(image, px, calibration=loaded.calibration).array >= threshold
                seconds.setdefault(name, []).append(perf_counter() - started)
                sets.setdefault(name, []).append(measure_frame(found, loaded.label(frame)))
        for name, measures in sets.items():
            s = summarise(measures)
            overlap = f"{s.iou:.3f} / {s.median_iou:.3f} / {s.pooled_iou:.3f}"
            rates = f"{s.precision:.3f} | {s.recall:.3f} | {s.missed:.1%} | {s.alarms:.1%}"
            parts = f"{s.lesions}: {s.split}, {s.merged}"
            print(
                f"| {folder.name} | {name} | {s.frames} + {s.frames_without} | {overlap} | {rates} | {parts} | {1e3 * median(seconds[name]):.1f} "
                f"({predictor.inference_path}, {options.threads} threads, threshold {threshold:.3f}) |",
                flush=True,
            )


if __name__ == "__main__":
    main()
