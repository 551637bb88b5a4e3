"""An API for the tests of this folder: `autoconnect serve` on a port of its own, over a copy of the shipped file.

AUTOCONNECT_TEST_BIN   the program; target/release/autoconnect where it is not set
"""

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = 120  # seconds, on a slow and busy machine


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A folder with `data` and `results`."""
    site = tmp_path_factory.mktemp("site")
    (site / "data").mkdir()
    (site / "results").mkdir()
    shutil.copy(ROOT / "data" / "transactions_autoconnect.csv", site / "data")
    return site


@pytest.fixture(scope="session")
def data_file(site):
    """The file that the newest report is about; nothing is wrong with its rows."""
    return site / "data" / "transactions_autoconnect.csv"


@pytest.fixture(scope="session")
def program():
    """The program."""
    program = Path(os.environ.get("AUTOCONNECT_TEST_BIN", ROOT / "target" / "release" / "autoconnect")).resolve()
    if not program.is_file():
        pytest.fail(f"{program}: no such program: build it, or name it with AUTOCONNECT_TEST_BIN")
    return program


def clean_environment():
    """The variables of this process without settings of the program."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AUTOCONNECT_")}


@pytest.fixture(scope="session")
def base_url(site, data_file, program):
    """Where the API answers, which has a report on `data_file`."""
    environment = clean_environment()
    # what a test sends may be large, but need not fill the disk
    environment["AUTOCONNECT_API__MAX_UPLOAD"] = "16m"
    environment["AUTOCONNECT_PRODUCER__INPUT"] = str(data_file)
    command = [program, "serve", "--bind", "127.0.0.1:0", "--data", site / "data", "--results", site / "results"]
    with (site / "log").open("w") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=site, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        # its first line is its address
        address = server.stdout.readline().strip()
        assert address.startswith("http://"), (site / "log").read_text()
        analyse(address)
        yield address
        assert server.poll() is None, f"the server ended by itself: {(site / 'log').read_text()[-2000:]}"
    finally:
        server.terminate()
        server.wait(timeout=LONG)


def analyse(address):
    """Has the usual file reported on, and waits until the API serves the report."""
    request = urllib.request.Request(f"{address}/api/process", method="POST")
    urllib.request.urlopen(request, timeout=LONG).close()
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(f"{address}/api/villes", timeout=LONG).close()
            return
        except urllib.error.HTTPError as error:
            assert error.code == 404, error
            time.sleep(0.05)
    pytest.fail("no report came")
