"""Runs in ALF's style: each file is given to `python -m alf.bin.train --conf` (or `--gin_file`)."""
