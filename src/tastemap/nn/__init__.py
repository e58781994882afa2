"""Parts of neural networks: tables of embeddings, their first values, sizes and optimizers."""
