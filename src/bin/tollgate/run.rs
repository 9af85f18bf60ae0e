//! `tollgate replay`: what the command does around a replay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use flate2::Crc;
use tollgate::{Policy, Timestamp};

use crate::args::ReplayArgs;
use crate::judge::LimiterJudge;
use crate::log::{FieldMap, Reading, Stamps};
use crate::replay::text::Text;
use crate::replay::{
    Ended, Held, Home, Interrupt, Interrupted, Judge, Live, Misread, Options, Progress, Recipe,
    Recorder, Replay, Ruling, Side, State, Summary, Worked, width_of,
};
use crate::{out, report, suggest, trial};

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
    let policies = args.policy.iter().map(Policy::from_path);
    let policies = policies.collect::<Result<Vec<_>, _>>()?;
    let (recipe, reading) = recipe(args, &policies)?;
    // An output inside a data directory that does not exist yet is tried once the directory does.
    let outputs = args.report.iter().chain(&args.suggest);
    let is_inside = |path: &&PathBuf| path.starts_with(&args.data) && !args.data.exists();
    let (inside, elsewhere): (Vec<_>, Vec<_>) = outputs.partition(is_inside);
    try_outputs(&elsewhere)?;
    let held = match (args.resume, args.fresh) {
        (true, _) => Held::Resume,
        (false, true) => Held::Replace,
        (false, false) => Held::ReplaceFinished,
    };
    let home = Home::open(&args.data, held)?;
    try_outputs(&inside)?;
    let counts = |policy| home.counts(policy);
    let kept = home.progress()?;
    let kept = kept
        .map(|text| State::read(&text, &recipe, counts))
        .transpose()?;
    home.restore()?;
    for policy in &policies {
        tell_what_is_left_out(policy);
    }
    let (sides, state) = open_sides(args, policies, &home, kept, recipe)?;
    let mut replay = Replay {
        options: Options {
            reading,
            strict: args.strict,
            checkpoint_every: args.checkpoint_every,
        },
        sides,
        home,
        progress: Progress::new(args.progress, bytes_total(args), state.lines.read)?,
        state,
        live: args.follow.then(Live::new),
        interrupt: Interrupt::new()?,
    };
    let ended = replay.run();
    let ended = ended.inspect_err(|fault| {
        if fault.is::<Misread>() {
            // There is nothing to go on with: the next replay may take its place.
            let _ = replay.home.set_finished(true);
        }
    })?;
    if args.follow {
        replay.interrupt.forget();
    } else if ended == Ended::Interrupted {
        replay.close()?;
        return Ok(interrupted());
    }
    replay.close()?;
    // The limiters go, too: what follows needs their memory.
    let recorders = replay.sides.drain(..).map(|side| side.recorder).collect();
    let worked = match work_out(args, &mut replay, recorders) {
        Err(fault) if fault.is::<Interrupted>() => return Ok(interrupted()),
        worked => worked?,
    };
    let summary = Summary::new(&replay.state, args.worst, worked);
    show(args, &summary)?;
    replay.home.set_finished(true)?;
    Ok(ExitCode::SUCCESS)
}

/// A limiter for each policy, and what each has come to so far.
fn open_sides<'a>(
    args: &ReplayArgs,
    policies: Vec<Policy>,
    home: &Home,
    kept: Option<State>,
    recipe: Recipe,
) -> anyhow::Result<(Vec<Side<'a>>, State)> {
    let latest = kept.as_ref().and_then(|state| state.lines.span_nanos);
    let now = Timestamp::from_nanos(latest.map_or(0, |(_, latest)| latest));
    let judges = policies.into_iter().enumerate().map(|(number, policy)| {
        LimiterJudge::open(policy, &home.counters(number), args.counters, now)
    });
    let judges = judges.collect::<anyhow::Result<Vec<_>>>()?;
    let limits: Vec<_> = judges.iter().map(|judge| judge.limits()).collect();
    let state = kept.unwrap_or_else(|| State::new(recipe, &limits));
    let mut sides = Vec::new();
    for (number, (judge, counted)) in judges.into_iter().zip(&state.policies).enumerate() {
        let tracks = counted.tracks.clone();
        let open = || Recorder::open(&home.trace(number), tracks);
        sides.push(Side {
            judge: Box::new(judge),
            counterless: counted.without_counter,
            recorder: state.recipe.trace.then(open).transpose()?,
            ruling: Ruling::default(),
        });
    }
    Ok((sides, state))
}

fn interrupted() -> ExitCode {
    out::note("interrupted; the same command with --resume goes on");
    ExitCode::from(INTERRUPTED)
}

fn tell_what_is_left_out(policy: &Policy) {
    let left_out: Vec<_> = policy.concurrency().map(|(name, _)| name).collect();
    if !left_out.is_empty() {
        out::note(format_args!(
            "not judged, for a log does not tell how long a request ran: {}",
            left_out.join(", ")
        ));
    }
}

/// What is replayed, and how it is read.
fn recipe(args: &ReplayArgs, policies: &[Policy]) -> anyhow::Result<(Recipe, Reading)> {
    let mut map = FieldMap::default();
    for more in &args.map {
        map.merge(more.clone())
            .map_err(anyhow::Error::msg)
            .context("--map")?;
    }
    let sum = |path: &PathBuf| -> anyhow::Result<String> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut crc = Crc::new();
        crc.update(&text);
        Ok(format!("{:08x} {}", crc.sum(), text.len()))
    };
    let zone = args.time_zone.iana_name().unwrap_or("a zone of its own");
    let recipe = Recipe {
        policies: args.policy.iter().map(sum).collect::<anyhow::Result<_>>()?,
        logs: args.logs.clone(),
        format: args.format.clone(),
        reading: format!("{map:?} {} {zone} {}", args.mapped_only, args.trusted_hops),
        trace: args.report.is_some() || args.amounts || args.suggest.is_some(),
        follow: args.follow,
    };
    // The address may have to be taken from the second, and the first is told of who is refused.
    let mut wanted = ["user_agent", "forwarded_for"].map(str::to_owned).to_vec();
    wanted.extend(
        policies
            .iter()
            .flat_map(Policy::attributes)
            .map(str::to_owned),
    );
    let stamps = Stamps::new(args.time_zone.clone());
    let reading = Reading::new(map, args.mapped_only, stamps, args.trusted_hops).wanting(wanted);
    Ok((recipe, reading))
}

/// Makes sure that what the command is to write can be written, before hours of work.
fn try_outputs(outputs: &[&PathBuf]) -> anyhow::Result<()> {
    for path in outputs {
        ensure!(
            !path.is_dir(),
            "cannot write {}: it is a directory",
            path.display()
        );
        let beside = report::beside(path);
        let tried = fs::File::create(&beside).and_then(|_| fs::remove_file(&beside));
        tried.with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The size of all logs, if all are files.
fn bytes_total(args: &ReplayArgs) -> Option<u64> {
    let bytes = |log: &String| fs::metadata(log).ok().filter(fs::Metadata::is_file);
    args.logs
        .iter()
        .map(|log| bytes(log).map(|meta| meta.len()))
        .sum()
}

/// Works out what each limit of each policy would have had to be.
fn work_out(
    args: &ReplayArgs,
    replay: &mut Replay<'_>,
    recorders: Vec<Option<Recorder>>,
) -> anyhow::Result<Vec<Worked>> {
    let mut worked = Vec::new();
    let mut trials = trial::Trials::new(&replay.home, &replay.state)?;
    let paths = args.policy.iter().enumerate();
    for ((number, path), recorder) in paths.zip(recorders) {
        let mut one = Worked {
            policy: path.to_string_lossy().into_owned(),
            ..Worked::default()
        };
        let counted = replay.state.policies.get(number);
        if let (Some(counted), Some(mut recorder)) = (counted, recorder) {
            let (progress, interrupt) = (&mut replay.progress, &mut replay.interrupt);
            let amounts =
                trials.amounts(counted, &mut recorder, &replay.home, progress, interrupt)?;
            if number == 0 && args.suggest.is_some() {
                one.suggestion = Some(suggest::suggest(path, &amounts, args.at_most)?);
            }
            one.amounts = Some(amounts);
        }
        worked.push(one);
    }
    trials.clear(&replay.home)?;
    replay.progress.finish();
    Ok(worked)
}

/// Prints the results, and writes the files that were asked for.
fn show(args: &ReplayArgs, summary: &Summary) -> anyhow::Result<()> {
    if args.json {
        out::print(serde_json::to_string_pretty(summary)?)?;
    } else {
        let width = width_of(std::io::stdout());
        out::print(Text { summary, width }.to_string().trim_end())?;
    }
    if let Some(path) = &args.report {
        report::write(summary, path)?;
        out::note(format_args!("wrote {}", path.display()));
    }
    if let (Some(path), Some(suggestion)) = (&args.suggest, &summary.first.suggestion) {
        write(path, &suggestion.policy)?;
        out::note(format_args!("wrote {}", path.display()));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
