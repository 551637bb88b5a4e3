"""Polars: one lazy streaming scan, one group-by at the finest grain."""

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

answer(
    pl.scan_csv(sys.argv[1], schema=SCHEMA, null_values=["NULL"])
    .group_by("ville", pl.col("date").str.head(7).alias("mois"), "type", "modele")
    .agg(
        pl.len(),
        (pl.col("prix").sum() * 100).round().cast(pl.Int64),
        pl.col("duree_location_mois").cast(pl.Int64).sum(),
    )
    .collect(engine="streaming")
    .rows()
)
