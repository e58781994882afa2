"""What several models share; no model is here."""
