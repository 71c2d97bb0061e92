"""From raw images to tensors: the stages fetch and prepare."""
