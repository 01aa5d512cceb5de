//! Offers parsed and judged, answers, counter-offers and fragments rendered.
