"""Supervise a run: progress, signals, crashes, and the machine's cores."""
