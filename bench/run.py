#!/usr/bin/env python3
"""AutoConnect beside Polars, DuckDB and Dask: the same file, the same answers, in turns; see README.md.

Called by scripts/bench, which builds the program, starts a broker and passes its arguments on.
"""

import argparse
import ctypes
import json
import math
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "target" / "bench"
PEERS = ROOT / "bench" / "peers"
TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
BROKER, BROKER_PID = "AUTOCONNECT_TEST_AMQP", "AUTOCONNECT_TEST_RABBITMQ_PID"
WORKERS = 2
TIMEOUT = 600
SAMPLE = 0.01  # seconds between two looks at memory


class Contestant:
    """A program that answers: its command, and how its answers are read."""

    def __init__(self, title, command, answers, environment=None, broker=None):
        self.title, self.command, self.answers, self.broker = title, command, answers, broker
        settings = {name: value for name, value in os.environ.items() if not name.startswith("AUTOCONNECT_")}
        self.environment = settings | (environment or {})


def ours(binary, file, out):
    """The ways of our own, by the name that --only takes; with reports below the folder `out`."""

    def way(title, *flags, **how):
        folder = out / title.replace(" ", "-")
        command = [binary, "run", file, "--out", folder, "--quiet", *flags]
        return Contestant(title, command, lambda _: of_report(folder), **how)

    found = {
        "autoconnect": way("AutoConnect"),
        "no-dedup": way("AutoConnect --no-dedup", "--no-dedup"),
    }
    if BROKER in os.environ:
        found["rabbitmq"] = way(
            f"AutoConnect through RabbitMQ, {WORKERS} worker processes",
            "--workers",
            WORKERS,
            environment={"AUTOCONNECT_BROKER__URI": os.environ[BROKER]},
            broker=int(os.environ[BROKER_PID]),
        )
    return found


def contestants(binary, file, out):
    """All there are, by the name that --only takes."""

    def peer(package, *arguments, title=""):
        command = [sys.executable, PEERS / f"{package}_peer.py", file, *arguments]
        title = f"{ {'duckdb': 'DuckDB'}.get(package, package.title()) } {version(package)}{title}"
        return Contestant(title, command, lambda text: as_report(*json.loads(text)))

    peers = {
        "polars": peer("polars"),
        "duckdb": peer("duckdb"),
        "dask": peer("dask", WORKERS, title=f", {WORKERS} workers"),
    }
    return ours(binary, file, out) | peers


# ---- what all must agree on


def as_report(by_month, by_model):
    """The part of a report that follows from a peer's two tables (see peers/answers.py), in cents."""
    monthly, parts = {}, defaultdict(lambda: [0, 0])
    for ville, mois, kind, number, cents in by_month:
        monthly[ville, mois, kind] = cents
        parts[ville, kind][0] += number
        parts[ville, kind][1] += cents
    best = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    models, rented = defaultdict(int), {}
    for ville, kind, model, number, cents, months in by_model:
        for which in (kind, "total"):
            best[ville, which][model][0] += number
            best[ville, which][model][1] += cents
        models[model, ville] += cents
        if kind == "location":
            rented[ville, model] = (number, months)
    cities = {ville for ville, _ in rented}
    return {
        "ca_mensuel": {key: cents for key, cents in monthly.items() if cents},
        "repartition": {key: tuple(sums) for key, sums in parts.items()},
        "top_modeles": {
            key: [(model, *sums) for model, sums in sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[:5]]
            for key, found in best.items()
        },
        "ca_par_modele": dict(models),
        "duree_par_modele": {key: mean(*sums) for key, sums in rented.items()},
        "rotation": {
            ville: (
                sum(number for (city, _), (number, _) in rented.items() if city == ville),
                mean(*map(sum, zip(*(sums for (city, _), sums in rented.items() if city == ville)))),
            )
            for ville in cities
        },
    }


def mean(number, months):
    """Months of a rental, two decimals, half up."""
    return Decimal(math.floor(Fraction(100 * months, number) + Fraction(1, 2))) / 100


def of_report(folder):
    """The same part of our report; its folder is removed, so that the next run finds what the first one found."""
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"), parse_float=Decimal)
    shutil.rmtree(folder)

    def cents(euros):
        return int(euros * 100)

    return {
        "ca_mensuel": {
            (ville, mois, kind): cents(cell[kind])
            for ville, months in report["ca_mensuel"].items()
            for mois, cell in months.items()
            for kind in ("vente", "location")
            if cell[kind]
        },
        "repartition": {
            (ville, kind): (cell["nombre"], cents(cell["ca"]))
            for ville, kinds in report["repartition"].items()
            for kind, cell in kinds.items()
            if cell["nombre"]
        },
        "top_modeles": {
            (ville, which): [(cell["modele"], cell["nombre"], cents(cell["ca"])) for cell in cells]
            for ville, found in report["top_modeles"].items()
            for which, cells in found.items()
            if cells
        },
        "ca_par_modele": {
            (model, ville): cents(ca)
            for model, found in report["ca_par_modele"].items()
            for ville, ca in found["villes"].items()
        },
        "duree_par_modele": {
            (ville, model): duration
            for ville, found in report["rotation"].items()
            for model, duration in found["par_modele"].items()
        },
        "rotation": {
            ville: (found["contrats"], found["duree_moyenne_mois"])
            for ville, found in report["rotation"].items()
            if found["contrats"]
        },
    }


# ---- one run, measured


def stat(pid):
    """Parent, ticks of CPU and resident bytes of a process; None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
    except OSError:
        return None
    return int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[21]) * PAGE


def below(root):
    """Every living process below this one, and what it holds."""
    found = {int(name): stat(name) for name in os.listdir("/proc") if name.isdigit()}
    children = defaultdict(list)
    for pid, told in found.items():
        if told:
            children[told[0]].append(pid)
    tree, left = {}, [root]
    while left:
        for child in children[left.pop()]:
            tree[child] = found[child]
            left.append(child)
    return tree


def busy():
    """Seconds of CPU that the whole machine has used."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + irq + softirq) / TICK


def used(broker):
    """Seconds of CPU that our children which ended, and the broker, have used."""
    times = os.times()
    told = stat(broker) if broker else None
    return times.children_user + times.children_system + (told[1] / TICK if told else 0)


class Memory(threading.Thread):
    """Watches what a process and all below it hold together."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.over = 0, threading.Event()

    def run(self):
        known, look = [], 0.0
        while not self.over.wait(SAMPLE):
            # who is there costs a walk over all processes; what each holds does not
            if time.monotonic() > look:
                known, look = list(below(os.getpid())), time.monotonic() + 0.1
            self.peak = max(self.peak, sum(told[2] for told in map(stat, known) if told))


def run_once(contestant):
    """Runs it to its end and all its processes': wall, cpu, peak, others, answers."""
    memory = Memory()
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as wrong:
        memory.start()
        cpu, machine, own, start = used(contestant.broker), busy(), time.process_time(), time.perf_counter()
        command = list(map(str, contestant.command))
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=said, stderr=wrong, env=contestant.environment
        )
        alarm = threading.Timer(TIMEOUT, give_up)
        alarm.start()
        code = child.wait()
        wall = time.perf_counter() - start
        while reap():
            time.sleep(0.01)
        alarm.cancel()
        memory.over.set()
        memory.join()
        took = time.perf_counter() - start
        cpu = used(contestant.broker) - cpu
        own = time.process_time() - own
        others = max(0.0, busy() - machine - cpu - own) / took
        said.seek(0), wrong.seek(0)
        if code:
            sys.exit(f"{contestant.title}: exit code {code}: {wrong.read().decode(errors='replace')[-2000:]}")
        return {
            "wall": wall,
            "cpu": cpu,
            "peak": memory.peak,
            "others": others,
            "answers": contestant.answers(said.read().decode()),
        }


def give_up():
    """Ends everything that this run started."""
    for pid in below(os.getpid()):
        os.kill(pid, signal.SIGKILL)


def adopt_orphans():
    """What our children leave behind becomes ours: their CPU is counted and their end awaited."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def reap():
    """Collects processes that outlived their parents; whether any is left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


# ---- all of them, in turns


def compare(chosen, runs):
    """Every contestant once a round, the first round to warm up: the measured runs of each, by name."""
    reference, measured = None, defaultdict(list)
    for number in range(runs + 1):
        for name, contestant in chosen.items():
            run = run_once(contestant)
            answers = run.pop("answers")
            reference = reference or (contestant.title, answers)
            disagreement(contestant.title, answers, *reference)
            told = f"{run['wall']:.2f} s, {run['cpu']:.2f} s CPU, {run['peak'] / 1e6:.0f} MB"
            print(f"{number or 'warm-up'}: {contestant.title}: {told}, others {run['others']:.2f}", file=sys.stderr)
            if number:
                measured[name].append(run)
    return measured


def disagreement(title, answers, other, wanted):
    """Ends the benchmark where two do not answer the same."""
    for table, rows in wanted.items():
        if answers[table] != rows:
            keys = sorted(key for key in {*rows, *answers[table]} if answers[table].get(key) != rows.get(key))
            example = f"{keys[0]}: {answers[table].get(keys[0])} and {rows.get(keys[0])}"
            sys.exit(f"{title} and {other} differ in {table}, {len(keys)} times, first {example}")


def ratio(measured, name, to):
    """The median over the rounds of this one's time by that one's; empty where there is none."""
    if to not in measured or name == to:
        return ""
    return f"{statistics.median(a['wall'] / b['wall'] for a, b in zip(measured[name], measured[to])):.2f}"


def show(measured, chosen):
    """Prints the table."""

    def median(name, what):
        return statistics.median(run[what] for run in measured[name])

    fastest = min({"polars", "duckdb"} & set(measured), key=lambda name: median(name, "wall"), default=None)
    titles = {name: chosen[name].title for name in measured}
    print(f"|  | wall s, least | median | CPU s | peak MB | x {titles.get(fastest, '-')} | x Dask | others |")
    print("|---|---|---|---|---|---|---|---|")
    for name in sorted(measured, key=lambda name: median(name, "wall")):
        print(
            f"| {titles[name]} | {min(run['wall'] for run in measured[name]):.2f} | {median(name, 'wall'):.2f}"
            f" | {median(name, 'cpu'):.2f} | {median(name, 'peak') / 1e6:.0f}"
            f" | {ratio(measured, name, fastest)} | {ratio(measured, name, 'dask')} | {median(name, 'others'):.2f} |"
        )


def generated(binary, rows):
    """A clean file of so many rows, made once; in the page cache, as it is when it was just exported."""
    DATA.mkdir(parents=True, exist_ok=True)
    file = DATA / f"{rows}.csv"
    if not file.exists():
        half = file.with_suffix(".half")
        subprocess.run([binary, "generate", "--rows", str(rows), "--cities", "12", half], check=True)
        half.rename(file)
    with open(file, "rb") as reader:
        while reader.read(1 << 24):
            pass
    return file


def main():
    arguments = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n")[0])
    arguments.add_argument("--runs", type=int, default=5, help="measured runs of each, after one to warm up [5]")
    arguments.add_argument("--rows", type=int, default=10_000_000, help="rows of the file [10000000]")
    names = ["autoconnect", "no-dedup", "rabbitmq", "polars", "duckdb", "dask", "memory"]
    arguments.add_argument("--only", type=lambda text: text.split(","), default=names, help=",".join(names))
    arguments.add_argument("--binary", type=Path, default=ROOT / "target" / "release" / "autoconnect")
    asked = arguments.parse_args()
    if unknown := set(asked.only) - set(names):
        arguments.error(f"--only: unknown {', '.join(sorted(unknown))}: expected some of {','.join(names)}")
    adopt_orphans()
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as out:
        bench(asked, Path(out))


def bench(asked, out):
    """What was asked, with reports in the folder `out`."""
    file = generated(asked.binary, asked.rows)
    there = contestants(asked.binary, file, out)
    if "rabbitmq" in asked.only and "rabbitmq" not in there:
        sys.exit(f"rabbitmq: no broker: {BROKER} is not set (scripts/bench starts one)")
    chosen = {name: there[name] for name in asked.only if name in there}
    size = f"{asked.rows} rows, {file.stat().st_size / 1e6:.0f} MB"
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    print(f"{size}; {machine}; {asked.runs} runs of each, in turns; all answers equal\n")
    if chosen:
        show(compare(chosen, asked.runs), chosen)
    if "memory" in asked.only:
        print("\n| rows | peak MB of AutoConnect |\n|---|---|")
        for rows in (asked.rows, 3 * asked.rows):
            contestant = contestants(asked.binary, generated(asked.binary, rows), out)["autoconnect"]
            peaks = [run_once(contestant)["peak"] for _ in range(asked.runs)]
            print(f"| {rows} | {max(peaks) / 1e6:.0f} |")


if __name__ == "__main__":
    main()
