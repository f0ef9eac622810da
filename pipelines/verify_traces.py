"""Judge every sample that lacks a verdict.

python pipelines/verify_traces.py CONFIG [key=value ...]
"""

import sys

from rich.console import Console

from rdistill.config import load_config
from rdistill.pipeline import run_pipeline

if __name__ == "__main__":
    run_pipeline(load_config(sys.argv[1], sys.argv[2:]), Console(stderr=True, highlight=False), only="verify")
