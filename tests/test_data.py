"""Digits, the held-out split, batches and augmentation."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastconv.data import DataLoader, RandomShift, load_digits, stratified_split


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_digits_are_the_scans(digits):
    images, labels = digits
    assert images.shape == (1797, 1, 8, 8) and images.dtype == np.float32
    assert labels.shape == (1797,) and labels.dtype == np.int64
    assert images.min() == 0 and images.max() == 1
    assert np.array_equal(images * 16, np.round(images * 16))  # sixteen steps of ink
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'fastconv\[demo\]'"):
        load_digits()


@pytest.mark.parametrize("fraction", [0.2, 0.5])
def test_split_holds_each_class_out_in_proportion(digits, fraction):
    labels = digits[1]
    kept, held = stratified_split(labels, fraction, seed=3)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in range(10):
        members = (labels == label).sum()
        assert (labels[held] == label).sum() == round(fraction * members)
    assert (np.diff(held) < 0).any() and (np.diff(labels[held]) < 0).any()  # shuffled


def test_split_is_fixed_by_its_seed(digits):
    first, again, other = (stratified_split(digits[1], seed=s)[1] for s in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


BAD_SPLITS = [
    (np.zeros((2, 2)), 0.2, "labels"),
    (np.zeros(0), 0.2, "labels must not be empty"),
    (np.zeros(4), "a", "fraction must be a number"),
    (np.zeros(4), 0.0, "fraction"),
    (np.zeros(4), 1.0, "fraction"),
    (np.zeros(4), float("nan"), "fraction"),
]


@pytest.mark.parametrize(("labels", "fraction", "name"), BAD_SPLITS)
def test_bad_split(labels, fraction, name):
    with pytest.raises((TypeError, ValueError), match=name):
        stratified_split(labels, fraction)


LOADERS = [  # samples, batch_size, drop_last → sizes of the batches
    (10, 4, False, [4, 4, 2]),
    (10, 4, True, [4, 4]),
    (8, 4, False, [4, 4]),
    (3, 4, False, [3]),
    (3, 4, True, []),
    (0, 4, False, []),
]


@pytest.mark.parametrize(("samples", "batch", "drop", "sizes"), LOADERS)
def test_batches(samples, batch, drop, sizes):
    x = np.arange(samples * 3.0).reshape(samples, 3)
    loader = DataLoader((x, np.arange(samples)), batch, drop_last=drop)
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(loader) == len(sizes)
    for rows, labels in batches:
        assert np.array_equal(rows, x[labels])
    seen = [int(label) for _, labels in batches for label in labels]
    assert seen == list(range(sum(sizes)))


def test_shuffled_batches_hold_everything_in_a_new_order_each_pass():
    labels = np.arange(50)
    loader = DataLoader((labels * 2, labels), 8, shuffle=True, rng=1)
    first, second = ([np.concatenate(part) for part in zip(*loader, strict=True)] for _ in "12")
    for doubled, order in (first, second):
        assert sorted(order) == list(range(50))
        assert np.array_equal(doubled, order * 2)
    assert not np.array_equal(first[1], second[1])
    again = DataLoader((labels,), 8, shuffle=True, rng=1)
    assert np.array_equal(np.concatenate([batch for (batch,) in again]), first[1])


def test_transform_changes_the_first_array_only():
    x = np.ones((6, 2))
    loader = DataLoader((x, x), 4, transform=lambda batch, random: batch * 3)
    for changed, same in loader:
        assert (changed == 3).all() and (same == 1).all()
    assert (x == 1).all()


@pytest.mark.parametrize(
    ("arrays", "batch", "name"),
    [
        ((), 4, "arrays"),
        ((np.ones(3), np.ones(4)), 4, "arrays"),
        (np.ones((3, 3)), 4, "arrays"),
        (([1, 2], [3, 4]), 4, r"arrays\[0\] must be an array"),
        ((np.ones(1), np.float32(1)), 4, r"arrays\[1\] must be an array"),
        ((np.ones(3),), 0, "batch_size"),
        ((np.ones(3),), 2.5, "batch_size"),
        ((np.ones(3),), True, "batch_size"),
    ],
)
def test_bad_loader(arrays, batch, name):
    with pytest.raises((TypeError, ValueError), match=name):
        DataLoader(arrays, batch)


def test_shift_moves_whole_images():
    random = np.random.default_rng(0)
    images = random.standard_normal((40, 2, 5, 7)).astype(np.float32)
    before = images.copy()
    shifted = RandomShift(2)(images, random)
    assert shifted.shape == images.shape and shifted.dtype == images.dtype
    assert np.array_equal(images, before)
    offsets = set()
    for image, moved in zip(images, shifted, strict=True):
        padded = np.pad(image, ((0, 0), (2, 2), (2, 2)))
        found = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if np.array_equal(moved, padded[:, i : i + 5, j : j + 7])
        ]
        assert len(found) == 1
        offsets.update(found)
    assert len(offsets) > 12  # of 25: every image moves on its own
    for along_an_axis in zip(*offsets, strict=True):
        assert set(along_an_axis) == set(range(5))


def test_flags_and_generators_are_what_they_say():
    for flag in ("shuffle", "drop_last"):
        with pytest.raises(TypeError, match=f"{flag} must be a bool, got 'no'"):
            DataLoader((np.ones(3),), **{flag: "no"})
    with pytest.raises(TypeError, match="random must be a numpy"):
        RandomShift(1)(np.ones((1, 1, 2, 2)), 0)


@pytest.mark.parametrize(("pixels", "error"), [(-1, ValueError), (0.5, TypeError)])
def test_bad_shift(pixels, error):
    with pytest.raises(error, match="pixels"):
        RandomShift(pixels)


def test_labels_that_are_no_numbers_are_a_class():
    labels = np.array([0.0, 1, np.nan] * 10)
    kept, held = stratified_split(labels, 0.2)
    assert sorted([*kept, *held]) == list(range(30)) and np.isnan(labels[held]).sum() == 2
