"""What people call flags and arguments that have other names here, often after other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_OF_FLAGS = {
    "input": "archive data dataset dir directory file files folder glob image images img pattern source src",
    "input_list": "csv file_list filelist files_from list txt",
    "images": "data dataset dir directory folder image_dir img_dir input source src",
    "labels": "annotations classes csv ground_truth targets truth",
    "predictions": "preds results tagged",
    "output": "dest destination out outdir output_dir output_folder result results save save_to target to",
    "html": "dest destination out output page save save_to",
    "json": "dest destination out output save save_to",
    "csv": "dest destination out output save save_to",
    "to": "dest destination dir folder out output output_dir save_to",
    "model": "checkpoint weights",
    "weights": "checkpoint init model pretrained",
    "threshold": "conf confidence cutoff min_probability",
    "min_probability": "conf confidence cutoff threshold",
    "thresholds": "conf confidence cutoff",
    "tile": "chip_size patch patch_size tile_size window window_size",
    "stride": "step",
    "nodata": "fill no_data",
    "bands": "channels rgb",
    "stretch": "contrast rescale",
    "image_size": "imgsz resolution size",
    "relative_to": "base base_dir root",
    "overwrite": "clobber force replace",
    "anonymous": "no_sign_request public unsigned",
    "processes": "nproc procs",
    "threads": "cpus cores jobs",
    "max_failure_rate": "tolerance",
    "dry_run": "simulate",
    "verbose": "debug",
    "copy_to": "copy cp export",
    "link_to": "symlink",
    "top": "count head limit number",
    "min": "above minimum",
    "max": "below maximum",
    "like": "similar",
    "strangest": "outliers unusual",
    "tag": "class label labels",
    "cog": "raster tif tiff",
    "geojson": "geometries vector",
    "picture": "figure plot png",
    "validation_fraction": "holdout split test_size val_split",
    "max_minutes": "time_limit timeout",
    "quantize": "int8 quantization",
    "location": "uri url",
    "datetime": "acquired time",
}
_OF_ARGUMENTS = {
    "OUTPUT": "dir folder in input out output_dir predictions results tagged",
    "EXPRESSION": "expr filter label labels query tag tags where",
    "IMAGE": "file files image images img input path",
    "MODEL": "checkpoint file in input network onnx",
    "ENGINE": "database db dialect",
}


def _by_word(table: Mapping[str, str]) -> Mapping[str, Sequence[str]]:
    words = sorted({word for called in table.values() for word in called.split()})
    return {word: [name for name, called in table.items() if word in called.split()] for word in words}


FLAGS = _by_word(_OF_FLAGS)
"""Names of flags, without hyphens, that may be meant by a word, the most probable first."""

ARGUMENTS = _by_word(_OF_ARGUMENTS)
"""Names of arguments that are written without a flag, likewise."""
