"""VLM-AutoDrive: supervision data for vision-language models of rare driving events."""

__version__ = "0.1.0"
