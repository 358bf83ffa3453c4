"""Programs: `python -m alf.bin.train` and `python -m alf.bin.play`."""
