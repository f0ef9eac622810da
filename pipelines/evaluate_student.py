"""Measure base, sft, dpo and teacher on held-out problems.

python pipelines/evaluate_student.py CONFIG [key=value ...]
"""

import sys

from rdistill.cli import main

if __name__ == "__main__":
    sys.argv.insert(1, "evaluate")
    main()
