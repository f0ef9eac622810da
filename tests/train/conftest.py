"""One thread for torch: two test processes on two cores would have more threads than cores, waiting for each other."""

import torch

torch.set_num_threads(1)
