"""Instances: types, images, key pairs, launches, and what an instance costs and takes."""
