//! Packed factors: the order in which kernels read them.
//!
//! A factor is packed into panels of some lines: columns of a right factor, rows of a left one. For each word along the
//! inner extent, a panel holds the words of all its lines side by side. Missing lines and elements are zeros.

use rayon::prelude::*;

use crate::Element;
use crate::buffer::Buffer;
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

/// A packed factor with panels of `LANES` lines.
#[derive(Clone)]
pub struct Panels<T: Element, const LANES: usize> {
    data: Buffer<T>,
    lines: Lines,
}

impl<T: Element, const LANES: usize> Panels<T, LANES> {
    /// Packs lines that stand one after another: line i is `line(i)`.
    pub fn from_lines<'a, S: Copy + 'a>(
        lines: Lines,
        line: impl Fn(usize) -> &'a [S] + Sync,
        convert: impl Fn(S) -> T + Sync,
    ) -> Self {
        Self::packed(lines, |panel, out| {
            lines_panel::<S, T, LANES>(lines, panel, out, &line, &convert)
        })
    }

    /// Packs lines that stand side by side: `across(k)` holds element k of every line.
    pub fn from_elements<'a, S: Copy + 'a>(
        lines: Lines,
        across: impl Fn(usize) -> &'a [S] + Sync,
        convert: impl Fn(S) -> T + Sync,
    ) -> Self {
        Self::packed(lines, |panel, out| {
            elements_panel::<S, T, LANES>(lines, panel, out, &across, &convert)
        })
    }

    fn packed(lines: Lines, pack: impl Fn(usize, &mut [T]) + Sync) -> Self {
        let mut data = Buffer::scratch(lines.packed(LANES));
        let panel = lines.panel(LANES);
        if panel > 0 && data.len() < PARALLEL_FROM {
            data.chunks_exact_mut(panel)
                .enumerate()
                .for_each(|(index, out)| pack(index, out));
        } else if panel > 0 {
            data.par_chunks_exact_mut(panel)
                .enumerate()
                .for_each(|(index, out)| pack(index, out));
        }
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
pub fn pack_lines<'a, S: Copy + 'a, T: Element, const LANES: usize>(
    out: &mut [T],
    lines: Lines,
    line: impl Fn(usize) -> &'a [S],
    convert: impl Fn(S) -> T,
) {
    let panels = out[..lines.packed(LANES)].chunks_exact_mut(lines.panel(LANES).max(1));
    panels
        .enumerate()
        .for_each(|(panel, out)| lines_panel::<S, T, LANES>(lines, panel, out, &line, &convert));
}

/// As [`Panels::from_elements`] by the calling thread, into `out`.
pub fn pack_elements<'a, S: Copy + 'a, T: Element, const LANES: usize>(
    out: &mut [T],
    lines: Lines,
    across: impl Fn(usize) -> &'a [S],
    convert: impl Fn(S) -> T,
) {
    let panels = out[..lines.packed(LANES)].chunks_exact_mut(lines.panel(LANES).max(1));
    panels
        .enumerate()
        .for_each(|(panel, out)| elements_panel::<S, T, LANES>(lines, panel, out, &across, &convert));
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

fn lines_panel<'a, S: Copy + 'a, T: Element, const LANES: usize>(
    lines: Lines,
    panel: usize,
    out: &mut [T],
    line: &impl Fn(usize) -> &'a [S],
    convert: &impl Fn(S) -> T,
) {
    with_group!(lines, lines_panel_of, <S, T, LANES>, (lines, panel, out, line, convert));
}

fn elements_panel<'a, S: Copy + 'a, T: Element, const LANES: usize>(
    lines: Lines,
    panel: usize,
    out: &mut [T],
    across: &impl Fn(usize) -> &'a [S],
    convert: &impl Fn(S) -> T,
) {
    with_group!(lines, elements_panel_of, <S, T, LANES>, (lines, panel, out, across, convert));
}

#[inline(always)]
fn lines_panel_of<'a, S: Copy + 'a, T: Element, const LANES: usize, const GROUP: usize>(
    lines: Lines,
    panel: usize,
    out: &mut [T],
    line: &impl Fn(usize) -> &'a [S],
    convert: &impl Fn(S) -> T,
) {
    /// Words of a line that are converted at a time: those of all lines then stay in the first-level cache.
    const CHUNK: usize = 64;
    let first = panel * LANES;
    let (present, inner) = (LANES.min(lines.count - first), lines.inner);
    if present < LANES || !inner.is_multiple_of(GROUP) {
        out.fill(T::default());
    }
    let mut converted = [[T::default(); GROUP]; CHUNK];
    for start in (0..inner).step_by(CHUNK * GROUP) {
        for lane in 0..present {
            let source = &line(first + lane)[start..inner.min(start + CHUNK * GROUP)];
            let (whole, rest) = source.as_chunks::<GROUP>();
            for (converted, values) in converted.iter_mut().zip(whole) {
                for element in 0..GROUP {
                    converted[element] = convert(values[element]);
                }
            }
            let out = &mut out[start * LANES + lane * GROUP..];
            for (word, converted) in converted[..whole.len()].iter().enumerate() {
                out[word * LANES * GROUP..][..GROUP].copy_from_slice(converted);
            }
            if !rest.is_empty() {
                let out = &mut out[whole.len() * LANES * GROUP..];
                out.iter_mut().zip(rest).for_each(|(out, &value)| *out = convert(value));
            }
        }
    }
}

#[inline(always)]
fn elements_panel_of<'a, S: Copy + 'a, T: Element, const LANES: usize, const GROUP: usize>(
    lines: Lines,
    panel: usize,
    out: &mut [T],
    across: &impl Fn(usize) -> &'a [S],
    convert: &impl Fn(S) -> T,
) {
    let first = panel * LANES;
    let present = LANES.min(lines.count - first);
    for (word, out) in out.chunks_exact_mut(LANES * GROUP).enumerate() {
        let elements = GROUP.min(lines.inner - word * GROUP);
        if present == LANES && elements == GROUP {
            let mut converted = [[T::default(); LANES]; GROUP];
            for (element, converted) in converted.iter_mut().enumerate() {
                let source = &across(word * GROUP + element)[first..first + LANES];
                for (converted, &value) in converted.iter_mut().zip(source) {
                    *converted = convert(value);
                }
            }
            for lane in 0..LANES {
                for element in 0..GROUP {
                    out[lane * GROUP + element] = converted[element][lane];
                }
            }
        } else {
            out.fill(T::default());
            for element in 0..elements {
                let source = &across(word * GROUP + element)[first..first + present];
                for (lane, &value) in source.iter().enumerate() {
                    out[lane * GROUP + element] = convert(value);
                }
            }
        }
    }
}
