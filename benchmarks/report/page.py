"""The page `docs/benchmarks.md`: its head, and its sections in their order."""

from benchmarks.report import (
    ann,
    cold_items,
    cold_start,
    context,
    differences,
    embedding_tables,
    encodings,
    item_updates,
    ncf_study,
    popularity_bias,
    quality,
    races,
    ranking,
    ranking_latency,
    scale,
    sequence_scale,
    sequence_speed,
    service_load,
    temporal,
    two_stage,
)
from benchmarks.report.layout import Result

_HEAD = """\
# Benchmarks

Tastemap beside other libraries: the same split, the same evaluator, the same machine and the same
two threads for everybody. This page is written by `python -m benchmarks.run write-docs` from the
files in `benchmarks/results/`; nobody edits the figures by hand. Where another library is better or
faster, the tables say so: the best figure of each column is bold, whoever has it.

## How it is measured

- **One process each.** A contender runs in a fresh process; a rival in a virtual environment of its
  own, made on first use from pinned versions (`benchmarks/contenders/*/requirements.txt`). All read
  the same file of training data and never see the test part.
- **One evaluator.** What comes back, lists of items or predicted ratings, is judged by
  `tastemap.metrics` (itself tested against `ranx` and `scikit-learn`). A list that holds an
  unknown, a repeated or an already seen item is an error.
- **Clocks** count wall seconds of fitting and of recommending from data in the library's own
  structures. Before the clock starts each contender answers a small part of the task, so that no
  compilation and no loading of libraries is counted, for nobody.
- **Two threads** for everybody, `OMP_WAIT_POLICY=PASSIVE`. For `implicit` BLAS has one thread, as
  it asks for. Surprise knows only one.
- **Hyper-parameters.** Tastemap runs with its defaults, the same on every data set; those of ALS
  and MatrixFactorization were chosen on validation parts of these two. Rivals run as is said below
  each table. Their searches (`python -m benchmarks.tune`) are short, and shorter on movielens-1m:
  a longer one may find better settings for them.
- **The machine is shared**, so seconds vary from run to run by a factor of two and more. Where
  speed is compared, the two take turns, and the ratio of each turn is taken.
"""


def render(results: dict[tuple[str, str], Result]) -> str:
    """The page, with a section for each suite that there are results of."""
    sections = [_HEAD]
    for suite, write in _SECTIONS.items():
        found = [result for (name, _), result in results.items() if name == suite]
        if found:
            sections.append("\n".join(write(found)) + "\n")
    return "\n".join(sections)


_SECTIONS = {
    "topn": quality.top_n,
    "neural": differences.neural,
    "ratings": quality.ratings,
    "sequences": quality.sequences,
    "sequence-bodies": differences.bodies,
    "ranking-users": ranking.of_users,
    "ranking-time": ranking.of_time,
    "ranking-history-users": ranking.history_of_users,
    "ranking-history-time": ranking.history_of_time,
    "two-stage": two_stage.section,
    "context": context.section,
    "als-speed": races.als_speed,
    "ialspp-speed": races.ialspp_speed,
    "ease-speed": races.ease_speed,
    "mf-speed": races.mf_speed,
    "svdpp-speed": races.svdpp_speed,
    "sasrec-speed": races.sasrec_speed,
    "item2vec-speed": races.item2vec_speed,
    "temporal": temporal.section,
    "bpr-speed": races.bpr_speed,
    "ncf-study": ncf_study.section,
    "scale": scale.section,
    "sequence-speed": sequence_speed.section,
    "sequence-scale": sequence_scale.section,
    "embedding-tables": embedding_tables.section,
    "encodings": encodings.section,
    "popularity-bias": popularity_bias.section,
    "cold-items": cold_items.section,
    "cold-start": cold_start.section,
    "item-updates": item_updates.section,
    "ann": ann.section,
    "ranking-latency": ranking_latency.section,
    "service-load": service_load.section,
}
