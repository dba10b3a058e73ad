"""The parts of the panel: what each step says in the user's language, and what its widgets show and do."""
