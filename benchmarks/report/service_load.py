"""The section of what `benchmarks/service_load.py` measures."""

from benchmarks.report.layout import Result, ran, remarked, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## What a request to the service costs",
        "",
        "A generated catalogue; vectors of 64 numbers by ALS, behind an approximate index where it",
        "is large; ranked: 500 candidates, ordered by DCN-v2. First the processor time of the",
        "stages of an answer in milliseconds a request, alone and in batches, without HTTP. Then a",
        "server process, asked in an open loop by a generator on the same two cores: latencies in",
        "milliseconds from the moment at which a request was due. In this world most people are",
        "proposed the same items (543 different ones among 3,000 candidates of six requests), and",
        "what is of an item alone is worked on once for a batch, which saves nothing where",
        "people's candidates are all different.",
    ]
    for result in found:
        load = result.get("load", {})
        sizes = list(next(iter(result["stages"].values())))
        rows = [
            [stage, *(f"{by_size[size]:.2f}" for size in sizes)]
            for stage, by_size in result["stages"].items()
            if any(by_size.values())
        ]
        lines += [
            "",
            f"### {result['items']:,} items, {result['users']:,} users, "
            + ("ranked" if "ranked" in result["dataset"] else "retrieval alone")
            + (", events among the requests" if "writes" in result["dataset"] else "")
            + (", answers kept in Redis" if "redis" in result["dataset"] else "")
            + (f", {load['workers']} workers" if load.get("workers", 1) > 1 else ""),
            "",
            *table(["stage", *(f"batch of {size}" for size in sizes)], rows),
        ]
        if load:
            first, last = load["memory_mib"]
            lines += [
                "",
                f"{load['rate']:g} requests a second for {load['seconds']:g} s, "
                f"{load['writes']:.0%} of them events: {load['errors']} errors, "
                f"{load['answered_a_second']:.0f} answered a second, "
                f"{load['cpu_ms_a_request']:.2f} ms of processor time a request "
                f"(the generator's: {load['generator_ms_a_request']:.2f}), memory {first:.0f} MiB "
                f"at the start and {last:.0f} at the end.",
                "",
                *table(
                    ["", "p50", "p90", "p99", "max"],
                    [
                        [
                            kind,
                            *(f"{load[kind][name]:.1f}" for name in ("p50", "p90", "p99", "max")),
                        ]
                        for kind in ("recommendations", "events", "event to changed answer")
                        if load.get(kind)
                    ],
                ),
            ]
        lines += ["", ran(result), *remarked(result)]
    return lines
