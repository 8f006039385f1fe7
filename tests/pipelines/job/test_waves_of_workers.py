"""Distributed runs that commit in waves: whatever was tagged before, each image is settled once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines import storage
from pipelines.commandline.flags import parse_predict
from pipelines.inference.ahead import Model
from pipelines.job.pipeline import TagImages, tag_listed
from pipelines.listing.inputs import Inputs
from pipelines.output import partitions
from pipelines.output.lock import LOCK, hold_output
from pipelines.output.manifest import describe, read_accounts, read_status
from pipelines.output.merging import Group, plan_merges
from pipelines.output.run import FAILURES, PREDICTIONS, Accounts, Run, Wave, new_run_name
from pipelines.output.tables import OutputError
from pipelines.output.written import StagedFile
from pipelines.runners import distributed
from pipelines.runners.beam_options import KeptViews
from pipelines.runners.job_errors import JobFailedError
from tests.image_files import picture, unmarked_rgba_jpeg
from tests.outputs import rows, rows_by_path

PARTITIONS, A_WAVE = 3, 12
CHIPS = 30


@pytest.fixture(autouse=True)
def few_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "PARTITIONS", PARTITIONS)


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    folder = tmp_path / "chips"
    folder.mkdir()
    for seed in range(CHIPS):
        (folder / f"{seed:02}.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=seed % 3)) if seed % 10 else b"")
    (folder / "notes.txt").write_text("no image")
    return folder


def tag(
    run: Run,
    inputs: Inputs,
    most: int | None = None,
    waves: int = 100,
    meanwhile: Callable[[], object] = lambda: None,
) -> list[Accounts]:
    """Tag in waves, as a distributed run does, and call `meanwhile` after the first; return the accounts after each."""
    after: list[Accounts] = []
    with hold_output(run):
        while len(after) < waves and (not after or read_status(run.manifest) == "running"):
            after.append(tag_wave(run, inputs, most, Wave(after[-1]) if after else Wave()))
            if len(after) == 1:
                meanwhile()
    return after


def tag_wave(run: Run, inputs: Inputs, most: int | None = None, wave: Wave | None = None) -> Accounts:
    with beam.Pipeline(FnApiRunner(), KeptViews([])) as pipeline:
        tagging = TagImages(run, Model(run.bundle.path, run.bundle.digest), wave=wave or Wave())
        tag_listed(pipeline, tagging, inputs, most)
    return read_accounts(run.manifest)


def begun(run: Run, overwrite: bool = False) -> Run:
    return replace(run, name=new_run_name(), overwrite=overwrite)


def test_a_run_in_waves_gives_the_rows_of_one_that_commits_once(run: Run, chips: Path) -> None:
    # One image has rows before, and one is named twice.
    tag(begun(run), Inputs([str(chips / "01.jpg")]))
    inputs = Inputs([str(chips), str(chips / "02.jpg")])
    [whole] = tag(begun(replace(run, output=f"{run.output}-whole")), inputs)

    *early, last = tag(begun(run), inputs, A_WAVE)

    assert len(early) >= 2
    assert all(accounts.balanced for accounts in early)
    assert [accounts.inputs for accounts in (*early, last)] == sorted({a.inputs for a in (*early, last)})
    assert (last.inputs, last.skipped, last.predictions, last.failures) == (CHIPS, 1, 26, 3)
    assert last.balanced
    assert last.passed_over == whole.passed_over
    assert rows_by_path(Path(run.output)) == rows_by_path(Path(f"{run.output}-whole"))
    assert Counter(last.errors) == Counter(whole.errors)


def test_a_run_that_ends_between_two_waves_keeps_the_first_and_the_next_resumes(run: Run, chips: Path) -> None:
    [first] = tag(begun(run), Inputs([str(chips)]), A_WAVE, waves=1)

    [resumed] = tag(begun(run), Inputs([str(chips)]))

    assert 0 < first.inputs <= A_WAVE
    assert (resumed.inputs, resumed.skipped) == (CHIPS, first.predictions)
    assert len(rows_by_path(Path(run.output))) == CHIPS


def test_an_overwrite_in_waves_replaces_the_old_rows_once_and_at_its_end(run: Run, chips: Path) -> None:
    [old] = tag(begun(run), Inputs([str(chips)]))
    (chips / "03.jpg").unlink()
    (chips / "new.jpg").write_bytes(unmarked_rgba_jpeg(picture(seed=1)))
    later = begun(run, overwrite=True)

    after = tag(later, Inputs([str(chips)]), A_WAVE)

    assert old.inputs == after[-1].inputs == CHIPS
    assert read_status(later.manifest) == "done"
    found = [row for table in (PREDICTIONS, FAILURES) for row in rows(run.output, table)]
    assert sorted(row["path"] for row in found) == sorted(map(str, chips.glob("*.jpg")))
    assert {row["run"] for row in found} == {later.name}


@pytest.mark.parametrize(
    ("overwrite", "images"), [(True, "vanish"), (True, "change"), (True, "come"), (False, "vanish, change, come")]
)
def test_images_that_change_between_waves_have_a_row_each_that_is_counted_once(
    run: Run, chips: Path, overwrite: bool, images: str
) -> None:
    """Their rows are of the first wave of this run, or of an earlier one: an overwrite resumes one that was stopped."""
    away = chips.parent / "away"
    away.mkdir()
    coming = [chips / f"{seed:02}.jpg" for seed in (1, 2)] if "come" in images else []
    tag(begun(run, overwrite), Inputs([str(chips)]), A_WAVE, waves=1)
    for path in coming:
        path.rename(away / path.name)
    before = len(list(chips.glob("*.jpg")))

    def meanwhile() -> None:
        for path in coming:
            (away / path.name).rename(path)
        for number, path in enumerate(sorted(set(chips.glob("*.jpg")) - set(coming))):
            if "vanish" in images and number % 3 == 0:
                path.unlink()
            elif "change" in images and number % 3 == 1:
                path.write_bytes(unmarked_rgba_jpeg(picture(seed=number)) if number % 2 else b"")

    later = begun(run, overwrite)
    first, *_, last = tag(later, Inputs([str(chips)]), A_WAVE, meanwhile=meanwhile)

    found = [row["path"] for table in (PREDICTIONS, FAILURES) for row in rows(run.output, table)]
    assert 0 < first.inputs < before
    assert last.balanced
    assert read_status(later.manifest) == "done"
    assert Counter(found) == Counter(set(found)), "an image has two rows"
    assert set(map(str, chips.glob("*.jpg"))) <= set(found), "an image that is there has no row"
    if overwrite:
        assert len(found) == last.inputs, "a row is not counted"


@pytest.mark.parametrize("detached", [False, True])
def test_images_of_a_staged_file_that_is_damaged_before_it_is_merged_are_tagged_again(
    run: Run, chips: Path, detached: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By the same job in another wave, or by the next run if the job is detached and has no other one."""
    damaged: list[str] = []

    def damage(files: Iterable[StagedFile]) -> Iterator[Group]:
        files = sorted(files, key=lambda file: file.table)
        if not damaged:
            damaged.append(files[-1].staged)
            Path(damaged[0]).write_bytes(Path(damaged[0]).read_bytes()[:-1])
        return plan_merges(files)

    # Every row is in a file of its own.
    for limit in ("_LEAST_SECONDS", "_MOST_SECONDS"):
        monkeypatch.setattr(f"pipelines.job.steps.rows.{limit}", 0.0)
    monkeypatch.setattr("pipelines.job.steps.merging.plan_merges", damage)
    job = replace(begun(run), detached=detached)
    if detached:
        storage.write(f"{run.output}/{LOCK}", f"run {job.name}, a detached job".encode())
        first = tag_wave(job, Inputs([str(chips)]))
        assert (first.inputs, first.predictions, read_status(job.manifest)) == (CHIPS, 26, "unbalanced")
        [last] = tag(begun(run), Inputs([str(chips)]))
        assert (last.skipped, last.predictions) == (26, 1)
    else:
        first, last = tag(job, Inputs([str(chips)]))
        assert (first.inputs, last.inputs, read_status(job.manifest)) == (CHIPS - 1, CHIPS, "done")
    assert last.balanced
    assert f"{damaged[0]} is damaged; the images of its 1 rows are tagged again" in caplog.text
    assert len(rows_by_path(Path(run.output))) == CHIPS


def test_a_wave_that_commits_nothing_has_no_other_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    after = [Accounts(inputs=5, predictions=5)] * 2

    def committed(*_: object) -> Accounts:
        storage.write(run.manifest, describe(run, after[0], "running"))
        return after.pop()

    monkeypatch.setattr(distributed, "_run_wave", committed)
    options = parse_predict(["--input=x", "--model=x", f"--output={run.output}"])

    with hold_output(run), pytest.raises(JobFailedError, match="staged was damaged before it was merged; check"):
        distributed.run_on_workers(TagImages(run, Model("x", "x")), options, PipelineOptions([]))
    assert not after


def test_a_run_that_was_taken_over_between_two_waves_is_not_taken_for_done(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, waves = Accounts(inputs=5, predictions=5), list[Wave]()

    def committed(tagging: TagImages, *_: object) -> Accounts:
        waves.append(tagging.wave)
        storage.write(run.manifest, describe(run, first, "killed"))
        storage.write(f"{run.output}/{LOCK}", b"run other, process 1 on elsewhere")
        return first

    monkeypatch.setattr(distributed, "_run_wave", committed)
    options = parse_predict(["--input=x", "--model=x", f"--output={run.output}"])

    with pytest.raises(OutputError, match="taken over by run other"):
        distributed.run_on_workers(TagImages(run, Model("x", "x")), options, PipelineOptions([]))
    assert waves == [Wave()]


def test_each_wave_is_submitted_with_files_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    packages: list[list[str]] = []
    waves: list[Wave] = []

    class Job:
        def run(self) -> Job:
            done = Accounts(inputs=5 * len(waves), predictions=5 * len(waves))
            storage.write(run.manifest, describe(run, done, "done" if len(waves) == 3 else "running"))
            return self

        def wait_until_finish(self) -> None:
            pass

    def built(tagging: TagImages, _: object, beam_options: PipelineOptions) -> Job:
        waves.append(tagging.wave)
        packages.append(beam_options.view_as(SetupOptions).extra_packages)
        assert all(Path(package).exists() for package in packages[-1])
        return Job()

    monkeypatch.setattr(distributed, "build_job", built)
    options = parse_predict(["--input=x", "--model=x", f"--output={run.output}"])

    with hold_output(run):
        accounts = distributed.run_on_workers(
            TagImages(run, Model("x", "x")), options, PipelineOptions(["--runner=PortableRunner"])
        )

    assert accounts == Accounts(inputs=15, predictions=15)
    assert [wave.earlier.inputs for wave in waves] == [0, 5, 10]
    assert list(map(len, packages)) == [1, 1, 1]
