"""What people read says what the report says: each figure of the page, the text and the tables is DuckDB's exact one, rounded
once to as many decimals as are shown."""

import csv
import re
from decimal import Decimal
from fractions import Fraction
from html.parser import HTMLParser

import expected
import pytest
from conftest import SHIPPED
from tables import Tables

MONTHS = "janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()
SHORT = "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.".split()
ALL = "Toutes les villes"


class Truth:
    """Exact fractions of a file, from DuckDB's sums; `None` where there is none."""

    def __init__(self, file):
        tables = Tables(file)
        self.series = {ALL: {}}
        self.rows = {}
        for ville, mois, _, number, cents in tables.by_month():
            for name in (ALL, ville):
                series = self.series.setdefault(name, {})
                month = expected.number_of(mois)
                series[month] = series.get(month, 0) + cents
            self.rows[expected.number_of(mois)] = self.rows.get(expected.number_of(mois), 0) + number
        self.months = expected.Months(tables.days(), self.rows, len(self.series) - 1)

    def variation(self, name, month):
        """A month against the month before, in percent."""
        complete = set(self.months.complete)
        before = self.series[name].get(month - 1, 0)
        if month not in complete or month - 1 not in complete or not before:
            return None
        return Fraction(100 * (self.series[name].get(month, 0) - before), before)

    def index(self, name, number):
        """The index of a calendar month, from 0."""
        values = {m: self.series[name].get(m, 0) for m in self.months.complete}
        same = [ca for m, ca in values.items() if m % 12 == number]
        total = sum(values.values())
        return Fraction(100 * sum(same) * len(values), len(same) * total) if same and total else None

    def growth(self, name, n):
        """The last n complete months against the n before, in percent."""
        last = self.months.last(2 * n)
        if last is None:
            return None
        old, new = (sum(self.series[name].get(m, 0) for m in part) for part in (last[:n], last[n:]))
        return Fraction(100 * (new - old), old) if old else None

    def trend(self, name):
        """Slope and forecast, in euros."""
        y0, y1, y2 = (self.series[name].get(m, 0) for m in self.months.last(3))
        return Fraction(y2 - y0, 200), Fraction(4 * y2 + y1 - 2 * y0, 300)

    def gap(self, name):
        """A city's CA against the mean one, in percent."""
        sums = {ville: sum(series.values()) for ville, series in self.series.items() if ville != ALL}
        return Fraction(100 * (sums[name] * len(sums) - sum(sums.values())), sum(sums.values()))


def shown(text):
    """A number as people read it: its value, and how many decimals it has; None for a dash."""
    plain = re.sub(r"[\s%€]", "", text).replace("−", "-").replace("+", "")
    if plain == "–":
        return None
    point = "," if "," in plain and not plain.startswith("€") else "."
    plain = plain.replace(",", ".") if point == "," else plain
    return Decimal(plain), len(plain.partition(".")[2])


def differs(text, exact):
    """Whether a figure is not the exact one rounded once, half up; and whether it is missing where there is one."""
    found = shown(text)
    if found is None or exact is None:
        return (found is None) != (exact is None)
    value, decimals = found
    return value != expected.rounded(exact, decimals)


class Page(HTMLParser):
    """The tables of a page, by section: rows of texts."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.section, self.cell = {}, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        identity = dict(attributes).get("id") or ""
        if tag == "section":
            self.section = identity
        elif tag == "table":
            self.tables.setdefault(self.section, []).append([])
        elif tag == "tr":
            self.tables[self.section][-1].append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.tables[self.section][-1][-1].append(self.cell.strip())
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def month_of(text):
    name, year = text.split("\u00a0")
    return int(year) * 12 + MONTHS.index(name)


@pytest.fixture(scope="module", params=["shipped", "generated", "many cities"])
def job(request, autoconnect, generated, tmp_path_factory):
    """A file's truth, and the folder of its report."""
    file = SHIPPED
    if request.param != "shipped":
        file = generated(30_000 if request.param == "generated" else 200_000)
    return Truth(file), autoconnect.run(tmp_path_factory.mktemp("shown"), file)


def test_every_variation_of_page_text_and_table(job):
    truth, out = job
    wrong, seen = [], 0
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    (table,) = [rows for rows in page.tables["fr-saison"] if rows[0][0] == "Mois"]
    for month, *cells in table[1:]:
        for name, cell in zip(table[0][1:], cells):
            seen += 1
            if differs(cell, truth.variation(name, month_of(month))):
                wrong.append((name, month, cell))
    by_month = next(rows for rows in page.tables["fr-mois"] if rows[0][-1] == "Variation")
    for month, *_, cell in by_month[1:]:
        seen += cell != "incomplet"
        if cell != "incomplet" and differs(cell, truth.variation(ALL, month_of(month))):
            wrong.append(("months", month, cell))
    text = (out / "analysis_report.txt").read_text(encoding="utf-8")
    for line in text.split("2. CA mensuel")[1].split("3. Ventes")[0].splitlines():
        found = re.match(rf"((?:{'|'.join(MONTHS)})\u00a0\d{{4}}) .*  (\S+)$", line)
        if found and found[2] not in ("partiel", "isolé"):
            seen += 1
            if differs(found[2], truth.variation(ALL, month_of(found[1]))):
                wrong.append(("text", line))
    with open(out / "tables" / "saisonnalite.csv", encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            name = ALL if row["ville"] == "global" else row["ville"]
            if row["mesure"] == "variation":
                exact = truth.variation(name, expected.number_of(row["mois"]))
            else:
                exact = truth.index(name, int(row["mois"]) - 1)
            seen += 1
            if (Decimal(row["valeur"]) if row["valeur"] else None) != expected.rounded(exact):
                wrong.append(("table", row))
    assert seen > 150
    assert wrong == []


def test_every_index_of_page_and_text(job):
    truth, out = job
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    (table,) = [rows for rows in page.tables["fr-saison"] if rows[0][0] == "Ville"]
    assert table[0][1:] == SHORT
    wrong = [
        (row[0], month, cell)
        for row in table[1:]
        for month, cell in enumerate(row[1:])
        if differs(cell, truth.index(row[0], month))
    ]
    text = (out / "analysis_report.txt").read_text(encoding="utf-8")
    lines = text.split("6. Saisonnalité")[1].split("7. Durée")[0].splitlines()
    found = [re.match(r"(\S.*?)\s{2,}((?:[\d,–]+\s*){6})$", line) for line in lines]
    rows = [(match[1], match[2].split()) for match in found if match]
    assert len(rows) == 2 * len(table[1:])
    for at, (name, cells) in enumerate(rows):
        first = 0 if at < len(rows) // 2 else 6
        wrong += [(name, cell) for n, cell in enumerate(cells) if differs(cell, truth.index(name, first + n))]
    assert wrong == []


def test_every_growth_and_trend_of_page_and_text(job):
    truth, out = job
    page = Page((out / "report.html").read_text(encoding="utf-8"))
    wrong = []
    (ranking,) = page.tables["fr-classement"]
    for row in ranking[1:]:
        exact = [truth.growth(row[0], 1), truth.growth(row[0], 3), truth.gap(row[0])]
        wrong += [(row[0], cell) for cell, value in zip(row[-3:], exact) if differs(cell, value)]
    (trends,) = page.tables["fr-tendance"]
    for name, slope, _, _, forecast in trends[1:]:
        wrong += [(name, c) for c, value in zip((slope, forecast), truth.trend(name)) if differs(c, value)]
    text = (out / "analysis_report.txt").read_text(encoding="utf-8")
    slope, forecast = truth.trend(ALL)
    sentence = re.sub(r"\n +", " ", text.split("* Tendance des trois")[1].split("\n*")[0].split("\n\n")[0])
    said = re.search(r"complets\s: (.*?) par mois\s; prévision pour .*?\s: (.*?)\.$", sentence)
    wrong += [("text", c) for c, value in zip(said.groups(), (slope, forecast)) if differs(c, value)]
    assert len(trends) == len(truth.series) + 1 and wrong == []


@pytest.mark.parametrize(
    "text, exact, wrong",
    [
        ("−13,25\u00a0%", Fraction(-132_533, 10_000), False),
        ("−13,2\u00a0%", Fraction(-132_533, 10_000), True),
        ("−13,3\u00a0%", Fraction(-132_533, 10_000), False),
        ("+0,05\u00a0%", Fraction(9, 200), False),
        ("–", None, False),
        ("–", Fraction(1), True),
        ("0,00\u00a0%", None, True),
        ("1\u202f234,50\u00a0€", Fraction(12345, 10), False),
    ],
)
def test_a_figure_that_was_rounded_twice_is_found(text, exact, wrong):
    assert differs(text, exact) == wrong
