"""The tool_call verifier on public function calling data: benchmarks/tool_call.py, on each fourth row."""

import json
import subprocess
import sys


def test_ground_truth_is_accepted_and_changed_calls_are_refused(checkout, shared_data):
    command = [sys.executable, str(checkout / "benchmarks" / "tool_call.py"), "--data", str(shared_data)]
    done = subprocess.run([*command, "--every", "4", "--json"], capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert (done.returncode, found["missed"]) == (0, [])
    assert found["simple_python"]["accepted"] == 100
    assert min(count["n"] for count in found["changed"].values()) > 200
    assert found["irrelevance"]["n"] == 60
