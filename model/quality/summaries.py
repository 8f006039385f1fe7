"""Lay out the facts about a bundle's training and quality for `bundle.json`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from model.quality.facts import Facts
from model.quality.fbeta import with_keys
from model.quality.measuring import Quality
from pipelines.inference.bundle import TRAINED_SIDE
from pipelines.labels import NAMES_SHOWN


def training_summary(facts: Facts) -> dict[str, Any]:
    """Describe how the model was trained, for `bundle.json`: NaN becomes null, and times are in seconds."""
    data, training = facts.data, facts.training
    findings = [
        {"what": finding.what, "count": len(finding.names), "names": list(finding.names[:NAMES_SHOWN])}
        for finding in data.findings
    ]
    return {
        "architecture": "MobileNetV2",
        "alpha": facts.network.alpha,
        "weights": facts.network.weights_name,
        "started_from": facts.network.start_digest,
        "image_folder": data.images_name,
        "label_file": data.label_file_name,
        "train_images": len(data.train_targets),
        "validation_images": len(data.validation_targets),
        "findings": findings,
        "repairs": dict(data.repairs),
        TRAINED_SIDE: data.side,
        "validation_fraction": data.validation_fraction,
        "split": dict(data.split_flags),
        "head_epochs": training.head_epochs,
        "finetune_epochs": training.finetune_epochs,
        "final_epochs": training.final_epochs,
        "batch_size": training.batch_size,
        "seed": training.seed,
        "augment": training.augment,
        "loss": training.loss,
        "beta": training.beta,
        "max_minutes": training.max_minutes,
        "history": [
            {name: _defined(value) for name, value in with_keys(epoch._asdict(), training.beta).items()}
            for epoch in training.history
        ],
        "kept_epoch": training.kept_epoch,
        "criterion": training.criterion,
        "seconds": training.seconds,
        "machine": training.machine,
        "mixed_precision": training.mixed_precision,
        "quantization": facts.quantization_name,
        "calibration_images": facts.quantization.calibration_images if facts.quantization else None,
        "note": facts.note,
    }


def metrics_summary(facts: Facts, quality: Quality) -> dict[str, Any]:
    """Describe how good the model is on the held-out images, for `bundle.json`: undefined values are null."""
    summary = quality.scores.to_json()
    correction = facts.calibration.correction
    columns = (facts.labels, facts.data.train_support, facts.thresholds.each, correction.biases)
    of_labels = {
        label: {"train_images": int(images), "threshold": float(threshold), "bias": float(bias)}
        | summary["labels"][label]
        for label, images, threshold, bias in zip(*columns, strict=True)
    }
    measured = with_keys(asdict(quality), facts.training.beta)
    others = {name: _defined(value) for name, value in measured.items() if name != "scores"}
    if quality.cost_of_int8:
        others["cost_of_int8"] = with_keys(asdict(quality.cost_of_int8), facts.training.beta)
    others |= {name: getattr(quality, name).to_json() for name in ("uncalibrated", "calibrated")}
    calibrated = {"temperature": correction.temperature, "too_few_to_calibrate": list(facts.too_few_to_calibrate)}
    return {**summary, **others, **calibrated, "cautions": list(quality.cautions), "labels": of_labels}


def _defined(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
