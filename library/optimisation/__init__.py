"""What makes another ONNX file of one: quantised, fused or pruned; needs no torch."""
