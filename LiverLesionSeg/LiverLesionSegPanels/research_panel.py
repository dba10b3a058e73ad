"""The second tab: model and threshold, evaluation of a cohort, training export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from .texts import sentence
from .widgets import on, set_text


class ResearchPanel:
    """study: the library's Study; flow: for the operating room's model."""

    def __init__(self, ui: Any, flow: Any, study: Any) -> None:
        self.ui, self.flow, self.study = ui, flow, study
        self.parameters: Any = None
        self._shown: Any = None
        on(self.flow, ui.loadModelButton, "clicked()", self.loadModel)
        on(self.flow, ui.evaluateButton, "clicked()", self.evaluate)
        on(self.flow, ui.cancelStudyButton, "clicked()", self.study.cancel)
        on(self.flow, ui.exportButton, "clicked()", self.export)
        on(self.flow, ui.reportButton, "clicked()", self.openReport)
        ui.resultTable.setColumnCount(2)
        ui.resultTable.setHorizontalHeaderLabels([_("Method"), _("Median Dice")])

    def loadModel(self) -> None:
        self.flow.do(self.flow.segmenting.load_model, "model")

    def _model(self) -> tuple[str, str]:
        folder = self.ui.modelPath.currentPath.strip()
        return folder, self.ui.deviceCombo.currentText

    def evaluate(self) -> None:
        checks = {"nnunet": self.ui.nnunetCheck, "region-growing": self.ui.growingCheck, "ellipsoid": self.ui.ellipsoidCheck}
        methods = [name for name, check in checks.items() if check.checked]
        folder, device = self._model()
        paths = self.ui.casesPath.currentPath, self.ui.resultsPath.currentPath
        self.flow.do(lambda: self.study.evaluate(*paths, methods, folder, device, self.ui.splitCombo.currentText), "evaluate")
        self.refresh()

    def export(self) -> None:
        self.flow.do(
            lambda: self.study.export(self.ui.casesPath.currentPath, self.ui.exportPath.currentPath, self.ui.modeCombo.currentText), "export"
        )
        self.refresh()

    def openReport(self) -> None:
        report = self._report()
        if report:
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(report))

    def _report(self) -> str:
        outputs = dict(self.study.result.get("outputs", {}))
        found = [path for path in outputs.values() if str(path).endswith(".html")]
        return str(Path(found[0])) if found else ""

    def refresh(self) -> None:
        """Show how the run stands, and which model is loaded."""
        ui, state = self.ui, self.study.state()
        set_text(ui.studySentence, sentence(state.said))
        ui.studyBar.visible = state.cancel
        ui.studyProgress.setMaximum(0 if state.fraction is None else 100)
        ui.studyProgress.setValue(round(100 * (state.fraction or 0.0)))
        ui.evaluateButton.enabled = ui.exportButton.enabled = not self.study.running
        ui.reportButton.enabled = bool(self._report())
        dice = self.study.result.get("dice")
        if dice is not None and dice is not self._shown:
            self._shown = dice
            ui.resultTable.setRowCount(len(dice))
            for row, (method, value) in enumerate(dice.items()):
                ui.resultTable.setItem(row, 0, qt.QTableWidgetItem(method))
                ui.resultTable.setItem(row, 1, qt.QTableWidgetItem(f"{value:.3f}"))
        model = self.flow.segmenting.model
        if model is None:
            set_text(ui.modelLabel, _("No model is loaded."))
        else:
            threshold = model["threshold"].value if model["threshold"] is not None else None
            text = _("{name}, {number}, on {device}").format(name=model["name"], number=model["model_id"][:12], device=model["device"])
            tuned = _("no tuned threshold") if threshold is None else _("tuned threshold {value:.3f}").format(value=threshold)
            set_text(ui.modelLabel, f"{text}; {tuned}")
