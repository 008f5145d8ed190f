"""Sweeps: checked as a whole before the first job starts, recorded, and gathered into tables afterwards."""
