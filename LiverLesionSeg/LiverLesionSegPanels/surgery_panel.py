"""The first tab and the head above all tabs: states become texts, clicks become calls of the flow. No decision is made here."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from LiverLesionSegLib.host.flow import STEPS
from LiverLesionSegLib.host.state import DONE

from .connect_part import ConnectPart
from .texts import COLORS, SYMBOLS, TINTS, action_texts, lesion_text, sentence, state_words, step_titles, tool_words
from .views import Views
from .widgets import on, set_label, set_text

DISTANCE_STYLE = "font-size: {size}px; font-weight: bold; color: {ink}; background: {paper}; border-radius: 6px;"


TINTED = "QLabel {{ background: {paper}; color: #14181e; border-radius: 4px; padding: 6px; }}"


class SurgeryPanel:
    """ui: the widgets by name; flow: the library's Flow; parameters: the parameter node's wrapper, or None while a scene is being closed."""

    def __init__(self, ui: Any, flow: Any) -> None:
        self.ui, self.flow = ui, flow
        self.parameters: Any = None
        self.cancellable = False
        self._action = ""
        self._open = ""
        self._result: Any = None
        self._proposals: Any = None
        self._styles: dict[int, str] = {}
        self._beep_at = 0.0
        self.views, self.connecting = Views(flow), ConnectPart(ui, flow)
        self._connect()

    def _connect(self) -> None:
        ui, flow = self.ui, self.flow
        ui.problemRow.layout().setStretch(0, 1)  # the sentence has the room, not its button
        clicks = {
            ui.nextButton: self.next,
            ui.cancelButton: flow.cancel,
            ui.detailsButton: self.showDetails,
            ui.connectButton: lambda: flow.act("connect"),
            ui.disconnectButton: lambda: flow.act("disconnect"),
            ui.sweepButton: self.toggleSweep,
            ui.discardButton: lambda: flow.do(flow.sweeps.discard),
            ui.loadSweepButton: self.loadChosen,
            ui.loadFileButton: lambda: self.loadSweep(ui.sweepPath.currentPath),
            ui.loadBrowserButton: self.loadBrowser,
            ui.clickBoxButton: lambda: flow.act("place_clicks"),
            ui.middleBoxButton: lambda: flow.act("place_box"),
            ui.acceptProposalButton: lambda: flow.act("accept_proposal"),
            ui.segmentButton: lambda: self.findLesion("segment"),
            ui.growButton: lambda: self.findLesion("grow"),
            ui.seedsButton: self.placeSeeds,
            ui.clearSeedsButton: flow.seeding.clear,
            ui.tunedButton: self.backToTuned,
            ui.acceptButton: lambda: flow.act("accept"),
            ui.navigateButton: lambda: flow.act("stop_navigation" if flow.navigating.active else "navigate"),
            ui.layoutNavigationButton: lambda: self.views.show("navigation"),
            ui.layoutReviewButton: lambda: self.views.show("review"),
            ui.confirmButton: lambda: flow.do(lambda: flow.navigating.confirm(ui.confirmEdit.text)),
        }
        for button, action in clicks.items():
            button.connect("clicked()", lambda action=action: self.clicked(action))
        on(flow, ui.editButton, "toggled(bool)", self.onEdit)
        on(flow, ui.thresholdSlider, "valueChanged(double)", self.onThreshold)
        on(flow, ui.boxSizeSlider, "valueChanged(double)", self.onBoxSize)
        on(flow, ui.marginSlider, "valueChanged(double)", lambda value: flow.navigating.set_margin(value))
        on(flow, ui.automaticCheck, "toggled(bool)", self.onAutomatic)
        on(flow, ui.referenceCheck, "toggled(bool)", self.onReference)
        on(flow, ui.proposalCombo, "currentIndexChanged(int)", self.onProposal)

    def clicked(self, action: Any) -> None:
        """Do what a button or a key stands for, and show what came of it. What nobody expected is said and written down, too."""
        self.flow.guarded(action)
        self.flow.guarded(self.refresh)

    def next(self) -> None:
        """The prominent button, and its key: what it says, whatever would come next by now."""
        action = self._action
        if action in ("segment", "grow"):
            self.findLesion(action)
        elif action:
            self.flow.act(action)

    def findLesion(self, action: str) -> None:
        """By network or region growing; a correction by hand is lost only after a question."""
        if self._may_replace_lesion():
            self.flow.act(action)

    def _may_replace_lesion(self) -> bool:
        if not self.flow.reviewing.corrected_by_hand():
            return True
        question = _("The lesion was corrected by hand. Find it anew? The correction in the scene is lost; what was accepted stays in its files.")
        return bool(slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Corrected by hand")))

    def toggleSweep(self) -> None:
        """Start or stop: the button, the key and the foot pedal."""
        if self.flow.sweeps.recording:
            self.flow.act("stop_sweep")
        else:
            self.flow.do(lambda: self.flow.sweeps.start(self.ui.sweepNameEdit.text), "start_sweep")

    def loadSweep(self, path: str) -> None:
        self.flow.do(lambda: self.flow.sweeps.load(path, self.parameters.configPath), "load")

    def loadChosen(self) -> None:
        path = self.flow.sweeps.found().get(self.ui.sweepCombo.currentText)
        if path is not None:
            self.loadSweep(str(path))

    def loadBrowser(self) -> None:
        node, flow = self.ui.browserSelector.currentNode(), self.flow
        flow.do(lambda: flow.load_recording(node, self.parameters.configPath), "load recording")

    def placeSeeds(self) -> None:
        """Begin, or end: the same button."""
        seeding = self.flow.seeding
        self.flow.do(seeding.stop if seeding.placing else seeding.place)

    def onThreshold(self, value: float) -> None:
        wanted = self.flow.segmenting.wanted
        if wanted is not None and abs(value - wanted) > 5e-4:
            if self._may_replace_lesion():
                self.flow.segmenting.set_threshold(value)
            else:
                self._show_threshold(wanted)

    def backToTuned(self) -> None:
        result = self.flow.segmenting.result
        if result is not None and result.tuned is not None and self._may_replace_lesion():
            self.flow.segmenting.set_threshold(result.tuned.value)
            self._show_threshold(result.tuned.value)

    def onBoxSize(self, value: float) -> None:
        self.flow.do(lambda: self.flow.boxing.set_size(value))

    def onAutomatic(self, on: bool) -> None:
        self.flow.automatic = on

    def onReference(self, on: bool) -> None:
        self.flow.reviewing.is_reference = on

    def onProposal(self, index: int) -> None:
        if index >= 0 and index != self.flow.proposing.chosen:
            self.flow.proposing.choose(index)

    def onEdit(self, on: bool) -> None:
        """Open or close the segment editor in the panel."""
        editor = self.ui.segmentEditor
        if on and self.flow.do(lambda: editor.setMRMLSegmentEditorNode(self.flow.reviewing.editor_node())):
            node = editor.mrmlSegmentEditorNode()
            editor.setSegmentationNode(node.GetSegmentationNode())
            editor.setSourceVolumeNode(node.GetSourceVolumeNode())
            editor.setupViewObservations()
            editor.installKeyboardShortcuts()
        else:
            self.closeEditor()
        editor.visible = bool(on and self.flow.nodes.current() is not None)

    def closeEditor(self) -> None:
        """Nothing of the editor may go on watching views or keys."""
        editor = self.ui.segmentEditor
        if editor.mrmlSegmentEditorNode() is not None:
            editor.setActiveEffectByName("")
            editor.uninstallKeyboardShortcuts()
            editor.removeViewObservations()
        if self.ui.editButton.checked:
            self.ui.editButton.setChecked(False)
        editor.visible = False

    def showDetails(self) -> None:
        """The problem and what lies behind it, every step's details, and the end of the log, in a box from which they can be copied."""
        flow, titles = self.flow, step_titles()
        lines = [f"{titles[name]}: {line}" for name, state in flow.states().items() for line in (*state.details, *state.causes)]
        text = sentence(flow.problem) if flow.problem is not None else self.ui.headline.text
        parts = [*flow.problem_details, *lines, "", *flow.log.text().splitlines()[-25:]]
        slicer.util.infoDisplay(text or _("Nothing is wrong."), detailedText="\n".join(parts))

    def showProblem(self, state: Any = None, failed: bool = False) -> None:
        """The sentence of what went wrong, and the button for what lies behind. state: of the present step; failed: whether any step has failed."""
        ui, problem = self.ui, self.flow.problem
        said = [str(detail) for detail in state.details[:2] if str(detail) not in ui.headline.text] if state is not None else []
        ui.problemRow.visible = problem is not None or failed or bool(state is not None and state.details)
        set_text(ui.problemLabel, sentence(problem) if problem is not None else " ".join(said))
        self.style(ui.problemLabel, f"color: {'#c02020' if problem is not None else COLORS['attention']};")

    def refresh(self) -> None:
        """Show how everything stands; a few times a second and after every click."""
        flow, ui = self.flow, self.ui
        states = flow.states()
        name, action = flow.next(states)
        for step, state in states.items():
            title = f"{SYMBOLS[state.state]}  {step_titles()[step]} – {state_words()[state.state]}"
            set_text(getattr(ui, f"{step}Step"), title)
            label = getattr(ui, f"{step}Sentence")
            set_label(label, "" if step == name else sentence(state.said))
            self.style(label, TINTED.format(paper=TINTS[state.state]))
        self._show_head(states, name, action)
        if name != self._open:
            self._open = name
            for step in STEPS:
                getattr(ui, f"{step}Step").collapsed = step != name
        if flow.seeding.placing and (ui.segmentStep.collapsed or ui.tabs.currentIndex != 0):
            flow.seeding.stop()  # whoever has left the step would put seeds unawares
        self.connecting.refresh()
        self._show_sweeps()
        self.views.follow()
        self._show_proposals()
        self._show_lesion()
        self._show_navigation(states["navigate"])

    def _show_head(self, states: Any, name: str, action: str) -> None:
        ui, flow, state = self.ui, self.flow, states[name]
        guiding = (_("Guiding") if state.state == DONE else _("No distance")) if name == "navigate" and not action and flow.navigating.active else ""
        clicking = flow.boxing.placing or flow.seeding.placing
        self._action = action
        set_text(ui.nextButton, guiding or (_("Click in a view") if clicking and not action else action_texts()[action]))
        ui.nextButton.enabled = bool(action)
        set_text(ui.headline, sentence(state.said))
        self.style(ui.headline, TINTED.format(paper=TINTS[state.state]) + " QLabel { font-weight: bold; font-size: 17px; }")
        color = "#b03030" if action == "stop_sweep" else COLORS["ready"] if action else COLORS["waiting"]
        self.style(
            ui.nextButton,
            f"QPushButton {{ min-height: 60px; font-size: 22px; font-weight: bold; color: white; background: {color}; border-radius: 8px; }}",
        )
        cancellable = any(each.cancel for each in states.values())
        ui.progressRow.visible = self.cancellable = cancellable
        fraction = state.fraction
        ui.progressBar.visible = not clicking  # it is the person who is waited for
        ui.progressBar.setMaximum(100 if fraction is not None else 0)
        ui.progressBar.setValue(round(100 * (fraction or 0.0)))
        self.showProblem(state, any(each.causes for each in states.values()))

    def _show_sweeps(self) -> None:
        ui, sweeps = self.ui, self.flow.sweeps
        set_text(ui.sweepButton, _("Stop sweep") if sweeps.recording else _("Start sweep"))
        ui.sweepButton.enabled = sweeps.recording or (not sweeps.busy and self.flow.link.session is not None)
        ui.discardButton.enabled = sweeps.recording
        for row in (ui.earlierRow, ui.fileRow, ui.browserRow):
            row.enabled = not sweeps.busy
        state = sweeps.state()
        set_label(ui.findingsLabel, "\n".join(f"• {detail}" for detail in state.details[:4]))
        names = list(sweeps.found()) if not sweeps.busy else None
        if names is not None and names != [ui.sweepCombo.itemText(n) for n in range(ui.sweepCombo.count)]:
            chosen = ui.sweepCombo.currentText
            ui.sweepCombo.clear()
            ui.sweepCombo.addItems(names)
            ui.sweepCombo.setCurrentText(chosen if chosen in names else names[-1] if names else "")

    def _show_proposals(self) -> None:
        """Only where a network of single frames is installed."""
        ui, proposing = self.ui, self.flow.proposing
        proposals = proposing.proposals
        ui.proposalRow.visible = bool(proposals)
        ui.outlineCheck.visible = self.flow.outlining.available
        set_label(ui.outlineLabel, self._outline_text())
        if proposals is not self._proposals:
            self._proposals = proposals
            was = ui.proposalCombo.blockSignals(True)
            ui.proposalCombo.clear()
            text = _("{number}: {size} mm, {ml:.1f} mL, {frames} frames")
            for number, found in enumerate(proposals, start=1):
                size = " x ".join(f"{side:.0f}" for side in found["box"].size)
                ui.proposalCombo.addItem(text.format(number=number, size=size, ml=found["volume_ml"], frames=found["frames"]))
            ui.proposalCombo.blockSignals(was)

    def _outline_text(self) -> str:
        outlining = self.flow.outlining
        text = _("{dropped} of {offered} live images were left out.")
        left_out = text.format(dropped=outlining.dropped, offered=outlining.offered) if outlining.dropped else ""
        return "\n".join(filter(None, (outlining.problem, left_out)))

    def _show_lesion(self) -> None:
        ui, segmenting = self.ui, self.flow.segmenting
        result = segmenting.result
        ready = self.flow.boxing.volume is not None
        ui.boxRow.enabled = ready
        ui.segmentRow.enabled = ui.seedsRow.enabled = ready and self.flow.boxing.box is not None
        seeding = self.flow.seeding
        set_text(ui.seedsButton, _("Stop placing") if seeding.placing else _("Place seeds"))
        ui.clearSeedsButton.enabled = seeding.count > 0
        has_probability = result is not None and result.probability is not None
        ui.thresholdRow.enabled = has_probability
        if result is not None and not has_probability and result.value is not None:
            self._show_threshold(result.value)
        if has_probability:
            tuned = result.tuned.value
            set_text(ui.tunedButton, _("Tuned: {value:.2f}").format(value=tuned))
            ui.tunedButton.enabled = abs((segmenting.wanted or tuned) - tuned) > 1e-6
            if result is not self._result and segmenting.wanted is not None and not ui.thresholdSlider.hasFocus():
                self._show_threshold(segmenting.wanted)
        self._result = result
        ui.acceptButton.enabled = ui.editButton.enabled = result is not None and result.surface is not None
        set_label(ui.lesionLabel, lesion_text(result))

    def _show_threshold(self, value: float) -> None:
        slider = self.ui.thresholdSlider
        if abs(slider.value - value) > 5e-3:
            was = slider.blockSignals(True)
            slider.value = value
            slider.blockSignals(was)

    def _show_navigation(self, state: Any) -> None:
        ui, navigating = self.ui, self.flow.navigating
        shown = navigating.shown
        set_text(ui.navigateButton, _("Stop navigation") if navigating.active else _("Navigate"))
        ui.navigateButton.enabled = navigating.active or bool(self.flow.segmenting.result)
        doubtful = state.said.code == "navigate.doubt"
        ui.confirmRow.visible = doubtful
        self.showDistance(shown)

    def showDistance(self, shown: Any) -> None:
        """Digits, band and sound; at the rate of the images."""
        ui, reading = self.ui, shown.reading
        known = reading.distance_mm is not None
        paper = reading.color if known and not shown.doubt else (0.6, 0.6, 0.6)
        dark = 0.299 * paper[0] + 0.587 * paper[1] + 0.114 * paper[2] < 0.5
        set_text(ui.distanceLabel, f"({reading.text})" if shown.doubt and known else reading.text)
        paper_text = "#{:02x}{:02x}{:02x}".format(*(round(255 * channel) for channel in paper))
        self.style(ui.distanceLabel, DISTANCE_STYLE.format(size=54, ink="white" if dark else "#101010", paper=paper_text if known else "#d8dade"))
        lines = [_("margin {distance}").format(distance=reading.margin_text)] if known else []
        if shown.tool is not None:
            age = "" if shown.tool.age_s == float("inf") else _(", {age:.1f} s old").format(age=shown.tool.age_s)
            lines.append(_("{tool}: {state}{age}").format(tool=self.flow.navigating.tool, state=tool_words()[shown.tool.state], age=age))
        lines += [shown.reason] if shown.reason and not known else []
        lines += [] if shown.watched else [_("liver sensor not watched: its own pose is not in the stream")]
        set_text(ui.marginLabel, "   ".join(lines))

    def beep(self, now: float) -> None:
        """A parking sensor's sound, where it is wanted."""
        shown = self.flow.navigating.shown
        interval = shown.reading.tone_interval_s if not shown.doubt else None
        if self.parameters is not None and self.parameters.sound and interval is not None and now - self._beep_at >= max(interval, 0.1):
            self._beep_at = now
            qt.QApplication.beep()

    def style(self, widget: Any, text: str) -> None:
        """A style sheet, set only when it changes: Qt lays out again for every one."""
        if self._styles.get(id(widget)) != text:
            self._styles[id(widget)] = text
            widget.setStyleSheet(text)
