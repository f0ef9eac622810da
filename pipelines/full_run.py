"""All stages of a run, as `rdistill run CONFIG [key=value ...]` does them.

python pipelines/full_run.py configs/quickstart.yaml
"""

import sys

from rich.console import Console

from rdistill.config import load_config
from rdistill.pipeline import run_pipeline

if __name__ == "__main__":
    run_pipeline(load_config(sys.argv[1], sys.argv[2:]), Console(stderr=True, highlight=False))
