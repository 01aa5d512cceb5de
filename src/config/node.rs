//! A setting as it was written, before it is judged: one form for the file, the environment and
//! flags.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// A written value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Byte range in the file; empty for values which do not come from a file.
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

/// What a written value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Switch(bool),
    Number(i64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A TOML value no key takes, by its name: a float, a date, a number beyond 64 bits.
    Other(&'static str),
}

/// One `name = value` of a table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) name_span: Range<usize>,
    pub(crate) node: Node,
}

/// How a value without TOML's syntax, from the environment or a flag, is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Number,
    Switch,
    /// Comma-separated words, or a TOML array.
    List,
    /// A TOML array of inline tables.
    Tables,
}

impl Node {
    /// A value without a place in a file.
    pub(crate) fn loose(kind: Kind) -> Self {
        Self { span: 0..0, kind }
    }

    /// Takes the text of an environment variable or flag. A text that does not fit its shape stays
    /// a text, for the key to refuse.
    pub(crate) fn from_text(text: &str, shape: Shape) -> Self {
        let text = text.trim();
        let as_text = || Kind::Text(text.to_owned());
        let kind = match shape {
            Shape::Text => as_text(),
            Shape::Number => text.parse().map_or_else(|_| as_text(), Kind::Number),
            Shape::Switch => text.parse().map_or_else(|_| as_text(), Kind::Switch),
            Shape::List if text.starts_with('[') => toml_array(text).unwrap_or_else(as_text),
            Shape::List => Kind::List(
                text.split(',')
                    .map(str::trim)
                    .filter(|word| !word.is_empty())
                    .map(|word| Self::loose(Kind::Text(word.to_owned())))
                    .collect(),
            ),
            Shape::Tables => toml_array(text).unwrap_or_else(as_text),
        };
        Self::loose(kind)
    }

    /// Takes a parsed TOML value.
    pub(crate) fn from_toml(value: &DeValue<'_>, span: Range<usize>) -> Self {
        let kind = match value {
            DeValue::Boolean(on) => Kind::Switch(*on),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Kind::Other("a number beyond 64 bits"), Kind::Number),
            DeValue::String(text) => Kind::Text(text.clone().into_owned()),
            DeValue::Array(items) => Kind::List(
                items
                    .iter()
                    .map(|item| Self::from_toml(item.get_ref(), item.span()))
                    .collect(),
            ),
            DeValue::Table(table) => Kind::Table(Self::entries(table)),
            DeValue::Float(_) => Kind::Other("a number with a fraction"),
            DeValue::Datetime(_) => Kind::Other("a date or time"),
        };
        Self { span, kind }
    }

    /// The entries of a TOML table in the order they are written.
    pub(crate) fn entries(table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(name, value)| Entry {
                name: name.get_ref().clone().into_owned(),
                name_span: name.span(),
                node: Self::from_toml(value.get_ref(), value.span()),
            })
            .collect();
        entries.sort_by_key(|entry| entry.name_span.start);
        entries
    }

    /// What to show of a refused value: scalars as written, of everything else only what it is.
    pub(crate) fn shown(&self) -> String {
        match &self.kind {
            Kind::Switch(on) => on.to_string(),
            Kind::Number(number) => number.to_string(),
            Kind::Text(text) => shorten(text),
            Kind::List(_) => "a list".to_owned(),
            Kind::Table(_) => "a table".to_owned(),
            Kind::Other(name) => (*name).to_owned(),
        }
    }
}

/// Quotes a text for a message: control characters escaped, cut at [`SHOWN_CHARS_MAX`].
pub(crate) fn shorten(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}

fn toml_array(text: &str) -> Option<Kind> {
    let document = format!("value = {text}");
    let table = DeTable::parse(&document).ok()?;
    let value = table.get_ref().get("value")?;
    let node = Node::from_toml(value.get_ref(), 0..0);
    // A line break in `text` could smuggle in further keys.
    (table.get_ref().len() == 1 && matches!(node.kind, Kind::List(_))).then_some(node.kind)
}

/// Longest piece of a refused text that is repeated in a message.
const SHOWN_CHARS_MAX: usize = 80;
