//! From values to places on paper, and the values that are written beside an axis.

/// A stretch of values laid on a stretch of paper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    from: f64,
    to: f64,
    start: f64,
    end: f64,
    is_logarithmic: bool,
}

impl Scale {
    /// Values `from..=to` lie between `start` and `end`.
    pub fn linear([from, to]: [f64; 2], [start, end]: [f64; 2]) -> Self {
        let to = if to > from { to } else { from + 1.0 };
        Self {
            from,
            to,
            start,
            end,
            is_logarithmic: false,
        }
    }

    /// As [`Self::linear`] for powers: a factor is a distance. Values of 0 and below lie where the smallest lies.
    pub fn logarithmic([from, to]: [f64; 2], paper: [f64; 2]) -> Self {
        let from = if from > 0.0 { from } else { to.max(1.0) / 1e6 };
        Self {
            is_logarithmic: true,
            ..Self::linear([from.log10(), to.max(from * 1.001).log10()], paper)
        }
    }

    pub fn place(&self, value: f64) -> f64 {
        let value = match self.is_logarithmic {
            true => value.max(f64::MIN_POSITIVE).log10().max(self.from),
            false => value,
        };
        self.start + (value - self.from) / (self.to - self.from) * (self.end - self.start)
    }

    /// About `count` round values.
    pub fn ticks(&self, count: usize) -> Vec<f64> {
        match self.is_logarithmic {
            true => {
                let decades = self.from.floor() as i32..=self.to.ceil() as i32;
                let step = (decades.clone().count() / count.max(1)).max(1);
                let ticks = decades.step_by(step).map(|exponent| 10f64.powi(exponent));
                let inside = ticks.filter(|tick| (self.from - 1e-9..=self.to + 1e-9).contains(&tick.log10()));
                let ticks: Vec<f64> = inside.collect();
                match ticks.len() {
                    0 | 1 => vec![10f64.powf(self.from), 10f64.powf(self.to)],
                    _ => ticks,
                }
            }
            false => round_steps(self.from, self.to, count),
        }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten.
fn round_steps(from: f64, to: f64, count: usize) -> Vec<f64> {
    let rough = (to - from) / count.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(power);
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|number| number as f64 * step).collect()
}

/// The extent from the round value below to the one above.
pub(super) fn rounded([from, to]: [f64; 2]) -> [f64; 2] {
    if to <= from {
        return [from, to];
    }
    match round_steps(from, to, 5).as_slice() {
        [first, second, ..] => {
            let step = second - first;
            [(from / step + 1e-9).floor() * step, (to / step - 1e-9).ceil() * step]
        }
        _ => [from, to],
    }
}

/// The round value from which on an axis may end above `value`.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let ticks = round_steps(0.0, value, 5);
    let step = match ticks.as_slice() {
        [first, second, ..] => second - first,
        _ => value,
    };
    (value / step - 1e-9).ceil() * step
}

/// A number for people, no longer than needed: `1,250`, `0.125`, `2e-5`.
pub fn shown_number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e7).contains(&size) {
        return format!("{value:.1e}").replace(".0e", "e");
    }
    if value.fract() == 0.0 {
        let digits = grouped(size as u64);
        return if value < 0.0 { format!("−{digits}") } else { digits };
    }
    let decimals = match size {
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    text.trim_end_matches('0').trim_end_matches('.').replace('-', "−")
}

/// A count with a comma for every thousand.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(
            Scale::linear([0.0, 1.0], [0.0, 100.0]).ticks(5),
            [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]
        );
        assert_eq!(Scale::linear([3.0, 47.0], [0.0, 1.0]).ticks(4), [20.0, 40.0]);
        assert_eq!(Scale::logarithmic([1e-5, 1e-2], [0.0, 1.0]).ticks(5).len(), 4);
        assert_eq!(
            Scale::linear([2.0, 2.0], [0.0, 1.0]).place(2.0),
            0.0,
            "no stretch of values"
        );
        assert!((Scale::logarithmic([1.0, 100.0], [0.0, 10.0]).place(10.0) - 5.0).abs() < 1e-12);
        assert_eq!((round_up(93.0), round_up(0.0), round_up(100.0)), (100.0, 1.0, 100.0));
    }

    #[test]
    fn numbers_are_short() {
        for (value, expected) in [
            (0.0, "0"),
            (1250.0, "1,250"),
            (-3.0, "−3"),
            (0.125, "0.125"),
            (0.5, "0.5"),
            (0.00002, "2e-5"),
            (12.345, "12.35"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(shown_number(value), expected);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
