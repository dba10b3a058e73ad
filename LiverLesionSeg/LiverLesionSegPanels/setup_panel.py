"""The third tab: patient and folder, packages with consent, the check of this Slicer, tool tips, keys, the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from LiverLesionSegLib.host import packages
from LiverLesionSegLib.navigation.tools import tip_from_pivot
from LiverLesionSegLib.scene.tools import transform_from_node

from .texts import sentence
from .widgets import on, set_text


class SetupPanel:
    """flow, study: the library's; the doctor runs in the study's place."""

    def __init__(self, ui: Any, flow: Any, study: Any) -> None:
        self.ui, self.flow, self.study = ui, flow, study
        self.parameters: Any = None
        self._shown: Any = None
        self._filled = self._played = True
        on(flow, ui.newPatientButton, "clicked()", self.newPatient)
        on(flow, ui.installButton, "clicked()", self.install)
        on(flow, ui.doctorButton, "clicked()", lambda: flow.do(lambda: study.doctor(ui.deviceCombo.currentText), "doctor"))
        on(flow, ui.pivotButton, "clicked()", self.openPivot)
        on(flow, ui.takeTipButton, "clicked()", lambda: flow.do(self.takeTip, "tip"))
        on(flow, ui.sampleButton, "clicked()", self.makeSample)
        on(flow, ui.playButton, "clicked()", self.playSample)
        on(flow, ui.saveLogButton, "clicked()", self.saveLog)

    def newPatient(self) -> None:
        """The one whose name was typed. Everything of the patient before leaves the scene, after a question."""
        question = _("Take everything of {patient} out of the scene? Recorded files stay.").format(patient=self.flow.sweeps.patient)
        if slicer.util.confirmOkCancelDisplay(question, windowTitle=_("Next patient")):
            self.flow.do(lambda: self.flow.new_patient(self.ui.patientEdit.text), "new patient")
        self.refresh()

    def _show_patient(self) -> None:
        ui, sweeps = self.ui, self.flow.sweeps
        typed = ui.patientEdit.text.strip()
        present = _("Patient: {patient}").format(patient=sweeps.patient)
        set_text(ui.sweepPatientLabel, present)
        waits = _("The present patient is {patient}. Press Next patient to go on with {next}.").format(patient=sweeps.patient, next=typed)
        set_text(ui.patientLabel, waits if typed and typed != sweeps.patient else present)

    def install(self) -> None:
        """Ask, then install what is missing."""
        missing = packages.missing()
        if not missing:
            slicer.util.infoDisplay(_("Every package is there already."))
            return
        question = _("These packages will be installed into Slicer's Python: {names}. Torch is several hundred megabytes. Go on?")
        if not slicer.util.confirmOkCancelDisplay(question.format(names=", ".join(missing)), windowTitle=_("Install packages")):
            return
        self.flow.do(lambda: packages.install(missing, self.ui.wheelhousePath.currentPath.strip()), "packages")
        self.showPackages()

    def showPackages(self) -> None:
        """What is missing, by name."""
        missing = packages.missing()
        text = _("Missing: {names}.").format(names=", ".join(missing)) if missing else _("Every package is installed.")
        set_text(self.ui.packagesLabel, text)
        self.ui.installButton.enabled = bool(missing)

    def makeSample(self) -> None:
        """The simulated patient, in a folder of its own; this tab shows how far it is."""
        ui, rehearsal = self.ui, self.flow.rehearsal
        ui.tabs.setCurrentWidget(ui.setupTab)
        ui.rehearsalPart.collapsed = False
        rehearsal.choose(self.flow.sweeps.folder / "simulated")
        if rehearsal.making:
            rehearsal.cancel()
        else:
            self._filled = not self.flow.do(rehearsal.make, "simulated patient")
        self.refresh()

    def playSample(self) -> None:
        """Send it as PlusServer would, or stop that."""
        rehearsal = self.flow.rehearsal
        if rehearsal.playing:
            rehearsal.stop()
        else:
            self._played = not self.flow.do(rehearsal.play, "simulated patient")
        self.refresh()

    def _show_rehearsal(self) -> None:
        ui, rehearsal, p = self.ui, self.flow.rehearsal, self.parameters
        if not rehearsal.playing and not rehearsal.making:
            rehearsal.choose(self.flow.sweeps.folder / "simulated")
        state = rehearsal.state()
        set_text(ui.rehearsalLabel, sentence(state.said))
        set_text(ui.sampleButton, _("Cancel") if rehearsal.making else _("Make the case"))
        set_text(ui.playButton, _("Stop playing") if rehearsal.playing else _("Play it live"))
        ui.sampleButton.enabled = not rehearsal.playing
        ui.playButton.enabled = rehearsal.playing or rehearsal.ready
        if p is not None and rehearsal.ready and not self._filled:
            self._filled = True
            p.configPath = str(rehearsal.config)
            ui.sweepPath.currentPath = str(rehearsal.sweep)
        if p is not None and rehearsal.port and not self._played:
            self._played = True
            p.host, p.port, p.configPath = "127.0.0.1", rehearsal.port, str(rehearsal.config)

    @staticmethod
    def _extensions() -> list[str]:
        """Which of the extensions that work with this one are installed, and what they are for."""
        wanted = {
            "openigtlinkif": ("SlicerOpenIGTLink", _("shows what the server sends")),
            "pivotcalibration": ("SlicerIGT", _("finds the tip of a tool")),
            "pytorchutils": ("PyTorch", _("installs what the network runs on")),
        }
        there, gone = _("installed"), _("not installed; the Extensions Manager has it")
        return [f"{there if hasattr(slicer.modules, module) else gone}: {name} ({use})" for module, (name, use) in wanted.items()]

    def openPivot(self) -> None:
        if hasattr(slicer.modules, "pivotcalibration"):
            slicer.util.selectModule("PivotCalibration")
        else:
            slicer.util.infoDisplay(_("Pivot calibration comes with the extension SlicerIGT; install it in the Extensions Manager."))

    def takeTip(self) -> None:
        from LiverLesionSegLib.errors import CalibrationError

        node, tools = self.ui.tipSelector.currentNode(), self.flow.link.tools
        tool = self.flow.navigating.tool
        if node is None or tools is None or not tool:
            raise CalibrationError("Connect, choose the instrument in step 1 and the calibrated tip's transform here; then take it.")
        self.flow.link.take_tip(tool, tip_from_pivot(transform_from_node(node), tool))
        if self.parameters is not None:
            self.parameters.tips = self.flow.link.saved_tips()

    def saveLog(self) -> None:
        path = qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save the log"), "LiverLesionSeg-log.txt", _("Text (*.txt)"))
        if path:
            self.flow.do(lambda: self.flow.log.write(Path(path)), "log")

    def refresh(self) -> None:
        """What the check found, and where tips are known from."""
        self._show_patient()
        self._show_rehearsal()
        ui, result = self.ui, self.study.result
        if result is not self._shown and "checks" in result:
            self._shown = result
            words = {True: _("works"), False: _("MISSING")}
            lines = [f"{words[c['ok']]}: {c['check']}: {c['found']}" for c in result["checks"]]
            ui.doctorText.setPlainText("\n".join([*lines, *self._extensions()]))
        tools = self.flow.link.tools
        names = tools.instruments() if tools is not None else ()
        tips = {name: tools.tip(name) for name in names}
        lines = [f"{name}: {tip.source}" if tip is not None else _("{name}: tip not known").format(name=name) for name, tip in tips.items()]
        set_text(ui.tipsLabel, "\n".join(lines) or _("No instrument is in the stream yet."))
        ui.doctorButton.enabled = not self.study.running
