"""Data, not code: the recipe schema, the domain (`ontology/`) and one folder per task (its schema, prompt, form, …)."""
