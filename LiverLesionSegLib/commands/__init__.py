"""One module for each command: `add_arguments(parser)` and `run(options, run) -> exit code`. They join stages; no stage is written here."""
