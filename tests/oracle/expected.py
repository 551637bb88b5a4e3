"""Makes the report that a correct AutoConnect must make, from DuckDB's sums, in exact fractions.

Percentages and means are rounded half up, towards positive infinity, once. A quotient of zero is None.
"""

import calendar
from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor

from tables import listed

TYPES = ("vente", "location")
RATES = {"vente": 12, "location": 35}  # percent, where the file has no costs
LONGEST, MOST_CELLS = 1200, 600_000  # above these a period is a typing error: only months with rows are listed


def rounded(value, decimals=2):
    """Half up, towards positive infinity; None stays None."""
    if value is None:
        return None
    return Decimal(floor(Fraction(value) * 10**decimals + Fraction(1, 2))).scaleb(-decimals)


def ratio(a, b):
    """a / b; None where b is zero."""
    return Fraction(a, b) if b else None


def euros(cents):
    """Cents as euros."""
    return Decimal(cents).scaleb(-2)


def growth(new, old):
    """In percent of old."""
    return rounded(ratio(100 * (new - old), old))


def number_of(month):
    """A month as a number, `2024-03` as 12 x 2024 + 2."""
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def text_of(number):
    """The reverse."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def easter(year):
    """Easter Sunday, by Gauss's rule (with his two exceptions), where AutoConnect follows Meeus."""
    century, moon = year // 100, year % 19
    shift = (15 - (13 + 8 * century) // 25 + century - century // 4) % 30
    full = (19 * moon + shift) % 30
    sunday = (2 * (year % 4) + 4 * (year % 7) + 6 * full + (4 + century - century // 4) % 7) % 7
    if (full, sunday) == (29, 6) or (full == 28 and sunday == 6 and (11 * shift + 11) % 30 < 19):
        sunday -= 7
    return date(year, 3, 22) + timedelta(days=full + sunday)


def is_closed(day):
    """A Sunday or a French public holiday."""
    fixed = {(1, 1), (5, 1), (5, 8), (7, 14), (8, 15), (11, 1), (11, 11), (12, 25)}
    return day.weekday() == 6 or (day.month, day.day) in fixed or (day - easter(day.year)).days in (1, 39, 50)


def runs_of(days):
    """Runs of days in order; more than 12 empty months part two."""
    runs = []
    for day in days:
        month = day.year * 12 + day.month
        if runs and month - (runs[-1][-1].year * 12 + runs[-1][-1].month) <= 13:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def gaps_of(runs):
    """The first and the last month between each two runs."""
    return [(month_number(a[-1]) + 1, month_number(b[0]) - 1) for a, b in zip(runs, runs[1:])]


class Months:
    """The months of a period, which of them are complete, and which months are isolated."""

    def __init__(self, days, rows, cities, asked=None):
        """`days` with a row, in order; `rows` by month; `asked` is the period asked for, as two numbers of months."""
        self.all, self.partial, self.complete, self.gapless, self.isolated = [], [], [], True, []
        self.gaps = []
        self.first = self.last_day = None
        if not days:
            return
        runs = runs_of(days)
        if not asked:
            main = self._main(runs, rows)
            days = [day for run in main for day in run]
            self.isolated = sorted({month_number(day) for run in runs if run not in main for day in run})
            self.gaps = gaps_of([run for run in runs if days[0] <= run[0] <= days[-1]])
        self.first, self.last_day = days[0], days[-1]
        begin, end = asked or (month_number(days[0]), month_number(days[-1]))
        length = end - begin + 1
        self.gapless = length <= LONGEST and length * cities <= MOST_CELLS
        self.all = [m for m in range(begin, end + 1) if (self.gapless or m in rows) and m not in self.isolated]
        self.partial = [] if asked else self._partial(days)
        self.complete = [m for m in self.all if m not in self.partial]

    @staticmethod
    def _main(runs, rows):
        """All runs but those of a few rows."""
        sizes = [sum(rows[m] for m in {month_number(day) for day in run}) for run in runs]
        main = max(range(len(runs)), key=lambda n: (sizes[n], n))

        def isolated(n):
            return n != main and (100 * sizes[n] < sum(sizes) or (sizes[n] == 1 and sizes[main] >= 10))

        return [run for n, run in enumerate(runs) if not isolated(n)]

    @staticmethod
    def _partial(days):
        """The first and the last month, where days are missing at the edge."""
        pause = min(6, max(((b - a).days - 1 for a, b in zip(days, days[1:])), default=0))
        first, last = days[0], days[-1]
        before = [first.replace(day=n) for n in range(1, first.day)]
        length = calendar.monthrange(last.year, last.month)[1]
        after = [last.replace(day=n) for n in range(last.day + 1, length + 1)]
        edges = [(month_number(first), before), (month_number(last), after)]
        return sorted({m for m, missing in edges if len(missing) > pause and not all(map(is_closed, missing))})

    def last(self, n):
        """The last n complete months, if they follow one another."""
        last = self.complete[-n:]
        return last if len(last) == n and last[-1] - last[0] == n - 1 else None

    def of(self, series):
        """The months of the period to list for this series."""
        return [m for m in self.all if self.gapless or m in series]


def month_number(day):
    """The month of a day as a number."""
    return day.year * 12 + day.month - 1


def report(tables, file_name, rows, by_reason):
    """The whole report, as report.json must say it; `tables` may be those of a period."""
    sums = defaultdict(lambda: [0, 0])  # by ville, type
    series = defaultdict(lambda: defaultdict(int))  # by ville, month
    cells = defaultdict(int)  # by ville, month, type
    rows_by_month = defaultdict(int)
    for ville, mois, kind, number, cents in tables.by_month():
        month = number_of(mois)
        sums[ville, kind][0] += number
        sums[ville, kind][1] += cents
        series[ville][month] += cents
        cells[ville, month, kind] += cents
        rows_by_month[month] += number
    villes = sorted(series, key=str.encode)
    whole = defaultdict(int)
    for ville in villes:
        for month, cents in series[ville].items():
            whole[month] += cents
    asked = tables.asked and [number_of(month) for month in tables.asked.split("..")]
    months = Months(tables.days(), rows_by_month, len(villes), asked)
    first, last = months.first, months.last_day
    isolated = sum(rows_by_month[m] for m in months.isolated)
    models = tables.by_model()
    ca = {ville: sums[ville, "vente"][1] + sums[ville, "location"][1] for ville in villes}
    number = {ville: sums[ville, "vente"][0] + sums[ville, "location"][0] for ville in villes}
    contracts = dict(tables.contracts())
    trous = [{"debut": text_of(a), "fin": text_of(b), "mois": b - a + 1} for a, b in months.gaps]
    warnings = tables.warnings() | ({"mois_isole": isolated} if isolated else {})
    everywhere = {"global": whole} | {ville: series[ville] for ville in villes}
    return {
        "schema": "autoconnect.sales/1",
        "source": {
            "fichiers": [file_name],
            "lignes": rows,
            "acceptees": tables.count() + tables.outside,
            "rejetees": sum(by_reason.values()),
            "hors_periode": tables.outside,
            "avertissements": sum(warnings.values()),
        },
        "qualite": {
            "par_motif": by_reason,
            "avertissements": warnings,
            "regroupements": regrouped(tables),
            "complet": True,
            "chunks_perdus": [],
        },
        "periode": {
            "debut": first and first.isoformat(),
            "fin": last and last.isoformat(),
            "mois": [text_of(m) for m in months.all],
            "mois_partiels": [text_of(m) for m in months.partial],
            "mois_sans_trous": months.gapless,
            "demandee": tables.asked,
            "isoles": [
                {
                    "mois": text_of(m),
                    "nombre": rows_by_month[m],
                    "ca": euros(whole[m]),
                    "lignes": [{"fichier": file_name, "ligne": line} for line in tables.first_lines(text_of(m))],
                }
                for m in months.isolated
            ],
        }
        | ({"trous": trous} if trous else {}),
        "ca_total": euros(sum(ca.values())),
        "villes": villes,
        "modeles": sorted({row[2] for row in models}, key=str.encode),
        "ca_mensuel": {
            ville: {
                text_of(m): {kind: euros(cells[ville, m, kind]) for kind in TYPES}
                | {"total": euros(series[ville].get(m, 0))}
                for m in [*months.of(series[ville]), *(m for m in months.isolated if m in series[ville])]
            }
            for ville in villes
        },
        "repartition": {
            ville: {
                kind: {
                    "nombre": sums[ville, kind][0],
                    "pourcentage": rounded(Fraction(100 * sums[ville, kind][0], number[ville])),
                    "ca": euros(sums[ville, kind][1]),
                }
                for kind in TYPES
            }
            for ville in villes
        },
        "comparatif": comparison(villes, sums, ca, number, series, months),
        "top_modeles": {ville: top(ville, models) for ville in villes},
        "ca_par_modele": by_model(models),
        "saisonnalite": {name: season(values, months) for name, values in everywhere.items()},
        "rotation": rotation(villes, tables.durations()),
        "valeur_contrats": {ville: euros(contracts.get(ville, 0)) for ville in villes},
        "marge": margin(villes, sums, tables.costs()),
        "tendance": trends(everywhere, months),
    }


def regrouped(tables):
    """Key `qualite.regroupements`: names in several spellings."""
    villes, more_villes = listed(tables.villes)
    modeles, more_modeles = listed(tables.modeles, key=str)
    return {"villes": villes, "modeles": modeles, "autres": more_villes + more_modeles}


def comparison(villes, sums, ca, number, series, months):
    """Key `comparatif`."""
    total = sum(ca.values())
    entries = []
    for rank, ville in enumerate(sorted(villes, key=lambda v: (-ca[v], v.encode())), 1):
        sales, rentals = sums[ville, "vente"], sums[ville, "location"]
        entries.append(
            {
                "rang": rank,
                "ville": ville,
                "ca": euros(ca[ville]),
                "part": rounded(ratio(100 * ca[ville], total) or 0),
                "transactions": number[ville],
                "panier_moyen_vente": rounded(ratio(sales[1], 100 * sales[0])),
                "loyer_moyen": rounded(ratio(rentals[1], 100 * rentals[0])),
                "croissance_mensuelle": growth_of_last(1, series[ville], months),
                "croissance_trimestrielle": growth_of_last(3, series[ville], months),
                "ecart_a_la_moyenne": growth(Fraction(ca[ville]), Fraction(total, len(villes))),
            }
        )
    return entries


def growth_of_last(n, values, months):
    """The last n complete months against the n before."""
    last = months.last(2 * n)
    if last is None:
        return None
    before, after = (sum(values.get(m, 0) for m in part) for part in (last[:n], last[n:]))
    return growth(after, before)


def top(ville, models):
    """Key `top_modeles` of a city."""
    found = {"vente": {}, "location": {}, "total": {}}
    for city, kind, model, number, cents in models:
        if city == ville:
            for key in (kind, "total"):
                old = found[key].get(model, (0, 0))
                found[key][model] = (old[0] + number, old[1] + cents)
    return {
        key: [
            {"modele": model, "nombre": number, "ca": euros(cents)}
            for model, (number, cents) in sorted(values.items(), key=lambda item: (-item[1][0], item[0].encode()))[:5]
        ]
        for key, values in found.items()
    }


def by_model(models):
    """Key `ca_par_modele`."""
    cents = defaultdict(lambda: defaultdict(int))
    for ville, _, model, _, amount in models:
        cents[model][ville] += amount
    return {
        model: {"total": euros(sum(villes.values())), "villes": {ville: euros(n) for ville, n in villes.items()}}
        for model, villes in cents.items()
    }


def season(values, months):
    """Key `saisonnalite` of a city or of all."""
    listed = [m for m in months.of(values) if m in set(months.complete)]
    complete = set(months.complete)
    before = {m: values.get(m - 1, 0) if m - 1 in complete else 0 for m in listed}
    mean = ratio(sum(values.get(m, 0) for m in complete), len(complete))
    indices = {}
    for number in range(12):
        same = [values.get(m, 0) for m in complete if m % 12 == number]
        indices[f"{number + 1:02d}"] = rounded(Fraction(sum(same), len(same)) / mean * 100) if same and mean else None
    return {"variations": {text_of(m): growth(values.get(m, 0), before[m]) for m in listed}, "indices": indices}


def rotation(villes, durations):
    """Key `rotation`."""
    found = {ville: [0, 0, {}] for ville in villes}
    for ville, model, number, duration in durations:
        city = found[ville]
        city[0] += number
        city[1] += duration
        city[2][model] = rounded(Fraction(duration, number))
    return {
        ville: {
            "contrats": number,
            "duree_moyenne_mois": rounded(ratio(duration, number)),
            "rotations_par_an": rounded(ratio(12 * number, duration)),
            "par_modele": by_model,
        }
        for ville, (number, duration, by_model) in found.items()
    }


def margin(villes, sums, costs):
    """Key `marge`: from costs where there are any, else from the assumed rates."""
    known = {(ville, kind): (number, cents, cost) for ville, kind, number, cents, cost in costs}

    def cell(ville, kind):
        assumed = (ville, kind) not in known
        if assumed:
            number, cents = sums[ville, kind]
            rate, total = Fraction(RATES[kind]), Fraction(cents * RATES[kind], 100)
        else:
            number, cents, cost = known[ville, kind]
            total = Fraction(cents - cost)
            rate = ratio(100 * (cents - cost), cents)
        return {
            "taux_moyen": rounded(rate),
            "marge_moyenne": rounded(total / (100 * number)) if number else None,
            "marge_totale": rounded(total / 100),
            "hypothese": assumed,
            "nombre": number,
        }

    return {ville: {kind: cell(ville, kind) for kind in TYPES} for ville in villes}


def trends(everywhere, months):
    """Key `tendance`."""
    last = months.last(3)
    if last is None:
        return {}
    running = last[-1] + 1 in months.partial
    return {name: trend([values.get(m, 0) for m in last], last, running) for name, values in everywhere.items()}


def trend(cents, last, running):
    """Least squares over x = 0, 1, 2, by the textbook."""
    xs, ys = [Fraction(x) for x in range(3)], [Fraction(y, 100) for y in cents]
    mean_x, mean_y = sum(xs) / 3, sum(ys) / 3
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys)) / sum((x - mean_x) ** 2 for x in xs)
    intercept = mean_y - slope * mean_x
    spread = sum((y - mean_y) ** 2 for y in ys)
    residual = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys))
    return {
        "mois": [text_of(m) for m in last],
        "ca": [euros(n) for n in cents],
        "pente": rounded(slope),
        "ordonnee": rounded(intercept),
        "r2": rounded(1 - residual / spread, 4) if spread else None,
        "prevision": {"mois": text_of(last[-1] + 1), "ca": rounded(intercept + 3 * slope), "en_cours": running},
    }
