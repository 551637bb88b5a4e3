"""Uploads a large file to `autoconnect serve` and tells how much memory the process had: while the upload came, and until its
job ended. Fails above the bound.

    python3 bench/api/upload.py PROGRAM [--megabytes 1000] [--bound 150]

One process plays every role, so the second figure is that of the whole cluster; the first is that of the API, with the roles idle.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PIECE = 1 << 20


def memory(pid):
    """The memory of a process at this moment and at most, in MB of 10^6 bytes."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return tuple(int(status[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))


def lines(length):
    """Pieces of a clean file of that many bytes, made as they are sent."""
    head = b"transaction_id,date,ville,type,modele,prix,duree_location_mois\n"
    yield head
    sent, number = len(head), 0
    while sent < length:
        rows = []
        size = 0
        while size < PIECE:
            row = b"TX%09d,2024-%02d-%02d,%s,vente,Clio,%d.50,\n" % (
                number, number % 12 + 1, number % 28 + 1, (b"Lyon", b"Paris", b"Nice")[number % 3], 9000 + number % 7000,
            )  # fmt: skip
            rows.append(row)
            size += len(row)
            number += 1
        sent += size
        yield b"".join(rows)


def main():
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("program", type=Path)
    asked.add_argument("--megabytes", type=int, default=1000)
    asked.add_argument("--bound", type=float, default=150)
    asked = asked.parse_args()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOCONNECT_")}
    with tempfile.TemporaryDirectory() as folder:
        command = [asked.program.resolve(), "serve", "--bind", "127.0.0.1:0", "--data", "data", "--results", "results"]
        (Path(folder) / "data").mkdir()
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        try:
            figures = measure(server, asked.megabytes * 10**6)
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(figures, indent=2))
    highest = figures["memory_mb"]["while_the_upload_came"]
    if figures["job"] != "done" or highest >= asked.bound:
        sys.exit(f"expected a report, and less than {asked.bound:.0f} MB while the upload came")


def measure(server, length):
    host = server.stdout.readline().decode().strip().removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=600)
    idle, _ = memory(server.pid)
    highest, begun = 0, time.monotonic()

    def watched():
        nonlocal highest
        for piece in lines(length):
            yield piece
            highest = max(highest, memory(server.pid)[0])

    headers = {"Content-Type": "text/csv", "Transfer-Encoding": "chunked"}
    connection.request("POST", "/api/process?nom=large.csv", watched(), headers, encode_chunked=True)
    answer = connection.getresponse()
    body = json.load(answer)
    if answer.status != 202:
        sys.exit(f"{answer.status}: {body}")
    came = time.monotonic()
    # to its last event
    connection.request("GET", f"/api/jobs/{body['job_id']}/events")
    last = connection.getresponse().read().decode().strip().rsplit("data: ", 1)[-1]
    job = json.loads(last)
    return {
        "megabytes": length // 10**6,
        "job": job["status"],
        "rows": job["rows"],
        "seconds": {"upload": round(came - begun, 1), "job": round(time.monotonic() - came, 1)},
        "memory_mb": {
            "idle": round(idle, 1),
            "while_the_upload_came": round(highest, 1),
            "at_most_until_the_job_ended": round(memory(server.pid)[1], 1),
        },
    }


if __name__ == "__main__":
    main()
