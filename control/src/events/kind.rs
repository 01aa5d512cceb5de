//! The types of events: those of the WHEP extensions ("Server Sent Events"), and of our own how loud
//! the publisher is.

/// One type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Active,
    Inactive,
    Layers,
    Level,
    Reconnect,
    Speaking,
    ViewerCount,
}

impl Kind {
    pub(super) const ALL: [Kind; 7] = [
        Kind::Active,
        Kind::Inactive,
        Kind::Layers,
        Kind::Level,
        Kind::Reconnect,
        Kind::Speaking,
        Kind::ViewerCount,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Active => "active",
            Kind::Inactive => "inactive",
            Kind::Layers => "layers",
            Kind::Level => "level",
            Kind::Reconnect => "reconnect",
            Kind::Speaking => "speaking",
            Kind::ViewerCount => "viewercount",
        }
    }

    /// Whether only the newest one means anything.
    pub(super) fn is_state(self) -> bool {
        matches!(
            self,
            Kind::Layers | Kind::Level | Kind::Speaking | Kind::ViewerCount
        )
    }
}

/// What is advertised, for the `events` attribute of the `Link`.
pub(super) fn all() -> String {
    Kind::ALL.map(Kind::as_str).join(",")
}

/// A choice of types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted(Vec<Kind>);

impl Wanted {
    /// What is meant by who names none: all but those that come all the time.
    pub(super) fn all() -> Self {
        let usual = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Level);
        Wanted(usual.collect())
    }

    /// Reads names.
    ///
    /// # Errors
    /// Whether a name is none of ours; which is not repeated.
    pub(super) fn read(names: &[String]) -> Result<Self, Unknown> {
        let known = |name: &String| Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        let kinds: Option<Vec<Kind>> = names.iter().map(known).collect();
        kinds.map(Wanted).ok_or(Unknown)
    }

    pub(super) fn has(&self, kind: Kind) -> bool {
        self.0.contains(&kind)
    }
}

/// A name of no type of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unknown;
