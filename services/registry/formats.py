"""What a file is, by its first bytes and not by its name; and what onnxruntime calls our datatypes. Pure."""

MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive (as .keras, .pt, .npz and exported versions are)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (as .h5 is)"),
    (b"GGUF", "a GGUF file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\x00", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"x\x01", "a zlib file (as .joblib may be)"),
    (b"x\x9c", "a zlib file (as .joblib may be)"),
    (b"x\xda", "a zlib file (as .joblib may be)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"%PDF", "a PDF document"),
    (b"<", "an HTML or XML document"),
)
PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(1, 6))
TFLITE = slice(4, 8)
TAR = slice(257, 262)
SAFETENSORS = slice(8, 9)

DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(string)": "BYTES",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    **{f"tensor({kind}int{bits})": f"{kind.upper()}INT{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)},
}


def foreign(head: bytes) -> str | None:
    """What a file is that is no ONNX file; None when it may be one."""
    if not head:
        return "an empty file"
    if head.startswith(PICKLES):
        return "a pickle, which is never loaded"
    if head[TFLITE] == b"TFL3":
        return "a TensorFlow Lite file"
    if head[TAR] == b"ustar":
        return "a tar archive"
    if head[SAFETENSORS] == b"{":
        return "a safetensors file: it holds weights without their graph"
    if head[:1] in (b"{", b"["):
        return "a JSON document"
    return next((name for magic, name in MAGIC if head.startswith(magic)), None)
