//! Plots: Tollgate and governor as lines.

use std::path::Path;

use plotters::prelude::*;

/// Where, Tollgate's and governor's figures.
pub type Pair = (f64, f64, f64);

/// Draws both over powers of ten, or over threads.
pub fn plot(path: &Path, title: &str, pairs: &[Pair]) {
    let most = pairs
        .iter()
        .map(|pair| pair.1.max(pair.2))
        .fold(0.0, f64::max)
        * 1.1;
    let (first, last) = (pairs[0].0, pairs[pairs.len() - 1].0);
    let is_wide = last >= 100.0 * first;
    let at = |value: f64| if is_wide { value.log10() } else { value };
    let area = SVGBackend::new(&path, (640, 320)).into_drawing_area();
    area.fill(&WHITE).expect("it is drawn");
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .margin_right(30)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(at(first)..at(last), 0.0..most)
        .expect("a chart");
    let label = |value: &f64| {
        if is_wide {
            format!("10^{value:.0}")
        } else {
            format!("{value}")
        }
    };
    chart
        .configure_mesh()
        .x_labels(pairs.len())
        .x_label_formatter(&label)
        .draw()
        .expect("it is drawn");
    let ours: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    let theirs: Vec<f64> = pairs.iter().map(|pair| pair.2).collect();
    for (name, colour, times) in [("Tollgate", BLUE, ours), ("governor", RED, theirs)] {
        let points = pairs
            .iter()
            .zip(times)
            .map(|(pair, nanos)| (at(pair.0), nanos));
        let line = chart
            .draw_series(LineSeries::new(points, colour))
            .expect("it is drawn");
        line.label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()
        .expect("it is drawn");
    area.present().expect("it is written");
}
