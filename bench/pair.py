#!/usr/bin/env python3
"""Two builds of AutoConnect on the same file, alternately; see README.md.

Called by scripts/bench-pair, which builds both, starts a broker and passes its arguments on.
"""

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

import run

WAYS = ["autoconnect", "rabbitmq"]


def compare(builds, pairs):
    """Both builds once a round, in turns the first; the first round warms up. The measured runs of each, in order."""
    reference, measured = None, ([], [])
    for number in range(pairs + 1):
        for which in (0, 1) if number % 2 else (1, 0):
            told = run.run_once(builds[which])
            answers = told.pop("answers")
            reference = reference or (builds[which].title, answers)
            run.disagreement(builds[which].title, answers, *reference)
            name = ("base", "new")[which]
            took = f"{told['wall']:.2f} s, {told['cpu']:.2f} s CPU, others {told['others']:.2f}"
            print(f"{number or 'warm-up'}: {name}, {builds[which].title}: {took}", file=sys.stderr)
            if number:
                measured[which].append(told)
    return measured


def main():
    arguments = argparse.ArgumentParser(prog="bench/pair.py", description=__doc__.split("\n")[0])
    arguments.add_argument("base", type=Path, help="the program before")
    arguments.add_argument("new", type=Path, help="the program now")
    arguments.add_argument("--pairs", type=int, default=7, help="measured pairs, after one to warm up [7]")
    arguments.add_argument("--rows", type=int, default=10_000_000, help="rows of the file [10000000]")
    arguments.add_argument("--only", type=lambda text: text.split(","), default=WAYS, help=",".join(WAYS))
    arguments.add_argument("--most", type=float, help="the largest median ratio that is no failure, as 1.03")
    asked = arguments.parse_args()
    if unknown := set(asked.only) - set(WAYS):
        arguments.error(f"--only: unknown {', '.join(sorted(unknown))}: expected some of {','.join(WAYS)}")
    file = run.generated(asked.new, asked.rows)
    run.adopt_orphans()
    slower = False
    print("|  | base s | new s | new / base | least, most | CPU new / base | others |")
    print("|---|---|---|---|---|---|---|")
    programs = (("base", asked.base.resolve()), ("new", asked.new.resolve()))
    with tempfile.TemporaryDirectory(dir=run.ROOT / "target") as out:
        # where no settings are: a build refuses those that it does not know
        os.chdir(out)
        builds = [run.ours(binary, file, Path(out) / name) for name, binary in programs]
        for way in asked.only:
            both = compare([build[way] for build in builds], asked.pairs)
            base, new = (statistics.median(told["wall"] for told in runs) for runs in both)
            ratios = sorted(after["wall"] / before["wall"] for before, after in zip(*both))
            ratio = statistics.median(ratios)
            cpu = statistics.median(after["cpu"] / before["cpu"] for before, after in zip(*both))
            others = statistics.median(told["others"] for runs in both for told in runs)
            print(
                f"| {builds[1][way].title} | {base:.2f} | {new:.2f} | {ratio:.3f} | {ratios[0]:.3f}, {ratios[-1]:.3f}"
                f" | {cpu:.3f} | {others:.2f} |"
            )
            slower |= asked.most is not None and ratio > asked.most
    if slower:
        sys.exit(f"a median ratio is above {asked.most}")


if __name__ == "__main__":
    main()
