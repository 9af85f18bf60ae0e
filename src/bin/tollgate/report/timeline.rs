//! Pictures of what was allowed and refused over time.

use anyhow::anyhow;
use jiff::tz::TimeZone;
use maud::{Markup, PreEscaped, html};
use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::coord::combinators::BindKeyPoints;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Rectangle, TriangleMarker};
use plotters::style::{Color, IntoFont, RGBColor};

use crate::replay::words::{count, plain};
use crate::replay::{BinSummary, PolicySummary, TimelineSummary};

/// Stand-ins: the page's style sheet gives them their colours, in light and in dark.
const ALLOWED: RGBColor = RGBColor(0, 0, 1);
const REFUSED: RGBColor = RGBColor(0, 0, 2);
const FAINT: RGBColor = RGBColor(0, 0, 3);
const SHADOW: RGBColor = RGBColor(0, 0, 4);

/// How large a picture is drawn, and for what.
struct Sheet {
    class: &'static str,
    size: (u32, u32),
    labels: usize,
    font: u32,
    /// Bins at the most; neighbours are joined.
    bins: usize,
}

/// One picture for wide screens and one for narrow ones, where the first's text would be too
/// small.
const SHEETS: [Sheet; 2] = [
    Sheet {
        class: "wide",
        size: (1_080, 320),
        labels: 8,
        font: 14,
        bins: 480,
    },
    Sheet {
        class: "narrow",
        size: (420, 300),
        labels: 3,
        font: 14,
        bins: 160,
    },
];

/// The picture of one limit.
const SMALL: Sheet = Sheet {
    class: "small",
    size: (420, 150),
    labels: 3,
    font: 13,
    bins: 120,
};

/// A bin that has so many times what nineteen in twenty have is cut, so that it does not flatten
/// all others.
const SPIKE_TIMES: u64 = 4;

/// The section of the page.
///
/// # Errors
/// If drawing fails.
pub(super) fn section(policy: &PolicySummary) -> anyhow::Result<Markup> {
    let timeline = &policy.timeline;
    if timeline.bins.is_empty() {
        return Ok(html! {});
    }
    let range = range(timeline);
    let mut pictures = Vec::new();
    for sheet in &SHEETS {
        pictures.push((sheet.class, draw(timeline, range, sheet)?));
    }
    let limits = policy.limits.iter().zip(&policy.limit_timelines);
    let mut small = Vec::new();
    for (limit, timeline) in limits.filter(|(_, timeline)| !timeline.bins.is_empty()) {
        small.push((&limit.count, draw(timeline, range, &SMALL)?));
    }
    let left_out = policy
        .limits
        .len()
        .saturating_sub(policy.limit_timelines.len());
    let has_shadow = timeline.bins.iter().any(|bin| bin.would_refuse > 0);
    Ok(html! {
        section {
            h2 { "Over time" }
            figure {
                @for (class, picture) in &pictures { div class=(class) { (PreEscaped(picture)) } }
                figcaption {
                    span.swatch.allowed {} "allowed"
                    @if has_shadow { span.swatch.shadow {} "no room in a shadow limit, allowed" }
                    span.swatch.refused {} "refused"
                    " · requests in each " (span(timeline.bin_secs)) ", time in UTC"
                    @if let Some(cut) = cut_of(&timeline.bins) { (cut_words(timeline, cut)) }
                }
            }
            @if small.len() > 1 {
                h3 { "Each limit" }
                div.charts { @for (limit, picture) in &small {
                    figure {
                        figcaption {
                            (plain(&limit.name)) ": " (count(limit.refused + limit.would_refuse))
                            " of " (count(limit.requests))
                            @if limit.shadow { " in shadow" }
                        }
                        div { (PreEscaped(picture)) }
                    }
                } }
                @if left_out > 0 { p.note { (left_out) " more limits have no picture." } }
            }
        }
    })
}

fn cut_words(timeline: &TimelineSummary, cut: u64) -> Markup {
    let higher = timeline.bins.iter().filter(|bin| height(bin) > cut);
    let highest = timeline.bins.iter().max_by_key(|bin| height(bin));
    html! {
        " · ▲ " (higher.count()) " cut: there were more than " (count(cut))
        @if let Some(highest) = highest {
            ", " (count(height(highest))) " at "
            (clock(i64::try_from(highest.begin_secs).unwrap_or(0), true))
        }
    }
}

fn height(bin: &BinSummary) -> u64 {
    bin.allowed + bin.refused
}

/// Where the highest bins are cut; none if they are not that much higher than others.
fn cut_of(bins: &[BinSummary]) -> Option<u64> {
    let mut heights: Vec<u64> = bins
        .iter()
        .map(height)
        .filter(|height| *height > 0)
        .collect();
    heights.sort_unstable();
    let highest = *heights.last()?;
    let usual = *heights
        .get(heights.len() * 19 / 20)
        .filter(|usual| **usual < highest)?;
    (highest > usual.saturating_mul(SPIKE_TIMES)).then_some(usual * 3 / 2 + 1)
}

/// From where to where a bin is of one colour.
type Layer = fn(&BinSummary) -> (u64, u64);

/// The bins, with neighbours joined until there are at most `most`.
fn thin(timeline: &TimelineSummary, most: usize) -> (i64, Vec<BinSummary>) {
    let times = timeline.bins.len().div_ceil(most).max(1);
    let joined = timeline.bins.chunks(times).filter_map(|bins| {
        let mut bins = bins.iter().copied();
        let first = bins.next()?;
        Some(bins.fold(first, |all, bin| BinSummary {
            begin_secs: all.begin_secs,
            allowed: all.allowed + bin.allowed,
            refused: all.refused + bin.refused,
            would_refuse: all.would_refuse + bin.would_refuse,
        }))
    });
    let times = u64::try_from(times).unwrap_or(1);
    let width = i64::try_from(timeline.bin_secs * times).unwrap_or(i64::MAX);
    (width, joined.collect())
}

/// From the first bin to the end of the last one, in seconds since 1970.
fn range(timeline: &TimelineSummary) -> (i64, i64) {
    let begin = |bin: Option<&BinSummary>| bin.map_or(0, |bin| bin.begin_secs);
    let (first, last) = (begin(timeline.bins.first()), begin(timeline.bins.last()));
    let secs = |secs: u64| i64::try_from(secs).unwrap_or(i64::MAX);
    (secs(first), secs(last + timeline.bin_secs))
}

fn draw(timeline: &TimelineSummary, range: (i64, i64), sheet: &Sheet) -> anyhow::Result<String> {
    let mut picture = String::new();
    draw_into(timeline, range, sheet, &mut picture)
        .map_err(|fault| anyhow!("cannot draw: {fault}"))?;
    Ok(picture)
}

fn draw_into(
    timeline: &TimelineSummary,
    (first, last): (i64, i64),
    sheet: &Sheet,
    picture: &mut String,
) -> Result<(), Box<dyn std::error::Error>> {
    let (width_secs, bins) = thin(timeline, sheet.bins);
    let cut = cut_of(&bins);
    let highest = bins.iter().map(height).max().unwrap_or(0).max(1);
    let top = cut.unwrap_or(highest);

    let area = SVGBackend::with_string(picture, sheet.size).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(8)
        .margin_right(16)
        .x_label_area_size(30)
        .y_label_area_size(56)
        .build_cartesian_2d(
            (first..last).with_key_points(ticks(first, last, sheet.labels)),
            0..top,
        )?;
    let dated = last - first > 36 * 3_600;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(FAINT.mix(0.0))
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .x_labels(sheet.labels)
        .y_labels(if sheet.size.1 < 200 { 3 } else { 5 })
        .x_label_formatter(&|secs| clock(*secs, dated))
        .y_label_formatter(&|number| count(*number))
        .label_style(("sans-serif", sheet.font).into_font().color(&FAINT))
        .draw()?;
    let begin = |bin: &BinSummary| i64::try_from(bin.begin_secs).unwrap_or(first).max(first);
    // What is lowest is drawn last and never thinner than a line: a few refusals stay visible
    // beside many allowed.
    let layers: [(Layer, RGBColor); 3] = [
        (|bin| (bin.refused + bin.would_refuse, height(bin)), ALLOWED),
        (|bin| (bin.refused, bin.refused + bin.would_refuse), SHADOW),
        (|bin| (0, bin.refused), REFUSED),
    ];
    for (layer, color) in layers {
        let boxes = bins.iter().filter_map(|bin| {
            let (from, to) = layer(bin);
            let (from, to) = (from.min(top), to.min(top));
            let (left, right) = (begin(bin), (begin(bin) + width_secs).min(last));
            (to > from).then(|| Rectangle::new([(left, from), (right, to)], color.filled()))
        });
        chart.draw_series(boxes)?;
    }
    let is_cut = |bin: &&BinSummary| height(bin) > top;
    chart.draw_series(bins.iter().filter(is_cut).map(|bin| {
        let middle = (begin(bin) + width_secs / 2).min(last);
        TriangleMarker::new((middle, top), 6, FAINT.filled())
    }))?;
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

    fn timeline(bins: &[(u64, u64, u64, u64)]) -> TimelineSummary {
        let bins = bins
            .iter()
            .map(|(begin_secs, allowed, refused, would_refuse)| BinSummary {
                begin_secs: *begin_secs,
                allowed: *allowed,
                refused: *refused,
                would_refuse: *would_refuse,
            });
        TimelineSummary {
            bin_secs: 60,
            bins: bins.collect(),
        }
    }

    #[test]
    fn a_picture_shows_what_was_counted() {
        let bins = [
            (0, 5, 0, 0),
            (60, 3, 4, 1),
            (120, 0, 0, 0),
            (180, 0, 1, 0),
            (240, 2, 0, 2),
        ];
        let timeline = timeline(&bins);
        for sheet in SHEETS.iter().chain([&SMALL]) {
            let picture = draw(&timeline, range(&timeline), sheet).unwrap();
            for (color, boxes) in [(1, 2), (2, 2), (4, 2)] {
                let fill = format!("fill=\"#00000{color}\"");
                assert_eq!(picture.matches(&fill).count(), boxes, "{color}: {picture}");
            }
            assert!(
                picture.contains("viewBox") && picture.ends_with("</svg>\n"),
                "{picture}"
            );
        }
    }

    #[test]
    fn one_spike_does_not_flatten_the_rest() {
        let mut bins: Vec<_> = (0..100).map(|at| (at * 60, 10 + at % 7, 0, 0)).collect();
        assert_eq!(cut_of(&timeline(&bins).bins), None);
        bins[50].1 = 5_000;
        let timeline = timeline(&bins);
        assert_eq!(cut_of(&timeline.bins), Some(25));
        let picture = draw(&timeline, range(&timeline), &SHEETS[0]).unwrap();
        assert_eq!(picture.matches("<polygon").count(), 1, "{picture}");
        assert!(!picture.contains("5,000"), "{picture}");
        let words = cut_words(&timeline, 25).into_string();
        assert!(
            words.contains("1 cut") && words.contains("5,000 at"),
            "{words}"
        );
        // A log of one bin, or of none but equals, is not cut.
        assert_eq!(cut_of(&timeline.bins[50..51]), None);
        assert_eq!(cut_of(&[]), None);
    }

    #[test]
    fn joined_bins_lose_nothing() {
        let bins: Vec<_> = (0..481).map(|at| (at * 60, at, 1, 2)).collect();
        let timeline = timeline(&bins);
        for most in [1, 7, 120, 480, 481, 1_000] {
            let (width, joined) = thin(&timeline, most);
            assert!(joined.len() <= most && width % 60 == 0);
            assert_eq!(joined.iter().map(|bin| bin.refused).sum::<u64>(), 481);
            assert_eq!(joined.iter().map(height).sum::<u64>(), 481 + 480 * 481 / 2);
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
