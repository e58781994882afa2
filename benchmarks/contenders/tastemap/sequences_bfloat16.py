"""Tastemap's own models on what comes next, with matrices multiplied in bfloat16 on any processor,
slow where it has no units for it: what it does to the quality."""

from unittest.mock import patch

import tastemap as tm
from benchmarks.contenders.protocol import main
from benchmarks.contenders.tastemap.sequences import answer

if __name__ == "__main__":
    with patch("tastemap.training.precision.has_bfloat16_units", lambda device: True):
        main(answer, tastemap=tm.__version__)
