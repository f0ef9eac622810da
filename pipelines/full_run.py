"""All stages of a run, as `rdistill run CONFIG [key=value ...]` does them.

python pipelines/full_run.py configs/quickstart.yaml
"""

import sys

from rdistill.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "run")
    main()
