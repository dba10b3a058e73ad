"""Every sentence that the panel says of a state, and what the prominent button says, by the codes of the library."""

from __future__ import annotations

from functools import cache
from typing import Any

from slicer.i18n import tr as _

SYMBOLS = {"waiting": "○", "ready": "▶", "running": "…", "done": "✓", "attention": "!"}
TINTS = {"waiting": "#eceef1", "ready": "#e2edfb", "running": "#ebe6fa", "done": "#e0f2e6", "attention": "#fde8d2"}
COLORS = {"waiting": "#8a8f98", "ready": "#3f7fd6", "running": "#7a5fd0", "done": "#2f8f4e", "attention": "#d06000"}


@cache
def state_words() -> dict[str, str]:
    """State -> the word beside a step's title."""
    return {"waiting": _("not yet"), "ready": _("ready"), "running": _("running"), "done": _("done"), "attention": _("needs attention")}


@cache
def step_titles() -> dict[str, str]:
    """Step -> its title."""
    return {
        "connect": _("1  Connect"),
        "sweep": _("2  Sweep"),
        "box": _("3  Box"),
        "segment": _("4  Segment"),
        "review": _("5  Review"),
        "navigate": _("6  Navigate"),
    }


@cache
def action_texts() -> dict[str, str]:
    """Action -> what the prominent button says."""
    return {
        "": _("Please wait"),
        "connect": _("Connect"),
        "disconnect": _("Disconnect"),
        "start_sweep": _("Start sweep"),
        "stop_sweep": _("Stop sweep"),
        "place_box": _("Box around the image's middle"),
        "place_clicks": _("Two clicks again"),
        "accept_proposal": _("Accept the proposed box"),
        "segment": _("Segment"),
        "grow": _("Region growing"),
        "accept": _("Accept the lesion"),
        "navigate": _("Navigate"),
        "confirm_sensor": _("Liver sensor is in place"),
    }


@cache
def sentences() -> dict[str, str]:
    """Code -> sentence, with places for the values that come with it."""
    return {
        "error": "{text}",
        "defect": _("A defect of this software ({error}). Go on, or save the log in the set-up and report it."),
        "connect.none": _("Not connected. Choose the configuration of the probe, then connect to the tracker's server."),
        "connect.waiting": _("Connecting to {host}:{port} …"),
        "connect.no_server": _("No server answers at {host}:{port}. Start PlusServer there, or correct the address; it is tried again by itself."),
        "connect.gone": _("The connection to {host}:{port} is lost. Check cable and server; it connects again by itself."),
        "connect.no_images": _("No image for {seconds:.0f} s. Unfreeze the scanner, and look whether the server sends images."),
        "connect.no_pose": _("The image has no place: {tools} is not tracked. Bring the probe and the liver sensor into the tracker's field."),
        "connect.live": _("Live, {fps:.0f} images a second. {not_tracked}"),
        "sweep.none": _("Connect first, or load a sweep from a file."),
        "sweep.ready": _("Ready. Put the probe beside the lesion, start, and move slowly across it."),
        "sweep.recording": _("Recording {name}: {frames} frames, {seconds:.0f} s. Move slowly and evenly."),
        "sweep.recording_findings": _("Recording {name}: {frames} frames, {seconds:.0f} s. {advice}"),
        "sweep.problem": _("Recording {name}: {problem}"),
        "sweep.link_lost": _("The connection is lost; {frames} frames are safe on the disk. Wait until it is back and go on, or stop the sweep."),
        "sweep.tracker_lost": _("{tools} is not tracked; {frames} frames are safe. Hold still, bring it back into the field, then go on."),
        "sweep.finishing": _("Saving {name} …"),
        "sweep.reconstructing": _("Making the volume of {name} …"),
        "sweep.done": _("{name}: a volume of {frames} frames, after {seconds:.1f} s."),
        "sweep.doubtful": _("{name}: a volume of {frames} frames, but look at it well. {advice}"),
        "sweep.refused": _("{name} is not good enough to rely on. {advice} Sweep again."),
        "box.waiting": _("A box needs a volume: make a sweep first."),
        "box.ready": _("Put a box around the lesion: two clicks in a view, or around the middle of the image."),
        "box.proposing": _("Looking through the sweep for a box to propose … You may put one yourself at any time."),
        "box.proposed": _(
            "Proposed box {number} of {count}: {size} mm, {ml:.1f} mL marked in {frames} frames. Look at it; accept it, or put your own."
        ),
        "box.no_proposal": _(
            "No proposal: the network marked nothing large enough. That does not mean that there is no lesion; put the box yourself."
        ),
        "box.placing": _("Click the first corner of the box in a view; then the opposite one. Esc or Cancel places none."),
        "box.placing_second": _("Now click the opposite corner of the box. Esc or Cancel places none."),
        "box.given_up": _(
            "No box was placed: that takes two clicks in a view. Press for two clicks again, or put it around the middle of the image."
        ),
        "box.back": _("No new box was placed; the one before is back: {size} mm; {percent:.0f} % of it was seen."),
        "box.unseen": _("Only {percent:.0f} % of the box was seen by the sweep. Move the box, or sweep again."),
        "box.partly_seen": _("{size} mm; {percent:.0f} % of it was seen. What lies in the rest is not known."),
        "box.done": _("{size} mm; {percent:.0f} % of it was seen."),
        "segment.waiting": _("Place the box first."),
        "segment.ready": _("Ready: the network looks for the lesion in the box."),
        "segment.seeding": _("Click into the lesion, once or more: {count} seeds so far. Then press Region growing; Esc ends placing."),
        "segment.loading": _("The model is being loaded; the lesion comes next. {text}"),
        "segment.running": _("Looking for the lesion … {text}"),
        "segment.cancelled": _("Cancelled. Start again when you are ready."),
        "segment.done": _("{ml:.2f} mL by {model} on {device} in {seconds:.1f} s, threshold {threshold:.2f}."),
        "segment.grown": _("{ml:.2f} mL by region growing in {seconds:.1f} s."),
        "segment.box_moved": _("The box was moved: the lesion shown is the one of the box before. Segment again."),
        "review.waiting": _("There is no lesion to look at yet."),
        "review.ready": _("{ml:.2f} mL. Look at it in every slice; correct it if need be, then accept."),
        "review.writing": _("Saving …"),
        "review.done": _("Accepted: {ml:.2f} mL, {corrected} voxels corrected, after {seconds:.0f} s. It stands in {table}."),
        "navigate.waiting": _("Navigation needs a lesion."),
        "navigate.ready": _("Ready to guide the instrument to the lesion."),
        "navigate.preparing": _("Preparing distances and margin …"),
        "navigate.no_link": _("Not connected: there is no live position. Connect again."),
        "navigate.no_tool": _("No distance: {reason}"),
        "navigate.guiding": _("Guiding {tool}."),
        "navigate.doubt": _("Do not trust lesion and distance: the liver sensor may have moved. Look at it; confirm, or scan again."),
        "rehearsal.none": _("A simulated liver with a lesion, a sweep of it, and a tracked stylus. Made here in seconds; nothing is downloaded."),
        "rehearsal.making": _("Making the simulated patient … {text}"),
        "rehearsal.made": _("Ready in {folder}: choose its file in step 2, or play it live and connect."),
        "rehearsal.differs": _(
            "Ready in {folder}. Its frames differ in rounding from the recorded ones (other package versions); it serves all the same."
        ),
        "rehearsal.starting": _("Starting …"),
        "rehearsal.playing": _("The simulated patient is played on this computer, port {port}. Connect in step 1."),
        "study.ready": _("Nothing runs."),
        "study.running": _("{kind}: {text}"),
        "study.cancelled": _("Cancelled. What was finished is kept."),
        "study.done": _("Done: {kind}."),
        "study.missing": _("Not everything can run here; read what the check found."),
    }


@cache
def kinds() -> dict[str, str]:
    """A researcher's run -> its name."""
    return {"evaluate": _("evaluation"), "export": _("training export"), "doctor": _("check of this Slicer")}


@cache
def methods() -> dict[str, str]:
    """Method -> its name."""
    return {"nnunet": _("Network"), "region-growing": _("Region growing"), "ellipsoid": _("Ellipsoid")}


@cache
def tool_words() -> dict[str, str]:
    """State of a tool -> in words."""
    return {"OK": _("OK"), "stale": _("stale"), "missing": _("missing"), "unknown tip": _("OK, tip not known")}


def sentence(said: Any) -> str:
    """The sentence of a `Said`. The list of tools that are not tracked is only named where there is one."""
    values = dict(said.values)
    if said.code == "connect.live":
        values["not_tracked"] = _("Not tracked: {tools}.").format(tools=values["tools"]) if values["tools"] else ""
    if "kind" in values:
        values["kind"] = kinds().get(values["kind"], values["kind"])
    return sentences()[said.code].format(**values).strip()


def tool_line(name: str, reading: Any, tip: str) -> str:
    """A line of the list of tools, as rich text: state in colour and in words."""
    colors = {"OK": COLORS["done"], "unknown tip": COLORS["done"], "stale": COLORS["attention"]}
    age = "" if reading.age_s == float("inf") or reading.age_s < 1.0 else _(", {seconds:.0f} s ago").format(seconds=reading.age_s)
    return f'<b>{name}</b>: <span style="color:{colors.get(reading.state, "#c02020")}">{tool_words()[reading.state]}{age}</span>{tip}'


def lesion_text(result: Any) -> str:
    """How the lesion on the screen was found; nothing where there is none."""
    if result is None:
        return ""
    method = methods().get(result.method, result.method)
    text = _("{method}, model {model} {number}, on {device}") if result.model else _("{method}, on {device}") if result.device else "{method}"
    lines = [text.format(method=method, model=result.model, number=result.model_id[:12], device=result.device)]
    if result.value is not None:
        tuned = abs(result.value - result.tuned.value) < 1e-6
        lines.append((_("threshold {value:.2f}, as tuned") if tuned else _("threshold {value:.2f}, by hand")).format(value=result.value))
        if result.probability is None:
            lines.append(_("The threshold cannot be moved: probabilities are not saved with a scene. Segment again to have one."))
    lines.append("  ".join(f"{name} {seconds:.2f} s" for name, seconds in result.seconds.items()))
    return "\n".join(lines)
