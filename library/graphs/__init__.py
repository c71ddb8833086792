"""What stands around a network in the served ONNX graph, and how the graph is made and compared."""
