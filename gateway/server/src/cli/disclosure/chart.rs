//! What is left of each attribute over time, as a chart: days upwards, each line ten times as many,
//! and months to the right. A full line is the person of whom least is left, a dashed one the
//! person in the middle.

use std::fmt::Write;

use jumpgate_admission::Simulated;

/// The chart, as a whole SVG file that needs nothing else.
pub(super) fn svg(simulated: &[Simulated]) -> String {
    let months = simulated.iter().map(|it| it.months.len()).max().unwrap_or(0).max(2);
    let mut svg = String::new();
    let mut add = |line: &str| {
        svg.push_str(line);
        svg.push('\n');
    };
    let height = HEIGHT + 60.0 + 20.0 * simulated.len() as f64;
    add(&format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">"
    ));
    add("<title>Days left of somebody's date who is asked about every day</title>");
    add("<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    for power in 0..=DECADES {
        let days = 10_i64.pow(power);
        let y = y_of(days);
        add(&format!(
            "<path d=\"M{LEFT} {y:.1}H{RIGHT}\" stroke=\"#ccc\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{days}</text>",
            LEFT - 6.0,
            y + 4.0
        ));
    }
    let first = simulated.first().map(|it| it.months.as_slice()).unwrap_or_default();
    for (at, left) in first.iter().enumerate().step_by(12) {
        let x = x_of(at, months);
        let label = left.day.strftime("%Y-%m");
        add(&format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
            HEIGHT + 20.0
        ));
    }
    for (at, it) in simulated.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        for (dash, days) in [("", true), (" stroke-dasharray=\"6 4\"", false)] {
            let mut points = String::new();
            for (month, left) in it.months.iter().enumerate() {
                let days = if days { left.least } else { left.median };
                // Writing to a string does not fail.
                let _ = write!(points, "{:.1},{:.1} ", x_of(month, months), y_of(days));
            }
            add(&format!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash} \
                 points=\"{}\"/>",
                points.trim_end()
            ));
        }
        let y = HEIGHT + 50.0 + 20.0 * at as f64;
        let least = it.months.last().map_or(0, |last| last.least);
        add(&format!(
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{} ({}): at least {least} days of {} people</text>",
            y - 10.0,
            LEFT + 18.0,
            escaped(&it.attribute),
            it.clock.as_str(),
            it.people,
        ));
    }
    add("</svg>");
    svg
}

fn x_of(month: usize, months: usize) -> f64 {
    LEFT + (RIGHT - LEFT) * month as f64 / (months - 1) as f64
}

fn y_of(days: i64) -> f64 {
    let share = (days.max(1) as f64).log10() / f64::from(DECADES);
    HEIGHT - (HEIGHT - TOP) * share.min(1.0)
}

/// Catalogues name attributes as they like.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const TOP: f64 = 20.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 740.0;
/// To 100,000 days, which is longer than anybody lives.
const DECADES: u32 = 5;
/// Told apart also by those who see no red or green.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

#[cfg(test)]
mod tests {
    use jumpgate_admission::Left;
    use jumpgate_catalogue::Clock;

    use super::*;

    #[test]
    fn a_chart_has_a_line_of_each_kind_for_each_attribute_and_names_them() {
        let month =
            |month, least| Left { day: jiff::civil::date(2026, month, 28), least, median: 1_000 };
        let of = |attribute: &str| Simulated {
            attribute: attribute.to_owned(),
            clock: Clock::Grid,
            thresholds: 1,
            people: 9,
            months: vec![month(1, 100), month(2, 28)],
            pinned: 0,
            asked: 1,
            earlier: 0,
            refused: 0,
        };
        let chart = svg(&[of("birth-date"), of("a<b & c")]);
        assert_eq!(chart.matches("<polyline").count(), 4);
        assert!(chart.contains("birth-date (grid): at least 28 days of 9 people"), "{chart}");
        assert!(chart.contains("a&lt;b &amp; c"), "{chart}");
        // A hundred days are two of five decades high.
        assert!(chart.contains("points=\"60.0,236.0 740.0,"), "{chart}");
        let read = quick_xml::Reader::from_str(&chart).read_event();
        assert!(read.is_ok() && svg(&[]).ends_with("</svg>\n"));
    }
}
