"""JPEG 2000: files of boxes, and codestreams by themselves."""
