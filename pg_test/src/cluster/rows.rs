//! Results as text, the way psql shows them: simple query protocol, no types.

use std::sync::Arc;

use postgres::SimpleQueryMessage;

/// The rows of a result; of several statements, those of all.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    affected: u64,
}

impl Rows {
    pub(super) fn from_messages(messages: Vec<SimpleQueryMessage>) -> Self {
        let mut rows = Vec::new();
        let mut affected = 0;
        for message in messages {
            match message {
                SimpleQueryMessage::Row(row) => {
                    let columns: Arc<[String]> = row
                        .columns()
                        .iter()
                        .map(|column| column.name().to_owned())
                        .collect();
                    let values = (0..row.len())
                        .map(|i| row.get(i).map(str::to_owned))
                        .collect();
                    rows.push(Row { columns, values });
                }
                SimpleQueryMessage::CommandComplete(count) => affected = count,
                _ => {}
            }
        }
        Self { rows, affected }
    }

    /// Rows that no server gave.
    #[cfg(test)]
    pub(super) fn from_texts(columns: &[&str], rows: &[&[Option<&str>]]) -> Self {
        let columns: Arc<[String]> = columns.iter().map(|name| (*name).to_owned()).collect();
        let rows = rows.iter().map(|values| Row {
            columns: Arc::clone(&columns),
            values: values.iter().map(|v| v.map(str::to_owned)).collect(),
        });
        Self {
            rows: rows.collect(),
            affected: 0,
        }
    }

    /// What the last command tag counts.
    pub fn affected(&self) -> u64 {
        self.affected
    }

    /// The first column of the first row, unless null or absent.
    pub fn value(&self) -> Option<&str> {
        self.rows.first()?.values.first()?.as_deref()
    }

    /// These columns of all rows.
    ///
    /// # Panics
    /// When there is no such column.
    #[track_caller]
    pub fn select(&self, columns: &[&str]) -> Self {
        let names: Arc<[String]> = columns.iter().map(|name| (*name).to_owned()).collect();
        let select = |row: &Row| Row {
            columns: Arc::clone(&names),
            values: columns
                .iter()
                .map(|name| row.get(name).map(str::to_owned))
                .collect(),
        };
        Self {
            rows: self.rows.iter().map(select).collect(),
            affected: self.affected,
        }
    }

    /// One column of all rows.
    ///
    /// # Panics
    /// When there is no such column.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<Option<&str>> {
        self.rows.iter().map(|row| row.get(name)).collect()
    }

    /// The only row.
    ///
    /// # Panics
    /// When there are none, or several.
    #[track_caller]
    pub fn only(&self) -> &Row {
        assert!(
            self.rows.len() == 1,
            "one row expected, found {}: {self:#?}",
            self.rows.len()
        );
        &self.rows[0]
    }
}

impl std::ops::Deref for Rows {
    type Target = [Row];

    fn deref(&self) -> &[Row] {
        &self.rows
    }
}

/// A row of texts and nulls.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Option<String>>,
}

impl Row {
    /// The value of a column, `None` if null.
    ///
    /// # Panics
    /// When there is no such column.
    #[track_caller]
    pub fn get(&self, column: &str) -> Option<&str> {
        match self.columns.iter().position(|name| name == column) {
            Some(at) => self.values[at].as_deref(),
            None => panic!("no column {column} among {:?}", self.columns),
        }
    }

    /// The value of a column that is not null.
    ///
    /// # Panics
    /// When it is null, or there is no such column.
    #[track_caller]
    pub fn text(&self, column: &str) -> &str {
        match self.get(column) {
            Some(value) => value,
            None => panic!("column {column} is null in {self:?}"),
        }
    }

    /// The names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// All values, in the order of the columns.
    pub fn values(&self) -> &[Option<String>] {
        &self.values
    }
}

// {column: value, …} is what one wants to see of a row in a failing test.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(self.columns.iter().zip(&self.values))
            .finish()
    }
}

/// An error of the server as psql would print it: severity, SQLSTATE, message, detail and hint.
pub(super) fn describe(error: &postgres::Error) -> String {
    let Some(db) = error.as_db_error() else {
        return error.to_string();
    };
    let mut text = format!("{} {}: {}", db.severity(), db.code().code(), db.message());
    for (name, value) in [
        ("DETAIL", db.detail()),
        ("HINT", db.hint()),
        ("CONTEXT", db.where_()),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("\n{name}: {value}"));
        }
    }
    text
}
