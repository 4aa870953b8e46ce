"""Trains the dictionary that stored bodies are packed with, on the bodies in a server's database file.

    runhook serve --data-dir data &
    LANGSMITH_ENDPOINT=http://127.0.0.1:4710 LANGSMITH_API_KEY=any LANGSMITH_TRACING=true python app.py 500
    python train.py data/runhook.db dictionary.zdict

Prints how bodies that it did not learn from pack with and without it.
"""
import random
import sqlite3
import sys
from pathlib import Path

import zstandard

KNOWN = Path(__file__).parents[2] / "src/store/body/runs-1.zdict"

SIZE = 32 * 1024
LEVEL = 3


def unpacked(body):
    """What src/store/body/mod.rs packed, without a dictionary."""
    if body[0] == 1:
        return body[1:]
    if body[0] == 2:
        return zstandard.ZstdDecompressor().decompress(body[5:], max_output_size=int.from_bytes(body[1:5], "little"))
    if body[0] == 3:
        dictionary = zstandard.ZstdCompressionDict(KNOWN.read_bytes())
        return zstandard.ZstdDecompressor(dict_data=dictionary).decompress(body[5:])
    raise SystemExit(f"bodies of version {body[0]} are not known here: see src/store/body/mod.rs")


def mean_packed(compressor, bodies):
    return sum(len(compressor.compress(body)) for body in bodies) / len(bodies)


def main(database, target):
    rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute("SELECT body FROM run_bodies ORDER BY run_id")
    bodies = [unpacked(body) for (body,) in rows]
    random.Random(1).shuffle(bodies)
    learned, held_back = bodies[: len(bodies) * 4 // 5], bodies[len(bodies) * 4 // 5 :]
    dictionary = zstandard.train_dictionary(SIZE, learned, d=8, k=1024)
    with open(target, "wb") as file:
        file.write(dictionary.as_bytes())
    print(f"{len(learned)} bodies learned, {len(held_back)} held back, {sum(map(len, held_back)) / len(held_back):.0f} bytes each")
    print(f"  packed alone           {mean_packed(zstandard.ZstdCompressor(level=LEVEL), held_back):.0f} bytes")
    with_it = zstandard.ZstdCompressor(level=LEVEL, dict_data=dictionary)
    print(f"  packed with dictionary {mean_packed(with_it, held_back):.0f} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
