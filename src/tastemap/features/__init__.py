"""Features of a request and an item: their schema, batches of them, and how frames become such."""
