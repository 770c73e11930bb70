"""`python -m semalign` is the command `semalign`."""

from semalign.cli import main

main()
