"""The table in SECURITY.md, from the records of `bench.crowd`, `bench.abuse` and `bench.soak`."""

from collections.abc import Mapping
from typing import Any

Figures = Mapping[str, Any]


def table(known: Mapping[str, Figures]) -> str:
    """The figures as Markdown."""
    rows = ["| what | measured | how | command |", "|---|---|---|---|"]
    for name, event in (("crowd", "the page"), ("crowd_analyze", "`/analyze`")):
        if crowd := known.get(name):
            how = f"{crowd['clients']} visitors, {crowd['minutes']:.1f} minutes, {crowd['machine']}"
            rows += [
                _row(f"{event}: {what}", measured, how, crowd["command"])
                for what, measured in _crowd(crowd)
            ]
    if waiting := known.get("abuse_waiting"):
        rows.append(_row(*_waiting(waiting), waiting["machine"], waiting["command"]))
    if memory := known.get("abuse_memory"):
        rows += [
            _row(what, measured, memory["machine"], memory["command"])
            for what, measured in _memory(memory)
        ]
    if soak := known.get("soak"):
        how = f"{soak['requests']:,} requests in {soak['minutes']:.0f} minutes, {soak['machine']}"
        then = f"{soak['memory_after_requests']:,.0f} requests"
        over = f"; each a mean over {soak['averaged_over_requests']:,.0f} requests"
        rows += [
            _row(what, measured, how, soak["command"])
            for what, measured in (
                ("what came of the requests", _outcomes(soak)),
                (
                    "resident memory",
                    f"{soak['resident_megabytes_then']} MB after {then}, "
                    f"{soak['resident_megabytes_at_the_end']} MB at the end "
                    f"({soak['resident_growth']:+.1%}){over}",
                ),
                (
                    "open files",
                    f"{soak['open_files_then']:.0f} after {then}, "
                    f"{soak['open_files_at_the_end']:.0f} at the end, "
                    f"{soak['open_files_afterwards']:.0f} when all had gone",
                ),
                (
                    "uploads and results on the disk, kept for a minute here",
                    f"{soak['stored_megabytes_at_most']} MB at most, "
                    f"{soak['stored_megabytes_afterwards']:.1f} MB two minutes after the last",
                ),
            )
        ]
    return "\n".join(rows)


def _crowd(crowd: Figures) -> list[tuple[str, str]]:
    rate = f"{crowd['answers_a_second']:.1f}"
    processor = f"server {crowd['server_processor_ms_an_answer']:.0f} ms"
    if "models_alone_a_second" in crowd:
        alone = crowd["models_alone_a_second"]
        share = crowd["answers_a_second"] / alone
        rate += f"; `models` alone {alone:.1f} ({share:.0%})"
        processor += f"; `models` alone {crowd['models_processor_ms_an_answer']:.0f} ms"
    processor += (
        f"; the visitor, on the same cores, {crowd['visitors_processor_ms_an_answer']:.0f} ms"
    )
    rows = [
        ("what came of the requests", _outcomes(crowd)),
        (
            "waiting time",
            f"median {crowd['median_seconds']:.1f} s, 99th percentile "
            f"{crowd['percentile_99_seconds']:.1f} s",
        ),
        ("answers a second", rate),
        ("processor time of an answer", processor),
    ]
    if "peak_megabytes" in crowd:
        rows.append(("peak memory", f"{crowd['peak_megabytes']} MB"))
    return rows


def _waiting(figures: Figures) -> tuple[str, str]:
    alone, beside = figures["idle_median_seconds"], figures["beside_greedy_median_seconds"]
    return (
        "a visitor's answer while another client sends all that it may",
        f"median {beside:.2f} s, {beside / alone:.1f} times as long as alone ({alone:.2f} s); "
        f"worst {figures['beside_greedy_worst_seconds']:.2f} s",
    )


def _memory(figures: Figures) -> list[tuple[str, str]]:
    photos = f"{figures['uploads']:,} mixed photos of {figures['visitors']} visitors"
    rows = [(f"resident memory after {photos}", _megabytes(figures))]
    if before := figures.get("against"):
        rows.append((f"the same of {before['checkout']}", _megabytes(before)))
    return rows


def _megabytes(figures: Figures) -> str:
    return (
        f"{figures['resident_megabytes']} MB, {figures['peak_megabytes']} MB at most; "
        f"{figures['resident_megabytes_before']} MB at the start"
    )


def _row(*cells: str) -> str:
    *first, command = cells
    return f"| {' | '.join(first)} | `{command}` |"


def _outcomes(figures: Figures) -> str:
    counted = ", ".join(f"{count:,} {name}" for name, count in sorted(figures["outcomes"].items()))
    return f"{counted}; {figures['faults']} faults in the log"
