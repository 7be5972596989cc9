"""Commands on the content of a study: status, export, skip, mark, exclude, relocate, audit, repair, clear-cache."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ActiveSegmentationLib.cli import options as shared
from ActiveSegmentationLib.cli.command import Options, command, option, say
from ActiveSegmentationLib.cli.next_steps import after_status, command_line
from ActiveSegmentationLib.cli.status_text import bytes_text, status_text
from ActiveSegmentationLib.cli.study_commands import opened, warn_of_damage
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.common.text import counted

if TYPE_CHECKING:
    from ActiveSegmentationLib.study import Repair, Study


def _export_formats() -> Iterable[str]:
    from ActiveSegmentationLib.loop import EXPORT_FORMATS

    return EXPORT_FORMATS


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[Study]:
    """The study, locked against other processes."""
    from ActiveSegmentationLib.study import Study

    study = Study.open(folder)
    with study.lock():
        yield study


@command("status")
@shared.study
def status(options: Options) -> str:
    """Show the state of a study."""
    from ActiveSegmentationLib.loop import study_overview
    from ActiveSegmentationLib.study import Study

    overview = study_overview(Study.open(options.study))
    if options.json:
        shared.print_json(overview)
    else:
        say(status_text(str(options.study), overview))
    return after_status(options.study, overview)


@command("clear-cache")
@shared.study
def clear_cache(options: Options) -> str:
    """Delete files that can be computed again."""
    from ActiveSegmentationLib.study import Study

    freed = Study.open(options.study).clear_cache()
    if options.json:
        shared.print_json({"freed bytes": freed})
    else:
        say(f"Freed {freed} bytes ({bytes_text(freed)}); the cache is rebuilt when needed.")
    return command_line("status", options.study)


@command("audit")
@shared.study
@option("--anchor", type=shared.PATH, metavar="FILE", help="compare with an anchor that was exported earlier")
@option("--export-anchor", type=shared.PATH, metavar="FILE", help="write the present end of all records to a file")
@option("--no-images", is_flag=True, help="do not read the images of annotated volumes")
def audit(options: Options) -> str:
    """Check that the record of everything is complete and that no file was changed outside this program."""
    from ActiveSegmentationLib.study import Anchor, Study

    study = Study.open(options.study)
    earlier = None if options.anchor is None else Anchor.read(options.anchor)
    problems = study.audit.verify(images=not options.no_images, anchor=earlier)
    anchor = None
    if options.export_anchor is not None and not problems:
        study.require_output(options.export_anchor.parent, [options.export_anchor])
        anchor = study.audit.anchor()
        anchor.write(options.export_anchor)
    if options.json:
        written = {} if anchor is None else {"anchor": anchor.to_json()}
        shared.print_json({"intact": not problems, "problems": problems, **written})
    else:
        say("\n".join(problems) if problems else "The record is complete and unchanged.")
        if anchor is not None:
            say(f"Wrote the anchor {options.export_anchor}; keep it outside the study. Its SHA-256: {anchor.digest}")
    if problems:
        raise JobFailed(f"{len(problems)} problem(s) in the record.", where=options.study, advice="See the list above.")
    return command_line("status", options.study)


@command("repair")
@shared.study
@option("--write", is_flag=True, help="make the repairs; copies of what is replaced are kept in the study")
@option(
    "--prefer",
    type=click.Choice(("audit", "files")),
    help="where files can be read but differ from the audit: restore what was recorded, or record what is there",
)
def repair(options: Options) -> str:
    """Say how damaged files of a study can be repaired, or repair them."""
    from ActiveSegmentationLib.study import Study

    study = Study.open(options.study)
    done: list[Repair] = []
    if options.write:
        with study.lock():
            done = study.repairs.make(options.prefer or "")
        study = Study.open(options.study)
    left = study.repairs.plan()
    if options.json:
        shared.print_json({"done": [step.to_json() for step in done], "open": [step.to_json() for step in left]})
    else:
        for step in done:
            say(f"Done: {step}")
        for step in left:
            say(f"Possible{f' with --prefer {step.prefers}' if step.prefers else ''}: {step}")
        if not left:
            say("Nothing is left to repair." if done else "Nothing is damaged that can be repaired here.")
    if not left:
        return command_line("audit", options.study)
    decision = ["--prefer", left[0].prefers] if all(step.prefers for step in left) else []
    return command_line("repair", options.study, "--write", *decision)


@command("exclude")
@shared.study
@click.argument("volumes", nargs=-1, required=True, metavar="VOLUME...", help="ids of the volumes")
@option("--reason", default="", help="why, for the record")
@option("--undo", is_flag=True, help="use the volumes again")
def exclude(options: Options) -> str:
    """Leave volumes out, or use them again."""
    with _locked(options.study) as study:
        for volume in options.volumes:
            if options.undo:
                study.include(volume)
            else:
                study.exclude(volume, options.reason)
        excluded = study.excluded()
    if options.json:
        shared.print_json({"excluded": dict(sorted(excluded.items()))})
    else:
        say(f"Excluded volumes: {', '.join(sorted(excluded)) or 'none'}.")
    return command_line("suggest", options.study, "--count", "10")


@command("skip")
@shared.study
@click.argument("volume", metavar="VOLUME", help="id of the volume")
@click.argument("slice", type=shared.POSITIVE, metavar="SLICE", help="number of the slice, counted from 1")
@option("--reason", required=True, help="why, for the record")
@option("--annotator", default="annotator", metavar="NAME", help="name of the annotator")
def skip(options: Options) -> str:
    """Record that a slice cannot be judged."""
    from ActiveSegmentationLib.cohort import SliceId
    from ActiveSegmentationLib.study import Study

    study = Study.open(options.study)
    study.skip(SliceId(options.volume, options.slice - 1), options.annotator, options.reason)
    if options.json:
        about = {"annotator": options.annotator, "reason": options.reason}
        shared.print_json({"skipped": {"volume": options.volume, "slice": options.slice - 1, **about}})
    else:
        say(f"Skipped {options.volume}, slice {options.slice}.")
    return command_line("suggest", options.study, "--count", "10")


@command("mark")
@shared.study
@option("--volume", required=True, metavar="V", help="id of the volume")
@option("--from", "first", type=shared.POSITIVE, metavar="A", help="first slice, counted from 1")
@option("--to", "last", type=shared.POSITIVE, metavar="B", help="last slice, counted from 1")
@option("--clear", is_flag=True, help="delete the extent")
def mark(options: Options) -> str:
    """Record the extent of the structures in a volume."""
    from ActiveSegmentationLib.study import Study

    ends = (options.first, options.last)
    if (ends != (None, None)) if options.clear else (None in ends):
        advice = "Name both --from and --to, or --clear alone."
        raise BadInput("The extent to mark is incomplete.", where="mark", advice=advice)
    study = Study.open(options.study)
    if options.clear:
        study.extents.clear(options.volume)
    else:
        study.extents.mark(options.volume, options.first - 1, options.last - 1)
    extents = study.extents.all()
    if options.json:
        shared.print_json({"extents": {volume: list(both) for volume, both in extents.items()}})
    elif options.clear:
        say(f"Nothing is marked in {options.volume}.")
    else:
        say(f"Marked: structures in {options.volume} from slice {options.first} to {options.last}.")
    return command_line("suggest", options.study, "--count", "10")


@command("relocate")
@shared.study
@click.argument("cohort", type=shared.PATH, metavar="COHORT", help="the new location of the cohort's folder")
@option("--accept-changed", is_flag=True, help="accept images whose content changed")
def relocate(options: Options) -> str:
    """Set the new location of a study's images."""
    from ActiveSegmentationLib.study import relocate as relocated

    study = relocated(options.study, options.cohort)
    changed = []
    if options.accept_changed:
        with opened(options) as loop:
            changed = loop.accept_changed_images()
    if options.json:
        accepted = {"accepted": changed} if options.accept_changed else {}
        shared.print_json({"study": str(options.study), "cohort": str(study.cohort.root), **accepted})
        return ""
    say(f"{options.study}: the images are read from {study.cohort.root}.")
    if options.accept_changed:
        say(f"Accepted the changed images of: {', '.join(changed) or 'no volume'}.")
    return command_line("status", options.study)


@command("export")
@shared.study
@option("--format", type=shared.LateChoice(_export_formats), required=True, help="file type")
@option("--out", type=shared.PATH, required=True, metavar="DIR", help="folder of the files")
@option(
    "--deidentify",
    "key",
    type=shared.PATH,
    metavar="KEY.json",
    help="pseudonyms for volumes, patients and annotators, no times; the key file holds the real names, keep it apart",
)
def export(options: Options) -> str:
    """Export the annotations to formats of other tools."""
    from ActiveSegmentationLib.api import export as exported
    from ActiveSegmentationLib.study import Study

    study = Study.open(options.study)
    files = exported(study, options.out, options.format, deidentify=options.key)
    warn_of_damage(study)
    if options.json:
        shared.print_json({"files": [str(file) for file in files]})
    else:
        say(f"Wrote {counted(len(files), 'file')} to {options.out}.")
    return command_line("status", options.study)
