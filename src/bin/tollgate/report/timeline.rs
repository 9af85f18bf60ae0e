//! The picture of allowed and refused requests over time.

use anyhow::anyhow;
use jiff::tz::TimeZone;
use maud::{Markup, PreEscaped, html};
use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::combinators::BindKeyPoints;
use plotters::drawing::IntoDrawingArea;
use plotters::element::Rectangle;
use plotters::style::{Color, IntoFont, RGBColor};

use crate::replay::text::count;
use crate::replay::{BinSummary, TimelineSummary};

/// Stand-ins: the page's style sheet gives them their colours, in light and in dark.
const ALLOWED: RGBColor = RGBColor(0, 0, 1);
const REFUSED: RGBColor = RGBColor(0, 0, 2);
const FAINT: RGBColor = RGBColor(0, 0, 3);

/// How large a picture is drawn, and for what.
struct Sheet {
    class: &'static str,
    size: (u32, u32),
    labels: usize,
    font: u32,
}

/// One picture for wide screens and one for narrow ones, where the first's text would be too
/// small.
const SHEETS: [Sheet; 2] = [
    Sheet {
        class: "wide",
        size: (1_080, 320),
        labels: 8,
        font: 14,
    },
    Sheet {
        class: "narrow",
        size: (420, 300),
        labels: 3,
        font: 14,
    },
];

/// The section of the page.
///
/// # Errors
/// If drawing fails.
pub(super) fn section(timeline: &TimelineSummary) -> anyhow::Result<Markup> {
    if timeline.bins.is_empty() {
        return Ok(html! {});
    }
    let mut pictures = Vec::new();
    for sheet in &SHEETS {
        pictures.push((sheet.class, draw(timeline, sheet)?));
    }
    Ok(html! {
        section {
            h2 { "Over time" }
            figure {
                @for (class, picture) in &pictures { div class=(class) { (PreEscaped(picture)) } }
                figcaption {
                    span.swatch.allowed {} "allowed"
                    span.swatch.refused {} "refused"
                    " · requests in each " (span(timeline.bin_secs)) ", time in UTC"
                }
            }
        }
    })
}

fn draw(timeline: &TimelineSummary, sheet: &Sheet) -> anyhow::Result<String> {
    let mut picture = String::new();
    draw_into(timeline, sheet, &mut picture).map_err(|fault| anyhow!("cannot draw: {fault}"))?;
    Ok(picture)
}

fn draw_into(
    timeline: &TimelineSummary,
    sheet: &Sheet,
    picture: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let bins = &timeline.bins;
    let width_secs = i64::try_from(timeline.bin_secs)?;
    let begin = |bin: Option<&BinSummary>| bin.map_or(Ok(0), |bin| i64::try_from(bin.begin_secs));
    let (first, last) = (begin(bins.first())?, begin(bins.last())? + width_secs);
    let highest = bins
        .iter()
        .map(|bin| bin.allowed + bin.refused)
        .max()
        .unwrap_or(0)
        .max(1);

    let area = SVGBackend::with_string(picture, sheet.size).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(30)
        .y_label_area_size(56)
        .build_cartesian_2d(
            (first..last).with_key_points(ticks(first, last, sheet.labels)),
            0..highest,
        )?;
    let dated = last - first > 36 * 3_600;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .x_labels(sheet.labels)
        .y_labels(5)
        .x_label_formatter(&|secs| clock(*secs, dated))
        .y_label_formatter(&|number| count(*number))
        .label_style(("sans-serif", sheet.font).into_font().color(&FAINT))
        .draw()?;
    let boxes = |from: fn(&BinSummary) -> u64, to: fn(&BinSummary) -> u64, color: RGBColor| {
        bins.iter()
            .filter(move |bin| to(bin) > from(bin))
            .map(move |bin| {
                let left = i64::try_from(bin.begin_secs).unwrap_or(first);
                Rectangle::new(
                    [(left, from(bin)), (left + width_secs, to(bin))],
                    color.filled(),
                )
            })
    };
    chart.draw_series(boxes(
        |bin| bin.refused,
        |bin| bin.refused + bin.allowed,
        ALLOWED,
    ))?;
    // Refused last and lowest: a few of them stay visible beside many allowed.
    chart.draw_series(boxes(|_| 0, |bin| bin.refused, REFUSED))?;
    area.present()?;
    drop(chart);
    Ok(())
}

/// Steps between labels in seconds: what clocks and calendars show.
const STEPS_SECS: [i64; 23] = [
    1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400,
    172_800, 345_600, 604_800, 1_209_600, 2_419_200, 7_776_000, 31_536_000,
];

/// Where the time axis has labels, `most` at most: at whole steps.
fn ticks(first: i64, last: i64, most: usize) -> Vec<i64> {
    let most = i64::try_from(most.max(1)).unwrap_or(1);
    let fits = |step: &i64| (last - first - 1) / step < most;
    let longest = (last - first).max(1);
    let step = STEPS_SECS.into_iter().find(fits).unwrap_or(longest);
    let begin = first + (step - first.rem_euclid(step)) % step;
    std::iter::successors(Some(begin), |at| at.checked_add(step))
        .take_while(|at| *at < last)
        .collect()
}

/// A label of the time axis.
fn clock(secs: i64, dated: bool) -> String {
    let Ok(time) = jiff::Timestamp::from_second(secs) else {
        return String::new();
    };
    let format = match (dated, secs % 86_400) {
        (true, 0) => "%b %-d",
        (true, _) => "%b %-d %H:%M",
        (false, _) => "%H:%M:%S",
    };
    time.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// A span of time in its largest whole unit.
fn span(secs: u64) -> String {
    let units = [
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
        (1, "second"),
    ];
    let fits = units
        .into_iter()
        .find(|(unit, _)| secs.is_multiple_of(*unit));
    let (unit, name) = fits.unwrap_or((1, "second"));
    match secs / unit {
        1 => name.to_owned(),
        number => format!("{number} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_shows_what_was_counted() {
        let bins = [(0, 5, 0), (60, 3, 4), (120, 0, 0), (180, 0, 1)].map(
            |(begin_secs, allowed, refused)| BinSummary {
                begin_secs,
                allowed,
                refused,
            },
        );
        let timeline = TimelineSummary {
            bin_secs: 60,
            bins: bins.into(),
        };
        for sheet in &SHEETS {
            let picture = draw(&timeline, sheet).unwrap();
            assert_eq!(picture.matches("fill=\"#000001\"").count(), 2, "{picture}");
            assert_eq!(picture.matches("fill=\"#000002\"").count(), 2, "{picture}");
            assert!(
                picture.contains("viewBox") && picture.ends_with("</svg>\n"),
                "{picture}"
            );
        }
    }

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(7, 67, 3), [30, 60]);
        assert_eq!(
            ticks(86_400, 3 * 86_400, 8),
            [0, 21_600, 43_200, 64_800, 86_400, 108_000, 129_600, 151_200].map(|at| at + 86_400)
        );
        for (first, last) in [
            (0, 1),
            (5, 6),
            (0, 100_000_000_000),
            (1_700_000_003, 1_700_600_000),
        ] {
            for most in 1..9 {
                let ticks = ticks(first, last, most);
                assert!(ticks.len() <= most, "{first} to {last}: {ticks:?}");
                assert!(ticks.iter().all(|at| (first..last).contains(at)));
            }
        }
    }

    #[test]
    fn labels_are_short() {
        assert_eq!(clock(1_700_000_000, false), "22:13:20");
        assert_eq!(clock(1_700_000_000, true), "Nov 14 22:13");
        assert_eq!(clock(1_740_960_000, true), "Mar 3");
        assert_eq!(span(1), "second");
        assert_eq!(span(600), "10 minutes");
        assert_eq!(span(10_800), "3 hours");
    }
}
