"""Locks that hold among machines: files and objects that their holder renews while it is alive."""
