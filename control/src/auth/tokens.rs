//! Tokens that are written down: in the configuration, or in a file of their own.

use std::collections::HashSet;

use super::grant::Rights;
use super::tag::{Kind, Tag, Tagger};

/// A token and what it opens.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) tag: Tag,
    pub(super) rights: Rights,
    /// A stream's name, or `*`.
    pub(super) stream: String,
}

impl Token {
    /// Those of a list that all have these rights on all streams, added to `tokens`.
    pub(super) fn collect(
        tokens: &mut Vec<Token>,
        tagger: &Tagger,
        list: &[String],
        rights: Rights,
    ) {
        for text in list {
            let tag = tagger.tag(Kind::Token, text);
            match tokens.iter_mut().find(|known| known.tag.is(&tag)) {
                Some(known) => known.rights = known.rights | rights,
                None => tokens.push(Token {
                    tag,
                    rights,
                    stream: "*".to_owned(),
                }),
            }
        }
    }

    /// Reads a file of them: lines of rights, token and, unless it is for all, a stream.
    ///
    /// # Errors
    /// Which line is wrong and why, without what is written there.
    pub(super) fn parse(tagger: &Tagger, text: &[u8]) -> Result<Vec<Token>, String> {
        let text = str::from_utf8(text).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut seen = HashSet::new();
        let mut tokens = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |why: &str| format!("line {}: {why}", index + 1);
            let token = Token::read(tagger, line).map_err(wrong)?;
            if !seen.insert(token.tag.number()) {
                return Err(wrong("this token stands in the file already"));
            }
            if tokens.len() >= TOKENS_MAX {
                return Err(wrong("there are more than 10000 tokens"));
            }
            tokens.push(token);
        }
        Ok(tokens)
    }

    fn read(tagger: &Tagger, line: &str) -> Result<Token, &'static str> {
        let (words, rest) = line.split_once(char::is_whitespace).ok_or(SHAPE)?;
        let mut rights = Rights::NONE;
        for word in words.split(',') {
            rights = rights | Rights::parse(word).ok_or(SHAPE)?;
        }
        let rest = rest.trim_start();
        let (token, stream) = rest.split_once(char::is_whitespace).unwrap_or((rest, "*"));
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a token has visible ASCII characters only");
        }
        Ok(Token {
            tag: tagger.tag(Kind::Token, token),
            rights,
            stream: stream.trim_start().to_owned(),
        })
    }
}

const SHAPE: &str = "it is not RIGHTS TOKEN [STREAM], where RIGHTS is all, or some of publish, \
                     watch and manage with commas between";
/// Each request is compared with all of them.
const TOKENS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<(u8, String)>, String> {
        let tagger = Tagger::new().expect("random bits");
        let tokens = Token::parse(&tagger, text.as_bytes())?;
        let shown = tokens.into_iter();
        Ok(shown
            .map(|token| (token.rights.bits(), token.stream))
            .collect())
    }

    #[test]
    fn lines_say_what_a_token_opens() {
        let text = "# rights token stream\n\n\
             all one\n  publish\ttwo   cam\n\
             watch three my cam \r\npublish,watch four\nmanage five *\n";
        let star = "*".to_owned();
        assert_eq!(
            parse(text),
            Ok(vec![
                (7, star.clone()),
                (2, "cam".to_owned()),
                (4, "my cam".to_owned()),
                (6, star.clone()),
                (1, star),
            ])
        );
        assert_eq!(parse(""), Ok(Vec::new()));
    }

    #[test]
    fn a_wrong_line_is_named_and_not_repeated() {
        for (text, line) in [
            ("hush", "line 1"),
            ("all a\npublish", "line 2"),
            ("#\n\nwrite hush", "line 3"),
            ("publish, hush", "line 1"),
            ("Publish hush", "line 1"),
            ("all hüsh", "line 1"),
            ("all hush\nwatch hush cam", "line 2"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.starts_with(line), "{why}");
            assert!(!why.contains("hush"), "{why}");
        }
    }

    #[test]
    fn a_token_in_two_lists_has_the_rights_of_both() {
        let tagger = Tagger::new().expect("random bits");
        let mut tokens = Vec::new();
        let list = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| (*name).to_owned()).collect()
        };
        Token::collect(&mut tokens, &tagger, &list(&["a", "b"]), Rights::PUBLISH);
        Token::collect(&mut tokens, &tagger, &list(&["b", "c"]), Rights::SUBSCRIBE);
        let bits: Vec<u8> = tokens.iter().map(|token| token.rights.bits()).collect();
        assert_eq!(bits, [2, 6, 4]);
    }
}
