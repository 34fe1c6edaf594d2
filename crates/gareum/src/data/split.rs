//! Training, validation and test parts: a pure function of examples, options and seed, whatever the machine.
//!
//! Single-label data is divided class by class (`stratify`); multi-label data by the iterative method of Sechidis et al. 2011, "On the
//! Stratification of Multi-Label Data", algorithm 1; grouped data group by group, largest first; everything else at random.

use std::collections::HashMap;

use super::{DataError, Example, LabelSchema, Task};

const PARTS: [&str; 3] = ["training", "validation", "test"];

/// How to split.
#[derive(Clone, Debug)]
pub struct SplitOptions<'a> {
    /// Fractions of training, validation and test; they sum to 1, any may be 0.
    pub ratios: [f64; 3],
    /// Keep the share of each label as equal as possible in all parts. Means nothing for regression.
    pub stratify: bool,
    /// The same seed gives the same split.
    pub seed: u64,
    /// One group number an example: a group is never divided between parts.
    pub groups: Option<&'a [u64]>,
}

/// Positions of the examples of each part, ascending; together they are all examples, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Training part.
    pub train: Vec<usize>,
    /// Validation part.
    pub validation: Vec<usize>,
    /// Test part.
    pub test: Vec<usize>,
}

/// Splits examples.
///
/// Sizes are the ratios rounded by largest remainder, exactly without stratification, and per class with it (the rounding errors of the
/// classes are balanced against each other). A class with at least as many rows as there are parts has a row in each part. Groups make
/// sizes approximate.
///
/// # Errors
/// [`DataError`] if a ratio is negative, they do not sum to 1, or a part with a ratio above 0 would be empty.
pub fn split(examples: &[Example], schema: &LabelSchema, options: &SplitOptions<'_>) -> Result<Split, DataError> {
    check_ratios(options.ratios)?;
    let mut order: Vec<usize> = (0..examples.len()).collect();
    shuffle(&mut order, options.seed);
    let stratify = options.stratify && schema.task != Task::Regression;
    let ids = |position: usize| examples[position].target.ids();
    // Counted from the examples and not from the schema, so that ids without a name cannot do harm.
    let labels = examples
        .iter()
        .flat_map(|example| example.target.ids())
        .max()
        .map_or(0, |id| *id as usize + 1);
    let mut unit = ("examples", examples.len());
    let part_of = match options.groups {
        Some(groups) if groups.len() != examples.len() => {
            return Err(DataError::Groups {
                groups: groups.len(),
                examples: examples.len(),
            });
        }
        Some(groups) => {
            let bundles = bundles(&order, groups);
            unit = ("groups", bundles.len());
            let labels = if stratify { labels } else { 0 };
            by_group(&bundles, labels, ids, options.ratios, examples.len())
        }
        None if !stratify => by_order(&order, options.ratios),
        None if schema.task == Task::MultiLabel => by_labels(&order, labels, ids, options.ratios),
        None => by_class(&order, labels, ids, options.ratios),
    };
    let mut parts: [Vec<usize>; 3] = Default::default();
    for (position, part) in part_of.into_iter().enumerate() {
        parts[part].push(position);
    }
    for ((part, name), ratio) in parts.iter().zip(PARTS).zip(options.ratios) {
        if part.is_empty() && ratio > 0.0 {
            return Err(DataError::EmptyPart {
                part: name,
                ratio,
                units: unit.1,
                unit: unit.0,
            });
        }
    }
    let [train, validation, test] = parts;
    Ok(Split {
        train,
        validation,
        test,
    })
}

/// The positions among `chosen` that make up a share of them, ascending: of each label about that share and at least one example where
/// there is room. What is in a smaller share is in every larger one of the same seed.
pub(crate) fn share_of(examples: &[Example], chosen: &[usize], stratify: bool, share: f64, seed: u64) -> Vec<usize> {
    let mut order = chosen.to_vec();
    shuffle(&mut order, seed);
    let mut counts: HashMap<u32, u64> = HashMap::new();
    for id in order.iter().flat_map(|position| examples[*position].target.ids()) {
        *counts.entry(*id).or_default() += 1;
    }
    // An example of several labels counts for the rarest of them.
    let label = |position: usize| {
        let ids = examples[position].target.ids().iter();
        ids.min_by_key(|id| (counts.get(id), **id)).filter(|_| stratify)
    };
    let mut sizes: HashMap<Option<&u32>, usize> = HashMap::new();
    for position in &order {
        *sizes.entry(label(*position)).or_default() += 1;
    }
    // Each example has its place among those of its label, as a fraction: the first of each come first.
    let mut seen: HashMap<Option<&u32>, usize> = HashMap::new();
    let mut places: Vec<(f64, usize)> = Vec::with_capacity(order.len());
    for position in order {
        let label = label(position);
        let place = seen.entry(label).or_default();
        places.push((*place as f64 / sizes[&label] as f64, position));
        *place += 1;
    }
    places.sort_by(|left, right| left.0.total_cmp(&right.0));
    places.truncate(((share * chosen.len() as f64).round() as usize).max(1));
    let mut kept: Vec<usize> = places.into_iter().map(|(_, position)| position).collect();
    kept.sort_unstable();
    kept
}

fn check_ratios(found: [f64; 3]) -> Result<(), DataError> {
    let reason = if found.iter().any(|ratio| !ratio.is_finite() || *ratio < 0.0) {
        "every ratio must be 0 or more"
    } else if (found.iter().sum::<f64>() - 1.0).abs() > 1e-6 {
        "the ratios do not sum to 1"
    } else {
        return Ok(());
    };
    Err(DataError::Ratios { found, reason })
}

/// Without regard to labels: consecutive runs of a shuffled order.
fn by_order(order: &[usize], ratios: [f64; 3]) -> Vec<usize> {
    let counts = rounded(order.len(), ratios, [0.0; 3]);
    let mut part_of = vec![0; order.len()];
    deal(order, counts, &mut part_of);
    part_of
}

/// Class by class. `carry` remembers how much the classes before gave a part too little, so that the parts' sizes come out right.
fn by_class<'a>(order: &[usize], labels: usize, ids: impl Fn(usize) -> &'a [u32], ratios: [f64; 3]) -> Vec<usize> {
    let mut classes = vec![Vec::new(); labels];
    for position in order {
        for id in ids(*position) {
            classes[*id as usize].push(*position);
        }
    }
    let used = ratios.iter().filter(|ratio| **ratio > 0.0).count();
    let mut carry = [0.0; 3];
    let mut part_of = vec![0; order.len()];
    for class in classes {
        let mut counts = rounded(class.len(), ratios, carry);
        if class.len() >= used {
            for part in 0..PARTS.len() {
                if counts[part] == 0 && ratios[part] > 0.0 {
                    let largest = (0..PARTS.len())
                        .max_by_key(|other| (counts[*other], PARTS.len() - other))
                        .unwrap_or(0);
                    counts[largest] -= 1;
                    counts[part] += 1;
                }
            }
        }
        for part in 0..PARTS.len() {
            carry[part] += class.len() as f64 * ratios[part] - counts[part] as f64;
        }
        deal(&class, counts, &mut part_of);
    }
    part_of
}

/// Iterative stratification: the rarest label first, each of its examples to the part that lacks that label most; ties to the part that lacks
/// examples most, then by the order of the shuffle.
fn by_labels<'a>(order: &[usize], labels: usize, ids: impl Fn(usize) -> &'a [u32], ratios: [f64; 3]) -> Vec<usize> {
    let mut wanted = ratios.map(|ratio| ratio * order.len() as f64);
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); labels];
    for position in order {
        for id in ids(*position) {
            holders[*id as usize].push(*position);
        }
    }
    let mut remaining: Vec<usize> = holders.iter().map(Vec::len).collect();
    let mut wanted_labels: Vec<[f64; 3]> = remaining
        .iter()
        .map(|count| ratios.map(|ratio| ratio * *count as f64))
        .collect();
    let mut part_of: Vec<Option<usize>> = vec![None; order.len()];
    let rarest = |remaining: &[usize]| {
        (0..labels)
            .filter(|label| remaining[*label] > 0)
            .min_by_key(|label| remaining[*label])
    };
    while let Some(label) = rarest(&remaining) {
        for position in std::mem::take(&mut holders[label]) {
            if part_of[position].is_some() {
                continue;
            }
            let part = neediest(ratios, |part| [wanted_labels[label][part], wanted[part]]);
            part_of[position] = Some(part);
            wanted[part] -= 1.0;
            for id in ids(position) {
                wanted_labels[*id as usize][part] -= 1.0;
                remaining[*id as usize] -= 1;
            }
        }
    }
    for position in order.iter().copied() {
        if part_of[position].is_none() {
            let part = neediest(ratios, |part| [wanted[part], 0.0]);
            part_of[position] = Some(part);
            wanted[part] -= 1.0;
        }
    }
    part_of.into_iter().map(Option::unwrap_or_default).collect()
}

/// Whole groups, the largest first, each to the part that lacks most of what it holds: examples of its labels, weighted by their rarity, or
/// just examples if `labels` is 0. A part that has its share gets nothing more, so no part exceeds it by more than a group.
fn by_group<'a>(
    bundles: &[Vec<usize>],
    labels: usize,
    ids: impl Fn(usize) -> &'a [u32],
    ratios: [f64; 3],
    examples: usize,
) -> Vec<usize> {
    let mut totals = vec![0.0; labels];
    for id in bundles
        .iter()
        .flatten()
        .flat_map(|position| ids(*position))
        .filter(|_| labels > 0)
    {
        totals[*id as usize] += 1.0;
    }
    let mut wanted = ratios.map(|ratio| ratio * examples as f64);
    let mut wanted_labels: Vec<[f64; 3]> = totals.iter().map(|total| ratios.map(|ratio| ratio * total)).collect();
    let mut part_of = vec![0; examples];
    for bundle in bundles {
        let held = || {
            bundle
                .iter()
                .flat_map(|position| ids(*position))
                .map(|id| *id as usize)
                .filter(|_| labels > 0)
        };
        let part = neediest(ratios, |part| {
            let of_labels = held().map(|label| wanted_labels[label][part] / totals[label]).sum();
            [
                if wanted[part] > 0.0 {
                    of_labels
                } else {
                    f64::NEG_INFINITY
                },
                wanted[part],
            ]
        });
        wanted[part] -= bundle.len() as f64;
        held().for_each(|label| wanted_labels[label][part] -= 1.0);
        bundle.iter().for_each(|position| part_of[*position] = part);
    }
    part_of
}

/// The part of greatest need, by the first number, then the second; never one whose ratio is 0.
fn neediest(ratios: [f64; 3], need: impl Fn(usize) -> [f64; 2]) -> usize {
    let parts = (0..PARTS.len()).filter(|part| ratios[*part] > 0.0).rev();
    let by_need = |left: &[f64; 2], right: &[f64; 2]| left[0].total_cmp(&right[0]).then(left[1].total_cmp(&right[1]));
    parts
        .map(|part| (need(part), part))
        .max_by(|left, right| by_need(&left.0, &right.0))
        .map_or(0, |(_, part)| part)
}

/// `total` divided by `ratios`: each share rounded down, what is left given one each to the largest remainders (plus `carry`).
fn rounded(total: usize, ratios: [f64; 3], carry: [f64; 3]) -> [usize; 3] {
    // A share such as 0.1 * 30 must not be rounded down for being 2.9999999999999996.
    let exact = ratios.map(|ratio| ratio * total as f64 + 1e-9);
    let mut counts = exact.map(|share| share as usize);
    let mut parts: Vec<usize> = (0..PARTS.len()).filter(|part| ratios[*part] > 0.0).collect();
    let remainder = |part: usize| exact[part].fract() + carry[part];
    parts.sort_by(|left, right| remainder(*right).total_cmp(&remainder(*left)));
    let left = total.saturating_sub(counts.iter().sum());
    for part in parts.into_iter().cycle().take(left) {
        counts[part] += 1;
    }
    counts
}

fn deal(order: &[usize], counts: [usize; 3], part_of: &mut [usize]) {
    let parts = (0..PARTS.len()).flat_map(|part| std::iter::repeat_n(part, counts[part]));
    for (position, part) in order.iter().zip(parts) {
        part_of[*position] = part;
    }
}

/// The positions of each group, the largest group first, else in the order of the shuffle.
fn bundles(order: &[usize], groups: &[u64]) -> Vec<Vec<usize>> {
    let mut bundles: Vec<Vec<usize>> = Vec::new();
    let mut bundle_of = HashMap::new();
    for position in order {
        let bundle = *bundle_of.entry(groups[*position]).or_insert_with(|| {
            bundles.push(Vec::new());
            bundles.len() - 1
        });
        bundles[bundle].push(*position);
    }
    bundles.sort_by_key(|bundle| std::cmp::Reverse(bundle.len()));
    bundles
}

/// Fisher-Yates, with numbers that are a function of seed and position only.
fn shuffle(order: &mut [usize], seed: u64) {
    for last in (1..order.len()).rev() {
        let number = splitmix64(seed ^ splitmix64(last as u64));
        // The high half of the product is uniform enough: the bias is below 2⁻⁴⁰ for a million rows.
        let chosen = ((u128::from(number) * (last as u128 + 1)) >> 64) as usize;
        order.swap(last, chosen);
    }
}

/// SplitMix64's output function (Steele et al. 2014, "Fast splittable pseudorandom number generators").
fn splitmix64(input: u64) -> u64 {
    let mut bits = input.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Target;
    use super::*;

    fn examples(targets: impl IntoIterator<Item = Target>) -> Vec<Example> {
        let example = |(id, target)| Example {
            id,
            text: id.to_string(),
            text_pair: None,
            target,
            group: None,
        };
        (1..).zip(targets).map(example).collect()
    }

    fn schema(task: Task, labels: usize) -> LabelSchema {
        LabelSchema {
            task,
            names: (0..labels).map(|label| label.to_string()).collect(),
        }
    }

    #[test]
    fn shares_are_nested_and_keep_the_labels() {
        let classes = (0..200).map(|row| match row % 20 {
            0 => 1,
            _ if row == 7 => 2,
            _ => 0,
        });
        let rows = examples(classes.map(Target::Class));
        let chosen: Vec<usize> = (0..200).filter(|row| row % 10 != 3).collect();
        let count = |kept: &[usize], class: u32| {
            let of_class = kept.iter().filter(|position| rows[**position].target.ids() == [class]);
            of_class.count()
        };
        let mut before = Vec::new();
        for share in [0.01, 0.05, 0.1, 0.25, 0.5, 1.0] {
            let kept = share_of(&rows, &chosen, true, share, 7);
            assert_eq!(kept.len(), (share * 180.0).round() as usize);
            assert!(before.iter().all(|position| kept.contains(position)), "{share}");
            assert!(kept.iter().all(|position| chosen.contains(position)));
            if share >= 0.05 {
                assert!((1..=3).all(|labels| count(&kept, labels - 1) > 0), "{share}");
                assert!((count(&kept, 1) as f64 - 10.0 * share).abs() <= 1.0, "{share}");
            }
            before = kept;
        }
        assert_eq!(before, chosen);
        assert_ne!(
            share_of(&rows, &chosen, true, 0.5, 7),
            share_of(&rows, &chosen, true, 0.5, 8)
        );
        let several = examples((0..40).map(|row| match row % 8 {
            0 => Target::Classes(vec![0, 1]),
            1 => Target::Classes(Vec::new()),
            _ => Target::Classes(vec![0]),
        }));
        let all: Vec<usize> = (0..40).collect();
        let kept = share_of(&several, &all, true, 0.5, 1);
        let both = kept
            .iter()
            .filter(|position| several[**position].target.ids().len() == 2);
        assert!((2..=3).contains(&both.count()), "{kept:?}");
        assert_eq!(share_of(&several, &all, false, 0.5, 1).len(), 20);
    }

    fn options(ratios: [f64; 3], stratify: bool) -> SplitOptions<'static> {
        SplitOptions {
            ratios,
            stratify,
            seed: 7,
            groups: None,
        }
    }

    fn sizes(split: &Split) -> [usize; 3] {
        [split.train.len(), split.validation.len(), split.test.len()]
    }

    fn class_counts(split: &Split, examples: &[Example], label: u32) -> [usize; 3] {
        let count = |part: &[usize]| {
            part.iter()
                .filter(|position| examples[**position].target.ids().contains(&label))
                .count()
        };
        [count(&split.train), count(&split.validation), count(&split.test)]
    }

    #[test]
    fn classes_keep_their_shares() {
        let targets = (0..100).map(|row| {
            Target::Class(if row < 60 {
                0
            } else if row < 95 {
                1
            } else {
                2
            })
        });
        let examples = examples(targets);
        let split = split(
            &examples,
            &schema(Task::SingleLabel, 3),
            &options([0.6, 0.2, 0.2], true),
        )
        .unwrap();
        assert_eq!(class_counts(&split, &examples, 0), [36, 12, 12]);
        assert_eq!(class_counts(&split, &examples, 1), [21, 7, 7]);
        assert_eq!(class_counts(&split, &examples, 2), [3, 1, 1]);
    }

    #[test]
    fn small_classes_reach_every_part_and_sizes_stay_right() {
        let examples = examples((0..154).map(|row| Target::Class(row % 77)));
        let two_each = split(
            &examples,
            &schema(Task::SingleLabel, 77),
            &options([0.6, 0.2, 0.2], true),
        )
        .unwrap();
        let [train, validation, test] = sizes(&two_each);
        assert!(
            train.abs_diff(92) <= 1 && validation.abs_diff(31) <= 1 && test.abs_diff(31) <= 1,
            "{two_each:?}"
        );
        let three_each = &examples[..9]
            .iter()
            .enumerate()
            .map(|(row, example)| Example {
                target: Target::Class(row as u32 % 3),
                ..example.clone()
            })
            .collect::<Vec<_>>();
        let split = split(
            three_each,
            &schema(Task::SingleLabel, 3),
            &options([0.8, 0.1, 0.1], true),
        )
        .unwrap();
        assert_eq!(sizes(&split), [3, 3, 3]);
    }

    #[test]
    fn labels_of_multi_label_data_keep_their_shares() {
        let targets = (0..1000u32).map(|row| {
            let labels = [(row % 2 == 0, 0), (row % 5 == 0, 1), (row % 50 == 0, 2)];
            Target::Classes(
                labels
                    .into_iter()
                    .filter(|(holds, _)| *holds)
                    .map(|(_, label)| label)
                    .collect(),
            )
        });
        let examples = examples(targets);
        let split = split(&examples, &schema(Task::MultiLabel, 3), &options([0.7, 0.2, 0.1], true)).unwrap();
        assert_eq!(sizes(&split), [700, 200, 100]);
        assert_eq!(class_counts(&split, &examples, 2), [14, 4, 2]);
        for (label, total) in [(0, 500.0), (1, 200.0)] {
            for (count, ratio) in class_counts(&split, &examples, label).iter().zip([0.7, 0.2, 0.1]) {
                assert!((*count as f64 - total * ratio).abs() <= 2.0, "label {label}: {count}");
            }
        }
    }

    #[test]
    fn impossible_splits_are_refused() {
        let examples = examples((0..4).map(|row| Target::Class(row % 2)));
        let check = |ratios, expected: &str| {
            let message = split(&examples, &schema(Task::SingleLabel, 2), &options(ratios, false))
                .unwrap_err()
                .to_string();
            assert!(message.contains(expected), "{message}");
        };
        check([1.2, -0.2, 0.0], "0 or more");
        check([0.6, 0.2, 0.1], "do not sum to 1");
        check([f64::NAN, 0.5, 0.5], "0 or more");
        check([0.98, 0.01, 0.01], "would be empty");
        let short = SplitOptions {
            groups: Some(&[1]),
            ..options([0.5, 0.5, 0.0], true)
        };
        assert!(split(&examples, &schema(Task::SingleLabel, 2), &short).is_err());
    }

    proptest! {
        /// Whatever the task, stratified or not, grouped or not: a partition, the same for the same seed, sizes near the ratios.
        #[test]
        fn is_a_partition(
            labels in prop::collection::vec(0u32..5, 30..200),
            kind in 0usize..3,
            stratify: bool,
            grouped: bool,
            seed: u64,
        ) {
            let targets = labels.iter().map(|label| match kind {
                0 => Target::Class(*label),
                1 => Target::Classes((0..*label).collect()),
                _ => Target::Value(*label as f32),
            });
            let examples = examples(targets);
            let task = [Task::SingleLabel, Task::MultiLabel, Task::Regression][kind];
            let groups: Vec<u64> = (0..labels.len() as u64).map(|row| row / 3).collect();
            let options = SplitOptions { ratios: [0.6, 0.2, 0.2], stratify, seed, groups: grouped.then_some(&groups) };
            let split_once = split(&examples, &schema(task, 5), &options).unwrap();
            prop_assert_eq!(&split_once, &split(&examples, &schema(task, 5), &options).unwrap());
            let mut all = [split_once.train.clone(), split_once.validation.clone(), split_once.test.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len()).collect::<Vec<_>>());
            if grouped {
                let groups_of = |part: &[usize]| part.iter().map(|position| groups[*position]).collect::<std::collections::BTreeSet<_>>();
                prop_assert!(groups_of(&split_once.train).is_disjoint(&groups_of(&split_once.test)));
                prop_assert!(groups_of(&split_once.train).is_disjoint(&groups_of(&split_once.validation)));
                prop_assert!(groups_of(&split_once.validation).is_disjoint(&groups_of(&split_once.test)));
            }
            for (size, ratio) in sizes(&split_once).iter().zip(options.ratios) {
                let slack = if grouped { 8.0 } else { 6.0 };
                prop_assert!((*size as f64 - ratio * labels.len() as f64).abs() <= slack, "{:?}", sizes(&split_once));
            }
        }
    }
}
