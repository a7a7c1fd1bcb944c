//! A result as psql shows it with `\pset border 0`: for people to read.

use std::fmt;

use super::{Row, Rows};

impl fmt::Display for Rows {
    /// Column names, a rule below them, the rows, and their number; nothing for a statement without a result.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.first() else {
            return f.write_str("(0 rows)\n");
        };
        let columns = first.columns();
        let widths: Vec<usize> = columns
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let cells = self.iter().map(|row| cell(row, i));
                cells
                    .chain([name.as_str()])
                    .map(|text| text.chars().count())
                    .max()
                    .unwrap_or(0)
            })
            .collect();
        write_line(f, &widths, |i| columns[i].clone())?;
        write_line(f, &widths, |i| "-".repeat(widths[i]))?;
        for row in self.iter() {
            write_line(f, &widths, |i| cell(row, i).to_owned())?;
        }
        match self.len() {
            1 => f.write_str("(1 row)\n"),
            count => writeln!(f, "({count} rows)"),
        }
    }
}

fn cell(row: &Row, column: usize) -> &str {
    row.values()[column].as_deref().unwrap_or_default()
}

fn write_line(
    f: &mut fmt::Formatter<'_>,
    widths: &[usize],
    text: impl Fn(usize) -> String,
) -> fmt::Result {
    let cells: Vec<String> = widths
        .iter()
        .enumerate()
        .map(|(i, width)| format!("{:width$}", text(i)))
        .collect();
    writeln!(f, "{}", cells.join(" ").trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let rows = Rows::from_texts(
            &["pid", "class"],
            &[&[Some("24484"), Some("backup")], &[Some("7"), None]],
        );
        assert_eq!(
            rows.to_string(),
            "pid   class\n----- ------\n24484 backup\n7\n(2 rows)\n"
        );
    }

    #[test]
    fn an_empty_result_is_said_to_be_one() {
        assert_eq!(Rows::default().to_string(), "(0 rows)\n");
    }
}
