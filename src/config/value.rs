//! What a key can hold: how it is read from what was written, and how it is shown again.
//!
//! Here are the contract and the plain types; types with rules of their own have their own files.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;

use super::node::{Kind, Node, Shape};

/// Something a key can hold.
pub(crate) trait Value: Sized {
    /// How a value from the environment or a flag is taken.
    const SHAPE: Shape = Shape::Text;

    /// Whether a value is, or holds, something that must never be shown.
    const SECRET: bool = false;

    /// What is accepted, as the end of the sentence "allowed: …".
    fn allowed(range: &RangeInclusive<i64>) -> String;

    /// Judges a written value. `range` bounds whole numbers and is ignored by every other type.
    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused>;

    /// The value in TOML; secrets masked.
    fn render(&self) -> String;
}

/// Why a value is refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The part which is refused, if not the whole; empty without a file.
    pub(crate) span: Range<usize>,
    /// The path from the key to that part: `[0].urls[1]`.
    pub(crate) path: String,
    /// What is wrong, after the key: `cannot be "x"`.
    pub(crate) complaint: String,
    pub(crate) allowed: String,
    pub(crate) hint: Option<String>,
}

impl Refused {
    pub(crate) fn new(node: &Node, allowed: impl Into<String>) -> Self {
        Self {
            span: node.span.clone(),
            path: String::new(),
            complaint: format!("cannot be {}", node.shown()),
            allowed: allowed.into(),
            hint: None,
        }
    }

    pub(crate) fn masked(mut self) -> Self {
        self.complaint = "cannot be what is written (not shown: it may be secret)".to_owned();
        self
    }

    pub(crate) fn complaint(mut self, complaint: impl Into<String>) -> Self {
        self.complaint = complaint.into();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn below(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

impl Value for bool {
    const SHAPE: Shape = Shape::Switch;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match node.kind {
            Kind::Switch(on) => Ok(on),
            _ => Err(Refused::new(node, Self::allowed(range))),
        }
    }

    fn render(&self) -> String {
        self.to_string()
    }
}

macro_rules! whole_numbers {
    ($($number:ty),+) => {$(
        impl Value for $number {
            const SHAPE: Shape = Shape::Number;

            fn allowed(range: &RangeInclusive<i64>) -> String {
                format!("a whole number from {} to {}", range.start(), range.end())
            }

            fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
                match node.kind {
                    Kind::Number(number) if range.contains(&number) => Self::try_from(number).ok(),
                    _ => None,
                }
                .ok_or_else(|| Refused::new(node, Self::allowed(range)))
            }

            fn render(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

whole_numbers!(u16, u32, u64, usize, i64);

/// A file; empty: none.
impl Value for PathBuf {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "the path of a file, or \"\"".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match &node.kind {
            // No path has it, and the kernel's word for it is hard to understand.
            Kind::Text(text) if !text.contains('\0') => Ok(Self::from(text)),
            _ => Err(Refused::new(node, Self::allowed(range))),
        }
    }

    fn render(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// Something that an empty text stands for the lack of.
impl<T: Value> Value for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const SECRET: bool = T::SECRET;

    fn allowed(range: &RangeInclusive<i64>) -> String {
        format!("{}, or \"\"", T::allowed(range))
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match &node.kind {
            Kind::Text(text) if text.is_empty() => Ok(None),
            _ => T::read(node, range).map(Some),
        }
    }

    fn render(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), T::render)
    }
}

impl<T: Value> Value for Vec<T> {
    const SHAPE: Shape = match T::SHAPE {
        Shape::Tables => Shape::Tables,
        _ => Shape::List,
    };
    const SECRET: bool = T::SECRET;

    fn allowed(range: &RangeInclusive<i64>) -> String {
        format!("a list, each {}", T::allowed(range))
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let Kind::List(items) = &node.kind else {
            let refused = Refused::new(node, Self::allowed(range));
            return Err(if T::SECRET { refused.masked() } else { refused });
        };
        let mut values = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let value = T::read(item, range).map_err(|e| e.below(&format!("[{index}]")))?;
            values.push(value);
        }
        Ok(values)
    }

    fn render(&self) -> String {
        let items: Vec<String> = self.iter().map(Value::render).collect();
        format!("[{}]", items.join(", "))
    }
}

impl Value for String {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a text".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        match &node.kind {
            Kind::Text(text) => Ok(text.clone()),
            _ => Err(Refused::new(node, Self::allowed(range))),
        }
    }

    fn render(&self) -> String {
        quoted(self)
    }
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
