"""A built wheel, installed somewhere else, translates without the checkout."""

import os
import subprocess
import sys
import zipfile

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "flaxformer_mt"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the unpacked wheel, as pip would put it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(folder / "site")
    return folder / "site", names


def test_the_wheel_carries_package_corpus_and_model_and_nothing_else(installed):
    site, names = installed
    assert "flaxformer_mt/shipped/data/en-fa/train.tsv" in names
    assert "flaxformer_mt/shipped/weights/starter/config.json" in names
    files = {str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*.*")}
    files = {name for name in files if "__pycache__" not in name}
    assert len([name for name in files if not name.endswith(".py")]) >= 9
    assert files <= set(names)
    roots = {name.split("/")[0] for name in names}
    assert {r for r in roots if not r.endswith(".dist-info")} == {"flaxformer_mt"}
    (entry_points,) = [n for n in names if n.endswith("entry_points.txt")]
    scripts = (site / entry_points).read_text(encoding="utf-8")
    assert "flaxformer-mt = flaxformer_mt.__main__:main" in scripts


def test_an_installed_package_translates_from_another_folder(installed, tmp_path):
    site, _ = installed
    # -P and PYTHONPATH: only the unpacked wheel can be what is imported.
    command = [sys.executable, "-P", "-m", "flaxformer_mt", "translate"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        input=b"I drink tea.\n",
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8").strip()
    where = subprocess.run(
        [
            sys.executable,
            "-P",
            "-c",
            "import flaxformer_mt; print(flaxformer_mt.__file__)",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert str(site) in where.stdout
    assert not list(tmp_path.iterdir()), "translating wrote into the current folder"
