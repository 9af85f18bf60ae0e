//! How the cost of a check grows: with keys, limits, routes and threads. Two plots beside.

use std::fmt::Write;
use std::time::Instant;

use plotters::prelude::*;
use tollgate::{Limiter, Policy, Request};

use crate::keys::{Keys, Order};
use crate::peers::{Governor, Peer, Quota, Tollgate, directory};
use crate::rounds::{Figure, Rounds, row};

const QUOTA: Quota = Quota { count: 10_000_000, period_secs: 86_400 };

pub fn tables(is_quick: bool) {
    let rounds = if is_quick { 3 } else { 11 };
    by_keys(is_quick, rounds);
    by_threads(rounds);
    by_limits(rounds);
    by_routes(is_quick, rounds);
}

/// Tollgate's and governor's figures.
type Pair = (f64, f64, f64);

fn pair(at: usize, found: &[Figure]) -> Pair {
    println!("| {at} | {} | {} | {:.2} |", found[0], found[1], found[0].median / found[1].median);
    (at as f64, found[0].median, found[1].median)
}

fn both(keys: usize) -> Vec<Box<dyn Peer>> {
    vec![Box::new(Tollgate::new(QUOTA, keys, false)), Box::new(Governor::new(QUOTA))]
}

fn by_keys(is_quick: bool, rounds: usize) {
    println!("\n### By the number of keys, uniform, one thread\n");
    println!("| keys | Tollgate | governor | ratio |\n|---|---|---|---|");
    let most = if is_quick { 5 } else { 7 };
    let pairs = (3..=most).map(|power| {
        let keys = 10_usize.pow(power);
        let rounds = Rounds { rounds, threads: 1, block: 100_000 };
        pair(keys, &row(&both(keys), &Keys::new(keys), Order::Uniform, &rounds))
    });
    let pairs: Vec<_> = pairs.collect();
    plot("keys.svg", "ns a check, by the number of keys", &pairs);
}

fn by_threads(rounds: usize) {
    println!("\n### By threads, 10,000 keys, uniform\n");
    println!("| threads | Tollgate | governor | ratio |\n|---|---|---|---|");
    let (peers, keys) = (both(10_000), Keys::new(10_000));
    let pairs = (1..=4).map(|threads| {
        let rounds = Rounds { rounds, threads, block: 100_000 };
        pair(threads, &row(&peers, &keys, Order::Uniform, &rounds))
    });
    let pairs: Vec<_> = pairs.collect();
    plot("threads.svg", "ns a check on each thread, by threads", &pairs);
}

/// The median time of a request, in blocks of ten thousand.
fn requests(policy: &str, path: &str, rounds: usize) -> Figure {
    let dir = directory();
    let policy = Policy::from_toml(policy).expect("the policy is sound");
    let limiter = Limiter::builder(policy).counters(10_000).open(dir.path().join("data"));
    let limiter = limiter.expect("it opens");
    let request = Request::http("GET", path).attribute("user", "alice");
    let times = (0..=rounds).map(|_| {
        let began = Instant::now();
        for _ in 0..10_000 {
            assert!(std::hint::black_box(limiter.check(&request)).is_allowed());
        }
        began.elapsed().as_secs_f64() * 1e9 / 10_000.0
    });
    // The first round makes the counters.
    Figure::of("Tollgate", times.skip(1).collect())
}

fn limits(count: usize) -> String {
    let mut policy = String::new();
    for number in 0..count {
        let _ = writeln!(policy, "[limits.l{number}]\nrate = \"10000000/day\"\nkey = \"user\"");
    }
    policy
}

fn by_limits(rounds: usize) {
    println!("\n### A request matched by no route, by the limits on its key\n");
    println!("| limits | ns |\n|---|---|");
    for count in 1..=8 {
        println!("| {count} | {} |", requests(&limits(count), "/", rounds));
    }
}

fn by_routes(is_quick: bool, rounds: usize) {
    println!("\n### A request with one limit, by the routes of the policy\n");
    println!("| routes | ns |\n|---|---|");
    let most = if is_quick { 3 } else { 4 };
    for count in (1..=most).map(|power| 10_usize.pow(power)) {
        let mut policy = limits(1);
        for number in 0..count {
            let route = format!("GET /section{}/item{number}/{{id}}", number % 100);
            let _ = writeln!(policy, "[[routes]]\nroute = \"{route}\"\nlimits = [\"l0\"]");
        }
        let path = format!("/section{}/item{}/7", (count / 2) % 100, count / 2);
        println!("| {count} | {} |", requests(&policy, &path, rounds));
    }
}

/// Both as lines over powers of ten, or over threads.
fn plot(file: &str, title: &str, pairs: &[Pair]) {
    let Some(folder) = std::env::var_os("TOLLGATE_PLOTS") else {
        return;
    };
    let path = std::path::Path::new(&folder).join(file);
    let most = pairs.iter().map(|pair| pair.1.max(pair.2)).fold(0.0, f64::max) * 1.1;
    let (first, last) = (pairs[0].0, pairs[pairs.len() - 1].0);
    let is_wide = last > 100.0 * first;
    let at = |value: f64| if is_wide { value.log10() } else { value };
    let area = SVGBackend::new(&path, (640, 320)).into_drawing_area();
    area.fill(&WHITE).expect("it is drawn");
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(at(first)..at(last), 0.0..most)
        .expect("a chart");
    let label = |value: &f64| if is_wide { format!("10^{value:.0}") } else { format!("{value}") };
    chart
        .configure_mesh()
        .x_labels(pairs.len())
        .x_label_formatter(&label)
        .draw()
        .expect("it is drawn");
    let lines: [(&str, RGBColor, fn(&Pair) -> f64); 2] =
        [("Tollgate", BLUE, |pair| pair.1), ("governor", RED, |pair| pair.2)];
    for (name, colour, of) in lines {
        let points = pairs.iter().map(|pair| (at(pair.0), of(pair)));
        let line = chart.draw_series(LineSeries::new(points, colour)).expect("it is drawn");
        line.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour));
    }
    chart.configure_series_labels().border_style(BLACK).draw().expect("it is drawn");
    area.present().expect("it is written");
}
