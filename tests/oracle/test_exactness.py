"""Every number of a report equals DuckDB's, and an error of one cent is found."""

import csv
import json
import shutil

import pytest
from conftest import SHIPPED
from oracle import check

ROWS = 1_000_000


def test_the_shipped_file(autoconnect, tmp_path):
    out = autoconnect.run(tmp_path, SHIPPED)
    assert check(SHIPPED, out / "report.json", rejets=out / "rejets.csv") == []


def told(file):
    """Where the truth about a file is."""
    return file.with_name(f"{file.name}.truth.json")


def test_a_million_rows_with_every_kind_of_fault(autoconnect, generated, tmp_path):
    file = generated(ROWS, "--dirty", 0.02, "--truth")
    out = autoconnect.run(tmp_path, file)
    truth = json.loads(told(file).read_text(encoding="utf-8"))
    assert truth["lignes"] == ROWS
    assert len(truth["par_motif"]) == 21, "a reason to reject that no row gives"
    assert len(truth["avertissements"]) == 6, "a warning that no row gives"
    assert check(file, out / "report.json", told(file), out / "rejets.csv") == []


def test_a_file_with_costs(autoconnect, generated, tmp_path):
    plain = generated(20_000)
    file = tmp_path / "costs.csv"
    with open(plain, encoding="utf-8", newline="") as rows, open(file, "w", encoding="utf-8", newline="") as wider:
        reader, writer = csv.reader(rows), csv.writer(wider, lineterminator="\n")
        writer.writerow([*next(reader), "cout"])
        for number, row in enumerate(reader):
            cents = round(float(row[5]) * 100)
            # every third has none; of Lyon, no rental has one
            known = number % 3 and (row[2], row[3]) != ("Lyon", "location")
            writer.writerow([*row, f"{cents * (70 + number % 40) // 100 / 100:.2f}" if known else ""])
    out = autoconnect.run(tmp_path / "out", file)
    assert check(file, out / "report.json", rejets=out / "rejets.csv") == []
    margins = json.loads((out / "report.json").read_text(encoding="utf-8"))["marge"]
    assert margins["Lyon"]["location"]["hypothese"] and not margins["Lyon"]["vente"]["hypothese"]


@pytest.fixture(scope="module")
def dirty(autoconnect, generated, tmp_path_factory):
    """A small file with faults, and the right report on it, to be made wrong."""
    file = generated(20_000, "--dirty", 0.05, "--truth")
    out = autoconnect.run(tmp_path_factory.mktemp("dirty"), file)
    assert check(file, out / "report.json", told(file), out / "rejets.csv") == []
    return file, out


def cent(report):
    report["ca_mensuel"]["Lyon"]["2024-03"]["vente"] += 0.01


def hundredth(report):
    report["repartition"]["Paris"]["location"]["pourcentage"] += 0.01


def rank(report):
    report["comparatif"].reverse()


def model(report):
    report["top_modeles"]["Marseille"]["total"].pop()


def reject(report):
    report["qualite"]["par_motif"]["date_invalide"] += 1


def null(report):
    report["tendance"]["global"]["r2"] = None


@pytest.mark.parametrize("error", [cent, hundredth, rank, model, reject, null])
def test_an_error_in_the_report_is_found(dirty, tmp_path, error):
    file, out = dirty
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    error(report)
    wrong = tmp_path / "report.json"
    wrong.write_text(json.dumps(report), encoding="utf-8")
    assert check(file, wrong, told(file)) != []


@pytest.mark.parametrize("old, new", [("date_invalide", "id_vide"), ("\n", "\n1"), ("prix_", "Prix_")])
def test_an_error_in_the_rejects_is_found(dirty, tmp_path, old, new):
    file, out = dirty
    rejets = tmp_path / "rejets.csv"
    text = (out / "rejets.csv").read_text(encoding="utf-8")
    at = text.index(old, len(text) // 2)
    rejets.write_text(text[:at] + new + text[at + len(old) :], encoding="utf-8", newline="")
    assert check(file, out / "report.json", told(file), rejets) != []


def test_an_error_in_the_truth_is_found(dirty, tmp_path):
    file, out = dirty
    copy = tmp_path / file.name
    shutil.copy(file, copy)
    truth = json.loads(told(file).read_text(encoding="utf-8"))
    truth["attendu"]["valeur_contrats"][0][1] += 1
    told(copy).write_text(json.dumps(truth), encoding="utf-8")
    faults = check(copy, out / "report.json", told(copy))
    assert len(faults) == 1 and "valeur_contrats" in faults[0]
