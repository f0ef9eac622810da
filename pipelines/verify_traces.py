"""Judge every sample that lacks a verdict.

python pipelines/verify_traces.py CONFIG [key=value ...]
"""

import sys

from rdistill.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "verify")
    main()
