from __future__ import annotations

import numpy as np
import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding import GroupBatchSampler, SliceTable

ACDC = [[9, 9]] * 20
UNEQUAL = [[3, 4], [30], [12, 10, 8], [1], [25], [2, 2], [17]] * 2


def table(patients):
    """Slices with row numbers that tell nothing, in an order that tells nothing."""
    volumes = [(patient, count) for patient, counts in enumerate(patients) for count in counts]
    lengths = [count for _, count in volumes]
    patient = np.repeat([p for p, _ in volumes], lengths)
    volume = np.repeat(np.arange(len(volumes)), lengths)
    index = np.concatenate([np.arange(count) for count in lengths])
    order = np.random.default_rng(5).permutation(len(index))
    return SliceTable(1000 + order, patient[order], volume[order], index[order])


def sampler(patients, *, groups="svp", batch_size=16, seed=0):
    return GroupBatchSampler(
        table(patients),
        slice_groups="s" in groups,
        volume_groups="v" in groups,
        patient_groups="p" in groups,
        batch_size=batch_size,
        seed=seed,
    )


def split(batch):
    """The tuples of a batch, as arrays of rows."""
    return [batch.rows[batch.tuples == number] for number in np.unique(batch.tuples)]


def look_up(patients):
    """Row -> (patient, volume, index)."""
    t = table(patients)
    return {
        int(r): (int(p), int(v), int(i)) for r, p, v, i in zip(t.rows, t.patients, t.volumes, t.indices, strict=True)
    }


@pytest.mark.parametrize("patients", [ACDC, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize("groups", ["s", "v", "p", "sv", "vp", "svp"])
def test_tuples_hold_a_neighbour_a_slice_of_the_volume_and_one_of_the_patient(patients, groups):
    about = look_up(patients)
    for batch in sampler(patients, groups=groups).epoch(0):
        for rows in split(batch):
            assert len(rows) == 1 + len(groups)
            anchor = about[int(rows[0])]
            for kind, row in zip(groups, rows[1:], strict=True):
                patient, volume, index = about[int(row)]
                assert patient == anchor[0]
                assert kind == "p" or volume == anchor[1]
                alone = patients[patient] == [1]
                assert kind != "s" or abs(index - anchor[2]) == 1 or alone
            if len(set(rows.tolist())) < len(rows):  # a slice comes twice only where there are too few
                assert sum(patients[anchor[0]]) < len(rows) or min(patients[anchor[0]]) <= len(groups)


@pytest.mark.parametrize("patients", [ACDC, UNEQUAL], ids=["equal", "unequal"])
def test_a_patient_comes_once_in_a_batch(patients):
    for batch in sampler(patients, groups="vp", batch_size=9).epoch(0):
        owners = [set(batch.patients[batch.tuples == number]) for number in np.unique(batch.tuples)]
        assert all(len(owner) == 1 for owner in owners)
        assert len(set().union(*owners)) == len(owners) >= 2


@pytest.mark.parametrize(("groups", "batch_size"), [("v", 8), ("vp", 9), ("svp", 8), ("vp", 32)])
@pytest.mark.parametrize("patients", [ACDC, UNEQUAL], ids=["equal", "unequal"])
def test_an_epoch_takes_nearly_every_slice_as_anchor_once(patients, groups, batch_size):
    made = sampler(patients, groups=groups, batch_size=batch_size)
    anchors = [int(rows[0]) for batch in made.epoch(0) for rows in split(batch)]
    total = len(table(patients))
    assert len(set(anchors)) == len(anchors)
    assert len(anchors) == total - made.unused
    assert len(anchors) >= 0.95 * total


def test_batches_are_full_until_patients_run_out():
    sizes = [len(batch) for batch in sampler(ACDC, groups="vp", batch_size=9).epoch(0)]
    assert max(sizes) == 9
    assert np.mean(np.array(sizes) == 9) > 0.95
    assert sizes == sorted(sizes, reverse=True)


def test_ids_of_a_batch_are_those_of_its_rows():
    about = look_up(UNEQUAL)
    for batch in sampler(UNEQUAL).epoch(0):
        assert [about[int(row)][:2] for row in batch.rows] == list(zip(batch.patients, batch.volumes, strict=True))
        assert batch.rows.dtype == batch.patients.dtype == batch.neighbours.dtype == np.int64


def test_only_neighbours_share_an_id():
    for batch in sampler(ACDC, groups="svp").epoch(0):
        for number in np.unique(batch.tuples):
            anchor, neighbour, volume, patient = batch.neighbours[batch.tuples == number]
            assert anchor == neighbour
            assert np.sum(batch.neighbours == anchor) == 2
            assert [np.sum(batch.neighbours == other) for other in (volume, patient)] == [1, 1]


def test_epochs_are_reproducible_and_differ():
    def rows(made, epoch):
        return np.concatenate([batch.rows for batch in made.epoch(epoch)])

    made, again = sampler(UNEQUAL), sampler(UNEQUAL)
    made.epoch(3)
    np.testing.assert_array_equal(rows(made, 1), rows(again, 1))
    assert rows(made, 1).tolist() != rows(made, 2).tolist()
    assert rows(made, 1).tolist() != rows(sampler(UNEQUAL, seed=1), 1).tolist()


def test_the_order_of_the_table_does_not_matter():
    t, made = table(ACDC), sampler(ACDC)
    order = np.random.default_rng(1).permutation(len(t))
    moved = SliceTable(t.rows[order], t.patients[order], t.volumes[order], t.indices[order])
    options = {"slice_groups": True, "volume_groups": True, "patient_groups": True, "batch_size": 16, "seed": 0}
    again = GroupBatchSampler(moved, **options)
    for first, second in zip(made.epoch(0), again.epoch(0), strict=True):
        np.testing.assert_array_equal(first.rows, second.rows)


def test_companions_are_drawn_evenly():
    made = sampler([[6, 3], [4]], groups="vp", batch_size=6)
    about = look_up([[6, 3], [4]])
    counts: dict[str, dict] = {"volume": {}, "patient": {}}
    for epoch in range(600):
        for batch in made.epoch(epoch):
            for anchor, volume, patient in split(batch):
                if about[int(anchor)] == (0, 0, 2):
                    for name, row in (("volume", volume), ("patient", patient)):
                        counts[name][about[int(row)][1:]] = counts[name].get(about[int(row)][1:], 0) + 1
    assert set(counts["volume"]) == {(0, i) for i in (0, 1, 3, 4, 5)}
    drawn = sum(counts["volume"].values())
    assert all(abs(n / drawn - 1 / 5) < 0.08 for n in counts["volume"].values())
    other_volume = sum(n for (volume, _), n in counts["patient"].items() if volume == 1)
    assert abs(other_volume / drawn - 3 / 7) < 0.1  # 9 slices less the anchor and its companion


def test_a_gap_in_a_volume_is_not_taken_for_a_neighbour():
    t = SliceTable(np.arange(8), np.repeat([0, 1], 4), np.repeat([0, 1], 4), np.array([0, 1, 3, 4] * 2))
    made = GroupBatchSampler(t, slice_groups=True, volume_groups=False, patient_groups=False, batch_size=4, seed=0)
    pairs = {tuple(sorted(rows.tolist())) for epoch in range(5) for b in made.epoch(epoch) for rows in split(b)}
    assert pairs == {(0, 1), (2, 3), (4, 5), (6, 7)}


def test_volumes_of_one_slice_stand_in_for_their_companions():
    batches = sampler([[1], [1], [1, 1], [5]], batch_size=16).epoch(0)
    about = look_up([[1], [1], [1, 1], [5]])
    seen = set()
    for batch in batches:
        for anchor, neighbour, volume, patient in split(batch):
            seen.add(about[int(anchor)][0])
            if about[int(anchor)][0] in (0, 1):
                assert anchor == neighbour == volume == patient
            if about[int(anchor)][0] == 2:
                assert anchor == neighbour == volume != patient
    assert seen == {0, 1, 2, 3}


def test_few_patients_shrink_the_batches_and_say_so_once():
    made = sampler([[9], [9], [9]], groups="v", batch_size=32)
    assert made.tuples_per_batch == 3
    assert made.warning is not None
    assert "only 3 patients" in made.warning
    batches = made.epoch(0)
    assert {len(batch) for batch in batches} <= {6, 4}
    assert made.unused <= 3
    assert sampler(ACDC, groups="v", batch_size=32).warning is None


@pytest.mark.parametrize("groups", ["v", "svp"])
def test_one_patient_fills_batches_alone(groups):
    made = sampler([[12, 8]], groups=groups, batch_size=16)
    anchors = [int(rows[0]) for batch in made.epoch(0) for rows in split(batch)]
    assert sorted(anchors) == sorted(table([[12, 8]]).rows)
    assert made.warning is None


def test_without_groupings_batches_are_plain_random_slices():
    made = sampler([[9], [11]], groups="", batch_size=8)
    batches = made.epoch(0)
    assert sorted(np.concatenate([batch.rows for batch in batches])) == sorted(table([[9], [11]]).rows)
    assert {len(batch) for batch in batches} <= {6, 7, 8, 9, 10}


def test_one_slice_in_all_is_a_batch():
    (batch,) = sampler([[1]]).epoch(0)
    assert len(set(batch.rows)) == 1


def test_no_slice_is_refused():
    empty = np.empty(0, dtype=np.int64)
    options = {"slice_groups": True, "volume_groups": True, "patient_groups": True, "batch_size": 16, "seed": 0}
    with pytest.raises(BadInput, match="no slice"):
        GroupBatchSampler(SliceTable(empty, empty, empty, empty), **options)


def test_a_batch_that_cannot_hold_two_tuples_is_refused():
    with pytest.raises(BadInput, match="do not hold two tuples of 4 slices"):
        sampler(ACDC, batch_size=7)


def test_a_hundred_thousand_slices_make_an_epoch():
    made = sampler([[100, 100]] * 500, groups="vp", batch_size=33)
    batches = made.epoch(0)
    assert sum(len(batch) for batch in batches) == 3 * (100_000 - made.unused)
    assert made.unused < 1000
