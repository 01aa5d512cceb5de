//! Lines over time as an SVG, for the documentation.

use std::fmt::Write;

/// A picture of rates over time.
#[derive(Debug, Default)]
pub struct Plot {
    title: String,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    name: String,
    colour: &'static str,
    /// Seconds, and bits per second from then on.
    points: Vec<(f64, f64)>,
}

impl Plot {
    /// Without a line yet.
    pub fn new(title: &str) -> Self {
        Plot {
            title: title.to_owned(),
            lines: Vec::new(),
        }
    }

    /// Draws a rate: seconds, and bits per second from then on.
    pub fn line(&mut self, name: &str, colour: &'static str, points: &[(f64, f64)]) {
        self.lines.push(Line {
            name: name.to_owned(),
            colour,
            points: points.to_vec(),
        });
    }

    /// The picture; numbers are cut to tenths of a pixel, so that the same run gives the same bytes.
    pub fn svg(&self) -> String {
        let all = || self.lines.iter().flat_map(|line| &line.points);
        let seconds = all().map(|point| point.0).fold(1.0, f64::max);
        let most = all().map(|point| point.1).fold(1e6, f64::max);
        let mbps = (most / 1e6).ceil();
        let x = |at: f64| LEFT + at / seconds * (WIDTH - LEFT - RIGHT);
        let y = |bps: f64| HEIGHT - BOTTOM - bps / (1e6 * mbps) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"14\">{}</text>\n",
            self.title
        );
        for step in 0..=mbps as u32 {
            let at = y(1e6 * f64::from(step));
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"4\" y=\"{:.1}\">{step} Mbit/s</text>",
                WIDTH - RIGHT,
                at + 4.0
            );
        }
        for second in (0..=seconds as u32).step_by(10) {
            let at = x(f64::from(second));
            let text = HEIGHT - BOTTOM + 16.0;
            let _ = writeln!(out, "<text x=\"{at:.1}\" y=\"{text}\">{second} s</text>");
        }
        for (place, line) in (0..).zip(&self.lines) {
            let mut path = String::new();
            for (at, bps) in &line.points {
                let (x, y) = (x(*at), y(*bps));
                let _ = match path.is_empty() {
                    true => write!(path, "M{x:.1} {y:.1}"),
                    false => write!(path, "H{x:.1}V{y:.1}"),
                };
            }
            let colour = line.colour;
            let name_at = LEFT + 160.0 * f64::from(place);
            let _ = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
                 <text x=\"{name_at}\" y=\"{}\" fill=\"{colour}\">{}</text>",
                HEIGHT - 6.0,
                line.name
            );
        }
        out.push_str("</svg>\n");
        out
    }
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 42.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_drawn_as_steps_within_the_picture() {
        let mut plot = Plot::new("a title");
        plot.line("link", "#888", &[(0.0, 2e6), (20.0, 600e3), (40.0, 600e3)]);
        let svg = plot.svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("M64.0 28.0H457.0V189.0H850.0V189.0"), "{svg}");
        assert!(svg.contains(">a title<") && svg.contains(">20 s<") && svg.contains(">2 Mbit/s<"));
    }
}
