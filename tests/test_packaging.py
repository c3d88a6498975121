"""The wheel: what it holds, and that it works where nothing else of this repository is."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TASKS = ("clinic_notes", "home_repairs", "job_adverts")


def call(*command, **options):
    """Run a command in an environment that does not know this repository, and return what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [str(part) for part in command], env=environment, capture_output=True, text=True, check=False, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built by the back end that is here; where there is none, `build` fetches it."""
    folder = tmp_path_factory.mktemp("dist")
    options = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    call(sys.executable, "-m", "build", "--wheel", *options, "--outdir", folder, ROOT)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A fresh virtual environment with the wheel, which finds all other packages where this one does."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    # A path in a .pth file is searched last, and the .pth files in it (an editable nerfound) are not read
    Path(paths["purelib"], "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = scripts / "python"
    call(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    return scripts


def test_the_wheel_holds_the_package_its_data_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nerfound").rglob("*.py")}
    assert sources <= names
    data = {"nerfound/data/concept-corpus.parquet", "nerfound/py.typed"}
    data |= {
        f"nerfound/data/tasks/{task}/{file}"
        for task in TASKS
        for file in ("concepts.json", "train.txt", "test.txt", "README.md")
    }
    data |= {f"nerfound/data/nerfound-mini/{file}" for file in ("delta.safetensors", "delta.json", "config.json")}
    assert data <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"nerfound"}
    assert not [name for name in names if "__pycache__" in name or "test_" in name or name.endswith(".pyc")]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_works_on_its_own(installed, tmp_path):
    script = (
        "import sys, nerfound, nerfound.corpus\n"
        "print(nerfound.__file__)\n"
        "print(len(nerfound.load_packaged_corpus()))\n"
        "print(nerfound.__version__)\n"
    )
    where, rows, version = call(installed / "python", "-c", script, cwd=tmp_path).split()
    assert Path(where).is_relative_to(installed.parent)
    assert rows == "13117"
    shown = call(installed / "nerfound", "--help", cwd=tmp_path)
    assert "Few-shot entity recognition" in shown
    metadata = f"from importlib.metadata import version; print(version('nerfound') == {version!r})"
    assert call(installed / "python", "-c", metadata, cwd=tmp_path).strip() == "True"
