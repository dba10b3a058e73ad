"""What a desktop shows and the stand-in cannot: the module as Slicer itself loads it, its panel, and the worker in Slicer's own Python.

Run by CTest, or by `run_in_slicer.sh`.
"""

from __future__ import annotations

import time
import unittest

import slicer


class ModuleInSlicer(unittest.TestCase):
    def test_module_is_there_with_its_panel(self):
        self.assertTrue(hasattr(slicer.modules, "liverlesionseg"), "the module was not found; give its folder by --additional-module-paths")
        representation = slicer.modules.liverlesionseg.widgetRepresentation()
        self.assertIsNotNone(representation)
        panel = representation.self()
        self.assertEqual(panel.ui.tabs.count, 3)
        panel.surgery.refresh()
        self.assertTrue(panel.ui.nextButton.text)

    def test_self_tests(self):
        slicer.selfTests["LiverLesionSeg"](msec=0)

    def test_simulated_patient_is_among_the_sample_data(self):
        import SampleData

        import LiverLesionSeg

        if SampleData.SampleDataLogic().sourceForSampleName("LiverLesionSegSimulated") is None:
            LiverLesionSeg.registerSampleData()  # what is done when Slicer has started
        self.assertIsNotNone(SampleData.SampleDataLogic().sourceForSampleName("LiverLesionSegSimulated"))

    def test_worker_starts_in_slicers_own_python(self):
        from LiverLesionSegLib.host.python import slicer_python
        from LiverLesionSegLib.worker import Worker

        with Worker() as worker:
            worker.start(slicer_python())
            job = worker.request("ping")
            end = time.monotonic() + 120
            while not job.done and time.monotonic() < end:
                slicer.app.processEvents()
                time.sleep(0.05)
            self.assertIsNotNone(job.result, job.error)


if __name__ == "__main__":
    outcome = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromTestCase(ModuleInSlicer))
    slicer.util.exit(0 if outcome.wasSuccessful() else 1)
