"""The Open Inference Protocol at the edge: over HTTP and gRPC, to the data plane."""
