//! What survives a restart when it is written to a store at every request.
//!
//! All keep a count in a window of a day. The stores are used as kindly as their own manuals allow
//! without losing the count when the process is killed: no sync to the disk at each write.

use std::fmt::Display;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use redb::ReadableTable;
use tempfile::TempDir;

use crate::Plan;
use crate::keys::{Keys, Order};
use crate::peers::{Peer, Quota, Tollgate, directory};
use crate::report::Report;
use crate::rounds::{Rounds, row};

/// Of which a key alone cannot use up what it may.
const QUOTA: Quota = Quota {
    count: 1_000_000_000,
    period_secs: 365 * 86_400,
};

/// A count in a store: `take` adds one and gives the sum.
struct Store<T> {
    name: &'static str,
    take: T,
    _dir: Option<TempDir>,
}

impl<T: Fn(&str) -> u64 + Sync> Peer for Store<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, keys: &[String], order: &[u32]) -> u64 {
        let admit = |place: &u32| u64::from((self.take)(&keys[*place as usize]) <= QUOTA.count);
        order.iter().map(admit).sum()
    }
}

fn sled() -> Box<dyn Peer> {
    let dir = directory();
    let store = sled::open(dir.path()).expect("it opens");
    let take = move |key: &str| {
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let add = |old: Option<&[u8]>| Some((old.map_or(0, number) + 1).to_le_bytes().to_vec());
        let sum = store.update_and_fetch(key, add).expect("it is written");
        sum.map_or(0, |bytes| number(&bytes))
    };
    Box::new(Store {
        name: "sled",
        take,
        _dir: Some(dir),
    })
}

fn sqlite() -> Box<dyn Peer> {
    let dir = directory();
    let store = rusqlite::Connection::open(dir.path().join("counts")).expect("it opens");
    store
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
             CREATE TABLE counts (key TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;",
        )
        .expect("a table");
    let store = Mutex::new(store);
    let take = move |key: &str| {
        let store = store.lock().expect("nobody panicked");
        let mut add = store
            .prepare_cached(
                "INSERT INTO counts VALUES (?1, 1)
                 ON CONFLICT (key) DO UPDATE SET count = count + 1 RETURNING count",
            )
            .expect("it is sound");
        add.query_row([key], |row| row.get::<_, i64>(0))
            .expect("it is written")
            .unsigned_abs()
    };
    Box::new(Store {
        name: "SQLite",
        take,
        _dir: Some(dir),
    })
}

fn redb() -> Box<dyn Peer> {
    const COUNTS: redb::TableDefinition<&str, u64> = redb::TableDefinition::new("counts");
    let dir = directory();
    let store = redb::Database::create(dir.path().join("counts")).expect("it opens");
    let take = move |key: &str| {
        let mut write = store.begin_write().expect("it begins");
        write.set_durability(redb::Durability::None);
        let sum = {
            let mut table = write.open_table(COUNTS).expect("a table");
            let sum = table
                .get(key)
                .expect("it is read")
                .map_or(0, |count| count.value())
                + 1;
            table.insert(key, sum).expect("it is written");
            sum
        };
        write.commit().expect("it ends");
        sum
    };
    Box::new(Store {
        name: "redb",
        take,
        _dir: Some(dir),
    })
}

/// A server of our own on the loopback, ended with us.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn redis() -> Result<Box<dyn Peer>, String> {
    let free = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    let port = free.local_addr().map_err(|error| error.to_string())?.port();
    drop(free);
    let dir = directory();
    let server = Command::new("redis-server")
        .args([
            "--bind",
            "127.0.0.1",
            "--port",
            &port.to_string(),
            "--save",
            "",
        ])
        .args(["--appendonly", "yes", "--appendfsync", "no", "--dir"])
        .arg(dir.path())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("redis-server: {error}"))?;
    let server = Server(server);
    let client = redis::Client::open(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    // Bound: five seconds for it to come up.
    let connect = || client.get_connection().ok();
    let connection = (0..50).find_map(|_| {
        std::thread::sleep(Duration::from_millis(100));
        connect()
    });
    let connection = Mutex::new((connection.ok_or("redis-server does not answer")?, server));
    let take = move |key: &str| {
        let mut connection = connection.lock().expect("nobody panicked");
        redis::cmd("INCR")
            .arg(key)
            .query(&mut connection.0)
            .expect("it answers")
    };
    Ok(Box::new(Store {
        name: "Redis on loopback",
        take,
        _dir: Some(dir),
    }))
}

pub fn table(plan: &Plan, report: &mut Report) {
    let mut peers: Vec<Box<dyn Peer>> = vec![
        Box::new(Tollgate::new(QUOTA, 10_000, false)),
        sled(),
        sqlite(),
        redb(),
    ];
    let mut what =
        "Nanoseconds a request; beside each how many times as long as Tollgate. None of \
                    them syncs to the disk at each write."
            .to_owned();
    match redis() {
        Ok(peer) => peers.push(peer),
        Err(why) => what.push_str(&format!(" SKIPPED Redis: {why}.")),
    }
    let names = peers.iter().map(|peer| peer.name());
    let columns: Vec<_> = ["keys", "threads"].into_iter().chain(names).collect();
    report.table(
        "Counts that outlive the process, written at every request",
        &what,
        &columns,
    );
    let keys = plan.pick(1_000, 10_000);
    for (count, order, threads) in [
        (1, Order::Uniform, 1),
        (keys, Order::Uniform, 1),
        (keys, Order::Uniform, 2),
        (keys, Order::Zipf, 2),
    ] {
        let rounds = Rounds {
            rounds: plan.rounds(),
            threads,
        };
        let found = row(&peers, &Keys::new(count), order, &rounds);
        let ours = found[0].median;
        let cells = found
            .iter()
            .map(|one| format!("{one} ({:.0})", one.median / ours));
        let cells: Vec<_> = cells.collect();
        let mut shown: Vec<&dyn Display> = vec![&count, &threads];
        shown.extend(cells.iter().map(|cell| cell as &dyn Display));
        report.row(&shown);
        let fastest = found[1..]
            .iter()
            .min_by(|one, other| one.median.total_cmp(&other.median));
        let fastest = fastest.expect("there are stores");
        let scenario = format!("a count on the disk, {count} keys, {order}, threads: {threads}");
        report.compare(&scenario, &found);
        report.goal(scenario, &found[0], fastest, 0.05);
    }
}
