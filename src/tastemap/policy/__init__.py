"""Business rules: what may be recommended to whom, and in which order it is shown."""
