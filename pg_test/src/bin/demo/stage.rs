//! How the play is told: plain text within 100 columns; styles that anstream leaves out unless on a terminal.

use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use pg_test::figures::grouped;
use pg_test::{During, Failure, Rows};

pub const STATEMENT: Style = AnsiColor::Cyan.on_default();
pub const FAINT: Style = Style::new().dimmed();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
pub const PLAIN: Style = Style::new();
const HEADING: Style = Style::new().bold();

const WIDTH: usize = 100;
const INDENT: usize = 2;
/// Where the text of a line with a time begins.
const AFTER_TIME: usize = 14;

/// One line.
///
/// # Errors
/// When nobody reads any more.
pub fn line(text: impl Display) -> Result<(), Failure> {
    writeln!(anstream::stdout(), "{text}").during("tell the play")
}

/// The title of an act, with an empty line before it.
pub fn heading(text: &str) -> Result<(), Failure> {
    line(format_args!("\n{HEADING}{text}{HEADING:#}"))
}

/// A paragraph, broken into lines.
pub fn paragraph(style: Style, text: &str) -> Result<(), Failure> {
    for piece in wrap(text, WIDTH - INDENT) {
        line(format_args!("{:INDENT$}{style}{piece}{style:#}", ""))?;
    }
    Ok(())
}

/// Something, and what is to be said of it.
pub fn entry(name: &str, text: &str) -> Result<(), Failure> {
    const TEXT: usize = 30;
    for (i, piece) in wrap(text, WIDTH - TEXT).iter().enumerate() {
        let name = if i == 0 { name } else { "" };
        let space = TEXT - INDENT;
        line(format_args!("{:INDENT$}{name:space$}{piece}", ""))?;
    }
    Ok(())
}

/// What happened, and when.
pub fn at(time: Duration, style: Style, text: &str) -> Result<(), Failure> {
    for (i, piece) in wrap(text, WIDTH - AFTER_TIME).iter().enumerate() {
        let time = if i == 0 {
            format!("{} ms", grouped(time.as_millis()))
        } else {
            String::new()
        };
        let space = AFTER_TIME - 2;
        line(format_args!(
            "{FAINT}{time:>space$}{FAINT:#}  {style}{piece}{style:#}"
        ))?;
    }
    Ok(())
}

/// A statement, as somebody would type it.
pub fn statement(sql: &str) -> Result<(), Failure> {
    for piece in sql.lines() {
        line(format_args!(
            "{:INDENT$}{STATEMENT}{piece}{STATEMENT:#}",
            ""
        ))?;
    }
    Ok(())
}

/// A result, as psql shows it.
pub fn table(rows: &Rows) -> Result<(), Failure> {
    for piece in rows.to_string().lines() {
        line(format_args!("{:INDENT$}{piece}", ""))?;
    }
    Ok(())
}

/// `1.4 ms`, `87 ms`, `5,012 ms`.
pub fn milliseconds(length: Duration) -> String {
    match length.as_secs_f64() * 1000.0 {
        ms @ ..10.0 => format!("{ms:.1} ms"),
        ms => format!("{} ms", grouped(ms.round() as u128)),
    }
}

/// Lines of at most `width` characters, broken at spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let full = lines
            .last()
            .is_some_and(|l| !l.is_empty() && l.chars().count() + 1 + word.chars().count() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(last) = lines.last_mut() {
            let space = if last.is_empty() { "" } else { " " };
            // Writing to a String cannot fail.
            let _ = write!(last, "{space}{word}");
        }
    }
    lines
}
