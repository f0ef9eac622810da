"""Train stage 2 (DPO) of a run whose data exist, by hand.

    deepspeed pipelines/train_dpo.py RUN/config.yaml [key=value ...]

On a machine without a GPU put DS_ACCELERATOR=cpu in front, and --num_accelerators N for N ranks.
"""

from rdistill.train.dpo import main
from rdistill.train.rank import leave

if __name__ == "__main__":
    leave(main())
