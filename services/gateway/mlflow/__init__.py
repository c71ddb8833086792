"""What clients of MLflow's REST protocol expect: its documents, its errors, its routes; trainer keeps what they say."""
