"""What projects may use: judged, told, and refused."""
