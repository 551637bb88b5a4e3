"""Reads a file of transactions with DuckDB and sums it up; knows nothing of how AutoConnect reads.

A file with rejected rows is read without them: the truth of a generated file says on which physical lines they stand, and
each stands on one. What is left is plain CSV, with DuckDB's own quoting, trimming, dates, decimals and accents.
"""

import csv
import re
import tempfile
import unicodedata
from itertools import islice
from pathlib import Path

import duckdb

NONE = "('', 'NULL', 'null', 'NaN')"
# control characters, and those that reorder text or hide in it
SPECIAL = r"[\x00-\x1f\x7f-\x{9f}\x{61c}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}]"


LIGATURES = {"œ": "oe", "æ": "ae", "ß": "ss"}
APOSTROPHES = "'`\u2018\u2019\u201b\u02b9\u02bb\u02bc\u02bd\u02bf\u02c8\u2032\u2035"
MOST_NAMES, MOST_SPELLINGS = 50, 10  # how many names in several spellings a report lists


def fold(name):
    """What all spellings of a name have in common: no case, accent, ligature or invisible character, and whatever parts
    its words is one hyphen. Python's own case folding and categories, where AutoConnect has its own."""
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", name).casefold())
    kept = []
    for character in text:
        category = unicodedata.category(character)
        if character.isspace() or category in ("Pd", "Pc", "Zs") or character in APOSTROPHES or character in "−⁃˗":
            kept.append(" ")
        elif unicodedata.combining(character) == 0 and category not in ("Cf", "Cc") and not is_selector(character):
            kept.append(LIGATURES.get(character, character))
    return "-".join("".join(kept).split())


def is_selector(character):
    """Marks and letters that take no room, and are of no category of their own."""
    return "\ufe00" <= character <= "\ufe0f" or character in "\u034f\u115f\u1160\u3164\uffa0"


def naming(counts):
    """The spelling that names them all: the most frequent, then one with a small letter, then the smallest."""

    def rank(spelling):
        capitals = any(c.isupper() for c in spelling) and not any(c.islower() for c in spelling)
        return (-counts[spelling], capitals, spelling.encode())

    return min(counts, key=rank)


def listed(groups, key=fold):
    """Of names with their spellings those with several, as a report lists them; and how many spellings it leaves out."""
    several = {name: counts for name, counts in groups.items() if len(counts) > 1}

    def others(name):
        return sum(several[name].values()) - max(several[name].values())

    found = {}
    for name in sorted(several, key=lambda name: (-others(name), key(name).encode()))[:MOST_NAMES]:
        counts = several[name]
        first = sorted(counts, key=lambda spelling: (-counts[spelling], spelling.encode()))[:MOST_SPELLINGS]
        found[name] = {spelling: counts[spelling] for spelling in first}
    return found, sum(map(len, several.values())) - sum(map(len, found.values()))


class Tables:
    """The sums every report is made of; money in integer cents."""

    def __init__(self, file, rejected=(), today="2030-01-01", asked=None):
        """`asked` is the period asked for, as in 2024-01..2024-03."""
        self.con = duckdb.connect()
        self.today, self.asked = today, asked
        self.file, self.rejected = Path(file), set(rejected)
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "kept.csv"
            kept.write_bytes(without(Path(file).read_bytes(), set(rejected)))
            self._load(kept)
        self.odd = self._warnings()
        self.outside = self._leave_out_others() if asked else 0
        self.villes = self._name("ville", "ecrite")
        self.modeles = self._name("modele", "modele_ecrit")
        self.con.execute("ALTER TABLE lines RENAME TO t")

    def rows(self, query):
        """All rows of a query."""
        return self.con.execute(query).fetchall()

    def _load(self, kept):
        header = kept.read_bytes().split(b"\n", 1)[0].decode().strip().split(",")
        columns = ", ".join(f"'{name}': 'VARCHAR'" for name in header)
        cost = "trim(coalesce(cout, ''))" if "cout" in header else "''"
        self.con.execute(
            f"""CREATE TABLE texts AS
            SELECT date, trim(ville) AS ville, type, trim(modele) AS modele, prix,
              coalesce(duree_location_mois, '') AS duree, {cost} AS cout
            FROM read_csv('{kept}', header = true, auto_detect = false, delim = ',', quote = '"', escape = '"',
              new_line = '\\n', parallel = false, max_line_size = 4194304, columns = {{{columns}}})"""
        )
        strange = self.rows(
            r"""SELECT * FROM texts WHERE NOT coalesce(regexp_full_match(prix, '\d+(\.\d{1,2})?')
            AND regexp_full_match(date, '\d{4}-\d\d-\d\d') AND type IN ('vente', 'location'), false) LIMIT 3"""
        )
        assert not strange, f"rows that should have been rejected: {strange}"
        self.con.execute(
            f"""CREATE TABLE lines AS
            SELECT ville AS ecrite, CAST(date AS DATE) AS jour,
              substr(date, 1, 7) AS mois, type, modele AS modele_ecrit, CAST(CAST(prix AS DECIMAL(18, 2)) * 100 AS BIGINT) AS cents,
              CASE WHEN type = 'location' THEN CAST(duree AS INTEGER) ELSE 0 END AS duree,
              type = 'vente' AND duree NOT IN {NONE} AS vente_avec_duree,
              CASE WHEN cout NOT IN {NONE} THEN CAST(CAST(cout AS DECIMAL(18, 2)) * 100 AS BIGINT) END AS cout
            FROM texts"""
        )

    def _name(self, column, written):
        """Adds a column of names for the spellings in another; returns each name's spellings with their rows."""
        groups = {}
        for spelling, number in self.rows(f"SELECT {written}, count(*) FROM lines GROUP BY ALL"):
            groups.setdefault(fold(spelling), {})[spelling] = number
        groups = {naming(counts): counts for counts in groups.values()}
        names = [(spelling, name) for name, counts in groups.items() for spelling in counts]
        self.con.execute(f"CREATE TABLE names ({written} VARCHAR, {column} VARCHAR)")
        if names:
            self.con.executemany("INSERT INTO names VALUES (?, ?)", names)
        self.con.execute(f"CREATE TABLE named AS SELECT * FROM lines JOIN names USING ({written})")
        self.con.execute("DROP TABLE lines; DROP TABLE names; ALTER TABLE named RENAME TO lines")
        return groups

    def _leave_out_others(self):
        """Leaves out the rows of no month of the period; returns how many they are."""
        first, last = self.asked.split("..")
        condition = f"mois < '{first}' OR mois > '{last}'"
        number = self.rows(f"SELECT count(*) FROM lines WHERE {condition}")[0][0]
        self.con.execute(f"DELETE FROM lines WHERE {condition}")
        return number

    def _warnings(self):
        conditions = {
            "vente_avec_duree": "vente_avec_duree",
            "prix_nul": "cents = 0",
            "location_longue": "duree > 48",
            "date_future": f"jour > DATE '{self.today}'",
            "date_ancienne": "jour < DATE '1970-01-01'",
            "caracteres_speciaux": f"regexp_matches(ecrite || modele_ecrit, '{SPECIAL}')",
        }
        counts = {
            word: self.rows(f"SELECT count(*) FROM lines WHERE {condition}")[0][0]
            for word, condition in conditions.items()
        }
        return {word: number for word, number in counts.items() if number}

    def count(self):
        """How many rows there are."""
        return self.rows("SELECT count(*) FROM t")[0][0]

    def days(self):
        """The days with a row, in order."""
        return [day for (day,) in self.rows("SELECT DISTINCT jour FROM t ORDER BY ALL")]

    def period(self):
        """The first and last day, as dates; None without rows."""
        return self.rows("SELECT min(jour), max(jour) FROM t")[0]

    def by_month(self):
        """ville, mois, type, nombre, ca"""
        return self.rows(
            "SELECT ville, mois, type, count(*), CAST(sum(cents) AS BIGINT) FROM t GROUP BY ALL ORDER BY ALL"
        )

    def by_model(self):
        """ville, type, modele, nombre, ca"""
        return self.rows(
            "SELECT ville, type, modele, count(*), CAST(sum(cents) AS BIGINT) FROM t GROUP BY ALL ORDER BY ALL"
        )

    def durations(self):
        """ville, modele, rentals, months of rental"""
        return self.rows(
            """SELECT ville, modele, count(*), CAST(sum(duree) AS BIGINT) FROM t WHERE type = 'location'
            GROUP BY ALL ORDER BY ALL"""
        )

    def contracts(self):
        """ville, sum of prix x duree"""
        return self.rows(
            """SELECT ville, CAST(sum(cents * duree) AS BIGINT) FROM t WHERE type = 'location'
            GROUP BY ALL ORDER BY ALL"""
        )

    def costs(self):
        """ville, type, nombre, ca, cout of the rows that have a cost"""
        return self.rows(
            """SELECT ville, type, count(*), CAST(sum(cents) AS BIGINT), CAST(sum(cout) AS BIGINT) FROM t
            WHERE cout IS NOT NULL GROUP BY ALL ORDER BY ALL"""
        )

    def warnings(self):
        """How many rows bear each warning, those outside the period too; absent where none does."""
        return self.odd

    def first_lines(self, month):
        """The first ten physical lines with an accepted row of this month; each row stands on one."""
        lines = self.file.read_bytes().decode("utf-8-sig", "replace").split("\n")
        column = next(csv.reader(lines[:1])).index("date")
        plain = ((number, line) for number, line in enumerate(lines[1:], 2) if number not in self.rejected)
        rows = ((number, next(csv.reader([line]), [])) for number, line in plain)
        found = (number for number, row in rows if row[column:] and row[column].startswith(month))
        return list(islice(found, 10))


def without(text, rejected):
    """A file's bytes without its byte order mark, the physical lines of these numbers, blank lines outside quotes and
    carriage returns at line ends."""
    if text.startswith(b"\xef\xbb\xbf"):
        text = text[3:]
    kept, open_quote = [], False
    for number, line in enumerate(text.split(b"\n"), 1):
        if number in rejected:
            assert not open_quote, f"line {number} is inside a quoted field"
            continue
        if not open_quote and line in (b"", b"\r"):
            continue
        # a doubled quote leaves the parity alone
        open_quote ^= line.count(b'"') % 2 == 1
        kept.append(line if open_quote else re.sub(rb"\r$", b"", line))
    return b"\n".join(kept) + b"\n"
