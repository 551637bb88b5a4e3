"""Readers of /api/ca-mensuel, ours and Flask's with Redis, in one run: requests a second, errors, and how many times more.

Started by scripts/bench-api. Both sides answer the same JSON on this machine, which is checked first; wrk asks each in turn,
round by round, over so many connections that stay open.
"""

import argparse
import json
import os
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PATH = "/api/ca-mensuel"
LONG = 60  # seconds a program may take to be ready


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def until(what, ready):
    """Waits until it is ready; what it returned then."""
    end = time.monotonic() + LONG
    while True:
        try:
            return ready()
        except OSError as error:
            if time.monotonic() > end:
                sys.exit(f"bench-api: {what} is not ready after {LONG} s: {error}")
            time.sleep(0.1)


class Programs:
    """What was started, each in a group of its own; all of it ends with this run."""

    def __init__(self, folder):
        self.folder, self.running = folder, []

    def start(self, name, *command, **variables):
        log = open(self.folder / f"{name}.log", "wb")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("AUTOCONNECT_")}
        environment |= {k: str(v) for k, v in variables.items()}
        arguments = [str(word) for word in command]
        self.running.append(
            subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, start_new_session=True)
        )

    def stop(self):
        for program in self.running:
            if program.poll() is None:
                os.killpg(program.pid, signal.SIGTERM)
        for program in self.running:
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(program.pid, signal.SIGKILL)
                program.wait()


def ours(programs, asked):
    """`autoconnect serve` after a report on the file; its URL."""
    port, results = free_port(), programs.folder / "results"
    program = ROOT / "target" / "release" / "autoconnect"
    done = subprocess.run([program, "run", asked.file, "--out", results, "--quiet"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench-api: {done.stderr}")
    data = asked.file.resolve().parent
    programs.start("serve", program, "serve", "--bind", f"127.0.0.1:{port}", "--data", data, "--results", results)
    url = f"http://127.0.0.1:{port}{PATH}"
    return url, until("autoconnect serve", lambda: get(url))


def theirs(programs, answer):
    """Redis with the same answer, Flask's own server and gunicorn before it; their URLs."""
    redis_port = free_port()
    programs.start("redis", "redis-server", "--port", redis_port, "--bind", "127.0.0.1", "--save", "", "--dir", programs.folder)
    import redis

    store = redis.Redis(port=redis_port)

    def put():
        try:
            store.set("ca_mensuel", json.dumps(answer))
        except redis.exceptions.RedisError as error:
            raise OSError(error) from error

    until("Redis", put)
    own, gunicorn, cores = free_port(), free_port(), os.cpu_count()
    programs.start("flask", sys.executable, HERE / "flask_app.py", REDIS_PORT=redis_port, PORT=own)
    programs.start(
        "gunicorn", sys.executable, "-m", "gunicorn", "--chdir", HERE, "--bind", f"127.0.0.1:{gunicorn}", "--workers",
        2 * cores + 1, "--worker-class", "gthread", "--threads", 8, "--worker-connections", 4000, "--keep-alive", 60,
        "--backlog", 4096, "flask_app:app", REDIS_PORT=redis_port,
    )
    urls = {name: f"http://127.0.0.1:{port}{PATH}" for name, port in [("flask", own), ("gunicorn", gunicorn)]}
    for name, url in urls.items():
        if until(name, lambda: get(url)) != answer:
            sys.exit(f"bench-api: {name} answers something else")
    return urls


def load(url, asked):
    """One round of wrk: requests a second, the 99th percentile, errors."""
    command = ["wrk", "-t", "2", "-c", str(asked.connections), "-d", f"{asked.seconds}s", "--timeout", "5s", "--latency", url]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"bench-api: wrk: {done.stderr or done.stdout}")
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)[1])
    slow = re.search(r"99%\s+(\S+)", done.stdout)[1]
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", done.stdout)
    others = re.search(r"Non-2xx or 3xx responses: (\d+)", done.stdout)
    errors = sum(map(int, errors.groups())) if errors else 0
    return rate, slow, errors + (int(others[1]) if others else 0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("--connections", type=int, default=2000)
    arguments.add_argument("--seconds", type=int, default=10, help="of each round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--file", type=Path, default=ROOT / "data" / "transactions_autoconnect.csv")
    asked = arguments.parse_args()

    wanted = asked.connections + 512
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < wanted:
        sys.exit(f"bench-api: at most {most} files may be open here, {wanted} are needed: ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    folder = Path(tempfile.mkdtemp(prefix="bench-api-"))
    programs = Programs(folder)
    try:
        url, answer = ours(programs, asked)
        urls = {"autoconnect serve": url} | theirs(programs, answer)
        rounds = {name: [] for name in urls}
        for _ in range(asked.rounds):
            for name, url in urls.items():
                rounds[name].append(load(url, asked))
    finally:
        programs.stop()
        shutil.rmtree(folder)

    size = len(json.dumps(answer, separators=(",", ":"), ensure_ascii=False).encode())
    print(f"{asked.connections} connections kept open, {asked.rounds} rounds of {asked.seconds} s each, {os.cpu_count()} cores shared")
    print(f"with wrk, {size} bytes an answer\n")
    print("| | requests/s, median | 99 % within | errors |\n|---|---:|---:|---:|")
    medians = {name: statistics.median(rate for rate, _, _ in found) for name, found in rounds.items()}
    for name, found in rounds.items():
        print(f"| {name} | {medians[name]:,.0f} | {found[-1][1]} | {sum(errors for _, _, errors in found)} |")
    best = max(rate for name, rate in medians.items() if name != "autoconnect serve")
    ratio = medians["autoconnect serve"] / best
    failed = sum(errors for _, _, errors in rounds["autoconnect serve"])
    print(f"\n{ratio:.1f} times the better of Flask's two; at least 20 and no error of ours are wanted")
    sys.exit(ratio < 20 or failed > 0)


if __name__ == "__main__":
    main()
