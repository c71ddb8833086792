"""How AI Mass is put on machines: the embedded one-machine stack and the admin step."""
