"""Closed days, wrong years, periods asked for and spellings: every number of such reports equals DuckDB's."""

import csv
import json
from datetime import date, timedelta

import pytest
from conftest import SHIPPED
from oracle import check

HEADER = ["transaction_id", "date", "ville", "type", "modele", "prix", "duree_location_mois"]


def days(first, last, without=()):
    """The days between two, without some days of the week (Monday is 0)."""
    day, last = date.fromisoformat(first), date.fromisoformat(last)
    while day <= last:
        if day.weekday() not in without:
            yield day.isoformat()
        day += timedelta(days=1)


def sale(number, day, ville="Lyon", modele="Clio"):
    return [f"TX{number}", day, ville, "vente", modele, f"{10_000 + 37 * (number % 61)}.{number % 100:02d}", ""]


def write(file, rows):
    with open(file, "w", encoding="utf-8", newline="") as text:
        csv.writer(text, lineterminator="\n").writerows([HEADER, *rows])
    return file


def sales(dates):
    return [sale(number, day) for number, day in enumerate(dates, 1)]


def report_of(out):
    return json.loads((out / "report.json").read_text(encoding="utf-8"))


CLOSED = {
    "Monday to Saturday, a first quarter": (days("2024-01-02", "2024-03-30", [6]), []),
    "closed on Mondays too": (days("2024-07-02", "2024-09-28", [6, 0]), []),
    "May begins with a holiday": (days("2023-05-02", "2023-07-31"), []),
    "Easter Monday is the first of the month": (days("2024-04-02", "2024-06-29", [6]), []),
    "a Friday is missing": (days("2024-01-02", "2024-03-28"), ["2024-03"]),
    "a month that goes on": (days("2024-02-01", "2024-05-17", [6]), ["2024-05"]),
    "a week is missing at both ends": (
        [*days("2024-01-08", "2024-02-10"), *days("2024-03-10", "2024-05-24")],
        ["2024-01", "2024-05"],
    ),
    "one day": (["2024-05-17"], ["2024-05"]),
}


@pytest.mark.parametrize("case", CLOSED)
def test_months_are_complete_but_for_days_on_which_there_was_work(autoconnect, tmp_path, case):
    dates, partial = CLOSED[case]
    file = write(tmp_path / "closed.csv", sales(dates))
    out = autoconnect.run(tmp_path / "out", file)
    assert check(file, out / "report.json") == []
    assert report_of(out)["periode"]["mois_partiels"] == partial


YEAR = [*days("2024-01-01", "2024-12-31")]
ISOLATED = {
    "36 rows and one of 2042": (YEAR[::10][:36] + ["2042-05-17"], ["2042-05"]),
    "one of 2014": (["2014-02-28", *YEAR], ["2014-02"]),
    "one before and some after": ([*YEAR, *YEAR, "2014-02-28", *["2999-05-01", "2999-06-01"] * 3], ["2014-02", "2999-05", "2999-06"]),
    "one between two years": ([*YEAR, "2026-06-10", *days("2028-01-01", "2028-12-31")], ["2026-06"]),
    "1 % is no error": (YEAR[:99] * 4 + ["2042-05-17"] * 4, []),
    "two of five rows": (YEAR[:3] + ["2042-05-17", "2042-05-18"], []),
}


@pytest.mark.parametrize("case", ISOLATED)
def test_a_few_rows_of_a_wrong_year_are_isolated(autoconnect, tmp_path, case):
    dates, isolated = ISOLATED[case]
    file = write(tmp_path / "isolated.csv", sales(dates))
    out = autoconnect.run(tmp_path / "out", file)
    assert check(file, out / "report.json") == []
    assert [found["mois"] for found in report_of(out)["periode"]["isoles"]] == isolated


def test_117_rows_of_2999_among_400_000(autoconnect, generated, tmp_path):
    file = generated(400_000)
    lines = file.read_text(encoding="utf-8").splitlines()
    for number in range(117):
        at = 1 + 3_011 * (number + 1)
        cells = lines[at].split(",")
        lines[at] = ",".join([cells[0], f"2999-{1 + number % 12:02d}-11", *cells[2:]])
    file = tmp_path / "far.csv"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = autoconnect.run(tmp_path / "out", file)
    assert check(file, out / "report.json") == []
    isolated = report_of(out)["periode"]["isoles"]
    assert len(isolated) == 12 and sum(found["nombre"] for found in isolated) == 117


@pytest.mark.parametrize("asked", ["2022-03..2022-08", "2023-12..2023-12", "2020-01..2029-12", "1999-01..1999-03"])
def test_a_period_that_is_asked_for(autoconnect, tmp_path, asked):
    out = autoconnect.run(tmp_path, SHIPPED, "--periode", asked)
    assert check(SHIPPED, out / "report.json", asked=asked) == []


def test_a_period_of_a_file_with_faults(autoconnect, generated, tmp_path):
    file = generated(20_000, "--dirty", 0.05, "--truth")
    truth = file.with_name(f"{file.name}.truth.json")
    out = autoconnect.run(tmp_path, file, "--periode", "2023-02..2023-10")
    whole = json.loads(truth.read_text(encoding="utf-8"))
    found = report_of(out)["source"]
    assert found["lignes"] == found["acceptees"] + found["rejetees"] == whole["lignes"]
    assert found["hors_periode"] > 0
    # the truth's own sums are of the whole file
    faults = check(file, out / "report.json", truth, out / "rejets.csv", asked="2023-02..2023-10")
    assert [fault for fault in faults if not fault.startswith("truth.")] == []


SPELLINGS = [
    "Le Mans", "Le\u00a0Mans", "Le\u202fMans", "Le  Mans", "Le\u2011Mans", "Le\u00ad Mans", "Le\u2019Mans", "LE MANS",
    "le_mans", "Le\u2013Mans", "Le\u200b Mans", "LeMans", "Saint-\u00c9tienne", "Saint \u00c9tienne", "SAINT ETIENNE",
    "Saint-E\u0301tienne", "\u0152uilly", "Oeuilly", "\u0153uilly", "L\u2019Ha\u00ff-les-Roses", "L'HAY LES ROSES",
    "St. Denis", "Stra\u00dfburg", "STRASSBURG",
]  # fmt: skip
MODELS = [
    "Citro\u00ebn C3", "Citroe\u0308n C3", "CITROEN_C3", "Renault_Clio", "RENAULT CLIO", "Renault-Clio", "Clio", "CLIO",
    "C 3", "C3", "C4+", "C4", "BMW\u00a0X3", "BMW_X3", "\ufb01at 500", "Fiat 500", "208", "2008",
]  # fmt: skip


def test_spellings_of_a_name_are_one_name(autoconnect, tmp_path):
    rows = [
        sale(number, YEAR[number % 300], SPELLINGS[number * number % len(SPELLINGS)], MODELS[number * 7 % 17 * 5 % len(MODELS)])
        for number in range(1, 2_000)
    ]
    file = write(tmp_path / "spellings.csv", rows)
    out = autoconnect.run(tmp_path / "out", file, "--chunk-rows", 50)
    assert check(file, out / "report.json") == []
    report = report_of(out)
    assert len(report["villes"]) < 9 and report["qualite"]["regroupements"]["modeles"]


def test_more_spellings_than_are_listed_are_counted(autoconnect, tmp_path):
    rows = [
        sale(100 * city + copy, YEAR[city], name, f"m{city}")
        for city in range(60)
        for copy, name in enumerate([f"Ville {city}", f"VILLE {city}", f"ville_{city}"] + [f"Ville-{city}"] * (city % 3))
    ]
    file = write(tmp_path / "many.csv", rows)
    out = autoconnect.run(tmp_path / "out", file)
    assert check(file, out / "report.json") == []
    assert report_of(out)["qualite"]["regroupements"]["autres"] > 0
