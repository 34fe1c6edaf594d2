//! A matrix most of whose elements are zero, by rows.

/// Compressed sparse rows: row `i` has its non-zero `columns` and `values` at `starts[i]..starts[i + 1]`, columns ascending.
#[derive(Debug, Clone)]
pub(super) struct Sparse {
    width: usize,
    starts: Vec<usize>,
    columns: Vec<u32>,
    values: Vec<f64>,
}

impl Sparse {
    /// A matrix of `width` columns and no rows yet.
    pub(super) fn new(width: usize) -> Sparse {
        Sparse {
            width,
            starts: vec![0],
            columns: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds a row, its columns ascending.
    pub(super) fn push(&mut self, row: impl IntoIterator<Item = (u32, f64)>) {
        for (column, value) in row {
            self.columns.push(column);
            self.values.push(value);
        }
        self.starts.push(self.columns.len());
    }

    /// Number of rows.
    pub(super) fn height(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Columns and values of row `index`.
    pub(super) fn row(&self, index: usize) -> (&[u32], &[f64]) {
        let range = self.starts[index]..self.starts[index + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// The same elements by columns.
    pub(super) fn transpose(&self) -> Sparse {
        let mut starts = vec![0; self.width + 1];
        for &column in &self.columns {
            starts[column as usize + 1] += 1;
        }
        for column in 0..self.width {
            starts[column + 1] += starts[column];
        }
        let mut next = starts.clone();
        let (mut columns, mut values) = (vec![0; self.columns.len()], vec![0.0; self.values.len()]);
        for row in 0..self.height() {
            let (row_columns, row_values) = self.row(row);
            for (&column, &value) in row_columns.iter().zip(row_values) {
                let place = &mut next[column as usize];
                columns[*place] = row as u32;
                values[*place] = value;
                *place += 1;
            }
        }
        Sparse {
            width: self.height(),
            starts,
            columns,
            values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes() {
        let mut matrix = Sparse::new(4);
        matrix.push([(1, 0.5), (3, 2.0)]);
        matrix.push([]);
        matrix.push([(0, 1.0), (3, 4.0)]);
        let turned = matrix.transpose();
        assert_eq!((turned.height(), turned.width()), (4, 3));
        let rows: Vec<_> = (0..4).map(|row| turned.row(row)).collect();
        assert_eq!(rows[0], (&[2][..], &[1.0][..]));
        assert_eq!(rows[1], (&[0][..], &[0.5][..]));
        assert_eq!(rows[2], (&[][..], &[][..]));
        assert_eq!(rows[3], (&[0, 2][..], &[2.0, 4.0][..]));
        assert_eq!(turned.transpose().row(2), matrix.row(2));
    }
}
