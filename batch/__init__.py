"""Large albums: one Parquet row for every photo of folders, archives and data sets.

    python -m batch SOURCE... RESULTS

The work is divided once into parts (`sources`), which are handed to workers on Ray (`rounds`). A
worker reads its part, analyses each photo in a separate process (`analyst`) and writes the part's
file of rows (`rows`). Parts that are missing when a round ends, or stalls, go into the next
(`runner`).
"""
