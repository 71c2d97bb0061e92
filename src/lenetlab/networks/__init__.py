"""LeNet-5, the MLP, and their layers."""
