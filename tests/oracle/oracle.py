#!/usr/bin/env python3
"""Checks a report against an independent computation with DuckDB, every number of it, to the cent and the hundredth.

    oracle.py FILE REPORT_JSON [--truth FILE.truth.json] [--rejets rejets.csv] [--periode 2024-01..2024-03]

FILE is plain comma-separated UTF-8. If it has faulty rows, its truth (`autoconnect generate --truth`) says on which lines;
the rejects are then compared with the truth line by line, and the truth's own tables with DuckDB's. Prints what differs;
exit code 1 if anything does.
"""

import argparse
import csv
import json
import sys
from decimal import Decimal
from pathlib import Path

import expected
from tables import Tables

COLUMNS = ["ligne", "motif", "champ", "valeur", "extrait", "fichier"]
EXCERPT = 200  # characters of a line that rejets.csv shows


def check(file, report, truth=None, rejets=None, asked=None):
    """What is wrong, one sentence each; nothing is right. `asked` is the period asked for."""
    file = Path(file)
    told = json.loads(Path(truth).read_text(encoding="utf-8")) if truth else None
    rejected = [line for line, _ in told["rejets"]] if told else []
    tables = Tables(file, rejected, asked=asked)
    by_reason = told["par_motif"] if told else {}
    rows = told["lignes"] if told else tables.count() + tables.outside
    wanted = expected.report(tables, file.name, rows, by_reason)
    found = json.loads(Path(report).read_text(encoding="utf-8"), parse_float=Decimal)
    faults = list(differences(found, wanted))
    if told:
        faults += check_truth(told, tables)
    if rejets:
        faults += check_rejects(file, rejets, told["rejets"] if told else [])
    return faults


def differences(found, wanted, at="report"):
    """Where two JSON values differ; numbers are equal by value, so 12.5 is 12.50."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key in sorted(set(wanted) | set(found)):
            if key not in found:
                yield f"{at}.{key}: missing, expected {short(wanted[key])}"
            elif key not in wanted:
                yield f"{at}.{key}: unexpected {short(found[key])}"
            else:
                yield from differences(found[key], wanted[key], f"{at}.{key}")
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(found) != len(wanted):
            yield f"{at}: {len(found)} entries, expected {len(wanted)}"
        for index, pair in enumerate(zip(found, wanted)):
            yield from differences(*pair, f"{at}[{index}]")
    elif found != wanted or isinstance(found, bool) != isinstance(wanted, bool):
        yield f"{at}: found {short(found)}, expected {short(wanted)}"


def short(value):
    """A value, cut so that it fits a line."""
    text = str(value)
    return text if len(text) < 80 else text[:79] + "…"


def check_truth(truth, tables):
    """The generator's own tables against DuckDB's."""
    first, last = tables.period()
    computed = {
        "periode": [first.isoformat(), last.isoformat()] if first else None,
        "par_ville_mois_type": tables.by_month(),
        "par_ville_type_modele": tables.by_model(),
        "locations_par_ville": tables.rows(
            """SELECT ville, count(*), CAST(sum(duree) AS BIGINT) FROM t WHERE type = 'location'
            GROUP BY ALL ORDER BY ALL"""
        ),
        "mois_par_ville_modele": [(ville, model, months) for ville, model, _, months in tables.durations()],
        "valeur_contrats": tables.contracts(),
    }
    for key, value in computed.items():
        if value and isinstance(value[0], tuple):
            value = sorted([list(row) for row in value], key=byte_order)
        yield from differences(truth["attendu"][key], value, f"truth.{key}")
    yield from differences(truth["avertissements"], tables.warnings(), "truth.avertissements")
    yield from differences(tables.count(), truth["acceptees"], "truth.acceptees")
    yield from differences(len(truth["rejets"]), truth["rejetees"], "truth.rejetees")


def byte_order(row):
    """A key that sorts text by its bytes, as Rust does."""
    return [cell.encode() if isinstance(cell, str) else cell for cell in row]


def check_rejects(file, rejets, wanted):
    """rejets.csv against the truth, line by line; excerpts of plain lines against the file."""
    lines = file.read_bytes().split(b"\n")
    with open(rejets, encoding="utf-8", newline="") as text:
        reader = csv.reader(text)
        header, found = next(reader), list(reader)
    if header != COLUMNS:
        yield f"rejets.csv: columns {header}, expected {COLUMNS}"
    if len(found) != len(wanted):
        yield f"rejets.csv: {len(found)} rows, expected {len(wanted)}"
    for row, (line, reason) in zip(found, wanted):
        cells = dict(zip(COLUMNS, row))
        if (cells["ligne"], cells["motif"]) != (str(line), reason):
            yield f"rejets.csv: found line {cells['ligne']} {cells['motif']}, expected line {line} {reason}"
        if cells["fichier"] != file.name:
            yield f"rejets.csv: line {line}: file {cells['fichier']!r}, expected {file.name!r}"
        text = lines[line - 1].removesuffix(b"\r")
        plain = len(text) <= EXCERPT and text.isascii() and text.decode("ascii").isprintable()
        if plain and cells["extrait"].removeprefix("'") != text.decode("ascii"):
            yield f"rejets.csv: line {line}: excerpt {short(cells['extrait'])!r}, expected {short(text.decode())!r}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    arguments.add_argument("file")
    arguments.add_argument("report")
    arguments.add_argument("--truth")
    arguments.add_argument("--rejets")
    arguments.add_argument("--periode")
    asked = arguments.parse_args()
    faults = list(check(asked.file, asked.report, asked.truth, asked.rejets, asked.periode))
    for fault in faults[:50]:
        print(fault)
    print(f"{len(faults)} differences" if faults else "equal")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
