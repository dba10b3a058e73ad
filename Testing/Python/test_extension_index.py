"""What Slicer's extension index checks of an extension, as far as it can be checked without a network; and that CMake puts every file in its place.

The checks are those of Slicer/ExtensionsIndex `scripts/check_description_files.py`, in its order.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
from conftest import PROJECT

DESCRIPTION = PROJECT / "LiverLesionSeg.json"
KEYS = {"$schema", "build_dependencies", "build_subdirectory", "category", "enabled", "scm_revision", "scm_type", "scm_url", "tier"}
CATEGORIES = {"IGT", "Ultrasound", "Segmentation", "Planning", "Training", "Utilities"}  # some of those that are accepted
LICENCES = {"LICENSE", "LICENCE", "License.txt", "LICENSE.txt", "license.txt", "COPYING", "COPYING.txt"}
CMAKE = (PROJECT / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def entry():
    return json.loads(DESCRIPTION.read_text(encoding="utf-8"))


def tracked():
    """Paths that a clone has; the test is skipped where the sources are not a repository."""
    found = subprocess.run(["git", "ls-files", "-z"], cwd=PROJECT, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("the sources are not a git repository")
    return [PROJECT / name for name in found.stdout.split("\0") if name]


def test_repository_is_small():
    assert sum(path.stat().st_size for path in tracked() if path.exists()) < 60e6  # the index allows 100 MB, history and all


def test_description_follows_the_schema(entry):
    assert {"$schema", "category", "scm_url"} <= set(entry) <= KEYS
    assert re.fullmatch(r"https://raw\.githubusercontent\.com/Slicer/Slicer/main/Schemas/[\w-]+-v1\.0\.1\.json#", entry["$schema"])
    assert isinstance(entry["tier"], int) and 1 <= entry["tier"] <= 5
    assert all(isinstance(name, str) and name for name in entry["build_dependencies"])
    assert entry["build_dependencies"] == sorted(set(entry["build_dependencies"]))


def test_description_has_line_feeds_alone():
    assert b"\r" not in DESCRIPTION.read_bytes() and DESCRIPTION.read_bytes().endswith(b"}\n")


def test_names_category_and_address(entry):
    assert not DESCRIPTION.stem.startswith("Slicer")
    assert entry["category"] in CATEGORIES
    parts = urlsplit(entry["scm_url"])
    assert parts.scheme in ("git", "https") and parts.netloc
    assert parts.path.rsplit("/", 1)[-1].startswith("Slicer")


def test_cmake_names_the_extension_and_its_dependencies(entry):
    assert re.findall(r"project\s*\(\s*([^\s)]+)", CMAKE) == [DESCRIPTION.stem]
    (depends,) = re.findall(r'set\(EXTENSION_DEPENDS "([^"]+)"\)', CMAKE)
    assert sorted(depends.split()) == entry["build_dependencies"]
    (homepage,) = re.findall(r'set\(EXTENSION_HOMEPAGE "([^"]+)"\)', CMAKE)
    assert homepage == entry["scm_url"]


def test_icon_and_screenshots_are_pictures_of_the_repository(entry):
    """The index downloads them; here each address has to be a file of this repository on the branch that is built."""
    (icon,) = re.findall(r'set\s*\(EXTENSION_ICONURL\s*"([^"]+)"[ ]*\)', CMAKE)
    (shots,) = re.findall(r'set\s*\(EXTENSION_SCREENSHOTURLS\s*"([^"]+)"\)', CMAKE)
    raw = entry["scm_url"].replace("github.com", "raw.githubusercontent.com") + f"/{entry['scm_revision']}/"
    known = tracked()
    for address in [icon, *shots.split()]:
        assert address.startswith(raw)
        path = PROJECT / address[len(raw) :]
        assert path in known and path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n", address


def test_licence_and_readme_lie_in_the_root():
    assert any((PROJECT / name).is_file() for name in LICENCES)
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    for needed in ("docs/slicer-module.md", "CITATION.cff", "not a medical device"):
        assert needed in text


STUB = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/Empty.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/Empty.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/qt-scripted-modules)
"""
# What the macro of Slicer 5 does with the files: each that is listed is copied below the build tree, with WITH_SUBDIR into a folder named as the
# source folder is; that folder (else the files) is installed. A file that is not there ends the configuration.
USE = """
include(CMakeParseArguments)
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown keywords ${MY_UNPARSED_ARGUMENTS}")
  endif()
  set(destination ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR})
  if(MY_WITH_SUBDIR)
    get_filename_component(name ${CMAKE_CURRENT_SOURCE_DIR} NAME)
    set(destination ${destination}/${name})
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "there is no ${file}")
    endif()
    configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${file} ${destination}/${file} COPYONLY)
  endforeach()
  install(DIRECTORY ${destination}$<$<NOT:$<BOOL:${MY_WITH_SUBDIR}>>:/> DESTINATION qt-scripted-modules)
endmacro()
function(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "there is no ${MY_SCRIPT}")
  endif()
endfunction()
"""


@pytest.mark.slow
def test_built_and_installed_it_has_all_that_it_needs(tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("cc") is None:
        pytest.skip("cmake or a C compiler is not installed")
    stub, build, installed = (tmp_path / name for name in ("stub", "build", "installed"))
    stub.mkdir()
    for name, text in (("SlicerConfig.cmake", STUB), ("UseSlicer.cmake", USE), ("Empty.cmake", "")):
        (stub / name).write_text(text, encoding="utf-8")
    run = {"check": True, "capture_output": True, "text": True}
    subprocess.run([cmake, "-S", PROJECT, "-B", build, f"-DSlicer_DIR={stub}", f"-DCMAKE_INSTALL_PREFIX={installed}", "-DBUILD_TESTING=ON"], **run)
    subprocess.run([cmake, "--install", build], **run)
    place = installed / "qt-scripted-modules"
    for needed in ("LiverLesionSeg.py", "LiverLesionSegPanels/texts.py", "Resources/UI/LiverLesionSeg.ui", "LiverLesionSegLib/__init__.py"):
        assert (place / needed).is_file(), needed
    for path in [*(PROJECT / "LiverLesionSeg").rglob("*.py"), *(PROJECT / "LiverLesionSeg" / "Resources").rglob("*.*")]:
        if "__pycache__" not in path.parts:
            assert (place / path.relative_to(PROJECT / "LiverLesionSeg")).is_file(), path
    code = (
        "import LiverLesionSegLib as library, pathlib, sys\n"
        "from LiverLesionSegLib.files.resources import resource\n"
        "assert pathlib.Path(library.__file__).parts[-3] == 'qt-scripted-modules', library.__file__\n"
        "model = resource('Resources', 'Models', 'crlm-ius-crop', 'weights.safetensors')\n"
        "assert model.is_file() and 'qt-scripted-modules' in str(model), model\n"
        "assert any(resource('nnunet_plans').rglob('plan.json'))\n"
        "import LiverLesionSegLib.host, LiverLesionSegLib.worker.__main__\n"
    )
    environment = {"PYTHONPATH": str(place), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
