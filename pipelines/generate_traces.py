"""Sample the teacher on the train problems, verifying as it goes.

python pipelines/generate_traces.py CONFIG [key=value ...]
"""

import sys

from rdistill.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "generate")
    main()
