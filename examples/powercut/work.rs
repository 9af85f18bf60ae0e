//! The worker: takes from several threads until it is cut off.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tollgate::{Limiter, Opened, Request, Verdict};

use crate::race::Races;
use crate::{THREADS, counts, leaves_strict_alone, now, open, text};

/// The argument of a worker that is started to be killed.
pub(crate) const LIFE: &str = "life";

const SIGKILL: i32 = 9;

/// What is done until the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    Run,
    Close,
    Kill,
}

/// How an opening ends, counted from when it is open.
#[derive(Clone, Copy)]
enum Ends {
    Never,
    Closes(Duration),
    Dies(Duration),
}

/// Works until the process is killed or the power goes.
pub(crate) fn work(dir: &Path) -> Result<String, String> {
    let (mut dice, out) = (Dice::new(), Out::default());
    let plan = match std::env::var("POWERCUT_PLAN").as_deref() {
        Ok("run") => Plan::Run,
        Ok("close") => Plan::Close,
        Ok("kill") => Plan::Kill,
        Ok(other) => return Err(format!("no such plan: {other}")),
        Err(_) => [Plan::Run, Plan::Run, Plan::Close, Plan::Kill][dice.below(4) as usize],
    };
    for turn in 0_u64.. {
        match plan {
            Plan::Run => session(dir, Ends::Never)?,
            Plan::Close => {
                if turn > 0 {
                    out.say("opening")?;
                }
                session(dir, Ends::Closes(dice.millis(150)))?;
                // Long enough for a cut to find it closed.
                std::thread::sleep(dice.millis(60));
            }
            Plan::Kill => {
                let exe = std::env::current_exe().map_err(text)?;
                let mut life = Command::new(exe);
                life.arg(LIFE).arg(dir).arg(std::process::id().to_string());
                let status = life.status().map_err(text)?;
                if status.signal() != Some(SIGKILL) {
                    return Err(format!("a life ended otherwise: {status}"));
                }
                out.say("killed")?;
            }
        }
    }
    Ok("ended by itself".into())
}

/// A worker that is killed after a while; it does not outlive a parent that is killed itself.
pub(crate) fn life(dir: &Path, parent: &str) -> Result<String, String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(text)?;
    if std::os::unix::process::parent_id().to_string() != parent {
        // It was killed before we were bound to it; whatever ends it ends us.
        std::process::exit(1);
    }
    let mut dice = Dice::new();
    if dice.below(3) == 0 {
        // While it is opened, as often as not.
        die_in(dice.millis(12));
    }
    session(dir, Ends::Dies(dice.millis(150)))?;
    Ok("ended by itself".into())
}

fn die_in(time: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(time);
        rustix::process::kill_process(rustix::process::getpid(), Signal::KILL)
    });
}

/// Opens and takes until the end.
fn session(dir: &Path, ends: Ends) -> Result<(), String> {
    let out = Out::default();
    let limiter = open(dir)?;
    for thread in 0..THREADS {
        let counts = counts(&limiter, thread)?;
        out.say(&format!("found {thread} {}", list(counts)))?;
    }
    let how = match limiter.health().opened {
        Opened::New => "new",
        Opened::Clean => "clean",
        Opened::Kept => "kept",
        _ => "rebuilt",
    };
    let races = Races::found(&limiter)?;
    for line in races.lines() {
        out.say(&line)?;
    }
    out.say(&format!("opened {how} {}", now()))?;
    let session = Session {
        limiter: &limiter,
        out: &out,
        races: &races,
        done: Default::default(),
        stop: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let session = &session;
        let watch = || session.watch();
        let mut threads = vec![scope.spawn(watch), scope.spawn(|| session.take_pots())];
        if !leaves_strict_alone() {
            threads.push(scope.spawn(|| session.race()));
        }
        threads.extend((0..THREADS).map(|thread| scope.spawn(move || session.take(thread))));
        match ends {
            Ends::Never => {}
            Ends::Dies(length) => die_in(length),
            Ends::Closes(length) => {
                std::thread::sleep(length);
                // Ordering: relaxed; the threads are joined before anything depends on it.
                session.stop.store(true, Ordering::Relaxed);
            }
        }
        let results = threads.into_iter().map(|thread| {
            let panicked = |_| "a thread panicked".to_owned();
            thread.join().map_err(panicked).and_then(|result| result)
        });
        results.collect::<Result<Vec<()>, String>>()
    })?;
    out.say("closing")?;
    if let Err(error) = limiter.close() {
        out.say(&format!("ERR {error}"))?;
        return Err(text(error));
    }
    out.say("closed")
}

pub(crate) struct Session<'a> {
    pub(crate) limiter: &'a Limiter,
    pub(crate) out: &'a Out,
    pub(crate) races: &'a Races,
    /// By thread: takes done and printed.
    done: [AtomicU64; THREADS],
    stop: AtomicBool,
}

impl Session<'_> {
    pub(crate) fn goes_on(&self) -> bool {
        // Ordering: relaxed; nothing else is told by it.
        !self.stop.load(Ordering::Relaxed)
    }

    fn take(&self, thread: usize) -> Result<(), String> {
        let name = thread.to_string();
        let mut done = 0;
        for number in 1.. {
            if !self.goes_on() {
                break;
            }
            self.out.say(&format!("begin {thread} {number}"))?;
            let mut request = Request::new().attribute("thread", &name);
            if !leaves_strict_alone() {
                request = request.attribute("strict", &name);
            }
            let decision = self.limiter.check(&request);
            match decision.verdict() {
                Verdict::Unwritable => {
                    self.out.say(&format!("ERR {decision}"))?;
                    std::thread::sleep(Duration::from_millis(5));
                    continue;
                }
                _ if decision.is_allowed() => {}
                _ => return self.fatal(&format!("thread {thread} at {number}: {decision}")),
            }
            done += 1;
            let now = now();
            self.out.say(&format!("done {thread} {done} {now}"))?;
            // Ordering: release, after the take; who reads the number and then flushes has it.
            self.done[thread].store(done, Ordering::Release);
            std::thread::sleep(Duration::from_micros(300));
        }
        Ok(())
    }

    /// Empties one pot after the other, from the first on in every session.
    fn take_pots(&self) -> Result<(), String> {
        let pots = self.limiter.limit("pot").map_err(text)?;
        let mut pot = 0_u64;
        while self.goes_on() && !leaves_strict_alone() {
            let outcome = pots.check(pot.to_string().as_str());
            match outcome.verdict() {
                Verdict::Unwritable => std::thread::sleep(Duration::from_millis(5)),
                _ if outcome.is_allowed() => {
                    self.out.say(&format!("took {pot}"))?;
                    std::thread::sleep(Duration::from_micros(500));
                }
                _ => pot += 1,
            }
        }
        Ok(())
    }

    /// Says now and then what is durable.
    fn watch(&self) -> Result<(), String> {
        for turn in 1_u64.. {
            std::thread::sleep(Duration::from_millis(11));
            if !self.goes_on() {
                break;
            }
            if turn.is_multiple_of(4) {
                // Ordering: acquire, before the flush: what was done then is before it.
                let done: Vec<u64> = self
                    .done
                    .iter()
                    .map(|n| n.load(Ordering::Acquire))
                    .collect();
                // Ordering: acquire, as above.
                let races = self.races.over.load(Ordering::Acquire);
                match self.limiter.flush() {
                    Ok(()) => self.out.say(&format!("flushed {} {races}", list(done)))?,
                    Err(error) => self.out.say(&format!("ERR {error}"))?,
                }
                continue;
            }
            // Read before the age, so that the instant comes out too early rather than too late.
            let now = now();
            let writing = self.limiter.health().writing;
            let age = writing.durable_at.elapsed();
            let nanos = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
            self.out
                .say(&format!("durable {}", now.saturating_sub(nanos)))?;
            match writing.trouble {
                Some(trouble) => self.out.say(&format!("ERR {}", trouble.why))?,
                None if age > Duration::from_secs(1) => {
                    self.out.say(&format!("late {}", age.as_millis()))?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// The other threads go on for ever, so this ends the process.
    pub(crate) fn fatal<T>(&self, why: &str) -> Result<T, String> {
        self.out.say(&format!("ERR {why}"))?;
        std::process::exit(1);
    }
}

/// Standard output, a whole line at a time, out of the machine before the call returns.
#[derive(Default)]
pub(crate) struct Out(Mutex<()>);

impl Out {
    pub(crate) fn say(&self, line: &str) -> Result<(), String> {
        let _one = self.0.lock().map_err(text)?;
        let mut out = std::io::stdout().lock();
        // In one piece, so that a kill leaves no half of it.
        let line = format!("{line}\n");
        out.write_all(line.as_bytes())
            .and_then(|()| out.flush())
            .map_err(text)?;
        // A serial line still has it to send; a pipe refuses, and needs no waiting.
        let _ = rustix::termios::tcdrain(&out);
        Ok(())
    }
}

fn list(numbers: impl IntoIterator<Item = u64>) -> String {
    let words: Vec<String> = numbers
        .into_iter()
        .map(|number| number.to_string())
        .collect();
    words.join(" ")
}

/// Numbers that differ from life to life.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self(now() ^ (u64::from(std::process::id()) << 40))
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
