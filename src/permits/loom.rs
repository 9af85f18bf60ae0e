//! Every interleaving of two or three threads over the real code, with loom's atomics and locks.
//!
//! The data a permit guards is a plain counter word read and written with `Relaxed`, so that an
//! order too weak shows as a lost write, and two holders at once as a lost count.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::keeper::{Expire, Keeper};
use super::queue::Ticket;
use super::shard::{Entered, Load, Shard};
use super::terms::{Ask, PermitTerms};
use super::{Acquire, AcquireError, OwnedAcquire, Permit};
use crate::sync::{AtomicU64, Ordering, thread};

const KEY: u64 = 1;
const HOUR: Duration = Duration::from_secs(3600);

/// A shard, and for each key what its permits guard.
struct World {
    shard: Arc<Shard>,
    data: [AtomicU64; 2],
}

fn model(
    slots: usize,
    limit: u32,
    queue_max: u32,
    run: impl Fn(Arc<World>) + Sync + Send + 'static,
) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || {
        let terms = PermitTerms {
            limit,
            queue_max,
            ..PermitTerms::default()
        };
        let shard = Arc::new(Shard::new(slots, Arc::new(terms), Arc::new(Keeper::new())));
        let data = [AtomicU64::new(0), AtomicU64::new(0)];
        run(Arc::new(World { shard, data }));
    });
}

impl World {
    fn acquire(&self, key: u64, weight: u32) -> Acquire<'_> {
        // No longest wait: models have no time, and start no keeper.
        Acquire::new(&self.shard, Ask::plain(key, weight), Duration::MAX)
    }

    fn try_take(&self, key: u64, weight: u32) -> Result<Option<Permit<'_>>, AcquireError> {
        let slot = self.shard.try_take(Ask::plain(key, weight))?;
        Ok(slot.map(|slot| Permit::new(&self.shard, slot, weight)))
    }

    fn set_limit(&self, limit: u32) {
        self.shard
            .amend_terms(|terms| Arc::make_mut(terms).limit = limit);
    }

    fn block(&self, key: u64, weight: u32) -> Result<Permit<'_>, AcquireError> {
        match self.try_take(key, weight)? {
            Some(permit) => Ok(permit),
            None => self.acquire(key, weight).block(),
        }
    }

    /// What is done under a permit that excludes all others of its key: lost if it does not.
    fn count(&self, key: u64) {
        let data = &self.data[usize::try_from(key).unwrap_or(0)];
        // Ordering: Relaxed both times, see the head of the file.
        let before = data.load(Ordering::Relaxed);
        // Ordering: as above.
        data.store(before + 1, Ordering::Relaxed);
    }

    fn counted(&self, key: u64) -> u64 {
        let data = &self.data[usize::try_from(key).unwrap_or(0)];
        // Ordering: the threads that counted are joined.
        data.load(Ordering::Relaxed)
    }

    fn assert_idle(&self) {
        assert_eq!(self.shard.load(), Load::default());
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// Whether it was rung: for futures polled by hand.
struct Bell(AtomicU64);

impl Bell {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(0)))
    }

    fn rung(&self) -> bool {
        // Ordering: the ringer is joined.
        self.0.load(Ordering::Relaxed) != 0
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // Ordering: a flag that nothing is read behind.
        self.0.store(1, Ordering::Relaxed);
    }
}

fn spawn(world: &Arc<World>, run: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || run(&world))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn loom_permit_hand_over_excludes_and_shows_all_that_was_done() {
    model(1, 1, 2, |world| {
        let work = |world: &World| {
            let permit = world.block(KEY, 1).unwrap();
            world.count(KEY);
            drop(permit);
        };
        let threads = [spawn(&world, work), spawn(&world, work)];
        work(&world);
        join(threads);
        assert_eq!(world.counted(KEY), 3);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_taken_after_a_return_without_waiting_sees_what_was_done() {
    model(1, 1, 0, |world| {
        let work = |world: &World| {
            if let Ok(Some(permit)) = world.try_take(KEY, 1) {
                world.count(KEY);
                drop(permit);
                return 1;
            }
            0
        };
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world) + work(&world))
        };
        let mine = work(&world);
        assert_eq!(mine + other.join().unwrap(), world.counted(KEY));
        world.assert_idle();
    });
}

/// A waiter polled once, with the bell it rings.
fn waiter(world: &World, weight: u32) -> (OwnedAcquire, Arc<Bell>, Waker) {
    let bell = Bell::new();
    let waker = Waker::from(Arc::clone(&bell));
    let mut future = world.acquire(KEY, weight).into_owned();
    assert!(poll(&mut future, &waker).is_pending());
    (future, bell, waker)
}

#[test]
fn loom_permit_cancelled_while_it_is_granted_goes_to_the_next() {
    model(1, 1, 2, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let (cancelled, ..) = waiter(&world, 1);
        let (mut next, bell, waker) = waiter(&world, 1);
        join([
            spawn(&world, move |_| drop(held)),
            spawn(&world, move |_| drop(cancelled)),
        ]);
        assert!(bell.rung());
        let Poll::Ready(Ok(permit)) = poll(&mut next, &waker) else {
            panic!("the next in line was passed over");
        };
        drop(permit);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_is_never_overtaken_by_a_newcomer() {
    model(1, 1, 1, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let (first, ..) = waiter(&world, 1);
        let releaser = spawn(&world, move |_| drop(held));
        // The one in line has it or will; it is not polled, so it cannot have returned it.
        assert!(world.try_take(KEY, 1).unwrap().is_none());
        join([releaser]);
        drop(first);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_heavy_head_that_leaves_lets_the_next_in() {
    model(1, 2, 2, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap();
        let (heavy, ..) = waiter(&world, 2);
        let leaver = spawn(&world, move |_| drop(heavy));
        drop(world.block(KEY, 1).unwrap());
        join([leaver]);
        drop(held);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_polled_once_and_dropped_blocks_nobody() {
    model(1, 1, 2, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let threads = [
            spawn(&world, move |_| drop(held)),
            spawn(&world, |world| {
                let _ = poll(&mut world.acquire(KEY, 1), Waker::noop());
            }),
        ];
        drop(world.block(KEY, 1).unwrap());
        join(threads);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_of_a_task_that_moves_wakes_the_last_waker() {
    model(1, 1, 1, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let (mut future, ..) = waiter(&world, 1);
        let releaser = spawn(&world, move |_| drop(held));
        let bell = Bell::new();
        let ready = poll(&mut future, &Waker::from(Arc::clone(&bell))).is_ready();
        join([releaser]);
        assert!(ready || bell.rung());
        drop(future);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_timeout_against_grant_ends_in_one_of_the_two() {
    model(1, 1, 2, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let deadline = Instant::now() + HOUR;
        let ticket = Ticket {
            ask: Ask::plain(KEY, 1),
            waker: Waker::noop().clone(),
            deadline: Some(deadline),
        };
        let Ok(Entered::Queued { entry, first: true }) = world.shard.enter(ticket) else {
            panic!("must wait, with the first deadline");
        };
        let (mut next, bell, waker) = waiter(&world, 1);
        join([
            spawn(&world, move |_| drop(held)),
            spawn(&world, move |world| {
                let (woken, next) = world.shard.expire(deadline);
                woken.into_iter().for_each(Waker::wake);
                assert_eq!(next, None);
            }),
        ]);
        match world.shard.poll(entry, &waker).unwrap() {
            Err(error) => assert_eq!(error, AcquireError::WaitedTooLong),
            Ok(slot) => {
                assert!(poll(&mut next, &waker).is_pending());
                world.shard.release(slot, 1);
            }
        }
        assert!(bell.rung());
        let Poll::Ready(Ok(permit)) = poll(&mut next, &waker) else {
            panic!("the permit was lost between timeout and grant");
        };
        drop(permit);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_close_against_acquire_leaves_nobody_waiting() {
    model(1, 1, 2, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let threads = [
            spawn(&world, |world| match world.block(KEY, 1) {
                Ok(permit) => drop(permit),
                Err(error) => assert_eq!(error, AcquireError::Closed),
            }),
            spawn(&world, |world| {
                world.shard.close();
                let late = world.try_take(KEY, 1);
                assert_eq!(late.err(), Some(AcquireError::Closed));
            }),
        ];
        drop(held);
        join(threads);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_close_is_enough_to_end_a_wait() {
    model(1, 1, 1, |world| {
        let held = world.try_take(KEY, 1).unwrap();
        let closer = spawn(&world, |world| world.shard.close());
        assert_eq!(world.block(KEY, 1).err(), Some(AcquireError::Closed));
        join([closer]);
        drop(held);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_returned_while_closing_serves_nobody_twice() {
    model(1, 1, 2, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let mut waiters = [world.acquire(KEY, 1), world.acquire(KEY, 1)];
        let poll = |waiter: &mut Acquire<'_>| {
            Pin::new(waiter)
                .poll(&mut Context::from_waker(Waker::noop()))
                .map(|held| held.err())
        };
        assert!(waiters.iter_mut().all(|waiter| poll(waiter).is_pending()));
        let giver = spawn(&world, move |_| drop(held));
        world.shard.close();
        join([giver]);
        for waiter in &mut waiters {
            assert!(poll(waiter).is_ready(), "a close ends every wait");
        }
        drop(waiters);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_raised_limit_meets_a_waiter_on_its_way() {
    model(1, 1, 1, |world| {
        let held = world.try_take(KEY, 1).unwrap();
        let raiser = spawn(&world, |world| world.set_limit(2));
        drop(world.block(KEY, 1).unwrap());
        join([raiser]);
        drop(held);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_lowered_limit_against_acquire_and_release() {
    model(1, 2, 1, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap().into_owned();
        let threads = [
            spawn(&world, |world| match world.block(KEY, 2) {
                Ok(permit) => drop(permit),
                Err(error) => assert_eq!(error, AcquireError::Impossible),
            }),
            spawn(&world, |world| world.set_limit(1)),
        ];
        drop(held);
        join(threads);
        world.assert_idle();
        let one = world.try_take(KEY, 1).unwrap();
        assert!(one.is_some() && world.try_take(KEY, 1).unwrap().is_none());
    });
}

#[test]
fn loom_permit_two_returns_together_serve_a_heavy_waiter() {
    model(1, 2, 1, |world| {
        let held = [(); 2].map(|()| world.try_take(KEY, 1).unwrap().unwrap());
        let [first, second] = held.map(Permit::into_owned);
        let threads = [
            spawn(&world, move |_| drop(first)),
            spawn(&world, move |_| drop(second)),
        ];
        drop(world.block(KEY, 2).unwrap());
        join(threads);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_weights_never_exceed_the_limit() {
    model(1, 2, 2, |world| {
        let work = |world: &World, weight: u32| {
            let permit = world.block(KEY, weight).unwrap();
            let running = &world.data[0];
            // Ordering: Relaxed, one word whose sum is exact under any order.
            let before = running.fetch_add(u64::from(weight), Ordering::Relaxed);
            assert!(before + u64::from(weight) <= 2);
            // Ordering: as above.
            running.fetch_sub(u64::from(weight), Ordering::Relaxed);
            drop(permit);
        };
        let threads = [
            spawn(&world, move |world| work(world, 2)),
            spawn(&world, move |world| work(world, 1)),
        ];
        work(&world, 1);
        join(threads);
        world.assert_idle();
    });
}

/// Takes and returns a permit; while it is out, its own key must say so.
fn visit(world: &World, key: u64) {
    if let Ok(Some(permit)) = world.try_take(key, 1) {
        assert!(world.shard.load_of(key).running >= 1);
        drop(permit);
    }
}

#[test]
fn loom_permit_of_an_idle_key_is_never_taken_under_the_key_that_came_after() {
    model(1, 2, 0, |world| {
        visit(&world, 0);
        let threads = [
            spawn(&world, |world| visit(world, 0)),
            spawn(&world, |world| visit(world, 1)),
        ];
        join(threads);
        world.assert_idle();
    });
}

#[test]
fn loom_permit_key_first_seen_by_two_gets_one_slot() {
    model(2, 1, 0, |world| {
        let take = |world: &World| {
            let permit = world.try_take(KEY, 1);
            let taken = permit.is_ok();
            std::mem::forget(permit.map(|permit| permit.map(Permit::into_owned)));
            taken
        };
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || take(&world))
        };
        let mine = take(&world);
        assert!(mine ^ other.join().unwrap());
        assert_eq!(world.shard.load().running, 1);
    });
}

#[test]
fn loom_permit_shows_what_was_done_even_after_its_key_was_forgotten() {
    model(1, 1, 0, |world| {
        let work = |world: &World| {
            let Ok(Some(permit)) = world.try_take(0, 1) else {
                return 0;
            };
            world.count(0);
            drop(permit);
            1
        };
        let other = {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world))
        };
        visit(&world, 1);
        let mine = work(&world);
        assert_eq!(mine + other.join().unwrap(), world.counted(0));
        world.assert_idle();
    });
}

#[test]
fn loom_permit_asked_for_by_an_old_limit_goes_by_the_new_one() {
    model(1, 1, 1, |world| {
        let held = world.try_take(KEY, 1).unwrap().unwrap();
        let raiser = spawn(&world, |world| world.set_limit(2));
        // Its caller has not heard of the change.
        let ask = Ask {
            limit: Some(1),
            ..Ask::plain(KEY, 1)
        };
        let late = Acquire::new(&world.shard, ask, Duration::MAX).block();
        join([raiser]);
        drop((held, late.unwrap()));
        world.assert_idle();
    });
}
