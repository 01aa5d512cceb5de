//! The HTTP control plane: WHIP, WHEP, sessions, API dialects and the web page.
