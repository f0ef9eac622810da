"""The training stages: spans, losses, SFT, DPO, and how they are launched."""
