"""What every peer answers: sums at the finest grain, each made by its own engine; money in integer cents.

A row is [ville, mois, type, modele, nombre, centimes, mois de location]. From it follow all tables that a report shares with
the peers: see `tables` in ../run.py.
"""

import json
import sys


def answer(rows):
    """Prints the rows, sorted, for the comparison."""
    rows = sorted([str(v), str(m), str(t), str(k), int(n), int(cents), int(d or 0)] for v, m, t, k, n, cents, d in rows)
    json.dump(rows, sys.stdout, ensure_ascii=False, separators=(",", ":"))
