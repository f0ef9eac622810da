"""Train stage 1 (span-weighted SFT) of a run whose data exist, by hand.

    deepspeed pipelines/train_sft.py RUN/config.yaml [key=value ...]

On a machine without a GPU put DS_ACCELERATOR=cpu in front, and --num_accelerators N for N ranks.
"""

from rdistill.train.rank import leave
from rdistill.train.sft import main

if __name__ == "__main__":
    leave(main())
