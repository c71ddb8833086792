"""Files of rows that people bring: CSV, JSON lines, .npz and Parquet, read in portions, never unpickled."""

from typing import Literal

TableFormat = Literal["csv", "jsonl", "npz", "parquet"]
