"""Whatever is asked: no 5xx, and no answer outside the OpenAPI document. Schemathesis makes the requests, good and bad."""

import subprocess
import sys

SECONDS = 120


def test_no_answer_leaves_the_document(base_url, tmp_path):
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{base_url}/api/openapi.json",
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", "40",
        # streams of events do not end by themselves
        "--exclude-path-regex", "/events$",
        # an id that nobody gave is not found, a file that is not there neither; without a token none is asked for
        "--exclude-checks", "positive_data_acceptance,ignored_auth",
        "--generation-allow-x00", "true",
        "--seed", "4",
        "--request-timeout", "30",
        "--suppress-health-check", "all",
        "--continue-on-failure",
        "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=10 * SECONDS)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
