"""The networks that are trained: LeNet-5, the MLP and their layers."""
