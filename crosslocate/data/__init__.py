"""What exists: views and queries, where they are, and how to decode them into tensors."""
