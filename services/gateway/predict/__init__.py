"""Predictions for people: what they have becomes tensors on the way in, labels and scores on the way out."""
