//! The per-core loop: joins the sans-IO engine with a UDP back end.
