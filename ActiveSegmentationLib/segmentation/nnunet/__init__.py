"""nnU-Net v2 as a learner: its fingerprint, plans, preprocessing, training and prediction, in rounds of annotation."""
