//! What every queue does.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use embstore::embed::Queue;
use embstore::embed::queue::Pushed;

use crate::server::Server;
use crate::world::{World, beat, claim, complete};

/// What a queue may lack.
#[derive(Clone, Copy)]
struct Able {
    /// It knows what was pushed; otherwise what is missing waits whether it was pushed or not.
    remembers: bool,
}

#[test]
fn redis() {
    let server = Server::start();
    conforms(&server.url(), Able { remembers: true });
}

#[test]
fn folder() {
    conforms("dir", Able { remembers: false });
}

fn conforms(address: &str, able: Able) {
    let fresh = |texts: usize| {
        forget(address);
        let world = World::new(address, texts);
        world.open("manager").push(&world.jobs()).expect("serves");
        world
    };
    jobs_go_their_way(&fresh(3), able);
    failures_end_in_death(&fresh(1));
    silence_loses_the_lease(fresh(1));
    heartbeats_keep_the_lease(fresh(1));
    silence_counts_as_a_try(fresh(1));
    nobody_gets_what_another_has(&fresh(200));
}

/// Empties the server, where there is one.
fn forget(address: &str) {
    if address != "dir" {
        let mut connection = redis::Client::open(address).and_then(|client| client.get_connection()).expect("answers");
        redis::cmd("FLUSHALL").exec(&mut connection).expect("emptied");
    }
}

fn jobs_go_their_way(world: &World, able: Able) {
    let (one, two) = (world.open("one"), world.open("two"));
    let again = one.push(&world.jobs()).expect("serves");
    let (queued, already) = if able.remembers { (0, 3) } else { (3, 0) };
    assert_eq!(again, Pushed { queued, already });

    let (first, second) = (claim(&*one), claim(&*two));
    assert_ne!(first.job, second.job);
    assert_eq!((first.tries, second.tries), (1, 1));
    assert!(world.jobs().contains(&first.job));
    assert_eq!(one.left().expect("serves"), 3);
    assert_eq!(one.push(&world.jobs()).expect("serves").already, if able.remembers { 3 } else { 2 });
    let status = one.status().expect("serves");
    assert_eq!((status.waiting, status.running.len(), status.dead, status.done), (1, 2, 0, 0));
    let mut workers: Vec<&str> = status.running.iter().map(|job| job.worker.as_str()).collect();
    workers.sort_unstable();
    assert_eq!(workers, ["one", "two"]);
    let running = status.running.iter().find(|job| job.worker == "one").expect("runs");
    assert_eq!((&running.input, running.tries), (&first.job.input, 1));
    assert!((0.0..5.0).contains(&running.seconds) && (50.0..=60.0).contains(&running.lease_left), "{running:?}");

    assert!(one.heartbeat(&first).expect("serves"));
    assert!(complete(&*one, &first));
    assert!(two.give_back(&second).expect("serves"));
    for _ in 0..2 {
        let next = claim(&*two);
        assert_eq!(next.tries, 1, "a job that was given back was not tried");
        assert!(complete(&*two, &next));
    }
    assert!(one.claim().expect("serves").is_none());
    assert_eq!(one.left().expect("serves"), 0);
    let status = two.status().expect("serves");
    assert_eq!((status.waiting, status.running.len(), status.dead, status.done), (0, 0, 0, 3));
    assert_eq!((status.rows, status.texts), (30, 27));
    assert!(status.speed.rows > 0.0 && status.seconds_left() == Some(0.0), "{status:?}");
}

fn failures_end_in_death(world: &World) {
    let queue = world.open("one");
    for tries in 1..=3 {
        let claim = claim(&*queue);
        assert_eq!(claim.tries, tries);
        assert_eq!(queue.left().expect("serves"), 1);
        assert!(queue.fail(&claim, &format!("it is broken, {tries}\n\"é\"")).expect("serves"));
    }
    std::thread::sleep(Duration::from_millis(600));
    assert!(queue.claim().expect("serves").is_none());
    assert_eq!(queue.left().expect("serves"), 0);
    assert_eq!(queue.push(&world.jobs()).expect("serves"), Pushed { queued: 0, already: 1 });
    let status = queue.status().expect("serves");
    assert_eq!((status.waiting, status.running.len(), status.dead, status.done), (0, 0, 1, 0));
    let dead = &status.dead_jobs[0];
    assert_eq!((dead.input.as_str(), dead.tries), (world.jobs()[0].input.as_str(), 3));
    assert_eq!(dead.error, "it is broken, 3\n\"é\"");

    assert_eq!(queue.retry().expect("serves"), 1);
    assert_eq!(queue.retry().expect("serves"), 0);
    let claim = claim(&*queue);
    assert_eq!(claim.tries, 1, "what is tried again begins anew");
    assert!(complete(&*queue, &claim));
}

fn silence_loses_the_lease(mut world: World) {
    world.lease = Duration::from_millis(300);
    let (silent, other) = (world.open("silent"), world.open("other"));
    let lost = claim(&*silent);
    let taken = claim(&*other);
    assert_eq!((&taken.job, taken.tries), (&lost.job, 2));
    assert!(!silent.heartbeat(&lost).expect("serves"));
    assert!(!silent.fail(&lost, "late").expect("serves"));
    assert!(!silent.give_back(&lost).expect("serves"));
    assert!(!complete(&*silent, &lost));
    assert!(other.heartbeat(&taken).expect("serves"));
    assert!(complete(&*other, &taken));
    let status = other.status().expect("serves");
    assert_eq!((status.done, status.rows, other.left().expect("serves")), (1, 10, 0));
}

fn heartbeats_keep_the_lease(mut world: World) {
    world.lease = Duration::from_secs(3);
    let (lively, other) = (world.open("lively"), world.open("other"));
    let kept = claim(&*lively);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| beat(&*lively, &kept, &stop));
        for _ in 0..25 {
            assert!(other.claim().expect("serves").is_none());
            std::thread::sleep(Duration::from_millis(200));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(complete(&*lively, &kept));
}

fn silence_counts_as_a_try(mut world: World) {
    (world.lease, world.tries) = (Duration::from_millis(100), 2);
    let queue = world.open("silent");
    for tries in 1..=2 {
        assert_eq!(claim(&*queue).tries, tries);
    }
    let began = Instant::now();
    let status = loop {
        assert!(queue.claim().expect("serves").is_none());
        let status = queue.status().expect("serves");
        if status.dead > 0 {
            break status;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{status:?}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!((status.dead, status.dead_jobs[0].tries), (1, 2), "{status:?}");
    assert_eq!(status.dead_jobs[0].error, "the lease ran out: silent stopped without a word");
}

fn nobody_gets_what_another_has(world: &World) {
    let jobs = world.jobs().len();
    let done = Mutex::new(HashMap::<String, u32>::new());
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let done = &done;
            scope.spawn(move || {
                let queue = world.open(&format!("worker {worker}"));
                while queue.left().expect("serves") > 0 {
                    drain(&*queue, done);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
    });
    let done = done.into_inner().expect("whole");
    assert_eq!(done.len(), jobs);
    assert!(done.values().all(|times| *times == 1), "{done:?}");
    let status = world.open("observer").status().expect("serves");
    assert_eq!((status.done, status.rows), (jobs as u64, 10 * jobs as u64));
}

fn drain(queue: &dyn Queue, done: &Mutex<HashMap<String, u32>>) {
    while let Some(claim) = queue.claim().expect("serves") {
        *done.lock().expect("whole").entry(claim.job.input.clone()).or_default() += 1;
        assert!(complete(queue, &claim));
    }
}
