"""The bytes of report.json do not depend on workers, chunks, processes, or how the same rows are spelt in a file."""

import codecs
import csv
import gzip
import hashlib
import io
import re

import pytest
import zstandard
from conftest import SHIPPED

CHUNK_ROWS = [1_000, 16_384, 100_000]


def digest(out):
    """The sha256 of a report."""
    return hashlib.sha256((out / "report.json").read_bytes()).hexdigest()


def digest_without_names(out):
    """The same, whatever the files were called."""
    report, number = re.subn(rb'"fichiers":\s*\[[^\]]*\]', b"", (out / "report.json").read_bytes())
    assert number == 1
    return hashlib.sha256(report).hexdigest()


@pytest.fixture(scope="module", params=["shipped", "dirty"])
def file(request, generated):
    """The shipped file; and one with faults, and cities enough for chunks of every size."""
    return SHIPPED if request.param == "shipped" else generated(200_000, "--dirty", 0.02)


@pytest.fixture(scope="module")
def usual(file, autoconnect, tmp_path_factory):
    """The report on it, made without any flag."""
    return autoconnect.run(tmp_path_factory.mktemp("usual"), file)


@pytest.mark.parametrize("chunk_rows", CHUNK_ROWS)
@pytest.mark.parametrize("workers", [1, 8])
def test_any_number_of_workers_and_any_size_of_chunk(autoconnect, tmp_path, file, usual, workers, chunk_rows):
    out = autoconnect.run(tmp_path, file, "--workers", workers, "--chunk-rows", chunk_rows)
    assert digest(out) == digest(usual)
    assert (out / "rejets.csv").read_bytes() == (usual / "rejets.csv").read_bytes()


@pytest.mark.parametrize("processes", [1, 3, 6])
def test_any_number_of_processes_through_rabbitmq(autoconnect, tmp_path, file, usual, broker, processes):
    out = autoconnect.run(tmp_path, file, "--workers", processes, broker=broker)
    assert digest(out) == digest(usual)
    assert (out / "rejets.csv").read_bytes() == (usual / "rejets.csv").read_bytes()


def test_small_chunks_through_rabbitmq(autoconnect, tmp_path, file, usual, broker):
    out = autoconnect.run(tmp_path, file, "--workers", 2, "--chunk-rows", 1_000, broker=broker)
    assert digest(out) == digest(usual)


NAME = "transactions.csv"
# accents, quotes, line ends, a sign of windows-1252 alone; then a duplicate id, and three that are wrong
EXTRA = [
    ["X1", "2024-03-05", "Saint-Étienne", "vente", 'Peugeot 208, "GT"; €', "19999.9", ""],
    ["X2", "2024-03-06", "  LYON ", "location", "DS 7\nRivoli", "450.25", "24"],
    ["X1", "2024-03-07", "Paris", "vente", "Fiat_500e", "20000", "NULL"],
    ["X3", "2024-02-30", "Paris", "vente", "Fiat_500e", "20000", "NULL"],
    ["X4", "2024-03-07", "Paris", "leasing", "Fiat_500e", "20000", "NULL"],
    ["X5", "2024-03-07", "Paris", "location", "Fiat_500e", "399.99", "NULL"],
]


@pytest.fixture(scope="module")
def rows(generated):
    """A table, header first, with every character that a variant spells in its own way."""
    with open(generated(20_000), encoding="utf-8", newline="") as text:
        header, *rows = csv.reader(text)
    return [header, *rows[:10_000], *EXTRA, *rows[10_000:]]


def table(rows, **dialect):
    """The table as text."""
    text = io.StringIO(newline="")
    csv.writer(text, **{"lineterminator": "\n"} | dialect).writerows(rows)
    return text.getvalue()


def decimal_comma(rows):
    price = rows[0].index("prix")
    return [[cell.replace(".", ",") if at == price else cell for at, cell in enumerate(row)] for row in rows]


def reordered(rows):
    return [["x", *reversed(row)] if number else ["inconnue", *reversed(row)] for number, row in enumerate(rows)]


# how the table becomes bytes, and what the command must be told about them
VARIANTS = {
    "semicolon, decimal comma, CRLF": (
        lambda rows: table(decimal_comma(rows), delimiter=";", lineterminator="\r\n").encode(),
        [],
    ),
    "semicolon, told": (lambda rows: table(rows, delimiter=";").encode(), ["--delimiter", ";"]),
    "tab": (lambda rows: table(rows, delimiter="\t").encode(), []),
    "tab, decimal comma, told": (
        lambda rows: table(decimal_comma(rows), delimiter="\t").encode(),
        ["--delimiter", "tab"],
    ),
    "all quoted": (lambda rows: table(rows, quoting=csv.QUOTE_ALL).encode(), []),
    "no newline at the end": (lambda rows: table(rows).encode()[:-1], []),
    "blank lines": (lambda rows: table([*rows[:5000], [], *rows[5000:]]).encode() + b"\r\n\n", []),
    "other order, one column more": (lambda rows: table(reordered(rows)).encode(), []),
    "byte order mark": (lambda rows: codecs.BOM_UTF8 + table(rows).encode(), []),
    "UTF-16, little end first": (lambda rows: utf16(table(rows)), ["--encoding", "utf-16"]),
    "UTF-16, big end first": (
        lambda rows: codecs.BOM_UTF16_BE + table(rows).encode("utf-16-be"),
        ["--encoding", "utf-16"],
    ),
    "windows-1252": (lambda rows: table(rows).encode("cp1252"), ["--encoding", "windows-1252"]),
    "gzip by its bytes": (lambda rows: gzip.compress(table(rows).encode()), []),
    "gzip in two members": (lambda rows: gzip_twice(table(rows).encode()), []),
    "zstd by its bytes": (lambda rows: zstandard.compress(table(rows).encode()), []),
    "zstd, UTF-16, semicolon": (
        lambda rows: zstandard.compress(utf16(table(decimal_comma(rows), delimiter=";"))),
        ["--encoding", "utf-16"],
    ),
}


def utf16(text):
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le")


def gzip_twice(data):
    return gzip.compress(data[:100_000]) + gzip.compress(data[100_000:])


@pytest.fixture(scope="module")
def plain(rows, autoconnect, tmp_path_factory):
    """The report on the table, written in the plainest way."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / NAME).write_bytes(table(rows).encode())
    out = autoconnect.run(folder / "out", folder / NAME)
    assert len((out / "rejets.csv").read_text(encoding="utf-8").splitlines()) == 5
    return out


@pytest.mark.parametrize("variant", VARIANTS)
def test_any_spelling_of_the_same_rows(autoconnect, tmp_path, rows, plain, variant):
    spell, flags = VARIANTS[variant]
    (tmp_path / NAME).write_bytes(spell(rows))
    assert digest(autoconnect.run(tmp_path / "out", tmp_path / NAME, *flags)) == digest(plain)


def test_another_row_gives_another_report(autoconnect, tmp_path, rows, plain):
    """So that the sameness above means something."""
    changed = [*rows[:-1], [*rows[-1][:5], "1.01", *rows[-1][6:]]]
    (tmp_path / NAME).write_bytes(table(changed).encode())
    out = autoconnect.run(tmp_path / "out", tmp_path / NAME)
    assert digest_without_names(out) != digest_without_names(plain)


@pytest.mark.parametrize("suffix, compress", [(".gz", gzip.compress), (".zst", zstandard.compress)])
def test_a_compressed_file(autoconnect, tmp_path, rows, plain, suffix, compress):
    file = tmp_path / (NAME + suffix)
    file.write_bytes(compress(table(rows).encode()))
    assert digest_without_names(autoconnect.run(tmp_path / "out", file)) == digest_without_names(plain)


def test_several_files(autoconnect, tmp_path, rows, plain):
    """The duplicate id is in another file than the first row that bears it; each file is spelt in its own way."""
    header, cut = rows[0], 10_002
    (tmp_path / "in").mkdir()
    first, second, third = (tmp_path / "in" / name for name in ["1.csv", "2.tsv", "3.csv.gz"])
    first.write_bytes(table(rows[:cut]).encode())
    second.write_bytes(table([header, *rows[cut:15_000]], delimiter="\t", lineterminator="\r\n").encode())
    third.write_bytes(gzip.compress(table([header, *rows[15_000:]]).encode()))
    one_by_one = autoconnect.run(tmp_path / "files", first, second, third)
    folder = autoconnect.run(tmp_path / "folder", tmp_path / "in")
    assert digest(one_by_one) == digest(folder)
    assert digest_without_names(folder) == digest_without_names(plain)


def test_standard_input(autoconnect, tmp_path, rows, plain):
    out = autoconnect.run(tmp_path, "-", stdin=table(rows).encode())
    assert digest_without_names(out) == digest_without_names(plain)
