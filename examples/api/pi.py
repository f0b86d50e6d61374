"""Estimates pi from random points: `pi.py SEED POINTS` prints how many fall into the quarter of a circle."""

import random
import sys

seed, points = int(sys.argv[1]), int(sys.argv[2])
generator = random.Random(seed)
inside = sum(generator.random() ** 2 + generator.random() ** 2 <= 1 for _ in range(points))
print(inside)
