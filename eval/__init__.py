"""Scores with intervals, told apart from guessing; import what you need (`from eval.metrics import ...`)."""
