//! What is printed: aligned Markdown tables, and below each the targets with `ok` or `MISSED`.

use std::io::IsTerminal;
use std::time::Duration;

use crate::figures::seconds;

/// Standard output, and how many targets were met.
pub struct Sheet {
    met: usize,
    missed: usize,
}

impl Sheet {
    pub fn new() -> Sheet {
        Sheet { met: 0, missed: 0 }
    }

    /// A paragraph.
    pub fn say(&self, text: &str) {
        println!("{text}\n");
    }

    /// A heading with a paragraph below.
    pub fn heading(&self, title: &str, text: &str) {
        println!("### {title}\n\n{text}\n");
    }

    /// A table; all columns but the first are numbers, and aligned to the right.
    pub fn table(&self, header: &[&str], rows: &[Vec<String>]) {
        let width = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let widths = cells.map(|cell| cell.chars().count());
            widths
                .chain([header[column].chars().count()])
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..header.len()).map(width).collect();
        let line = |cell: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = (0..header.len()).map(cell).collect();
            println!("| {} |", cells.join(" | "));
        };
        let fill = |text: &str, column: usize| {
            let width = widths[column];
            if column == 0 {
                format!("{text:width$}")
            } else {
                format!("{text:>width$}")
            }
        };
        line(&|i| fill(header[i], i));
        line(&|i| {
            if i == 0 {
                "-".repeat(widths[i])
            } else {
                "-".repeat(widths[i] - 1) + ":"
            }
        });
        for row in rows {
            line(&|i| fill(row.get(i).map_or("", String::as_str), i));
        }
        println!();
    }

    /// Whether a target was met: what was wanted, and what was measured.
    pub fn target(&mut self, is_met: bool, wanted: &str, measured: &str) {
        if is_met {
            self.met += 1;
        } else {
            self.missed += 1;
        }
        println!(
            "- {}: {wanted}: {measured}",
            if is_met { "ok" } else { "MISSED" }
        );
    }

    /// Ends the list of targets.
    pub fn end_targets(&self) {
        println!();
    }

    /// The last line.
    pub fn end(&self, took: Duration) {
        let of = self.met + self.missed;
        if of > 0 {
            println!("{} of {of} targets met, in {}.", self.met, seconds(took));
        }
    }
}

/// Tells a person who waits at a terminal that something has been done.
pub fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("  {what}");
    }
}
