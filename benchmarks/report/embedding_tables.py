"""The section of what `benchmarks/embedding_tables.py` measures."""

from benchmarks.report.layout import Result, ran, spread, table


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Embedding tables",
        "",
        "Steps of BPR on random triplets over two tables of 200,000 × 64. State counts the numbers",
        "that the optimizer keeps for each number of the tables.",
    ]
    for result in found:
        speed = [
            [name, f"{run['triplets_per_second']:,.0f}", f"{run['state_per_number']:.3f}"]
            for name, run in result["speed"].items()
        ]
        quality = [
            [name, spread(ndcg)]
            for part in ("initializers", "hashed")
            for name, ndcg in result[part].items()
        ]
        lines += [
            "",
            *table(["optimizer", "triplets a second", "state"], speed),
            "",
            f"NDCG@10 on {result['dataset']} of BPR trained by torch with rowwise Adagrad for",
            f"{result['epochs']} passes: by the first values of both tables, and with the items in",
            "a hashed table. Mean ± standard deviation over seeds.",
            "",
            *table(["table", "NDCG@10"], quality),
            "",
            f"{ran(result)}; split {result['split']}; torch {result['torch']}",
        ]
    return lines
