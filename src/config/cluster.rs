//! Values that describe nodes and those who look after them.

use std::fmt;
use std::ops::RangeInclusive;

use super::node::{Entry, Kind, Node, Shape, shorten};
use super::problem::nearest;
use super::secret::{Secret, Token};
use super::value::{Refused, Value, quoted};

/// A node's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias(whitewater_control::NodeName);

impl Alias {
    /// The name.
    pub fn name(&self) -> &whitewater_control::NodeName {
        &self.0
    }
}

impl Value for Alias {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "1 to 64 letters, digits, dots, hyphens and underscores".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        match &node.kind {
            Kind::Text(text) => whitewater_control::NodeName::parse(text)
                .map(Alias)
                .map_err(|_| refused()),
            _ => Err(refused()),
        }
    }

    fn render(&self) -> String {
        quoted(self.0.as_str())
    }
}

/// An absolute `http` or `https` URL without query, fragment and user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))?;
        let host = rest.split('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
        let good = !host.is_empty() && !host.starts_with(':') && rest.chars().all(plain);
        good.then(|| Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Value for BaseUrl {
    fn allowed(_: &RangeInclusive<i64>) -> String {
        "a URL as \"http://10.0.0.1:7777\", without query and user name".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range));
        match &node.kind {
            Kind::Text(text) => BaseUrl::parse(text).ok_or_else(|| {
                if text.contains('@') {
                    refused().masked()
                } else {
                    refused()
                }
            }),
            _ => Err(refused()),
        }
    }

    fn render(&self) -> String {
        quoted(&self.0)
    }
}

/// A node that a manager is told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Its name.
    pub alias: Alias,
    /// Where its API is.
    pub url: BaseUrl,
    /// What it is shown; none: nothing.
    pub token: Option<Token>,
    /// Where it stands; none: what it says itself.
    pub region: Option<String>,
    /// Publishers it takes; none: what it says itself.
    pub pub_max: Option<u32>,
    /// Viewers it takes; none: what it says itself.
    pub sub_max: Option<u32>,
}

impl Value for NodeEntry {
    const SHAPE: Shape = Shape::Tables;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "{ alias = \"a\", url = \"http://10.0.0.1:7777\", token = \"…\", region = \"…\", \
         pub_max = 100, sub_max = 1000 }, or \"a=http://10.0.0.1:7777,region=eu\""
            .to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let refused = || Refused::new(node, Self::allowed(range)).masked();
        let mut parts = Parts::default();
        match &node.kind {
            Kind::Text(text) => parts.read_text(node, text, range)?,
            Kind::Table(entries) => {
                for entry in entries {
                    parts.read_entry(entry)?;
                }
            }
            _ => return Err(refused()),
        }
        let (Some(alias), Some(url)) = (parts.alias, parts.url) else {
            return Err(refused().complaint("needs alias and url"));
        };
        Ok(NodeEntry {
            alias,
            url,
            token: parts.token,
            region: parts.region,
            pub_max: parts.pub_max,
            sub_max: parts.sub_max,
        })
    }

    fn render(&self) -> String {
        let mut text = format!(
            "{{ alias = {}, url = {}",
            self.alias.render(),
            self.url.render()
        );
        if let Some(token) = &self.token {
            text += &format!(", token = {}", token.render());
        }
        if let Some(region) = &self.region {
            text += &format!(", region = {}", quoted(region));
        }
        for (name, number) in [("pub_max", self.pub_max), ("sub_max", self.sub_max)] {
            if let Some(number) = number {
                text += &format!(", {name} = {number}");
            }
        }
        text + " }"
    }
}

/// What was said of a node so far.
#[derive(Default)]
struct Parts {
    alias: Option<Alias>,
    url: Option<BaseUrl>,
    token: Option<Token>,
    region: Option<String>,
    pub_max: Option<u32>,
    sub_max: Option<u32>,
}

impl Parts {
    /// `ALIAS=URL[,region=R]`, as a flag has it. A token has no place there: flags can be read by
    /// everybody on the machine.
    fn read_text(
        &mut self,
        node: &Node,
        text: &str,
        range: &RangeInclusive<i64>,
    ) -> Result<(), Refused> {
        let refused = || Refused::new(node, NodeEntry::allowed(range)).masked();
        let mut words = text.split(',');
        let first = words.next().unwrap_or_default();
        let (alias, url) = first.split_once('=').ok_or_else(refused)?;
        let loose = |text: &str| Node {
            span: node.span.clone(),
            kind: Kind::Text(text.to_owned()),
        };
        self.alias = Some(Alias::read(&loose(alias), range)?);
        self.url = Some(BaseUrl::parse(url).ok_or_else(refused)?);
        for word in words {
            match word.split_once('=') {
                Some(("region", region)) => self.region = Some(region.to_owned()),
                Some(("pub_max", number)) => {
                    self.pub_max = Some(number.parse().map_err(|_| refused())?);
                }
                Some(("sub_max", number)) => {
                    self.sub_max = Some(number.parse().map_err(|_| refused())?);
                }
                _ => return Err(refused()),
            }
        }
        Ok(())
    }

    fn read_entry(&mut self, entry: &Entry) -> Result<(), Refused> {
        let below = |refused: Refused| refused.below(&format!(".{}", entry.name));
        let node = &entry.node;
        let range = &COUNTS;
        match entry.name.as_str() {
            "alias" => self.alias = Some(Alias::read(node, range).map_err(below)?),
            "url" => self.url = Some(BaseUrl::read(node, range).map_err(below)?),
            "token" => self.token = Option::read(node, range).map_err(below)?,
            "region" => self.region = Some(String::read(node, range).map_err(below)?),
            "pub_max" => self.pub_max = Some(u32::read(node, range).map_err(below)?),
            "sub_max" => self.sub_max = Some(u32::read(node, range).map_err(below)?),
            _ => {
                let known = ["alias", "url", "token", "region", "pub_max", "sub_max"];
                return Err(unknown(entry, &known));
            }
        }
        Ok(())
    }
}

/// Somebody who may log in at a manager.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Secret,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Value for Account {
    const SHAPE: Shape = Shape::Tables;
    const SECRET: bool = true;

    fn allowed(_: &RangeInclusive<i64>) -> String {
        "{ username = \"…\", password = \"…\" }".to_owned()
    }

    fn read(node: &Node, range: &RangeInclusive<i64>) -> Result<Self, Refused> {
        let Kind::Table(entries) = &node.kind else {
            return Err(Refused::new(node, Self::allowed(range)).masked());
        };
        let mut account = Account {
            username: String::new(),
            password: Secret::default(),
        };
        for entry in entries {
            let below = |refused: Refused| refused.below(&format!(".{}", entry.name));
            match entry.name.as_str() {
                "username" => {
                    account.username = String::read(&entry.node, range).map_err(below)?;
                }
                "password" => {
                    account.password = Secret::read(&entry.node, range).map_err(below)?;
                }
                _ => return Err(unknown(entry, &["username", "password"])),
            }
        }
        if account.username.is_empty() || account.password.is_empty() {
            let complaint = "needs username and password";
            return Err(Refused::new(node, Self::allowed(range)).complaint(complaint));
        }
        Ok(account)
    }

    fn render(&self) -> String {
        format!(
            "{{ username = {}, password = {} }}",
            quoted(&self.username),
            self.password.render()
        )
    }
}

fn unknown(entry: &Entry, known: &[&str]) -> Refused {
    let mut refused = Refused::new(&entry.node, known.join(", "));
    refused.span.clone_from(&entry.name_span);
    refused = refused.complaint(format!("has no key {}", shorten(&entry.name)));
    match nearest(&entry.name, known.iter().copied()) {
        Some(near) => refused.hint(format!("did you mean {near}?")),
        None => refused,
    }
}

const COUNTS: RangeInclusive<i64> = 0..=65_535;

#[cfg(test)]
mod tests {
    use super::super::{ConfigError, Flag, Manager, Sources, load};

    fn manager(value: &str) -> Result<Manager, ConfigError> {
        let sources = Sources {
            flags: vec![Flag {
                path: "manager.nodes".to_owned(),
                value: Some(value.to_owned()),
                written: "--node".to_owned(),
            }],
            ..Sources::default()
        };
        load(&sources).map(|effective| effective.config.manager)
    }

    #[test]
    fn a_node_is_written_short_or_long() {
        let short = r#"["a=http://10.0.0.1:7777/,region=eu,sub_max=3"]"#;
        let long = r#"[{ alias = "a", url = "http://10.0.0.1:7777", region = "eu", sub_max = 3 }]"#;
        let nodes = manager(short).expect("good").nodes;
        assert_eq!(nodes, manager(long).expect("good").nodes);
        assert_eq!(nodes[0].url.as_str(), "http://10.0.0.1:7777");
        assert_eq!((nodes[0].pub_max, nodes[0].sub_max), (None, Some(3)));
    }

    #[test]
    fn what_is_no_node_is_refused_without_repeating_secrets() {
        for bad in [
            r#"["a"]"#,
            r#"["a=ftp://x"]"#,
            r#"["a=http://"]"#,
            r#"["a=http://x?q"]"#,
            r#"["a b=http://x"]"#,
            r#"["a=http://x,token=hush"]"#,
            r#"["a=http://user:hush@x"]"#,
            r#"[{ alias = "a" }]"#,
            r#"[{ alias = "a", url = "http://x", tokn = "hush" }]"#,
            r#"[{ alias = "a", url = "http://x", pub_max = 70000 }]"#,
            "[1]",
        ] {
            let text = manager(bad).expect_err(bad).to_string();
            assert!(text.contains("manager.nodes"), "{bad}: {text}");
            assert!(!text.contains("hush"), "{bad}: {text}");
        }
    }
}
