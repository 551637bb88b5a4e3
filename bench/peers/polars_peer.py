"""Polars: one lazy streaming scan, one group-by at the finest grain, both tables from it."""

import sys

import polars as pl
from answers import answer

# categories where a column repeats itself; the sum of a group stays far below 2^53 hundredths, so rounding it is exact
SCHEMA = {
    "transaction_id": pl.String,
    "date": pl.String,
    "ville": pl.Categorical,
    "type": pl.Categorical,
    "modele": pl.Categorical,
    "prix": pl.Float64,
    "duree_location_mois": pl.Int16,
}

fine = (
    pl.scan_csv(sys.argv[1], schema=SCHEMA, null_values=["NULL"])
    .select(
        "ville", pl.col("date").str.head(7).alias("mois"), "type", "modele", "prix",
        pl.col("duree_location_mois").alias("duree"),
    )
    .group_by("ville", "mois", "type", "modele")
    .agg(
        pl.len().alias("nombre"),
        (pl.col("prix").sum() * 100).round().cast(pl.Int64).alias("centimes"),
        pl.col("duree").cast(pl.Int64).sum(),
    )
    .collect(engine="streaming")
)
answer(
    fine.group_by("ville", "mois", "type").agg(pl.col("nombre", "centimes").sum()).rows(),
    fine.group_by("ville", "type", "modele").agg(pl.col("nombre", "centimes", "duree").sum()).rows(),
)
