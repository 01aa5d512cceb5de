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
