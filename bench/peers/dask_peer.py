"""Dask distributed: worker processes of one thread each; every partition's sums travel, not its rows."""

import sys

import dask.dataframe as dd
import pandas as pd
from answers import answer
from distributed import Client, LocalCluster

COLUMNS = {
    "date": "category",
    "ville": "category",
    "type": "category",
    "modele": "category",
    "prix": "float64",
    "duree_location_mois": "float32",
}
KEYS = ["ville", "mois", "type", "modele"]


def sums(frame):
    """The sums of one partition, in cents: the month is cut out of each distinct day, not of each row."""
    days = frame["date"].cat
    months, names = pd.factorize(pd.Index(days.categories).astype(str).str.slice(0, 7))
    frame = frame.assign(mois=pd.Categorical.from_codes(months[days.codes], names))
    found = frame.groupby(KEYS, observed=True, sort=False).agg(
        nombre=("prix", "size"), centimes=("prix", "sum"), duree=("duree_location_mois", "sum")
    )
    found["centimes"] = (found["centimes"] * 100).round().astype("int64")
    # plain text, so that partitions whose categories differ can be put together
    return pd.DataFrame({"sums": [found.reset_index().astype(dict.fromkeys(KEYS, "object"))]})


def table(fine, keys, sums):
    """The sums of these columns by these keys."""
    return fine.groupby(keys, sort=False)[sums].sum().reset_index().values.tolist()


def main(file, workers):
    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=40
        ) as cluster,
        Client(cluster) as client,
    ):
        client.wait_for_workers(workers)
        rows = dd.read_csv(file, blocksize="32MiB", usecols=list(COLUMNS), dtype=COLUMNS)
        parts = rows.map_partitions(sums, meta={"sums": object}).compute()["sums"]
        fine = pd.concat(list(parts))
        answer(
            table(fine, ["ville", "mois", "type"], ["nombre", "centimes"]),
            table(fine, ["ville", "type", "modele"], ["nombre", "centimes", "duree"]),
        )


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
