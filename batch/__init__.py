"""Albums past one machine: every photo of folders, archives and data sets, one Parquet row each.

    python -m batch SOURCE... RESULTS

The work is cut into parts once (`sources`). Ray Data gives the parts to a pool of workers
(`rounds`); a worker reads its part, looks at each photo in a process of its own (`analyst`) and
writes the part's file of rows (`rows`). Whatever is still missing when a round ends, or stands
still, goes into the next (`runner`).
"""
