"""`python -m seqcl`."""

from seqcl.cli.main import main

if __name__ == "__main__":
    main()
