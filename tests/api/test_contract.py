"""The public contract of 2025 on a file, for every query string, against DuckDB.

Fixtures: `base_url`, where the API answers after an analysis of `data_file`, a plain CSV file without faulty rows.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from decimal import ROUND_HALF_UP, Decimal

import duckdb
import pytest

TYPES = ("vente", "location")


def get(base_url, path, **query):
    """The JSON of an answer, its numbers exact and its keys in their order."""
    query = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
    with urllib.request.urlopen(f"{base_url}{path}?{query}", timeout=30) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        return json.load(answer, parse_float=Decimal)


class Transactions:
    """The file, as DuckDB reads it."""

    def __init__(self, file):
        self.db = duckdb.connect()
        self.db.execute(
            "CREATE TABLE t AS SELECT ville, type, modele, strftime(CAST(date AS DATE), '%Y-%m') AS mois, "
            "CAST(prix AS DECIMAL(12, 2)) AS prix FROM read_csv(?, all_varchar = true, nullstr = '')",
            [str(file)],
        )

    def rows(self, query):
        return self.db.execute(query).fetchall()


@pytest.fixture(scope="module")
def transactions(data_file):
    return Transactions(data_file)


@pytest.fixture(scope="module")
def villes(transactions):
    rows = transactions.rows("SELECT DISTINCT ville FROM t")
    return sorted((ville for (ville,) in rows), key=str.encode)


@pytest.fixture(scope="module")
def ca(transactions, villes):
    """CA by city and month, zeros included."""
    rows = transactions.rows("SELECT ville, mois, sum(prix) FROM t GROUP BY ALL")
    months = sorted({mois for _, mois, _ in rows})
    ca = {ville: dict.fromkeys(months, Decimal(0)) for ville in villes}
    for ville, mois, euros in rows:
        ca[ville][mois] = euros
    return ca


@pytest.fixture(scope="module")
def repartition(transactions, villes):
    """Transactions by city and type."""
    counts = {ville: dict.fromkeys(TYPES, 0) for ville in villes}
    for ville, kind, count in transactions.rows("SELECT ville, type, count(*) FROM t GROUP BY ALL"):
        counts[ville][kind] = count
    return counts


@pytest.fixture(scope="module")
def top(transactions, villes):
    """The five models with most transactions of each city, best first, ties by name."""
    rows = transactions.rows("SELECT ville, modele, count(*) FROM t GROUP BY ALL")
    best = {}
    for ville in villes:
        models = [(modele, count) for city, modele, count in rows if city == ville]
        best[ville] = sorted(models, key=lambda model: (-model[1], model[0].encode()))[:5]
    return best


def only(by_city, ville):
    return {city: value for city, value in by_city.items() if not ville or city == ville}


def spellings(villes):
    """None, each city, and one that is not there; `None` is an absent parameter, `""` an empty one."""
    return [None, "", *villes, "Atlantis"]


def percentages(counts):
    hundred = Decimal(100)
    total = sum(counts.values())
    return {kind: (hundred * n / total).quantize(Decimal("0.01"), ROUND_HALF_UP) for kind, n in counts.items()}


def test_villes(base_url, villes):
    assert get(base_url, "/api/villes") == {"villes": villes}


def test_ca_mensuel(base_url, villes, ca):
    months = sorted(next(iter(ca.values())))
    for ville in spellings(villes):
        for mois in [None, "", *months, "1999-12", "janvier"]:
            expected = only(ca, ville)
            if mois:
                expected = {city: {mois: of[mois]} for city, of in expected.items() if mois in of}
            assert get(base_url, "/api/ca-mensuel", ville=ville, mois=mois) == expected, (ville, mois)


def test_repartition(base_url, villes, repartition):
    for ville in spellings(villes):
        expected = only(repartition, ville)
        for absent in (None, ""):
            assert get(base_url, "/api/repartition", ville=ville, format=absent) == expected, ville
        shares = {city: percentages(counts) for city, counts in expected.items()}
        assert get(base_url, "/api/repartition", ville=ville, format="percentage") == shares, ville


def test_top_modeles(base_url, villes, top):
    for ville in spellings(villes):
        found = get(base_url, "/api/top-modeles", ville=ville)
        assert {city: list(models.items()) for city, models in found.items()} == only(top, ville), ville


def test_other_spellings_of_a_city_are_that_city(base_url, villes, ca):
    for ville in villes:
        for spelling in (ville.upper(), ville.lower(), f" {ville} "):
            assert get(base_url, "/api/ca-mensuel", ville=spelling) == {ville: ca[ville]}, spelling


def test_whoever_has_an_answer_is_not_sent_it_again(base_url):
    url = f"{base_url}/api/ca-mensuel"
    with urllib.request.urlopen(url, timeout=30) as answer:
        etag = answer.headers["ETag"]
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(urllib.request.Request(url, headers={"If-None-Match": etag}), timeout=30)
    assert raised.value.code == 304
