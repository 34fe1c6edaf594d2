//! Packed factors: the order in which kernels read them.
//!
//! A factor is packed into panels of some lines: columns of a right factor, rows of a left one. For each word along the
//! inner extent, a panel holds the words of all its lines side by side. Missing lines and elements are zeros.

use std::ops::Range;

use rayon::prelude::*;

use crate::Element;
use crate::buffer::Buffer;
use crate::cpu::product::Out;
use crate::cpu::vectorised;

/// Panels smaller than this together are packed by the calling thread.
const PARALLEL_FROM: usize = 1 << 14;

/// Lines of a factor: how many there are, how long they are and how they are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lines {
    /// Lines.
    pub count: usize,
    /// Elements of a line.
    pub inner: usize,
    /// Elements of a word.
    pub group: usize,
}

impl Lines {
    /// Words of a line, the last one perhaps filled up.
    pub fn words(self) -> usize {
        self.inner.div_ceil(self.group)
    }

    /// Elements of one panel of so many lines.
    fn panel(self, lanes: usize) -> usize {
        self.words() * lanes * self.group
    }

    /// Elements of all panels of `lanes` lines.
    pub fn packed(self, lanes: usize) -> usize {
        self.count.div_ceil(lanes) * self.panel(lanes)
    }
}

/// Rows of numbers that are packed. A function that gives whole rows is one.
pub trait Rows<'a, S> {
    /// Whether elements are made where they are asked for.
    const MAKES: bool;
    /// Elements `range` of a row. If they are made, then in `space`, which has as many.
    fn read<'s>(&'s self, row: usize, range: Range<usize>, space: &'s mut [S]) -> &'s [S]
    where
        'a: 's;
}

impl<'a, S: 'a, F: Fn(usize) -> &'a [S]> Rows<'a, S> for F {
    const MAKES: bool = false;

    #[inline(always)]
    fn read<'s>(&'s self, row: usize, range: Range<usize>, _: &'s mut [S]) -> &'s [S]
    where
        'a: 's,
    {
        &self(row)[range]
    }
}

/// A packed factor with panels of `LANES` lines.
#[derive(Clone)]
pub struct Panels<T: Element, const LANES: usize> {
    data: Buffer<T>,
    lines: Lines,
}

impl<T: Element, const LANES: usize> Panels<T, LANES> {
    /// Packs lines that stand one after another: line i is row i of `line`.
    pub fn from_lines<'a, S: Element>(
        lines: Lines,
        line: impl Rows<'a, S> + Sync,
        convert: impl Fn(S) -> T + Sync,
    ) -> Self {
        let mut data = Buffer::scratch(lines.packed(LANES));
        let pack = |(panel, out): (usize, &mut [T])| lines_panel::<S, T, LANES>(lines, panel, out, &line, &convert);
        let panel = lines.panel(LANES).max(1);
        if lines.packed(LANES) < PARALLEL_FROM {
            data.chunks_exact_mut(panel).enumerate().for_each(pack);
        } else {
            data.par_chunks_exact_mut(panel).enumerate().for_each(pack);
        }
        Self { data, lines }
    }

    /// Packs lines that stand side by side: row k of `across` holds element k of every line.
    pub fn from_elements<'a, S: Element>(
        lines: Lines,
        across: impl Rows<'a, S> + Sync,
        convert: impl Fn(S) -> T + Sync,
    ) -> Self {
        let mut data = Buffer::scratch(lines.packed(LANES));
        if lines.packed(LANES) < PARALLEL_FROM {
            elements_of_panels::<S, T, LANES>(&mut data, lines, &across, &convert);
            return Self { data, lines };
        }
        // Words rather than panels are shared among threads: what is read then lies in one piece.
        let words = lines.words().div_ceil(4 * rayon::current_num_threads()).clamp(8, 64);
        let mut rest = Out::new(&mut data, lines.count.div_ceil(LANES), lines.panel(LANES));
        let mut parts = Vec::with_capacity(lines.words().div_ceil(words));
        for first in (0..lines.words()).step_by(words) {
            let part;
            (part, rest) = rest.split_columns(words.min(lines.words() - first) * LANES * lines.group);
            parts.push((first, part));
        }
        parts.into_par_iter().for_each(|(first, part)| {
            let mut panels: Vec<&mut [T]> = part.into_rows().collect();
            elements_of_words::<S, T, LANES>(lines, first, 0..lines.count, &mut panels, &across, &convert);
        });
        Self { data, lines }
    }

    /// The panels one after another.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// What was packed.
    pub fn lines(&self) -> Lines {
        self.lines
    }
}

/// As [`Panels::from_lines`] by the calling thread, into `out`.
pub fn pack_lines<'a, S: Element, T: Element, const LANES: usize>(
    out: &mut [T],
    lines: Lines,
    line: impl Rows<'a, S>,
    convert: impl Fn(S) -> T,
) {
    let panels = out[..lines.packed(LANES)].chunks_exact_mut(lines.panel(LANES).max(1));
    panels
        .enumerate()
        .for_each(|(panel, out)| lines_panel::<S, T, LANES>(lines, panel, out, &line, &convert));
}

/// As [`Panels::from_elements`] by the calling thread, into `out`.
pub fn pack_elements<'a, S: Element, T: Element, const LANES: usize>(
    out: &mut [T],
    lines: Lines,
    across: impl Rows<'a, S>,
    convert: impl Fn(S) -> T,
) {
    elements_of_panels::<S, T, LANES>(out, lines, &across, &convert);
}

/// Packs one panel after the other.
fn elements_of_panels<'a, S: Element, T: Element, const LANES: usize>(
    out: &mut [T],
    lines: Lines,
    across: &impl Rows<'a, S>,
    convert: &impl Fn(S) -> T,
) {
    let panels = out[..lines.packed(LANES)].chunks_exact_mut(lines.panel(LANES).max(1));
    for (panel, out) in panels.enumerate() {
        let first = panel * LANES;
        let columns = first..lines.count.min(first + LANES);
        elements_of_words::<S, T, LANES>(lines, 0, columns, &mut [out], across, convert);
    }
}

/// Runs `$function` with the size of a word known to the compiler.
macro_rules! with_group {
    ($lines:ident, $function:ident, <$($generic:ident),*>, ($($argument:expr),*)) => {
        vectorised(
            #[inline(always)]
            || match $lines.group {
                1 => $function::<$($generic,)* 1>($($argument),*),
                2 => $function::<$($generic,)* 2>($($argument),*),
                4 => $function::<$($generic,)* 4>($($argument),*),
                group => unreachable!("no words of {group} elements"),
            },
        )
    };
}

fn lines_panel<'a, S: Element, T: Element, const LANES: usize>(
    lines: Lines,
    panel: usize,
    out: &mut [T],
    line: &impl Rows<'a, S>,
    convert: &impl Fn(S) -> T,
) {
    with_group!(lines, lines_panel_of, <S, T, LANES>, (lines, panel, out, line, convert));
}

/// Where elements of a row are made, if they are.
fn space_for<'a, S: Element, R: Rows<'a, S>>(_: &R, len: usize) -> Vec<S> {
    vec![S::default(); if R::MAKES { len } else { 0 }]
}

/// Packs some words of the panels of `columns`; the first of them is `first`.
fn elements_of_words<'a, S: Element, T: Element, const LANES: usize>(
    lines: Lines,
    first: usize,
    columns: Range<usize>,
    panels: &mut [&mut [T]],
    across: &impl Rows<'a, S>,
    convert: &impl Fn(S) -> T,
) {
    with_group!(lines, elements_of_words_of, <S, T, LANES>, (lines, first, columns, panels, across, convert));
}

#[inline(always)]
fn lines_panel_of<'a, S: Element, T: Element, const LANES: usize, const GROUP: usize>(
    lines: Lines,
    panel: usize,
    out: &mut [T],
    line: &impl Rows<'a, S>,
    convert: &impl Fn(S) -> T,
) {
    /// Words of a line that are converted at a time: those of all lines then stay in the first-level cache.
    const CHUNK: usize = 64;
    let first = panel * LANES;
    let (present, inner) = (LANES.min(lines.count - first), lines.inner);
    if present < LANES || !inner.is_multiple_of(GROUP) {
        out.fill(T::default());
    }
    let (mut space, mut converted) = ([S::default(); 4 * CHUNK], [T::default(); 4 * CHUNK]);
    for start in (0..inner).step_by(CHUNK * GROUP) {
        for lane in 0..present {
            let range = start..inner.min(start + CHUNK * GROUP);
            let source = line.read(first + lane, range.clone(), &mut space[..range.len()]);
            for (converted, &value) in converted.iter_mut().zip(source) {
                *converted = convert(value);
            }
            let (whole, rest) = converted[..source.len()].as_chunks::<GROUP>();
            let (out, _) = out[start * LANES..].as_chunks_mut::<GROUP>();
            for (word, values) in whole.iter().enumerate() {
                out[word * LANES + lane] = *values;
            }
            if !rest.is_empty() {
                out[whole.len() * LANES + lane][..rest.len()].copy_from_slice(rest);
            }
        }
    }
}

#[inline(always)]
fn elements_of_words_of<'a, S: Element, T: Element, const LANES: usize, const GROUP: usize>(
    lines: Lines,
    first: usize,
    columns: Range<usize>,
    panels: &mut [&mut [T]],
    across: &impl Rows<'a, S>,
    convert: &impl Fn(S) -> T,
) {
    let words = panels.first().map_or(0, |panel| panel.len() / (LANES * GROUP));
    // Whole rows are converted first, in a loop that vectorises whatever the conversion is.
    let width = columns.len().next_multiple_of(LANES);
    let mut space = space_for(across, columns.len());
    let mut converted = vec![T::default(); GROUP * width];
    for word in 0..words {
        let element = (first + word) * GROUP;
        for (index, converted) in converted.chunks_exact_mut(width).enumerate() {
            if element + index < lines.inner {
                let source = across.read(element + index, columns.clone(), &mut space);
                for (converted, &value) in converted.iter_mut().zip(source) {
                    *converted = convert(value);
                }
            } else {
                converted.fill(T::default());
            }
        }
        for (panel, out) in panels.iter_mut().enumerate() {
            let rows: [&[T]; GROUP] = std::array::from_fn(
                #[inline(always)]
                |index| &converted[index * width + panel * LANES..][..LANES],
            );
            interleave::<T, LANES, GROUP>(rows, &mut out[word * LANES * GROUP..][..LANES * GROUP]);
        }
    }
}

/// Puts the elements of the rows side by side: those that belong to one word.
#[inline(always)]
fn interleave<T: Element, const LANES: usize, const GROUP: usize>(rows: [&[T]; GROUP], out: &mut [T]) {
    if GROUP == 1 {
        out.copy_from_slice(rows[0]);
    } else if cfg!(target_endian = "little") && GROUP * size_of::<T>() == size_of::<u32>() {
        // Words are put together as numbers, which vectorises where moving their parts does not.
        let mut words = [0u32; LANES];
        for (index, row) in rows.iter().enumerate() {
            for (word, value) in words.iter_mut().zip(*row) {
                *word |= value.bits() << (index * 8 * size_of::<T>());
            }
        }
        assert_eq!(out.len(), LANES * GROUP);
        // SAFETY: `out` is as long as the words, and any bits make elements. Words are in the order of the machine's bytes.
        unsafe { std::ptr::copy_nonoverlapping(words.as_ptr().cast(), out.as_mut_ptr(), out.len()) };
    } else {
        for (lane, out) in out.chunks_exact_mut(GROUP).enumerate() {
            for (out, row) in out.iter_mut().zip(rows) {
                *out = row[lane];
            }
        }
    }
}
