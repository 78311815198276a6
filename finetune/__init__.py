"""A release at a revision becomes an adapter or a checkpoint."""
