//! A list that others use too: older managers and workers, other managers, people.

use std::time::{Duration, Instant};

use embstore::embed::queue::{Pushed, QueueError};
use redis::Commands;

use crate::server::Server;
use crate::world::{World, claim, complete};

const LIST: &str = "phase4_todo_queue";

#[test]
fn what_is_no_job_is_put_aside_with_a_reason() {
    let server = Server::start();
    let world = World::new(&server.url(), 1);
    let queue = world.open("one");
    queue.push(&world.jobs()).expect("serves");
    let mut raw = server.raw();
    let compact = br#"{"output":"embeddings/b.parquet","input":"chains/b.parquet","retries":0}"#;
    for entry in [&b"not a job"[..], b"{\"input\": \"\xff\", \"output\": \"b\"}", b"{\"input\": \"a\"}", compact] {
        raw.rpush::<_, _, ()>(LIST, entry).expect("pushed");
    }
    let first = claim(&*queue);
    assert_eq!((first.job.input.as_str(), first.entry.as_slice()), ("chains/b.parquet", &compact[..]));
    assert_eq!(claim(&*queue).job, world.jobs()[0]);
    let status = queue.status().expect("serves");
    assert_eq!((status.waiting, status.running.len(), status.dead), (0, 2, 3));
    assert!(status.dead_jobs.iter().any(|dead| dead.input == "not a job"));
    assert!(status.dead_jobs.iter().all(|dead| dead.error.starts_with("not a job, which is {\"input\"")), "{status:?}");
}

#[test]
fn who_looks_buries_nothing() {
    let server = Server::start();
    let mut world = World::new(&server.url(), 1);
    world.lease = Duration::from_millis(200);
    let queue = world.open("one");
    queue.push(&world.jobs()).expect("serves");
    let held = claim(&*queue);
    world.tries = 1;
    let watcher = world.open("watcher");
    let began = Instant::now();
    while watcher.status().expect("serves").waiting == 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "the lease runs out");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(watcher.status().expect("serves").dead, 0);
    assert_eq!((claim(&*queue).tries, queue.heartbeat(&held).expect("serves")), (2, false));
}

#[test]
fn all_of_many_dead_jobs_wait_again() {
    let server = Server::start();
    let queue = World::new(&server.url(), 1).open("one");
    let mut many = redis::pipe();
    for index in 0..40_000 {
        many.hset(format!("{{{LIST}}}:dead"), format!("job {index}"), "{}").ignore();
    }
    many.exec(&mut server.raw()).expect("set");
    assert_eq!(queue.retry().expect("serves"), 40_000);
    assert_eq!(server.raw().llen::<_, u64>(LIST).expect("a list"), 40_000);
    assert_eq!(queue.retry().expect("serves"), 0);
}

#[test]
fn what_an_older_worker_took_can_be_queued_again() {
    let server = Server::start();
    let world = World::new(&server.url(), 3);
    world.open("manager").push(&world.jobs()).expect("serves");
    let mut raw = server.raw();
    // One that was never claimed, and one that was, and waited again.
    let _: Option<String> = raw.rpop(LIST, None).expect("popped");
    let queue = world.open("one");
    assert!(queue.give_back(&claim(&*queue)).expect("serves"));
    let _: Option<String> = raw.rpop(LIST, None).expect("popped");
    assert_eq!(raw.llen::<_, u64>(LIST).expect("a list"), 1);
    assert_eq!(world.open("manager").push(&world.jobs()).expect("serves"), Pushed { queued: 2, already: 1 });
}

#[test]
fn what_an_older_manager_pushed_twice_runs_once() {
    let server = Server::start();
    let world = World::new(&server.url(), 1);
    let mut raw = server.raw();
    let entry = world.jobs()[0].to_json();
    let manager = world.open("manager");
    assert_eq!(manager.push(&[]).expect("serves"), Pushed::default());
    for _ in 0..2 {
        raw.lpush::<_, _, ()>(LIST, &entry).expect("pushed");
    }
    let (one, two) = (world.open("one"), world.open("two"));
    let held = claim(&*one);
    assert!(two.claim().expect("serves").is_none());
    assert!(one.give_back(&held).expect("serves"));
    // The manager has not seen it come; the queue has.
    assert_eq!(manager.push(&world.jobs()).expect("serves"), Pushed { queued: 0, already: 1 });
    assert!(complete(&*one, &claim(&*one)));
}

#[test]
fn two_managers_at_a_time_queue_nothing_twice() {
    let server = Server::start();
    let world = World::new(&server.url(), 3000);
    let jobs = world.jobs();
    let pushed: Vec<Pushed> = std::thread::scope(|scope| {
        let managers: Vec<_> = (0..3)
            .map(|manager| {
                let (world, jobs) = (&world, &jobs);
                scope.spawn(move || {
                    let queue = world.open(&format!("manager {manager}"));
                    let mut sum = Pushed::default();
                    for batch in jobs.chunks(100) {
                        let pushed = queue.push(batch).expect("serves");
                        sum.queued += pushed.queued;
                        sum.already += pushed.already;
                    }
                    sum
                })
            })
            .collect();
        managers.into_iter().map(|manager| manager.join().expect("finishes")).collect()
    });
    assert_eq!(server.raw().llen::<_, u64>(LIST).expect("a list"), 3000);
    assert_eq!(pushed.iter().map(|pushed| pushed.queued).sum::<u64>(), 3000);
    assert!(pushed.iter().all(|pushed| pushed.queued + pushed.already == 3000), "{pushed:?}");
}

#[test]
fn a_manager_knows_more_than_one_page_of_the_list() {
    let server = Server::start();
    let mut world = World::new(&server.url(), 3);
    world.lease = Duration::from_secs(1);
    let mut raw = server.raw();
    let others: Vec<String> =
        (0..25_000).map(|index| format!("{{\"input\": \"{index}\", \"output\": \"o\"}}")).collect();
    let jobs = world.jobs();
    world.open("manager").push(&jobs).expect("serves");
    raw.lpush::<_, _, ()>(LIST, others).expect("pushed");
    assert_eq!(world.open("another").push(&jobs).expect("serves"), Pushed { queued: 0, already: 3 });
}

#[test]
fn a_key_of_another_type_is_told() {
    let server = Server::start();
    let mut raw = server.raw();
    raw.set::<_, _, ()>(LIST, "something else").expect("set");
    let world = World::new(&server.url(), 1);
    let error = world.try_open("one").err().expect("no list");
    assert!(matches!(&error, QueueError::WrongType { key, .. } if key == LIST), "{error}");
    assert!(error.hint().contains("--queue-name"));
    // One that became something else later.
    raw.del::<_, ()>(LIST).expect("deleted");
    let queue = world.open("one");
    raw.set::<_, _, ()>("{phase4_todo_queue}:leases", "something else").expect("set");
    queue.push(&world.jobs()).expect_err("no set");
    let error = queue.claim().expect_err("no set");
    assert!(matches!(error, QueueError::WrongType { .. }), "{error}");
}
