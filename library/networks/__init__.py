"""What members build their modules of: layers and whole networks in torch."""
