"""nnU-Net's planning, preprocessing and training, in a process of their own, resumable, with progress and cancel."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from time import monotonic
from typing import Any

from ..errors import Cancelled, InputError, ModelError
from ..files.atomic import output_folder, whole_file
from ..files.resources import resource
from ..progress import IsCancelled, Progress, report
from ._pickles import check_pickles
from .curve import epochs_done
from .dataset import SPLITS, dataset_name
from .trainers import check_trainer

CONFIGURATIONS = ("3d_fullres", "2d")
_POLL_S = 0.1
_EPOCH = re.compile(r"Epoch (\d+)\s*$")


@dataclass(frozen=True)
class TrainSettings:
    """trainer: a class of nnU-Net's or of nnunet_plans/trainers. device: cpu, cuda or mps. threads: of the CPU, for the network.

    An epoch is `iterations_per_epoch` batches; a checkpoint to resume from is written every `save_every` epochs.
    workers: processes that load and augment (0: none; the network waits, which on a CPU costs little and spares memory).
    start_from: a model folder of the same network, or what `train` wrote, whose weights a new training begins with; one that is resumed has its own.
    """

    trainer: str = "LiverLesionSegTrainer"
    epochs: int = 100
    iterations_per_epoch: int = 50
    validation_iterations: int = 10
    save_every: int = 5
    device: str = "cpu"
    threads: int = 1
    workers: int = 0
    seed: int = 0
    start_from: Path | None = None

    def __post_init__(self) -> None:
        low = {"epochs": 1, "iterations_per_epoch": 1, "validation_iterations": 1, "save_every": 1, "threads": 1, "workers": 0}
        for name, least in low.items():
            if getattr(self, name) < least:
                raise InputError(f"Training with {name} = {getattr(self, name)} is not possible; give at least {least}.")
        if self.device not in ("cpu", "cuda", "mps"):
            raise InputError(f"nnU-Net cannot train on device {self.device!r}; choose cpu, cuda or mps.")


@dataclass(frozen=True)
class Workplace:
    """Where nnU-Net works: root/raw holds the data sets, root/preprocessed and root/results are nnU-Net's own."""

    root: Path

    @property
    def raw(self) -> Path:
        """Folder of raw data sets."""
        return self.root / "raw"

    @property
    def preprocessed(self) -> Path:
        """Folder of preprocessed data sets and plans."""
        return self.root / "preprocessed"

    @property
    def results(self) -> Path:
        """Folder of trained models."""
        return self.root / "results"

    def result(self, dataset: str, plans_name: str, trainer: str, configuration: str | None = None) -> Path:
        """The results folder of one training, which `load_model` reads. configuration: without it the one that these plans have."""
        configuration = configuration or self.configuration(dataset, plans_name)
        return self.results / dataset / f"{trainer}__{plans_name}__{configuration}"

    def configuration(self, dataset: str, plans_name: str) -> str:
        """The one configuration of plans that `prepare` wrote: 3d_fullres, or 2d for single frames."""
        path = self.preprocessed / dataset / f"{plans_name}.json"
        names = list(_read_object(path).get("configurations", {})) if path.is_file() else []
        return str(names[0]) if len(names) == 1 else CONFIGURATIONS[0]

    def environment(self, workers: int | None = None) -> dict[str, str]:
        """The variables of the process that nnU-Net runs in; this process's own stay as they are."""
        variables = {f"nnUNet_{name}": str(getattr(self, name)) for name in ("raw", "preprocessed", "results")}
        variables |= {"nnUNet_extTrainer": str(resource("nnunet_plans", "trainers")), "nnUNet_compile": "f", "nnUNet_def_n_proc": "1"}
        if workers is not None:
            variables["nnUNet_n_proc_DA"] = str(workers)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("nnUNet_")}
        return {**inherited, **variables, "PYTHONUNBUFFERED": "1"}


def prepare(
    workplace: Workplace,
    dataset: str,
    plans_file: Path,
    *,
    processes: int = 1,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Path:
    """Plans and preprocesses the raw data set `dataset`; returns the plans, nnU-Net's own with the configuration of `plans_file` put in.

    plans_file: JSON with `plans_name`, `configuration` (values of nnU-Net's own to replace), `configuration_name` (2d, or without it 3d_fullres),
    `plans` (other values of the plans), and `note`, why. Raises InputError for a missing data set or plans file, or a plan of volumes for frames and
    the other way round, ModelError when nnU-Net fails, Cancelled.
    """
    raw = workplace.raw / dataset
    if not (raw / "dataset.json").is_file():
        raise InputError(f"{raw}: no nnU-Net data set there; export one first.")
    template = _read_object(plans_file)
    name = template.get("plans_name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]\w*", name) or not isinstance(template.get("configuration"), dict):
        raise InputError(f"{plans_file}: needs a plans_name (letters and digits) and a configuration; see the files in nnunet_plans.")
    configuration = template.get("configuration_name", CONFIGURATIONS[0])
    if configuration not in CONFIGURATIONS:
        raise InputError(f"{plans_file}: its configuration_name {str(configuration)[:40]!r} is not known; give {' or '.join(CONFIGURATIONS)}.")
    mode = _exported_mode(raw)
    if mode in (("crop", "full", "ct_volumes") if configuration == "2d" else ("frames", "ct_slices")):
        kind = "volumes" if configuration == "2d" else "single slices" if mode == "ct_slices" else "single frames"
        raise InputError(f"{plans_file}: is a plan of {configuration} networks, but {raw.resolve()} holds {kind}; choose a plan that fits the data.")
    for folder in (workplace.preprocessed, workplace.results):
        output_folder(folder)
    target = workplace.preprocessed / dataset
    order = {"dataset_number": int(dataset[7:10]), "processes": processes, "preprocessed": str(target), "plans_name": name}
    order |= {"configuration": template["configuration"], "configuration_name": configuration, "plans": template.get("plans", {})}
    report(progress, 0.0, f"Planning and preprocessing {dataset}")
    _run("plan", order, workplace.environment(), None, cancelled)
    if (raw / SPLITS).is_file():
        shutil.copyfile(raw / SPLITS, target / SPLITS)
    report(progress, 1.0, "Preprocessed")
    return target / f"{name}.json"


def train(
    workplace: Workplace,
    dataset: str,
    plans_name: str,
    settings: TrainSettings | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Path:
    """Trains, or goes on where a stopped training's last checkpoint stands; returns the results folder.

    Raises InputError for an unknown trainer, a data set that was not preprocessed with these plans, a training stopped with other plans that is to be
    resumed, or a device that is not there; ModelError when nnU-Net fails, or a checkpoint or preprocessed case would run code; Cancelled, after which
    the last checkpoint stands.
    """
    from ..segmentation._nnunet_network import open_device
    from ..segmentation._nnunet_weights import read_checkpoint

    settings = settings or TrainSettings()
    check_trainer(settings.trainer)
    plans_file = workplace.preprocessed / dataset / f"{plans_name}.json"
    if not plans_file.is_file():
        raise InputError(f"{plans_file}: these plans do not exist; preprocess the data set with them first.")
    folder = workplace.result(dataset, plans_name, settings.trainer)
    final, latest = (folder / "fold_0" / f"checkpoint_{kind}.pth" for kind in ("final", "latest"))
    if final.is_file() and epochs_done(folder) >= settings.epochs:
        report(progress, 1.0, "Was trained already")
        return folder
    resume = begun(folder)
    open_device(settings.device)
    if resume:
        # nnU-Net would run whatever is pickled in the checkpoint that it goes on from.
        read_checkpoint(next(path for path in (final, latest, folder / "fold_0" / "checkpoint_best.pth") if path.is_file()))
        before, now = (_read_object(path) for path in (folder / "plans.json", plans_file))
        before.pop("continue_training", None)
        if before != now:
            raise InputError(
                f"{folder}: was being trained with other plans than {plans_file}; finish it with those, or train under another plans_name."
            )
        if final.is_file():
            # nnU-Net goes on from the final checkpoint first, and would so again after a kill, whatever was learnt in between.
            final.replace(latest)
    order = {key: getattr(settings, key) for key in ("trainer", "epochs", "iterations_per_epoch", "validation_iterations", "save_every", "device")}
    order |= {"threads": settings.threads, "seed": settings.seed, "dataset": dataset, "plans_name": plans_name, "resume": resume}
    order["configuration_name"] = workplace.configuration(dataset, plans_name)
    if settings.start_from is not None and not resume:
        start = results_folder(settings.start_from)
        _check_same_network(start, plans_file)
        order["start_from"] = str(start)
    check_pickles(workplace.preprocessed / dataset)
    watch = _EpochWatch(settings.epochs, progress)
    _run("train", order, workplace.environment(settings.workers), watch, cancelled)
    if not final.is_file():
        raise ModelError(f"{folder}: the training ended without a final checkpoint; start it again to go on.")
    report(progress, 1.0, "Trained")
    return folder


def workplace_for(output: Path, data: Path) -> tuple[Workplace, str]:
    """A workplace in `output` that takes the exported data set at `data` as its raw data, and the data set's name there.

    Raises InputError when `data` is no exported data set, or `output` was made for another one.
    """
    output, data = Path(output), Path(data).resolve()
    description = _read_object(data / "dataset.json") if (data / "dataset.json").is_file() else None
    if description is None or not (data / "imagesTr").is_dir() or not (data / SPLITS).is_file():
        raise InputError(f"{data}: is not a data set that export wrote (dataset.json, imagesTr, {SPLITS}); give its folder.")
    workplace, name = Workplace(output), dataset_name(data)
    raw = workplace.raw / name
    others = [p.name for p in workplace.raw.iterdir() if p.name != name] if workplace.raw.is_dir() else []
    if others or (raw.exists() and _read_object(raw / "dataset.json") != description):
        raise InputError(f"{output}: was made for another data set ({', '.join(others) or 'of the same name'}); choose another output.")
    if not raw.exists():
        output_folder(workplace.raw)
        try:
            raw.symlink_to(data, target_is_directory=True)
        except OSError:  # Windows lets only some users make links; a copy serves as well.
            shutil.copytree(data, raw)
    return workplace, name


def prepare_once(workplace: Workplace, dataset: str, plan: str, *, progress: Progress | None = None, cancelled: IsCancelled | None = None) -> str:
    """Plans and preprocesses unless that was done with the same plan; returns the plans' name. plan: a folder of nnunet_plans, or a plan.json.

    Raises InputError when `plan` is neither, or the workplace was prepared with another version of it.
    """
    file = plan_file(plan)
    template = _read_object(file)
    record = workplace.preprocessed / dataset / "liverlesionseg_plan.json"
    if record.is_file():
        before = _read_object(record)
        same = all(before.get(key) == template.get(key) for key in ("plans_name", "plans", "configuration", "configuration_name"))
        if same:
            return str(template["plans_name"])
        if before.get("plans_name") == template.get("plans_name"):
            raise InputError(
                f"{workplace.root}: was prepared with other plans of the name {template.get('plans_name')} than {file}; "
                "go on with those, or choose another output."
            )
    plans = prepare(workplace, dataset, file, progress=progress, cancelled=cancelled)
    with whole_file(record) as temporary:
        temporary.write_text(json.dumps(template, indent=2) + "\n", encoding="utf-8")
    return plans.stem


def plan_file(plan: str) -> Path:
    """Where a plan lies. plan: a folder of nnunet_plans, or a plan.json. Raises InputError when it is neither."""
    file = resource("nnunet_plans", plan, "plan.json") if re.fullmatch(r"[\w-]+", plan) else Path(plan)
    if not file.is_file():
        known = sorted(p.parent.name for p in resource("nnunet_plans").glob("*/plan.json"))
        raise InputError(f"{plan}: is neither a plan of nnunet_plans ({', '.join(known)}) nor a plan.json; give one of them.")
    return file


def _exported_mode(raw: Path) -> str:
    section = _read_object(raw / "dataset.json").get("liverlesionseg")
    return str(section.get("mode", "")) if isinstance(section, dict) else ""


def begun(results: Path) -> bool:
    """Whether a training stands in a results folder, to be resumed or finished."""
    return any((results / "fold_0" / f"checkpoint_{kind}.pth").is_file() for kind in ("final", "latest", "best"))


def results_folder(path: Path) -> Path:
    """The results folder at `path` or, where `path` is what `train` wrote, the one in it. Raises InputError for none or several."""
    path = Path(path)
    if (path / "plans.json").is_file():
        return path
    found = sorted(p.parent for p in path.glob("results/*/*/plans.json"))
    if len(found) != 1:
        raise InputError(
            f"{path}: holds {len(found) or 'no'} trained models; give the folder that train wrote, or the results folder (with plans.json) itself."
        )
    return found[0]


def _check_same_network(model: Path, plans_file: Path) -> None:
    """Raises InputError unless a model's weights fit the network of these plans."""
    from ..segmentation.model import load_model

    bundle = load_model(model)
    planned = _read_object(plans_file)["configurations"].get(bundle.weights.configuration, {})
    channels = len(planned.get("normalization_schemes", ()))
    if planned.get("architecture") != bundle.configuration.values.get("architecture") or channels != bundle.channels:
        raise InputError(
            f"{model}: its network is not the one of {plans_file.stem}; train with the plan that it was trained with, or from the start."
        )


class _EpochWatch:
    """Turns nnU-Net's log lines into progress with the time left."""

    def __init__(self, epochs: int, progress: Progress | None) -> None:
        self._epochs, self._progress = epochs, progress
        self._first: tuple[int, float] | None = None

    def __call__(self, line: str) -> None:
        found = _EPOCH.search(line)
        if not found:
            return
        epoch, now = int(found[1]), monotonic()
        self._first = self._first or (epoch, now)
        left = ""
        if epoch > self._first[0]:
            minutes = (now - self._first[1]) / (epoch - self._first[0]) * (self._epochs - epoch) / 60
            left = f", {minutes:.0f} min left"
        report(self._progress, epoch / self._epochs, f"Epoch {epoch + 1} of {self._epochs}{left}")


def _run(task: str, order: Mapping[str, Any], environment: dict[str, str], watch: _EpochWatch | None, cancelled: IsCancelled | None) -> None:
    command = [sys.executable, "-m", "LiverLesionSegLib.training._nnunet_process", task, json.dumps(order)]
    # A session of its own, so that nnU-Net's pools end with it.
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=os.name == "posix"
    )
    lines: Queue[str | None] = Queue()
    reader = threading.Thread(target=_pump, args=(process, lines), daemon=True)
    reader.start()
    last: deque[str] = deque(maxlen=30)
    try:
        while True:
            if cancelled is not None and cancelled():
                raise Cancelled("Cancelled; the last checkpoint stands.")
            try:
                line = lines.get(timeout=_POLL_S)
            except Empty:
                continue
            if line is None:
                break
            last.append(line.rstrip())
            if watch is not None:
                watch(line)
        process.wait()
    finally:
        _end(process)
        reader.join(timeout=5)
    if process.returncode:
        reason = next((line for line in reversed(last) if line), "no message")
        raise ModelError(f"nnU-Net could not {task} ({reason[:300]}); see its log in the results folder.")


def _pump(process: subprocess.Popen[str], lines: Queue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """Ends the process and what it started."""
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True, check=False)
    process.wait()


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({type(error).__name__}); check the file.") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: must hold a JSON object; check the file.")
    return content
