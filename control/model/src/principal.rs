use std::time::Instant;

/// Who asks. Sessions remember theirs; another one's session is as good as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Principal {
    /// Nobody in particular: the node asks for no credentials.
    #[default]
    Anonymous,
    /// The bearer of a token. The number is the same for the same bearer while the process lives;
    /// nothing about the token can be told from it.
    Bearer(u128),
}

/// What somebody was let in by. A session ends when the authority it was made under does.
///
/// The numbers are the same for the same thing while the process lives, and nothing can be told
/// from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// When it ends by itself.
    pub until: Option<Instant>,
    /// The key or token it comes from, for as long as that is one of ours.
    pub root: u128,
    /// What it can be revoked by.
    pub names: Vec<u128>,
}
