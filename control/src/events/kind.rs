//! The types of events (WHEP extensions, "Server Sent Events").

/// One type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Active,
    Inactive,
    Layers,
    Reconnect,
    ViewerCount,
}

impl Kind {
    pub(super) const ALL: [Kind; 5] = [
        Kind::Active,
        Kind::Inactive,
        Kind::Layers,
        Kind::Reconnect,
        Kind::ViewerCount,
    ];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Kind::Active => "active",
            Kind::Inactive => "inactive",
            Kind::Layers => "layers",
            Kind::Reconnect => "reconnect",
            Kind::ViewerCount => "viewercount",
        }
    }

    /// Whether only the newest one means anything.
    pub(super) fn is_state(self) -> bool {
        matches!(self, Kind::Layers | Kind::ViewerCount)
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
    pub(super) fn all() -> Self {
        Wanted(Kind::ALL.to_vec())
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
