"""Several processes on CPUs.

`accelerate launch --cpu --num_processes N` leaves starting the processes to MPI: without MPI it starts one, which is
told an address to meet at but not how many it should be. Then that one starts them all, as `torchrun` would.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

MODULE = "nerfound.pretraining"


def start_cpu_processes(arguments: Sequence[str]) -> bool:
    """Start the processes that `accelerate launch` was asked for but did not start; `False` if there is nothing to do.

    Args:
        arguments (`Sequence[str]`): of each process.
    """
    if os.environ.get("ACCELERATE_USE_CPU") != "True" or "MASTER_ADDR" not in os.environ:
        return False
    if {"WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE"} & os.environ.keys():
        return False  # torchrun or MPI has started them
    count = _processes_asked_for()
    if count < 2:
        return False
    from torch.distributed.run import main as torchrun

    address = f"{os.environ.pop('MASTER_ADDR')}:{os.environ.pop('MASTER_PORT')}"
    rendezvous = ["--rdzv_backend", "c10d", "--rdzv_endpoint", address]
    torchrun(["--nproc_per_node", str(count), *rendezvous, "-m", MODULE, "--use_cpu", *arguments])
    return True


def _processes_asked_for() -> int:
    """`--num_processes` of the `accelerate launch` that started this process: only its command line tells."""
    import psutil  # comes with accelerate
    from accelerate.commands.launch import launch_command_parser

    parent = psutil.Process().parent()
    command = parent.cmdline() if parent else []
    for i, part in enumerate(command):
        if part in {"launch", "accelerate.commands.launch"} or part.endswith("accelerate-launch"):
            return launch_command_parser().parse_args(command[i + 1 :]).num_processes or 1
    return 1


def main() -> None:
    """Entry of `python -m nerfound.pretraining`."""
    if not start_cpu_processes(sys.argv[1:]):
        from .run import main as run

        run()
