"""From the box to the lesion's surface, warm, as at the operating table, and beside nnU-Net's own predictor: `python benchmarks/box_to_surface.py`.

Simulated cases, reconstructed; the shipped bundle unless --model names another. Backends alternate within each round, so load on the machine
touches all alike. nnU-Net's predictor gets the same crop, mirroring off; its time is prediction only, as are the ratios.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from prediction import NnunetRun

from LiverLesionSegLib.cohort.loading import reconstruct_files
from LiverLesionSegLib.commands.shipped_model import DEFAULT_MODEL
from LiverLesionSegLib.evaluation.metrics import overlap
from LiverLesionSegLib.phantom import PhantomSettings, simulate_case, write_case
from LiverLesionSegLib.segmentation import Predictor, apply_threshold, crop, load_model, onto_volume, surface
from LiverLesionSegLib.segmentation.model import ModelBundle
from LiverLesionSegLib.types import Box, Mask, Volume

STAGES = ("crop", "predict", "onto volume", "threshold", "surface")


def write_results(folder: Path, model: ModelBundle) -> Path:
    """The bundle as an nnU-Net results folder, which is what nnU-Net's predictor reads."""
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(dict(model.plans)), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(dict(model.dataset)), encoding="utf-8")
    state = {name: torch.from_numpy(np.array(array)) for name, array in model.weights.state.items()}
    content = {"network_weights": state, "init_args": {"configuration": model.configuration.name}, "trainer_name": "nnUNetTrainer"}
    torch.save({**content, "inference_allowed_mirroring_axes": None}, folder / "fold_0" / "checkpoint_final.pth")
    return folder


def from_box_to_surface(volume: Volume, box: Box, predictor: Predictor) -> tuple[dict[str, float], Mask]:
    """Seconds per stage, and the mask."""
    model, moments = predictor.bundle, [perf_counter()]
    cropped = crop(volume, box, model.crop_settings)
    moments.append(perf_counter())
    probability = predictor.predict(cropped)
    moments.append(perf_counter())
    on_volume = onto_volume(probability, volume.grid, box, cropped.margin_mm)
    moments.append(perf_counter())
    assert model.threshold is not None
    mask = apply_threshold(on_volume, model.threshold_for(predictor.inference_path), box=box)
    moments.append(perf_counter())
    if mask.array.any():
        surface(mask)
    moments.append(perf_counter())
    return {**dict(zip(STAGES, np.diff(moments).tolist(), strict=True)), "forward": probability.seconds["forward"]}, mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = load_model(options.model)
    agreeing = [path.rsplit("-", 1)[-1] for path in model.agreeing_paths]
    backends = ["torch", *(name for name in agreeing if find_spec(name))]
    predictors = {name: Predictor(model, backend=name, threads=options.threads) for name in backends}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in backends}
    peer: list[float] = []
    dices: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        reference = NnunetRun(write_results(Path(name) / "results", model))
        for number in range(options.cases):
            case = simulate_case(9000 + number, PhantomSettings())
            files = write_case(Path(name), f"case{number}", case)
            volume = reconstruct_files(files.sweep, files.config)
            for turn in range(options.rounds + 1):
                masks = {}
                for backend, predictor in predictors.items():
                    found, masks[backend] = from_box_to_surface(volume, case.box, predictor)
                    seconds[backend] += [found] if turn else []
                cropped = crop(volume, case.box, model.crop_settings)
                started = perf_counter()
                expected = reference.predict(cropped, model.takes_box)
                peer += [perf_counter() - started] if turn else []
            assert model.threshold is not None
            probability = predictors["torch"].predict(cropped)
            theirs = Mask(expected >= model.threshold.value, cropped.volume.grid)
            dices.append(overlap(Mask(probability.array >= model.threshold.value, cropped.volume.grid), theirs).dice)
            for backend in backends[1:]:
                print(f"case {number}: Dice of {backend} against torch {overlap(masks[backend], masks['torch']).dice:.4f}")
    print(f"\nmodel {model.model_id[:12]}, {options.threads} threads, {options.cases} cases, medians\n")
    print("| | " + " | ".join(STAGES) + " | together s | of this forward | nnU-Net's predictor / predict |")
    print("| --- " * (len(STAGES) + 4) + "|")
    nnunet = float(np.median(peer))
    for backend in backends:
        stages = [float(np.median([found[stage] for found in seconds[backend]])) for stage in STAGES]
        total = float(np.median([sum(found[stage] for stage in STAGES) for found in seconds[backend]]))
        forward = float(np.median([found["forward"] for found in seconds[backend]]))
        cells = " | ".join(f"{value:.3f}" for value in stages)
        print(f"| {backend} | {cells} | {total:.2f} | {forward:.3f} | {nnunet / stages[1]:.2f} |")
    print(f"\nnnU-Net's predictor {nnunet:.3f} s; Dice of our mask against that of its probabilities, lowest {min(dices):.4f}")


if __name__ == "__main__":
    main()
