//! Plots as SVG, without a library: a few lines and words.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 44.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 50.0;
/// Told apart by people who do not see all colours (Okabe and Ito 2008).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn begun(title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"white\"/>\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"11\">{}</text>",
        escaped(title)
    )
}

fn word(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>", escaped(text));
}

fn line(svg: &mut String, (x, y): (f64, f64), (to_x, to_y): (f64, f64)) {
    let _ =
        write!(svg, "<line x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\" stroke=\"#ccc\"/>");
}

/// Shares of what took up to so long: microseconds, on a logarithmic scale from 1 ms.
pub(super) fn cumulative(title: &str, curves: &[(&str, Vec<(u64, f64)>)]) -> String {
    let filled = || curves.iter().filter(|(_, points)| !points.is_empty());
    let longest = filled().flat_map(|(_, points)| points.last()).map(|(at, _)| *at).max().unwrap_or(1_000);
    let decades = ((longest.max(10_000) as f64) / 1000.0).log10().ceil();
    let x = |micros: u64| {
        let share = ((micros.max(1_000) as f64) / 1000.0).log10() / decades;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    };
    let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
    let mut svg = begun(title);
    for decade in 0..=decades as u32 {
        let at = x(1_000 * 10_u64.pow(decade));
        line(&mut svg, (at, y(0.0)), (at, y(1.0)));
        word(&mut svg, at, HEIGHT - BOTTOM + 16.0, "middle", &format!("{} ms", 10_u64.pow(decade)));
    }
    for tenth in [0.0, 0.25, 0.5, 0.75, 1.0] {
        line(&mut svg, (LEFT, y(tenth)), (WIDTH - RIGHT, y(tenth)));
        word(&mut svg, LEFT - 6.0, y(tenth) + 4.0, "end", &format!("{:.0} %", tenth * 100.0));
    }
    word(&mut svg, WIDTH / 2.0, HEIGHT - 12.0, "middle", "time until a peer has it");
    for (index, (name, points)) in filled().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let mut path = String::new();
        let mut before = 0.0;
        for (at, share) in points {
            let _ = write!(path, "{:.1},{:.1} {:.1},{:.1} ", x(*at), y(before), x(*at), y(*share));
            before = *share;
        }
        let _ = write!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <rect x=\"{:.1}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>",
            LEFT + 10.0,
            TOP + 6.0 + 18.0 * index as f64
        );
        word(&mut svg, LEFT + 28.0, TOP + 16.0 + 18.0 * index as f64, "start", name);
    }
    svg + "</svg>"
}

/// A bar for each value.
pub(super) fn bars(title: &str, unit: &str, values: &[(String, f64)]) -> String {
    let most = values.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(1e-9);
    let mut svg = begun(title);
    word(&mut svg, LEFT, TOP - 6.0, "start", unit);
    let step = (HEIGHT - TOP - BOTTOM) / values.len().max(1) as f64;
    for (index, (name, value)) in values.iter().enumerate() {
        let top = TOP + 8.0 + step * index as f64;
        let length = value / most * (WIDTH - LEFT - RIGHT - 150.0);
        let _ = write!(
            svg,
            "<rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            LEFT + 40.0,
            (step - 6.0).clamp(1.0, 28.0),
            COLOURS[0]
        );
        let middle = top + (step - 6.0).clamp(1.0, 28.0) / 2.0 + 4.0;
        word(&mut svg, LEFT + 34.0, middle, "end", name);
        word(&mut svg, LEFT + 46.0 + length, middle, "start", &format!("{value:.2}"));
    }
    svg + "</svg>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plots_are_whole_and_say_what_they_show() {
        let curve = cumulative("a < b", &[("first", vec![(1_500, 0.5), (90_000, 1.0)]), ("none", vec![])]);
        assert!(curve.starts_with("<svg") && curve.ends_with("</svg>"));
        assert!(curve.contains("a &lt; b") && curve.contains(">first<") && !curve.contains(">none<"));
        assert!(!curve.contains("NaN"));
        let bars = bars("t", "kB", &[("block".to_owned(), 2.0), ("vote".to_owned(), 0.0)]);
        assert!(bars.contains(">block<") && bars.contains("2.00") && !bars.contains("NaN"));
    }
}
