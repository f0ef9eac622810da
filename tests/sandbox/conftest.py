"""Fixtures of the sandbox tests: no level is remembered between them, and code may run as an ordinary user."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from rdistill.sandbox import layout, levels, probes

NOBODY = 65534


@pytest.fixture(autouse=True)
def nothing_granted():
    """Each test finds this machine's level by itself."""
    forget = probes.fault_of.cache_clear
    forget()
    levels.forget_granted()
    yield
    forget()
    levels.forget_granted()


@pytest.fixture(scope="session")
def as_nobody(checkout):
    """Run a program that needs only the sandbox, as an ordinary user; returns its stdout.

    Where the tests are run by root, that is another uid, with a copy of Python that it may read.
    """
    with tempfile.TemporaryDirectory(prefix="rdistill-python-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(checkout / "rdistill", folder / "source" / "rdistill", ignore=ignored("__pycache__"))
        python = copied_python(folder / "python")

        def run(code):
            return subprocess.run(
                [python, "-B", "-c", code],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder / "source")},
                cwd=folder,
                user=NOBODY if os.geteuid() == 0 else None,
                group=NOBODY if os.geteuid() == 0 else None,
                extra_groups=[] if os.geteuid() == 0 else None,
                capture_output=True,
                text=True,
                check=True,
            ).stdout

        yield run


def copied_python(folder):
    """The interpreter with its standard library, in a place that everybody may read."""
    if os.geteuid() != 0:
        return sys.executable
    home, library = layout.python_home(), f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copytree(
        home / "lib" / library, folder / "lib" / library, ignore=ignored("site-packages", "test", "idlelib")
    )
    for shared in (home / "lib").glob("libpython*"):
        shutil.copy(shared, folder / "lib")
    (folder / "bin").mkdir()
    return shutil.copy(layout.python_binary(), folder / "bin" / library)


def ignored(*names):
    return shutil.ignore_patterns(*names)
