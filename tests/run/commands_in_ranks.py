"""Run several commands in float64 in one process group: ``torchrun commands_in_ranks.py LISTS``.

LISTS is JSON, one list of arguments of `seqcl` for each command.
"""

import json
import os
import sys

import torch

from seqcl.cli.main import cli
from seqcl.run.launching import launched

if __name__ == "__main__":
    torch.set_default_dtype(torch.float64)
    with launched():
        for arguments in json.loads(sys.argv[1]):
            assert cli.main(arguments, standalone_mode=False) == 0
    sys.stderr.flush()
    os._exit(0)  # as the command does
