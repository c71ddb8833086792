"""Writes the frames of a clip as grey bytes to standard output; runs in an environment of its own, with av alone."""

import sys

import av

path, width, height, every = sys.argv[1], *map(int, sys.argv[2:5])
with av.open(path) as clip:
    for number, frame in enumerate(clip.decode(video=0)):
        if number % every == 0:
            plane = frame.reformat(width, height, format="gray").planes[0]
            rows = bytes(plane)
            sys.stdout.buffer.writelines(rows[row * plane.line_size :][:width] for row in range(height))
