"""Slurm's programs, as far as submitit uses them: jobs run on this machine, at once."""

import shlex
import sys
from pathlib import Path

SBATCH = r"""#!/bin/bash
script=${@: -1}
cp "$script" "$(dirname "$0")/batch.sh"
last=$(sed -n 's/^#SBATCH --array=0-\([0-9]*\)%.*/\1/p' "$script")
export SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_NTASKS=1 SLURM_NNODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
export SLURM_JOB_NODELIST=here SLURM_JOB_NUM_NODES=1
for task in $(seq 0 "$last"); do
    SLURM_ARRAY_TASK_ID=$task CUDA_VISIBLE_DEVICES=$task bash "$script" </dev/null >/dev/null 2>&1 &
done
echo "Submitted batch job 7"
"""
# srun's own options end where the program's name begins.
SRUN = f"""#!/bin/bash
while [ "$1" != {shlex.quote(sys.executable)} ]; do shift; done
exec "$@"
"""
SACCT = """#!/bin/bash
printf 'JobID|State|NodeList\\n7_0|RUNNING|here\\n7_1|RUNNING|here\\n'
"""
SCANCEL = """#!/bin/bash
echo "$@" >> "$(dirname "$0")/cancelled.txt"
"""
# A cluster that is full.
WAITS = """#!/bin/bash
echo "Submitted batch job 7"
"""


def install(folder: Path, full: bool = False) -> None:
    """Put the programs into `folder`, which is to lead PATH; where the cluster is `full` no job ever starts.

    What sbatch was given is its `batch.sh` then, what scancel was told a line each in `cancelled.txt`.
    """
    folder.mkdir()
    programs = {"sbatch": WAITS if full else SBATCH, "srun": SRUN, "sacct": SACCT, "scancel": SCANCEL}
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
