"""Runs AutoConnect for the tests of this folder; they need DuckDB and the built program, nothing else.
`cargo test -p autoconnect --test oracle` runs them where their packages are there.

AUTOCONNECT_TEST_BIN              the program; target/release/autoconnect where it is not set
AUTOCONNECT_TEST_AMQP             the URI of a RabbitMQ node of the tests' own (scripts/rabbitmq-node with …)
AUTOCONNECT_TEST_MAX_ROWS         tests of generated files of more rows are skipped and say so; unset: none is
AUTOCONNECT_TEST_REQUIRE_BROKER   1: a test that finds no node fails, where it would be skipped and say so
"""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "data" / "transactions_autoconnect.csv"
TODAY = "2030-01-01"  # on another day another row is in the future


class AutoConnect:
    """The program, in an environment without anybody's settings."""

    def __init__(self, program):
        self.program = program

    def __call__(self, *arguments, stdin=None, broker=None):
        """Runs it; it must succeed."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOCONNECT_")}
        if broker:
            environment["AUTOCONNECT_BROKER__URI"] = broker
            environment["AUTOCONNECT_BROKER__PREFIX"] = f"oracle-{os.getpid()}."
        done = subprocess.run(
            [self.program, *map(str, arguments)],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=environment,
            timeout=300,
        )
        assert done.returncode == 0, f"{arguments}: exit code {done.returncode}: {done.stderr.decode()}"

    def run(self, out, *arguments, **how):
        """Makes the report on files into the folder `out`, and returns that folder."""
        self("run", *arguments, "--out", out, "--today", TODAY, "--quiet", **how)
        return out


@pytest.fixture(scope="session")
def autoconnect():
    program = Path(os.environ.get("AUTOCONNECT_TEST_BIN", ROOT / "target" / "release" / "autoconnect"))
    if not program.is_file():
        pytest.fail(f"{program}: no such program: build it, or name it with AUTOCONNECT_TEST_BIN")
    return AutoConnect(program.resolve())


@pytest.fixture(scope="session")
def generated(autoconnect, tmp_path_factory):
    """Makes a file of transactions of so many rows."""

    most = os.environ.get("AUTOCONNECT_TEST_MAX_ROWS")

    def generate(rows, *arguments):
        if most is not None and rows > int(most):
            pytest.skip(f"needs time for {rows} rows: set AUTOCONNECT_TEST_BIN to an optimised program (make test does)")
        file = tmp_path_factory.mktemp("generated") / "transactions.csv"
        autoconnect("generate", "--rows", rows, "--cities", 12, "--seed", 7, *arguments, file)
        return file

    return generate


@pytest.fixture
def broker():
    """The URI of the tests' RabbitMQ node."""
    uri = os.environ.get("AUTOCONNECT_TEST_AMQP")
    if uri is None:
        why = "needs a broker: set AUTOCONNECT_TEST_AMQP (make test starts one)"
        if os.environ.get("AUTOCONNECT_TEST_REQUIRE_BROKER") == "1":
            pytest.fail(why)
        pytest.skip(why)
    return uri
