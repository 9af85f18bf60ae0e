//! Real threads, more of them than cores, with the promises counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::tests::block_on;
use super::*;

const THREADS: u64 = 8;
const ROUNDS: u64 = 4_000;

/// A small generator (SplitMix64, Steele and others 2014): each thread its own fixed sequence.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// One call in one of the ways there are.
fn call<'a>(
    permits: &'a Permits,
    dice: &mut Dice,
    key: u64,
    weight: u32,
) -> Result<Permit<'a>, AcquireError> {
    let wait = Duration::from_micros(dice.roll(300));
    match dice.roll(6) {
        0 => permits.try_acquire(PermitKey(key), PermitWeight(weight)),
        1 => permits.acquire(PermitKey(key), PermitWeight(weight)),
        2 => permits.acquire_within(PermitKey(key), PermitWeight(weight), wait),
        3 => block_on(permits.acquire_async(PermitKey(key), PermitWeight(weight))),
        4 => block_on(
            permits
                .acquire_async(PermitKey(key), PermitWeight(weight))
                .within(wait),
        ),
        _ => {
            let mut abandoned =
                Box::pin(permits.acquire_async(PermitKey(key), PermitWeight(weight)));
            let waker = std::task::Waker::noop();
            let _ = abandoned
                .as_mut()
                .poll(&mut std::task::Context::from_waker(waker));
            thread::yield_now();
            Err(AcquireError::Closed)
        }
    }
}

/// Runs all threads over `keys` keys; every grant is checked against `most` running at once.
fn storm(permits: &Permits, keys: u64, weight_max: u64, most: u64) -> u64 {
    let running: Vec<AtomicU64> = (0..keys).map(|_| AtomicU64::new(0)).collect();
    let granted = AtomicU64::new(0);
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (running, granted) = (&running, &granted);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                for _ in 0..ROUNDS {
                    let key = dice.roll(keys);
                    let weight = 1 + u32::try_from(dice.roll(weight_max)).unwrap();
                    let Ok(permit) = call(permits, &mut dice, key, weight) else {
                        continue;
                    };
                    let slot = &running[usize::try_from(key).unwrap()];
                    // Ordering: Relaxed, for a looser check than the permits' own order would
                    // allow: one word, so its sum is exact all the same.
                    let before = slot.fetch_add(u64::from(weight), Ordering::Relaxed);
                    assert!(before + u64::from(weight) <= most);
                    if dice.roll(8) == 0 {
                        thread::yield_now();
                    }
                    // Ordering: as above; the permit is returned after it.
                    slot.fetch_sub(u64::from(weight), Ordering::Relaxed);
                    // Ordering: a sum, read after the threads were joined.
                    granted.fetch_add(1, Ordering::Relaxed);
                    drop(permit);
                }
            });
        }
    });
    assert_eq!(permits.usage(), PermitUsage::default());
    // Ordering: all threads are joined.
    granted.load(Ordering::Relaxed)
}

fn permits(limit: u32, queue_max: u32, keys_max: u32) -> Permits {
    Permits::new(PermitRule {
        queue_max,
        keys_max,
        wait_max: Duration::from_secs(60),
        ..PermitRule::new(limit)
    })
    .unwrap()
}

#[test]
fn never_over_the_limit_on_one_key() {
    let granted = storm(&permits(3, 64, 1), 1, 3, 3);
    assert!(granted > THREADS * ROUNDS / 4, "{granted}");
}

#[test]
fn never_over_the_limit_on_many_keys_that_drive_each_other_out() {
    // 16 slots for 64 keys: nearly every call takes the slot of an idle key.
    let granted = storm(&permits(2, 64, 8), 64, 2, 2);
    assert!(granted > THREADS * ROUNDS / 4, "{granted}");
}

#[test]
fn never_over_the_higher_of_two_limits_while_it_changes() {
    let permits = permits(4, 64, 4);
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Ordering: a flag that nothing is read behind.
            while done.load(Ordering::Relaxed) == 0 {
                permits.set_limit(1);
                thread::yield_now();
                permits.set_limit(4);
                thread::yield_now();
            }
        });
        storm(&permits, 2, 4, 4);
        // Ordering: as above.
        done.store(1, Ordering::Relaxed);
    });
}

#[test]
fn closing_in_the_middle_leaves_nobody_behind() {
    for round in 0..200 {
        let permits = permits(1, 64, 4);
        thread::scope(|scope| {
            for seed in 0..THREADS {
                let permits = &permits;
                scope.spawn(move || {
                    let mut dice = Dice(seed ^ (round << 8));
                    while call(permits, &mut dice, seed % 2, 1).is_ok() {}
                });
            }
            thread::yield_now();
            permits.close();
        });
        assert_eq!(permits.usage(), PermitUsage::default());
    }
}

#[test]
fn first_come_first_served() {
    let permits = permits(1, 64, 1);
    let held = permits.acquire(PermitKey(0), PermitWeight(1)).unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (permits, order) = (&permits, &order);
            scope.spawn(move || {
                let _permit = if number % 2 == 0 {
                    permits.acquire(PermitKey(0), PermitWeight(1)).unwrap()
                } else {
                    block_on(permits.acquire_async(PermitKey(0), PermitWeight(1))).unwrap()
                };
                order.lock().unwrap().push(number);
            });
            while permits.usage_of(PermitKey(0)).waiting <= number {
                thread::yield_now();
            }
        }
        drop(held);
    });
    assert_eq!(*order.lock().unwrap(), (0..THREADS).collect::<Vec<_>>());
}
