//! What is said when a setting is refused.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read; carries its path and the raw cause.
    Unreadable(PathBuf, io::Error),
    /// Settings are refused: at least one, in the order they are written.
    Refused(Vec<Problem>),
}

/// One refused setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where the setting is written.
    pub place: Place,
    /// What is wrong with it, naming the full key. Never contains the value of a secret.
    pub what: String,
    /// What would be accepted, and suggestions; one line each.
    pub help: Vec<String>,
}

/// Where a setting is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file; line and column count from 1, columns in characters.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// In an environment variable of this name.
    Environment(String),
    /// In a flag, as `--listen` or `--set http.listen`.
    Flag(String),
}

impl Place {
    /// The place of a byte range in `text`.
    pub(crate) fn in_file(path: PathBuf, text: &str, span: &Range<usize>) -> Self {
        let before = text.get(..span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self::File {
            path,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)?;
        for line in &self.help {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(path, cause) => {
                write!(f, "{}: cannot be read: {cause}", path.display())
            }
            Self::Refused(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let line_break = if index == 0 { "" } else { "\n" };
                    write!(f, "{line_break}{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(_, cause) => Some(cause),
            Self::Refused(_) => None,
        }
    }
}

/// The word of `known` a mistyped `word` was probably meant to be.
///
/// About a third of the letters may differ, and always one; two of five, so that a swap is found.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word.chars().take(WORD_CHARS_MAX).collect();
    let allowed = ((word.chars().count() + 1) / 3).max(1);
    known
        .map(|candidate| (distance(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance: insertions, deletions and exchanges of one character.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, left_char) in left.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, right_char) in right.iter().enumerate() {
            let exchanged = diagonal + usize::from(left_char != *right_char);
            diagonal = row[column + 1];
            row[column + 1] = exchanged.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

/// Words longer than this are cut before they are compared.
const WORD_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_single_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("lisen", "listen"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn nearest_word_is_found_only_when_near() {
        let known = || ["listen", "allowed_origins", "udp"].into_iter();
        assert_eq!(nearest("lisen", known()), Some("listen"));
        assert_eq!(nearest("Listen", known()), Some("listen"));
        assert_eq!(nearest("allowed_origin", known()), Some("allowed_origins"));
        assert_eq!(nearest("lsiten", known()), Some("listen"));
        assert_eq!(nearest("tls", known()), None);
        assert_eq!(nearest("", known()), None);
    }

    #[test]
    fn columns_count_characters_and_lines_count_from_one() {
        let text = "a = 1\nβγ = 2\n";
        let at = text.find('2').unwrap();
        let place = Place::in_file("f.toml".into(), text, &(at..at + 1));
        assert_eq!(place.to_string(), "f.toml:2:6");
        let end = Place::in_file("f.toml".into(), text, &(text.len()..text.len()));
        assert_eq!(end.to_string(), "f.toml:3:1");
        let beyond = Place::in_file("f.toml".into(), text, &(99..100));
        assert_eq!(beyond.to_string(), "f.toml:3:1");
    }
}
