"""What items are made of, as vectors."""
