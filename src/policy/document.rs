//! Reading typed values out of a JSON document, each with its path, so that a refusal can name it.

use super::problem::{Problem, quoted};
use serde_json::{Map, Value};

/// A value of the document and the path to it.
#[derive(Clone, Debug)]
pub struct Node<'a> {
    pub path: String,
    pub value: &'a Value,
}

impl<'a> Node<'a> {
    pub fn root(value: &'a Value) -> Node<'a> {
        Node {
            path: "$".into(),
            value,
        }
    }

    pub fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(&self.path, message)
    }

    /// Refuses the value for not being `expected`.
    fn mismatch(&self, expected: &str) -> Problem {
        let problem = self.problem(format!("expected {expected}, not {}", kind(self.value)));
        match self.value {
            Value::Null => problem.hint("Leave the key out for its default."),
            _ => problem,
        }
    }

    pub fn object(&self) -> Result<Object<'a>, Problem> {
        match self.value {
            Value::Object(map) => Ok(Object {
                path: self.path.clone(),
                map,
            }),
            _ => Err(self.mismatch("an object")),
        }
    }

    pub fn array(&self) -> Result<Vec<Node<'a>>, Problem> {
        match self.value {
            Value::Array(items) => Ok(items
                .iter()
                .enumerate()
                .map(|(i, value)| Node {
                    path: format!("{}[{i}]", self.path),
                    value,
                })
                .collect()),
            Value::String(_) | Value::Object(_) => Err(self
                .mismatch("an array")
                .hint("Write a single entry as an array of one.")),
            _ => Err(self.mismatch("an array")),
        }
    }

    pub fn string(&self) -> Result<&'a str, Problem> {
        self.value.as_str().ok_or_else(|| self.mismatch("a string"))
    }

    pub fn boolean(&self) -> Result<bool, Problem> {
        self.value
            .as_bool()
            .ok_or_else(|| self.mismatch("true or false"))
    }

    /// An integer within the bounds, both included.
    pub fn integer(&self, least: i64, most: i64) -> Result<i64, Problem> {
        match self.value {
            Value::Number(n) => n
                .as_i64()
                .filter(|n| (least..=most).contains(n))
                .ok_or_else(|| {
                    self.problem(format!(
                        "expected a whole number from {least} to {most}, not {n}"
                    ))
                }),
            _ => Err(self.mismatch("a whole number")),
        }
    }

    /// One of a few words.
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let given = self.string()?;
        words
            .iter()
            .find(|(word, _)| *word == given)
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                let valid: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.problem(format!("unknown value {}", quoted(given)))
                    .hint_nearest(given, &valid)
            })
    }
}

/// An object of the document and the path to it.
pub struct Object<'a> {
    path: String,
    map: &'a Map<String, Value>,
}

impl<'a> Object<'a> {
    pub fn get(&self, key: &str) -> Option<Node<'a>> {
        self.map.get(key).map(|value| Node {
            path: format!("{}.{key}", self.path),
            value,
        })
    }

    /// One that is none of these keys.
    pub fn other_than(&self, keys: &[&str]) -> Option<Node<'a>> {
        let key = self.map.keys().find(|key| !keys.contains(&key.as_str()))?;
        self.get(key)
    }

    /// Refuses keys other than these.
    pub fn only(&self, valid: &[&str]) -> Result<(), Problem> {
        match self.map.keys().find(|key| !valid.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(
                Problem::new(&self.path, format!("unknown key {}", quoted(key)))
                    .hint_nearest(key, valid),
            ),
        }
    }
}

/// As [`super::AsGiven`], for a server in UTF-8.
#[cfg(test)]
pub fn in_utf8(document: &Value) -> impl Fn(&str) -> Vec<crate::server_text::ServerText> {
    let given = document.clone();
    move |key| {
        let value = &given[key];
        let all = value
            .as_array()
            .map_or(std::slice::from_ref(value), |all| all);
        let texts = all.iter().filter_map(Value::as_str);
        texts
            .filter_map(crate::server_text::ServerText::of_bytes)
            .collect()
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
