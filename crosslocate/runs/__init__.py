"""What a run knows of itself: its record, its lock, where it came from, how it is continued and repeated."""
