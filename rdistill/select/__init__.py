"""Selection: which verified samples are trained on, which make pairs, and the sealed files that training reads."""

from rdistill.select.contract import pair_faults
from rdistill.select.export import export_run
from rdistill.select.pairs import build_pairs
from rdistill.select.sealed import write_pairs, write_sft
from rdistill.select.select import gold_samples, select_examples

__all__ = ["build_pairs", "export_run", "gold_samples", "pair_faults", "select_examples", "write_pairs", "write_sft"]
