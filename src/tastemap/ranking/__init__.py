"""Stage two: models that say how probable a click is, from all features of a row."""
