"""One loop for everything trained by gradients, and where its runs go."""
