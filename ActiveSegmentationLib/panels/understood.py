"""How a cohort is interpreted, in lines that the user can check before creating a study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import Cohort, Preview, Role, Volume, describe_axes, describe_turns

CT_AIR, CT_WATER = -500.0, 0.0
"""Images with values below the first and above the second count as CT."""


def understood(cohort: Cohort, previews: Sequence[Preview] = ()) -> list[str]:
    """Lines on slice axis, sizes, channels, intensities, reference labels and roles.

    Args:
        cohort: The cohort.
        previews: Slices that were read, for the range of intensities.
    """
    if not cohort.volumes:
        return []
    axes = [f"{str(summary)[:1].upper()}{str(summary)[1:]}." for summary in describe_axes(cohort)]
    turned = describe_turns(cohort)
    lines = [*axes, *([f"{turned}."] if turned else []), _sizes(cohort.volumes), _channels(cohort.volumes)]
    return [*lines, *_intensities(previews), _references(cohort.volumes), _roles(cohort.volumes)]


def _sizes(volumes: Sequence[Volume]) -> str:
    text = _("Slices of {width} x {height} pixels of {pixel} mm; {slices} slices a volume.")
    return text.format(
        width=_range(volume.plane_shape[1] for volume in volumes),
        height=_range(volume.plane_shape[0] for volume in volumes),
        pixel=_range(mm for volume in volumes for mm in volume.geometry.plane_spacing(volume.axis)),
        slices=_range(volume.slice_count for volume in volumes),
    )


def _channels(volumes: Sequence[Volume]) -> str:
    count = _range(len(volume.channels) * volume.components for volume in volumes)
    return _("One channel.") if count == "1" else _("Channels: {count}.").format(count=count)


def _intensities(previews: Sequence[Preview]) -> list[str]:
    readable = [preview for preview in previews if preview.file is not None]
    if not readable:
        return []
    ranges = [(preview.lowest, preview.highest) for preview in readable]
    isCT = all(low <= CT_AIR and high > CT_WATER for low, high in ranges)
    window = _("CT, soft-tissue window") if isCT else _("automatic window")
    values = _("{low} to {high}").format(
        low=_number(min(r[0] for r in ranges)), high=_number(max(r[1] for r in ranges))
    )
    text = _("Intensities: {values} in {count} sampled volumes; {window}.")
    return [text.format(values=values, count=len(readable), window=window)]


def _references(volumes: Sequence[Volume]) -> str:
    count = sum(volume.mask is not None or volume.scribble is not None for volume in volumes)
    if not count:
        return _("No reference labels were found; none are needed.")
    return _("Reference labels: in {count} of {total} volumes.").format(count=count, total=len(volumes))


def _roles(volumes: Sequence[Volume]) -> str:
    counts = Counter(Role(volume.role) for volume in volumes)
    texts = {
        Role.POOL: _("{count} to annotate"),
        Role.VALIDATION: _("{count} for validation"),
        Role.TEST: _("{count} for testing"),
    }
    parts = [text.format(count=counts[role]) for role, text in texts.items() if counts[role]]
    return _("Volumes: {roles}.").format(roles=", ".join(parts))


def _range(values: Iterable[float]) -> str:
    """ "8", or "8 to 11"."""
    found = sorted(values)
    low, high = _number(found[0]), _number(found[-1])
    return low if low == high else _("{low} to {high}").format(low=low, high=high)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
