"""Which triplets to train on, and the callback that refreshes the choice."""
