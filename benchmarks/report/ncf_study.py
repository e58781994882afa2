"""The section of what `benchmarks/ncf_study.py` measures."""

import statistics

from benchmarks.report.layout import PAGE, Result, ran, table

# Hyper-parameters of the study that are columns of its table, or have no part in it.
_OF_RUNS = ("factors", "patience", "seed")


def section(found: list[Result]) -> list[str]:
    lines = [
        "## Neural collaborative filtering against a dot product",
        "",
        "He et al. 2017 put a learned function in the place of the dot product; Rendle et al.",
        "2020 tuned the dot product and found it better. Here one trainer fits them all, and only",
        "the function that compares two vectors differs. Every rating is a choice, and the last",
        "one of each user is the test; binary cross-entropy against drawn items, by Adam. A",
        "vector's length counts all of a user's numbers. *All items*: the test item ranked among",
        "all that the user has not chosen. *Drawn*: among 100 of them, as in both papers, which",
        "flatters all models and need not keep their order (Krichene & Rendle 2020). In brackets",
        "the 95 % interval over users.",
        "Rendle et al. report, for drawn items and the best length, HR@10 .7294 and NDCG@10 .4523",
        "for the dot product, and .7093 and .4349 for pre-trained NeuMF.",
    ]
    for result in found:
        rows = []
        for name, runs in result["runs"].items():
            for run in sorted(runs.values(), key=lambda run: run["dim"]):
                cells = [result["settings"][name]["title"], str(run["dim"]), str(run["factors"])]
                cells += [
                    f"{run['parameters'] / 1e6:.2f} M",
                    f"{statistics.fmean(run['seconds']):.0f} s",
                ]
                for part in ("full", "sampled"):
                    for metric in ("hr@10", "ndcg@10"):
                        m = run[part][metric]
                        cells.append(f"{m['value']:.4f} ({m['low']:.3f}–{m['high']:.3f})")
                rows.append(cells)
        heads = ["similarity", "length", "predictive factors", "parameters", "fit"]
        heads += ["HR@10, all items", "NDCG@10, all items", "HR@10, drawn", "NDCG@10, drawn"]
        lines += ["", f"### {result['dataset']}", "", *table(heads, rows), ""]
        if (PAGE.parent / "img" / "ncf-study.png").exists():
            lines += ["![HR@10 over the length of a user's vector](img/ncf-study.png)", ""]
        lines += [
            ran(result),
            f"- split {result['split']}; {_runs_of_study(result)}",
            "- hyper-parameters, the best of a random search each, on the validation part:",
        ]
        for about in result["settings"].values():
            given = about["hyperparameters"].items()
            shown = ", ".join(f"`{key}={value}`" for key, value in given if key not in _OF_RUNS)
            lines.append(f"    - {about['title']}: {shown}")
    return lines


def _runs_of_study(result: Result) -> str:
    runs = [run for runs in result["runs"].values() for run in runs.values()]
    seeds = sorted({run["seeds"] for run in runs})
    devices = sorted({run["device"] for run in runs})
    return f"means of {' or '.join(map(str, seeds))} seeds, fitted on {', '.join(devices)}"
