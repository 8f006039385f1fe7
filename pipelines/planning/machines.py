"""Google Cloud machine types, and what Dataflow charges for them.

The prices are Dataflow's list prices for batch workers in us-central1, retrieved on 2026-11-25 from Apache Beam 2.77,
which takes them from cloud.google.com/dataflow/pricing (`apache_beam/testing/load_tests/dataflow_cost_consts.py`).
Dataflow charges for vCPUs and memory, regardless of the machine series. The machine types are from Google's tables.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.errors import ScenetagsError

REGION = "us-central1"
DOLLARS_PER_VCPU_HOUR = 0.056
DOLLARS_PER_GB_HOUR = 0.003557
PRICES_FROM = "cloud.google.com/dataflow/pricing, as quoted by Apache Beam 2.77 on 2026-11-25"

MOST_WORKERS = 2000
"""Per job; see cloud.google.com/dataflow/quotas."""
DEFAULT_MACHINE = "n2-highcpu-16"

# Family, GB of memory per vCPU, and available vCPU counts.
_FAMILIES = (
    ("e2-standard", 4, (2, 4, 8, 16, 32)),
    ("e2-highcpu", 1, (2, 4, 8, 16, 32)),
    ("n1-standard", 3.75, (2, 4, 8, 16, 32)),
    ("n2-standard", 4, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128)),
    ("n2-highcpu", 1, (2, 4, 8, 16, 32, 48, 64, 80, 96)),
    ("n2d-standard", 4, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224)),
    ("n2d-highcpu", 1, (2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 224)),
    ("c2-standard", 4, (4, 8, 16, 30, 60)),
    ("c2d-standard", 4, (2, 4, 8, 16, 32, 56, 112)),
    ("c2d-highcpu", 2, (2, 4, 8, 16, 32, 56, 112)),
    ("c3-highcpu", 2, (4, 8, 22, 44, 88, 176)),
    ("c4-highcpu", 2, (2, 4, 8, 16, 32, 48, 96, 192)),
)

_WITH_MATRIX_UNITS = ("c3-highcpu-8", "c4-highcpu-8")
"""Types of each series whose processors compute in bfloat16."""
_AMAZONS = "Amazon's m7i.2xlarge ($0.40 on demand in us-east-1)"


class UnknownMachineError(ScenetagsError):
    """A name that is not a known machine type."""


@dataclass(frozen=True)
class Machine:
    """A machine type of a worker.

    Attributes:
      name: Google's name.
      vcpus: virtual CPUs; in most series, half a core each.
      memory: in GB.
    """

    name: str
    vcpus: int
    memory: float

    @property
    def dollars_per_hour(self) -> float:
        """What Dataflow charges for a worker of this type."""
        return self.vcpus * DOLLARS_PER_VCPU_HOUR + self.memory * DOLLARS_PER_GB_HOUR

    @property
    def for_bfloat16(self) -> Machine:
        """This type if its processor computes in bfloat16, otherwise one whose processor does."""
        series = {name.partition("-")[0] for name in _WITH_MATRIX_UNITS}
        return self if self.name.partition("-")[0] in series else find_machine(_WITH_MATRIX_UNITS[0])


def find_machine(name: str) -> Machine:
    """Find a machine type by name.

    Raises:
      UnknownMachineError: it is unknown; the remedy names the nearest match, and all known types.
    """
    machines = {machine.name: machine for machine in _machines()}
    if name not in machines:
        near = difflib.get_close_matches(name, machines, 1)
        known = ", ".join(f"{family}-{{{','.join(map(str, sizes))}}}" for family, _, sizes in _FAMILIES)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UnknownMachineError(f"unknown machine type {name!r}", f"{meant}use one of {known}")
    return machines[name]


def describe_with_matrix_units() -> str:
    """Name machine types of 8 vCPUs with matrix units, which compute in bfloat16, and their prices per hour."""
    priced = (f"{name} (${find_machine(name).dollars_per_hour:.2f})" for name in _WITH_MATRIX_UNITS)
    return f"Dataflow's {' and '.join(priced)} and {_AMAZONS}; prices per hour, 8 vCPUs each"


def _machines() -> Iterator[Machine]:
    for family, memory, sizes in _FAMILIES:
        for vcpus in sizes:
            yield Machine(f"{family}-{vcpus}", vcpus, vcpus * memory)
