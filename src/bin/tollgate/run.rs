//! `tollgate replay`: what the command does around a replay.

use std::collections::HashSet;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use flate2::Crc;
use tollgate::{Policy, Timestamp};

use crate::args::ReplayArgs;
use crate::judge::LimiterJudge;
use crate::log::{FieldMap, Reading, Stamps};
use crate::replay::{
    AmountsSummary, Attempts, Ended, Held, Home, Judge, LimitAmounts, Memory, Options, Progress,
    Recipe, Recorder, Replay, State, Summary, find,
};
use crate::trial::{Candidate, Places};
use crate::{out, report};

/// Exit status of a replay that a signal ended.
const INTERRUPTED: u8 = 130;

/// Runs `tollgate replay`.
///
/// # Errors
/// If anything that the replay needs cannot be read or written, or if it is not the replay that
/// the directory holds.
pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let streams = args.logs.iter().filter(|log| *log == "-").count();
    ensure!(streams <= 1, "standard input can only be read once");
    let policy = Policy::from_path(&args.policy)?;
    let (recipe, reading) = recipe(args)?;
    let held = match (args.resume, args.fresh) {
        (true, _) => Held::Resume,
        (false, true) => Held::Replace,
        (false, false) => Held::ReplaceFinished,
    };
    let home = Home::open(&args.data, held)?;
    let kept = home
        .progress()?
        .map(|text| State::read(&text, &recipe))
        .transpose()?;
    home.restore()?;
    let latest = kept.as_ref().and_then(|state| state.totals.span_nanos);
    let left_out: Vec<_> = policy.concurrency().map(|(name, _)| name).collect();
    if !left_out.is_empty() {
        out::note(format_args!(
            "not judged, for a log does not tell how long a request ran: {}",
            left_out.join(", ")
        ));
    }
    let now = Timestamp::from_nanos(latest.map_or(0, |(_, latest)| latest));
    let mut judge = LimiterJudge::open(policy, &home.counters(), args.counters, now)?;
    let state = kept.unwrap_or_else(|| State::new(recipe, judge.limits()));
    let recorder = match state.recipe.trace {
        true => Some(Recorder::open(&home.trace(), state.tracks.clone())?),
        false => None,
    };
    let progress = Progress::new(args.progress, bytes_total(args), state.totals.lines)?;
    let mut replay = Replay {
        options: Options {
            reading,
            strict: args.strict,
            checkpoint_every: args.checkpoint_every,
        },
        judge: &mut judge,
        home,
        counterless: state.without_counter,
        state,
        recorder,
        progress,
    };
    let ended = replay.run()?;
    let Replay {
        state,
        mut recorder,
        home,
        ..
    } = replay;
    judge.close()?;
    if ended == Ended::Interrupted {
        out::note(format_args!(
            "interrupted after {} lines; the same command with --resume goes on",
            state.totals.lines
        ));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let amounts = match &mut recorder {
        Some(recorder) => Some(amounts(&state, recorder, &home)?),
        None => None,
    };
    let summary = Summary::new(&state, &args.policy.to_string_lossy(), args.worst, amounts);
    show(args, &summary)?;
    home.set_finished(true)?;
    Ok(ExitCode::SUCCESS)
}

/// What is replayed, and how it is read.
fn recipe(args: &ReplayArgs) -> anyhow::Result<(Recipe, Reading)> {
    let mut map = FieldMap::default();
    for more in &args.map {
        map.merge(more.clone())
            .map_err(anyhow::Error::msg)
            .context("--map")?;
    }
    let policy =
        fs::read(&args.policy).with_context(|| format!("cannot read {}", args.policy.display()))?;
    let mut crc = Crc::new();
    crc.update(&policy);
    let zone = args.time_zone.iana_name().unwrap_or("a zone of its own");
    let recipe = Recipe {
        policy: format!("{:08x} {}", crc.sum(), policy.len()),
        logs: args.logs.clone(),
        format: args.format,
        reading: format!("{map:?} {} {zone} {}", args.mapped_only, args.trusted_hops),
        trace: args.report.is_some() || args.amounts,
    };
    let reading = Reading {
        map,
        stamps: Stamps::new(args.time_zone.clone()),
        trusted_hops: args.trusted_hops,
        mapped_only: args.mapped_only,
    };
    Ok((recipe, reading))
}

/// The size of all logs, if all are files.
fn bytes_total(args: &ReplayArgs) -> Option<u64> {
    let bytes = |log: &String| fs::metadata(log).ok().filter(fs::Metadata::is_file);
    args.logs
        .iter()
        .map(|log| bytes(log).map(|meta| meta.len()))
        .sum()
}

/// Works out what each limit would have had to be.
fn amounts(state: &State, recorder: &mut Recorder, home: &Home) -> anyhow::Result<AmountsSummary> {
    let places = Places::new(&home.trial());
    let mut attempts = Attempts::open(&home.attempts())?;
    let mut limits = Vec::new();
    for (number, track) in state.tracks.tracks.iter().enumerate() {
        let uses = recorder.uses(number)?;
        let keys: HashSet<u64> = uses.iter().map(|one| one.key).collect();
        let keys = u64::try_from(keys.len()).unwrap_or(u64::MAX);
        let candidate = Candidate::new(&track.rate, &track.algorithm, keys, &places)?;
        // Unlimited and denied have no amount.
        let Some(candidate) = candidate else {
            continue;
        };
        let mut memory = Memory {
            attempts: &mut attempts,
            track: u64::try_from(number).unwrap_or(u64::MAX),
        };
        let found = find(uses, &mut memory, |amount| candidate.tried(amount))?;
        let name = state
            .totals
            .limits
            .get(track.limit)
            .map_or("", |limit| &limit.name);
        let write = |amount| candidate.rate.scaled(amount).to_string();
        limits.push(LimitAmounts::new(name, &track.rate, &found, write));
    }
    places.clear()?;
    Ok(AmountsSummary {
        until: state
            .tracks
            .full_since_nanos
            .map(|at| Timestamp::from_nanos(at).to_string()),
        left_out: state.tracks.left_out,
        limits,
    })
}

/// Prints the results, and writes the page that was asked for.
fn show(args: &ReplayArgs, summary: &Summary) -> anyhow::Result<()> {
    if args.json {
        out::print(serde_json::to_string_pretty(summary)?)?;
    } else {
        out::print(summary.to_string().trim_end())?;
    }
    if let Some(path) = &args.report {
        report::write(summary, path)?;
        out::note(format_args!("wrote {}", path.display()));
    }
    Ok(())
}
