"""What every peer answers: two tables, each made by its own engine; money in integer cents.

Whatever else a report shares with the peers follows from them: see `as_report` in ../run.py.
"""

import json
import sys


def answer(by_month, by_model):
    """Prints them, sorted, for the comparison.

    by_month   ville, mois, type, nombre, centimes
    by_model   ville, type, modele, nombre, centimes, mois de location
    """
    by_month = sorted([v, m, t, int(n), int(cents)] for v, m, t, n, cents in by_month)
    by_model = sorted([v, t, k, int(n), int(cents), int(months or 0)] for v, t, k, n, cents, months in by_model)
    json.dump([by_month, by_model], sys.stdout, ensure_ascii=False, separators=(",", ":"))
