//! A square of colours with a number in each: who is taken for whom, what stands beside what.

use super::super::svg::{Anchor, cut, text_width};
use super::super::{Drawing, Language, Text};
use super::{Plot, ValueFormat, WIDTH};

/// Numbers as colours.
#[derive(Debug, Default)]
pub struct HeatMap {
    /// Names of the rows.
    pub rows: Vec<Text>,
    /// Names of the columns.
    pub columns: Vec<Text>,
    /// A number for each row and column.
    pub values: Vec<Vec<f64>>,
    /// How strong the colour of each is, from 0 to 1. Default: the number as a share of the largest of its row.
    pub strengths: Option<Vec<Vec<f64>>>,
    /// How numbers are written.
    pub format: ValueFormat,
    /// What is told where one points at a number, beside the names of row and column. Default: the number.
    pub tips: Option<Vec<Vec<Text>>>,
    /// What the rows are.
    pub row_title: Option<Text>,
    /// What the columns are.
    pub column_title: Option<Text>,
}

impl HeatMap {
    fn strength(&self, row: usize, column: usize) -> f64 {
        let value = self.values[row][column];
        let strength = match &self.strengths {
            Some(strengths) => strengths
                .get(row)
                .and_then(|row| row.get(column))
                .copied()
                .unwrap_or(0.0),
            None => {
                let largest = self.values[row]
                    .iter()
                    .copied()
                    .filter(|value| value.is_finite())
                    .fold(0.0, f64::max);
                if largest > 0.0 { value / largest } else { 0.0 }
            }
        };
        if strength.is_finite() { strength } else { 0.0 }
    }
}

impl Plot for HeatMap {
    fn draw(&self, language: &Language<'_>) -> Drawing {
        let say = |texts: &[Text]| {
            texts
                .iter()
                .map(|text| language.say(text).into_owned())
                .collect::<Vec<_>>()
        };
        let (rows, columns) = (say(&self.rows), say(&self.columns));
        let widest = |names: &[String]| names.iter().map(|name| text_width(name)).fold(0.0, f64::max);
        let name_room = |names: &[String]| (widest(names) + 10.0).min(130.0);
        let values = || self.values.iter().flatten().filter(|value| value.is_finite());
        let number_width = values()
            .map(|value| text_width(&self.format.bare(*value)))
            .fold(0.0, f64::max)
            * 0.93;
        let (title_left, title_top) = (
            if self.row_title.is_some() { 20.0 } else { 0.0 },
            if self.column_title.is_some() { 20.0 } else { 0.0 },
        );
        let left = title_left + name_room(&rows);
        // Names of columns run upwards, unless they are short.
        let count = columns.len().max(1) as f64;
        let room = (WIDTH - left - 4.0) / count;
        let shows_numbers = columns.len() <= 30;
        let least = if shows_numbers { number_width + 6.0 } else { 9.0 };
        let cell = room.min(64.0).max(least.max(9.0));
        let is_upright = widest(&columns) + 6.0 > cell;
        let top = title_top + if is_upright { name_room(&columns) } else { 20.0 };
        let row_height = cell.clamp(if shows_numbers { 18.0 } else { 9.0 }, 40.0);
        let width = (left + cell * count + 4.0).max(WIDTH.min(300.0));
        let height = top + row_height * rows.len() as f64 + 6.0;
        let mut drawing = Drawing::new(width, height, &rows.join(", "));
        if let Some(title) = &self.column_title {
            let middle = left + cell * count / 2.0;
            drawing.text("title", [middle, 13.0], Anchor::Middle, &language.say(title));
        }
        if let Some(title) = &self.row_title {
            let middle = top + row_height * rows.len() as f64 / 2.0;
            drawing.text_upwards("title", [12.0, middle], Anchor::Middle, &language.say(title));
        }
        for (place, name) in columns.iter().enumerate() {
            let middle = left + cell * (place as f64 + 0.5);
            match is_upright {
                true => drawing.text_upwards(
                    "tick",
                    [middle + 4.0, top - 6.0],
                    Anchor::Start,
                    &cut(name, top - title_top - 6.0),
                ),
                false => drawing.text("tick", [middle, top - 6.0], Anchor::Middle, name),
            }
        }
        for (row, name) in rows.iter().enumerate() {
            let y = top + row_height * row as f64;
            drawing.text(
                "tick",
                [left - 6.0, y + row_height / 2.0 + 4.0],
                Anchor::End,
                &cut(name, left - title_left - 6.0),
            );
            for (column, value) in self.values.get(row).into_iter().flatten().enumerate() {
                let Some(column_name) = columns.get(column) else {
                    continue;
                };
                let x = left + cell * column as f64;
                let strength = self.strength(row, column);
                let tip = match self.tips.as_ref().and_then(|tips| tips.get(row)?.get(column)) {
                    Some(tip) => language.say(tip).into_owned(),
                    None => self.format.show(*value),
                };
                let tip = format!("{name} → {column_name}: {tip}");
                drawing.rectangle("cell-frame", [x, y, cell, row_height], "");
                drawing.cell([x + 0.5, y + 0.5, cell - 1.0, row_height - 1.0], strength, &tip);
                if shows_numbers && value.is_finite() && *value != 0.0 {
                    let class = if strength > 0.55 { "on-strong" } else { "value" };
                    drawing.text(
                        class,
                        [x + cell / 2.0, y + row_height / 2.0 + 4.0],
                        Anchor::Middle,
                        &self.format.bare(*value),
                    );
                }
            }
        }
        drawing
    }
}
